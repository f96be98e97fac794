"""What the contract classes share: capabilities, deadlines, and threads that a plugin cannot hang the tests with."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from queue import SimpleQueue
from time import monotonic
from typing import Any, ClassVar

import pytest

from launcher_core.model.capability import Capability

GLANCE = 0.02
"""Seconds between two looks at what a plugin does not push."""


class Contract:
    """Base of the contract classes."""

    plugin: ClassVar[Any] = None
    """What the entry point names: a module, an object or a class. Its `launcher_declare` is asked for capabilities."""
    capabilities: ClassVar[Capability | Iterable[str] | None] = None
    """Capabilities, or their names, where no `plugin` declares them."""
    seconds: ClassVar[float] = 30.0
    """Within this time everything has to happen that a test waits for; what is asked for takes far less."""

    def can(self, capability: Capability) -> bool:
        """Whether the plugin promises this."""
        return capability in declared(self.plugin, self.capabilities)

    def need(self, capability: Capability) -> None:
        """Skip the test unless the plugin promises this."""
        if not self.can(capability):
            pytest.skip(f"the plugin does not declare {capability.name}")

    def until(self, condition: Callable[[], Any], expected: str) -> Any:
        """What the condition gives once it is true; fails with what was expected when it is not in time."""
        give_up = monotonic() + self.seconds
        while not (found := condition()):
            if monotonic() > give_up:
                pytest.fail(f"{expected}; nothing of the kind within {self.seconds:g} s")
            threading.Event().wait(GLANCE)
        return found


def declared(plugin: Any, capabilities: Capability | Iterable[str] | None) -> Capability:
    """The capabilities given; else those that the plugin declares, as a Declaration, a dict or not at all."""
    if capabilities is None:
        made = plugin() if isinstance(plugin, type) else plugin
        declare = getattr(made, "launcher_declare", None)
        answer = declare() if declare is not None else None
        fields = answer if isinstance(answer, Mapping) else {"capabilities": getattr(answer, "capabilities", ())}
        capabilities = fields.get("capabilities", ())
    if isinstance(capabilities, Capability):
        return capabilities
    found = Capability.NONE
    for name in capabilities or ():
        found |= name if isinstance(name, Capability) else Capability[name]
    return found


class Thread:
    """One thread that makes all calls to one object, as the launcher does. Hangs keep nobody from ending."""

    def __init__(self, name: str) -> None:
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def call(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        """Have the thread call this once it has done what it was asked before."""
        future: Future[Any] = Future()
        self._calls.put((future, lambda: function(*args)))
        return future

    def end(self, seconds: float) -> bool:
        """End the thread; whether it has ended within that time, or hangs in a call."""
        self._calls.put(None)
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (asked := self._calls.get()) is not None:
            future, call = asked
            try:
                future.set_result(call())
            except BaseException as error:
                future.set_exception(error)


def outcome(future: Future[Any], seconds: float, who: str, expected: str) -> Any:
    """What the call returned; fails the test, with what was expected, when it raised or did not return in time."""
    try:
        return future.result(seconds)
    except TimeoutError as error:
        if not future.done():
            pytest.fail(f"{who}: {expected}; it has not returned within {seconds:g} s")
        problem: BaseException = error
    except Exception as error:
        problem = error
    pytest.fail(f"{who}: {expected}; it raised {type(problem).__name__}: {problem}")
