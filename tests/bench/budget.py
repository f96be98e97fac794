"""Counts the instructions of a cold start, and fails when they exceed the budget.

Instructions do not vary with the machine's load, so they can be a gate where seconds cannot. Counted by
valgrind's callgrind, in the launcher's own process alone, user mode, with compiled bytecode. A budget is a tenth
above what was measured, with CPython 3.11 and a wheel, when it was last set: that is room for a fix, not for a
feature, which says in its commit what it costs. `--show` never fails.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile

BUDGETS = {
    "--version": 53.0,
    "--help": 55.0,
    "a launch of one command": 208.0,
}
"""Millions of instructions above a bare interpreter (`python -c pass`)."""

COMMANDS = {
    "bare": ["-c", "pass"],
    "--version": ["-m", "launcher_core", "--version"],
    "--help": ["-m", "launcher_core", "--help"],
    "a launch of one command": ["-m", "launcher_core", "--no-python", "/bin/true"],
}


def instructions(arguments: list[str]) -> float:
    """Millions of instructions that this interpreter executes for the arguments."""
    env = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "PET_"))}
    with tempfile.TemporaryDirectory() as empty:
        done = subprocess.run(
            ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", sys.executable, *arguments],
            env={**env, "PYTHONHASHSEED": "0"},
            cwd=empty,
            capture_output=True,
            text=True,
            timeout=600,
        )
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or not found:
        raise SystemExit(f"{arguments} under valgrind failed with {done.returncode}:\n{done.stderr}")
    return int(found[1]) / 1e6


def main() -> None:
    """Print a table; exit with 1 when a budget is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--show", action="store_true", help="show figures, never fail")
    options = parser.parse_args()
    if shutil.which("valgrind") is None:
        raise SystemExit("valgrind is missing: apt-get install valgrind")
    for arguments in COMMANDS.values():  # compiles the bytecode of whatever has none yet
        subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
    bare = instructions(COMMANDS["bare"])
    print(f"{'bare interpreter':28}{bare:10.1f} M")
    over = []
    for name, budget in BUDGETS.items():
        count = instructions(COMMANDS[name]) - bare
        print(f"{name:28}{count:+10.1f} M   budget {budget:.0f} M")
        if count > budget:
            over.append(name)
    if over and not options.show:
        raise SystemExit(f"over budget: {', '.join(over)}")


if __name__ == "__main__":
    main()
