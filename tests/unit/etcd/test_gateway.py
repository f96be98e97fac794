"""Which member of etcd is asked next."""

from __future__ import annotations

from typing import Any

from launcher_plugins.etcd.faults import Member
from launcher_plugins.etcd.gateway import Access, Gateway
from launcher_plugins.etcd.wire import Unreached

MEMBERS = tuple(Member("http", name, 2379) for name in ("a", "b", "c"))


class OneAnswers(Gateway):
    """Of the members only the last answers; meanwhile other threads always come back to the first."""

    def __init__(self) -> None:
        super().__init__(Access(MEMBERS))
        self.asked: list[str] = []

    def _ask(self, member: Member, path: str, body: dict[str, Any], end: float) -> dict[str, Any]:
        self.asked.append(member.host)
        self._at = 0
        if member != MEMBERS[-1]:
            raise Unreached("no answer in time", False)
        return {}


def test_each_member_is_asked_once_before_one_is_asked_again_whatever_other_threads_do() -> None:
    gateway = OneAnswers()

    assert gateway.call("/v3/kv/range", {}) == {}

    assert gateway.asked == ["a", "b", "c"]
