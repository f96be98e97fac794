"""The corpus of faults: plays each and prints one table of what is true and what was reported.

table.py [WORD]         play the faults whose name has the word, all when there is none
table.py docs           play all, and write the table into docs/failures.md
table.py torchrun PATH [WORD]   ask this torchrun instead, and keep what it said in torchrun.json
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path[:0] = [str(HERE), str(ROOT / "tests" / "support")]

import page  # noqa: E402
import peer  # noqa: E402
from corpus import BEYOND, FAULTS, KNOWN  # noqa: E402
from fault import Fault  # noqa: E402
from stage import Stage  # noqa: E402
from verdict import Verdict, verdict  # noqa: E402

Rows = list[tuple[Fault, Verdict]]
PAGE = ROOT / "docs" / "failures.md"
MARK = "<!-- tables: python tests/chaos/faults/table.py docs -->"


def play(fault: Fault, folder: Path) -> Verdict:
    """Run one fault under our launcher."""
    stage = Stage(fault, folder)
    began = time.monotonic()
    found = verdict(fault, stage.play(), stage.port)
    return found._replace(seconds=time.monotonic() - began)


def play_all(faults: list[Fault]) -> Iterator[tuple[Fault, Verdict]]:
    """Run them, two at a time."""
    with tempfile.TemporaryDirectory(prefix="faults") as tmp, ThreadPoolExecutor(2) as pool:
        folders = [Path(tmp) / str(number) for number in range(len(faults))]
        yield from zip(faults, pool.map(play, faults, folders), strict=True)


def show(played: Iterable[tuple[Fault, Verdict]]) -> Rows:
    """Print each as it comes, and the totals."""
    rows = []
    for fault, one in played:
        rows.append((fault, one))
        marks = "".join(" " if right else mark for right, mark in ((one.rank, "R"), (one.kind, "C"), (one.says, "W")))
        print(
            f"{marks:3}  {fault.name} ({one.seconds:.1f} s)\n       truth: {page.truth_of(fault)}  {fault.truth.says!r}"
        )
        print(f"       ours:  {page.rank_text(one.told_rank)}, {one.told_kind}: {one.line}", flush=True)
    print(*page.totals(rows), sep="\n")
    wrong = {fault.name for fault, one in rows if not one.right}
    for name in sorted(wrong - set(KNOWN) - set(BEYOND)):
        print(f"wrong, and not known to be: {name}")
    for name in sorted(set(KNOWN) & {fault.name for fault, _ in rows} - wrong):
        print(f"right, take it out of KNOWN: {name}")
    return rows


def ask(torchrun: str, how: str, faults: list[Fault]) -> None:
    """Have torchrun play the faults, one after the other, and keep what it said."""
    ask = "import importlib.metadata as found; print(found.version('torch'))"
    words = [Path(torchrun).with_name("python"), "-c", ask]
    version = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    for number, fault in enumerate(faults):
        played = fault if how == "plain" else peer.recorded(fault)
        if played is None or not fault.torchrun:
            continue
        with tempfile.TemporaryDirectory(prefix="faults") as tmp:
            found = peer.asked(played, Path(tmp) / str(number), torchrun)
        peer.keep(version, how, {fault.name: found})
        print(f"{fault.name}: {found.text()}", flush=True)


def main(words: list[str]) -> int:
    if words[:1] == ["docs"]:
        head = PAGE.read_text().partition(MARK)[0]
        PAGE.write_text(head + MARK + "\n\n" + page.tables(show(play_all(list(FAULTS)))) + "\n")
    elif words[:1] == ["torchrun"]:
        ask(words[2], words[1], chosen(words[3:]))
    else:
        show(play_all(chosen(words)))
    return 0


def chosen(words: list[str]) -> list[Fault]:
    """The faults whose name has the first of the words; all when there is none."""
    return [fault for fault in FAULTS if not words or words[0] in fault.name]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
