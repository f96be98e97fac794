"""What torchrun said of a fault, in one cell. The rules are in docs/failures.md."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple

from fault import ANY, NOBODY, Fault
from stage import Said, Stage

KEPT = Path(__file__).with_name("torchrun.json")
NOWHERE, TERMINAL, REPORT = "nowhere", "on the terminal", "in the report"
BOUND = 60.0
"""Seconds that torchrun has to say something; it needs some to begin."""

_BLOCK = re.compile(r"^Root Cause \(first observed failure\):\n(.*?)^={20,}$", re.MULTILINE | re.DOTALL)
_RANK = re.compile(r"^ +rank +: (\d+)", re.MULTILINE)
_CODE = re.compile(r"exit code (\d+)")
_ERROR = re.compile(r"^(?:[\w.]+(?:Error|Exception|Interrupt)|[\w.]+: error)\b.*$", re.MULTILINE)


class Cell(NamedTuple):
    """Whether the rank was right, where the cause stood, and what was blamed, in a few words."""

    rank: bool
    cause: str
    line: str

    def text(self) -> str:
        return f"{'right' if self.rank else 'wrong'} ({self.line}); cause {self.cause}"


RECORDED = '''"""Runs a script as torch's documents say that a program should be: its main has @record."""
import runpy
import sys
from torch.distributed.elastic.multiprocessing.errors import record

@record
def main():
    sys.argv.pop(0)
    runpy.run_path(sys.argv[0], run_name="__main__")

main()
'''


def recorded(fault: Fault) -> Fault | None:
    """The same with torch's @record around the script; None where what runs is no script."""
    if fault.program[0] != "fault.py" or fault.api or "--no-python" in fault.options:
        return None
    files = (*fault.files, ("recorded.py", RECORDED))
    return fault._replace(program=("recorded.py", *fault.program), files=files)


def asked(fault: Fault, folder: Path, torchrun: str) -> Cell:
    """What this torchrun says of the fault."""
    stage = Stage(fault, folder, torchrun)
    worst = (NOWHERE, TERMINAL, REPORT)
    cells = [cell(fault, one, stage.port) for one in stage.play(BOUND)]
    return min(cells, key=lambda one: (one.rank, worst.index(one.cause)))


def cell(fault: Fault, said: Said, port: int) -> Cell:
    """The cell for what one node's torchrun printed."""
    text = f"{said.out}\n{said.err}"
    if said.code is None:
        return Cell(rank=False, cause=_where(fault, "", text, port), line="did not end")
    block = _BLOCK.search(text)
    if block is None:
        errors = [line.group() for line in _ERROR.finditer(said.err)]
        last = errors[-1] if errors else ""
        line = _short(last) or ("ended well" if said.code == 0 else f"exit code {said.code}")
        return Cell(fault.truth.rank is NOBODY and said.code != 0, _where(fault, last, text, port), line)
    rank = int(_RANK.findall(block[1])[0])
    right = fault.truth.rank in (rank, ANY)
    return Cell(right, _where(fault, block[1] if right else "", text, port), f"rank {rank}")


def _where(fault: Fault, report: str, text: str, port: int) -> str:
    """Where the words stand that the report has to have."""
    words = fault.truth.says.replace("{port}", str(port))
    code = _CODE.fullmatch(words)
    if code:
        words = f"exitcode  : {code[1]} "
    if words.lower() in report.lower():
        return REPORT
    return TERMINAL if words.lower() in text.lower() else NOWHERE


def _short(line: str) -> str:
    return re.sub(r"^.*\.(\w+(?:Error|Exception)\b)", r"\1", line)[:60].replace("|", "/")


def kept(how: str = "plain") -> dict[str, Cell]:
    """What was said when torchrun was last asked, by the fault's name; `how` is plain or recorded."""
    if not KEPT.exists():
        return {}
    return {name: Cell(**found) for name, found in json.loads(KEPT.read_text()).get(how, {}).items()}


def keep(version: str, how: str, cells: dict[str, Cell]) -> None:
    """Keep these, beside those of other faults."""
    found = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    found = {"torchrun": version, "plain": {}, "recorded": {}} | found
    found[how] |= {name: one._asdict() for name, one in cells.items()}
    KEPT.write_text(json.dumps(found, indent=1) + "\n")
