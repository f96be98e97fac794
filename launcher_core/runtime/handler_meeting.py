"""A Meeting over a RendezvousHandler: for backends that block and poll, as torch elastic's contract has it.

One helper thread makes all calls to the handler once the meeting has started; the exit barrier, which may block
for long, waits at the round's store in a thread of its own. Restarts are counted on this node alone, because such
a handler has no place to count them for the job.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

from launcher_core import errors
from launcher_core.errors import RendezvousError, RendezvousGracefulExitError, UsageError
from launcher_core.hooks.ports import RendezvousHandler, RendezvousInfo
from launcher_core.model.job import Node, Place
from launcher_core.model.news import Formed, News, Over, Regroup, Trouble
from launcher_core.rules.ranks import spans

CLOSE_SECONDS = 30.0
PREFIX = "torchelastic"
NEEDED = ("get_backend", "next_rendezvous", "num_nodes_waiting", "set_closed", "shutdown")


class HandlerMeeting:
    """Turns the blocking calls of a handler into news. Raises UsageError for a handler that lacks a method."""

    def __init__(self, handler: RendezvousHandler, max_restarts: int, poll_seconds: float) -> None:
        lacking = [name for name in NEEDED if not callable(getattr(handler, name, None))]
        if lacking:
            raise UsageError(
                f"--rdzv-backend: its plugin returned {type(handler).__name__}, which is no RendezvousHandler: it has "
                f"no {' and no '.join(lacking)}"
            )
        self._handler = handler
        self._max_restarts = max_restarts
        self._poll_seconds = poll_seconds
        self._orders: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._listener: Callable[[News], None] | None = None
        self._round = -1
        self._restarts = 0
        self._watching = False
        self._left = False
        self._info: RendezvousInfo | None = None
        self._trouble: Exception | None = None

    def describe(self) -> dict[str, str]:
        """What is known of a foreign rendezvous: its name and how it is watched."""
        return {
            "backend": self._handler.get_backend(),
            "membership": f"polled every {self._poll_seconds:g} s (--monitor-interval)",
        }

    def start(self, tell: Callable[[News], None]) -> None:
        """Start the helper thread."""
        self._listener = tell
        self._thread = threading.Thread(target=self._run, name="rendezvous", daemon=True)
        self._thread.start()

    def join(self, node: Node) -> None:
        """Ask for the next round."""
        self._orders.put(lambda: self._join(node))

    def failed(self, round: int, reason: str, forgiven: int = 0) -> None:
        """Grant a restart from this node's own budget, or end the job."""
        self._watching = False
        if self._restarts - forgiven < self._max_restarts:
            self._restarts += 1
            self._tell(Regroup(round, reason, True, self._restarts, self._max_restarts))
        else:
            self._tell(Over(False, reason))

    def finished(self, round: int) -> None:
        """Wait for the other nodes, where the handler offers a store to wait at."""
        self._orders.put(self._finish)

    def abandon(self, reason: str) -> None:
        """End the job as failed."""
        self._orders.put(self._handler.set_closed)
        self._tell(Over(False, reason))

    def requeue(self, reason: str) -> None:
        """End the job as preempted. A handler has no word for it: the other nodes only learn that it is closed."""
        self._orders.put(self._handler.set_closed)
        self._tell(Over(False, reason, True))

    def leaving(self, reason: str) -> None:
        """Nothing to say yet: the job may go on without this node."""

    def leave(self, reason: str) -> None:
        """Go away without closing the job for the others."""
        self._left = True

    def close(self) -> None:
        """Shut the handler down, unless this node left: closing would end the job for everybody.

        Blocks for CLOSE_SECONDS at most, one second after a `leave`; a thread that is still in a call of the
        handler's then is given up, and whatever it has to tell. Raises what the handler's shutdown raised.
        """
        if self._thread is None:
            return
        self._orders.put(None)
        self._thread.join(CLOSE_SECONDS if not self._left else 1.0)
        self._thread = None
        self._listener = None
        if self._trouble is not None:
            raise self._trouble

    # --- the helper thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            try:
                order = self._orders.get(timeout=self._poll_seconds if self._watching else None)
            except Empty:
                if self._watching:  # else a failure was reported meanwhile, and the round is over anyway
                    self._guard(self._poll)
                continue
            if order is None:
                break
            self._watching = False
            self._guard(order)
        if not self._left:
            try:
                self._handler.shutdown()
            except Exception as error:  # for `close` to raise
                self._trouble = self._known(error)

    def _tell(self, news: News) -> None:
        """Tell the agent, unless the meeting has been closed: nobody listens any more."""
        listener = self._listener
        if listener is not None:
            listener(news)

    def _guard(self, call: Callable[[], Any]) -> None:
        try:
            call()
        except Exception as error:
            self._watching = False
            known = self._known(error)
            if isinstance(known, RendezvousGracefulExitError):
                self._tell(Over(True, str(known)))
            else:
                self._tell(Trouble(known))

    def _known(self, error: Exception) -> Exception:
        """The launcher's own error of the same name, by which torch elastic's and a plugin's own are known.

        Any other error is returned as it is, with a note that says whose it is.
        """
        for kind in type(error).__mro__:
            ours = getattr(errors, kind.__name__, None)
            if isinstance(ours, type) and issubclass(ours, RendezvousError):
                if isinstance(error, ours):
                    return error
                known = ours(str(error) or f"the rendezvous {self._handler.get_backend()} raised {kind.__name__}")
                known.__cause__ = error
                return known
        error.add_note(f"raised by the rendezvous handler of --rdzv-backend={self._handler.get_backend()}")
        return error

    def _poll(self) -> None:
        waiting = self._handler.num_nodes_waiting()
        if waiting > 0:
            self._watching = False
            spent = (self._restarts, self._max_restarts)
            self._tell(Regroup(self._round, f"{waiting} node(s) wait to be let in", False, *spent))

    def _join(self, node: Node) -> None:
        info = self._handler.next_rendezvous()
        base_rank, world_size, base_role_rank, role_world_size = _share_ranks(info, node)
        self._info = info
        self._round += 1
        master = info.bootstrap_store_info
        place = Place(
            self._round,
            info.rank,
            info.world_size,
            base_rank,
            world_size,
            base_role_rank,
            role_world_size,
            master.master_addr,
            master.master_port,
            self._restarts,
            getattr(self._handler, "use_agent_store", False),
            info.store,
        )
        self._watching = True
        self._tell(Formed(place))

    def _finish(self) -> None:
        info = self._info
        if info is None or info.world_size == 1 or info.store is None:
            self._tell(Over(True, "all workers succeeded"))
            return
        barrier = threading.Thread(target=lambda: self._guard(lambda: self._wait_at(info)), daemon=True)
        barrier.name = "exit barrier"
        barrier.start()

    def _wait_at(self, info: RendezvousInfo) -> None:
        """Wait until as many nodes have come here as are in the round; in the barrier's own thread."""
        key = f"{PREFIX}/agent/terminal_state"
        if info.store.add(f"{key}/num_members", 1) >= info.world_size:
            info.store.set(f"{key}/last_member", b"done")
        info.store.get(f"{key}/last_member")
        self._tell(Over(True, "all workers succeeded"))


def _share_ranks(info: RendezvousInfo, node: Node) -> tuple[int, int, int, int]:
    """This node's Span, agreed on through the round's store as torch elastic's agents do."""
    if info.world_size == 1:
        return spans([(node.role, node.local_world_size)])[0]
    if info.store is None:
        raise RendezvousError(
            f"the rendezvous gave {info.world_size} nodes no store to agree on ranks: its RendezvousInfo.store is None"
        )
    mine = json.dumps({"role": node.role, "rank": info.rank, "local_world_size": node.local_world_size})
    info.store.set(f"{PREFIX}/role_info/{info.rank}", mine.encode())
    if info.rank == 0:
        everyone = [json.loads(info.store.get(f"{PREFIX}/role_info/{rank}")) for rank in range(info.world_size)]
        for rank, span in enumerate(spans([(one["role"], one["local_world_size"]) for one in everyone])):
            info.store.set(f"{PREFIX}/assigned_ranks/{rank}", json.dumps(span).encode())
    first, world, role_first, role_world = json.loads(info.store.get(f"{PREFIX}/assigned_ranks/{info.rank}"))
    return first, world, role_first, role_world
