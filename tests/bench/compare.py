"""All figures against torchrun, in one run, the contenders in turn.

    python tests/bench/compare.py [--only launch restart] [--rounds 15] [--json FILE]

Run by an interpreter whose environment has torch and this package, as an installed wheel: `tox -e bench`. Takes a
quarter of an hour for 15 rounds. Give the machine nothing else to do: what others used meanwhile is said below
each table, and the spread of our own figure (its quartiles' distance) in its last column.
"""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

import answers
import harness
import idle
import launch
import restart
import tee
from figures import Figure, Load, show
from harness import Bench

PARTS: dict[str, Callable[[Bench], Sequence[Figure]]] = {
    "launch": launch.measure,
    "answers": answers.measure,
    "restart": restart.measure,
    "tee": tee.measure,
    "idle": idle.measure,
    "store": lambda bench: store(bench.rounds),
    "rendezvous": lambda bench: rendezvous(bench),
}


def store(rounds: int) -> Sequence[Figure]:
    """Throughput of the store that workers meet at."""
    import store_throughput  # its clients are processes that import this file, and need none of the rest

    return store_throughput.figures(rounds=rounds)


def rendezvous(bench: Bench) -> Sequence[Figure]:
    """How long many agents take to meet; a table with more of it is printed by rendezvous_scale.py itself."""
    import rendezvous_scale

    return rendezvous_scale.figures(bench.rounds, torch=bench.torchrun is not None)


def machine() -> dict[str, str]:
    """What the figures were measured on, and with."""
    versions = {}
    for name in ("launcher-core", "torch"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not in this environment"
    cpus = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "processors": f"{len(cpus)} x {cpus[0]}" if cpus else platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        **versions,
    }


def main() -> None:
    """Print the tables; write everything to the JSON file, if one is named."""
    parser = harness.parser(__doc__)
    parser.add_argument(
        "--only",
        nargs="+",
        choices=list(PARTS),
        default=list(PARTS),
        metavar="PART",
        help=f"some of {', '.join(PARTS)} (all)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write all samples")
    options = parser.parse_args()
    bench = harness.bench_of(options)
    about = machine()
    print("\n".join(f"{name}: {value}" for name, value in about.items()) + f"\nrounds: {options.rounds}\n", flush=True)
    results = {}
    for part in options.only:
        load = Load()
        figures = PARTS[part](bench)
        results[part] = {"others used": load.of_others(), "figures": [figure.as_dict() for figure in figures]}
        show(figures, load)
        if options.json:
            report = {"machine": about, "command": sys.argv, "rounds": options.rounds, "parts": results}
            options.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
