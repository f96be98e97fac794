"""One job on several nodes, whose workers note that they live."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from backends import SERVERS, SILENCE, declared, meeting_place, patience, silence_conf
from launches import Running
from nodes import Nodes, nodes
from notes import Note, Notes

STAY = Path(__file__).parents[1] / "nodes" / "bin" / "stay.py"
PORT = 29400


class Job:
    """What its agents have in common, and what they have done so far."""

    def __init__(
        self, nodes: Nodes, tmp: Path, backend: str, endpoint: str, sizes: str, *options: str, name: str = "job"
    ) -> None:
        """`sizes` is the value of --nnodes, `name` that of --rdzv-id."""
        self.name = name
        self.nodes = nodes
        self.notes = Notes(tmp)
        self.backend = backend
        self.endpoint = endpoint
        self.conf = {"last_call_timeout": "0.3", "join_timeout": "60"}
        self.silence = SILENCE[backend]
        if backend != "c10d":  # which has this by default
            self.lose_after(self.silence)
        self._options = [f"--nnodes={sizes}", f"--rdzv-backend={backend}", f"--rdzv-id={name}", *options]

    def lose_after(self, seconds: float, beats: int = 3) -> None:
        """Have nodes be lost after so long without a sign of life, of which so many come in that time."""
        self.silence = seconds
        self.conf |= silence_conf(self.backend, seconds, beats)

    def keep_for(self, seconds: float) -> None:
        """Have a node wait so long for a host that is lost, where there is one."""
        if "host_loss_timeout" in (declared(self.backend).keys or ()):
            self.conf["host_loss_timeout"] = f"{seconds:g}"

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
        names = [self.nodes[number].name for number in numbers]
        return self.notes.await_group(*names, but=but, within=patience(self.silence))

    def end(self, running: Sequence[Running]) -> None:
        """Have the workers end, and see that these agents end well."""
        self.notes.stop()
        ended = [one.wait() for one in running]
        assert [one.code for one in ended] == [0] * len(ended), "\n---\n".join(one.err for one in ended)


@contextmanager
def job_on(number: int, tmp: Path, backend: str, sizes: str, *options: str) -> Iterator[Job]:
    """A job over this backend, on so many nodes of its own."""
    with (
        nodes(number, tmp, SERVERS.get(backend, 0)) as made,
        meeting_place(backend, made, tmp) as endpoint,
    ):
        yield Job(made, tmp, backend, endpoint, sizes, *options)
