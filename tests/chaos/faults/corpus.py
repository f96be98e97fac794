"""All faults, in the order of docs/failures.md, and what is known to be wrong with our report on some."""

from __future__ import annotations

import faults_codes
import faults_echoes
import faults_nodes
import faults_python
import faults_starts
from fault import Fault

GROUPS: dict[str, tuple[Fault, ...]] = {
    "Python": faults_python.FAULTS,
    "Exit codes and signals": faults_codes.FAULTS,
    "Causes and echoes": faults_echoes.FAULTS,
    "Starts, disks, memory, the launcher itself": faults_starts.FAULTS,
    "Several nodes": faults_nodes.FAULTS,
}
FAULTS = tuple(fault for group in GROUPS.values() for fault in group)

KNOWN: dict[str, str] = {}
"""Faults that our report is wrong about today, with the reason. To be emptied."""
