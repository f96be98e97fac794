"""One job on several nodes, whose workers note that they live."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from launches import Running
from nodes import Nodes
from notes import Note, Notes

STAY = Path(__file__).parents[1] / "nodes" / "bin" / "stay.py"
PORT = 29400


class Job:
    """What its agents have in common, and what they have done so far."""

    def __init__(self, nodes: Nodes, tmp: Path, sizes: str, options: Sequence[str] = ()) -> None:
        """`sizes` is the value of --nnodes; the first node is the endpoint."""
        self.nodes = nodes
        self.notes = Notes(tmp)
        self.endpoint = nodes[0].name
        self.conf = {"last_call_timeout": "0.3", "join_timeout": "60"}
        self._options = [f"--nnodes={sizes}", "--rdzv-backend=c10d", "--rdzv-id=job", *options]

    def start(self, number: int, *options: str, endpoint: str = "", env: dict[str, str] | None = None) -> Running:
        """Begin an agent on that node."""
        conf = "--rdzv-conf=" + ",".join(f"{key}={value}" for key, value in self.conf.items())
        place = [f"--rdzv-endpoint={endpoint or self.endpoint}", conf]
        words = [*self._options, *place, *options, STAY, self.notes.folder]
        return self.nodes[number].start(*words, env=env)

    def start_all(self, *options: str, env: dict[str, str] | None = None) -> list[Running]:
        """Begin an agent on each node."""
        return [self.start(number, *options, env=env) for number in range(len(self.nodes))]

    def await_group(self, *numbers: int, but: list[Note] | None = None) -> list[Note]:
        """The workers of the round that these nodes form, by rank; not the round `but`."""
        return self.notes.await_group(*(self.nodes[number].name for number in numbers), but=but)

    def end(self, running: Sequence[Running]) -> None:
        """Have the workers end, and see that these agents end well."""
        self.notes.stop()
        ended = [one.wait() for one in running]
        assert [one.code for one in ended] == [0] * len(ended), "\n---\n".join(one.err for one in ended)
