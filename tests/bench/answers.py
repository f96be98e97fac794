"""Answers: how long the launcher takes to say something without launching anything.

python tests/bench/answers.py [--rounds 7]
"""

from __future__ import annotations

import harness
from figures import Figure, Load, show
from harness import Bench, Contender, Run, Worker

QUESTIONS = {
    "--help": ("--help",),
    "a mistyped flag": ("--nproc-per-nod=2",),
}
NOTHING = Worker(("no_such_script.py",))


def measure(bench: Bench) -> list[Figure]:
    """Time until the exit, for each question."""

    def once(contender: Contender) -> dict[str, float]:
        return {name: _seconds(bench, contender, words) * 1e3 for name, words in QUESTIONS.items()}

    return harness.rounds(bench, bench.launchers, once, dict.fromkeys(QUESTIONS, "ms"))


def _seconds(bench: Bench, contender: Contender, words: tuple[str, ...]) -> float:
    program = contender.command(1, (), NOTHING)[0]
    with Run([program, *words], settle=bench.settle) as run:
        ended = run.wait()
        if ended.code not in (0, 2):
            raise SystemExit(f"{program} {words} ended with {ended.code}; {run.words()}")
        return (ended.at - run.began) / 1e9


def main() -> None:
    """Print the table."""
    bench = harness.bench_of(harness.parser(__doc__).parse_args())
    load = Load()
    show(measure(bench), load)


if __name__ == "__main__":
    main()
