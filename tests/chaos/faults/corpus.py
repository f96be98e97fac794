"""All faults, in the order of docs/failures.md, and what is known to be wrong with our report on some."""

from __future__ import annotations

import faults_codes
import faults_echoes
import faults_hangs
import faults_nodes
import faults_python
import faults_starts
from fault import Fault

GROUPS: dict[str, tuple[Fault, ...]] = {
    "Python": faults_python.FAULTS,
    "Exit codes and signals": faults_codes.FAULTS,
    "Causes and echoes": faults_echoes.FAULTS,
    "Starts, disks, memory, the launcher itself": faults_starts.FAULTS,
    "Hangs": faults_hangs.FAULTS,
    "Several nodes": faults_nodes.FAULTS,
}
FAULTS = tuple(fault for group in GROUPS.values() for fault in group)

BEYOND = {
    "a child that goes on writing 200 kB after the traceback": "64 KiB of a stderr are kept; `record` tells more",
    "an exception of a worker whose stderr is closed": "nobody but `record` sees it",
}
"""What cannot be known of a worker that does not use `record`; counted as wrong."""

KNOWN: dict[str, str] = {
    "the other node does not come in time": "below ten seconds nobody says how many came",
    "a rank that waits for a child that does not end": "the child is looked at, and not said to be one",
    "its peers raise another exception from the lost connection": "on a busy machine, where it ends a second later",
    "the network of one of four machines is cut": "one that gives up after the host says that the host has ended",
}
"""What our report is wrong about today, with the reason. To be emptied."""
