"""What the README shows of a job over etcd was really printed, and is still."""

from __future__ import annotations

from pathlib import Path

from etcd import Cluster
from launches import Launcher, until
from pages import ROOT, blocks

SERVERS = "etcd1,etcd2,etcd3"


def shown() -> list[tuple[str, list[str]]]:
    """Command and output on each node."""
    (block,) = [one for one in blocks((ROOT / "README.md").read_text()) if one[0].prompt == "node-1$"]
    return [(one.line, one.shown.splitlines()) for one in block]


def test_two_nodes_print_what_the_readme_shows(launcher: Launcher, three: Cluster, tmp_path: Path) -> None:
    examples = tmp_path / "examples"
    examples.symlink_to(ROOT / "examples")
    first, second = (line.removeprefix("launcher ").replace(SERVERS, three.endpoint).split() for line, _ in shown())

    agents = [launcher.start(*first)]
    until(lambda: "/job8/nodes/" in " ".join(three.keys()), "the first node's entry")
    agents.append(launcher.start(*second))
    done = [agent.wait() for agent in agents]

    assert [one.code for one in done] == [0, 0], done
    printed = [[line for line in (one.out + one.err).splitlines() if line] for one in done]
    assert printed == [output for _, output in shown()]
