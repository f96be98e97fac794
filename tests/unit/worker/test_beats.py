"""A worker's signs of life, as the launcher reads them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from mmap import mmap
from time import monotonic
from types import ModuleType

import pytest

from launcher_core.rules.heartbeat import Beat
from launcher_core.worker import beats, heartbeat, section
from launcher_plugins.watches.pages import Page


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module as at the beginning of a worker."""
    monkeypatch.setattr(beats, "_page", None)
    monkeypatch.setenv(beats.AGENT, "1")
    yield beats
    if isinstance(beats._page, mmap):
        beats._page.close()


@pytest.fixture
def page() -> Iterator[Page]:
    made = Page()
    yield made
    made.close()


def test_outside_of_a_launch_nothing_is_opened(fresh: ModuleType, page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(beats.AGENT)
    heartbeat()
    with section("checkpoint", timeout=600):
        heartbeat()
    assert (type(fresh._page), page.read(os.getpid())) == (bytearray, Beat())


def test_a_worker_that_never_beat_has_nothing_to_show(fresh: ModuleType, page: Page) -> None:
    assert page.read(os.getpid()) == Beat()


def test_a_heartbeat_is_the_time_by_the_clock_that_all_processes_share(fresh: ModuleType, page: Page) -> None:
    before = monotonic()
    heartbeat()
    assert before <= page.read(os.getpid()).at <= monotonic()
    first = page.read(os.getpid())
    heartbeat()
    assert page.read(os.getpid()).at >= first.at


def test_a_section_is_shown_with_its_time_and_leaving_it_is_a_heartbeat(fresh: ModuleType, page: Page) -> None:
    with section("check\u00adpoint", timeout=600) as one:
        assert page.read(os.getpid()) == Beat(0.0, "check\u00adpoint", one.since, 600.0)
    after = page.read(os.getpid())
    assert (after.section, after.since, after.timeout) == ("", 0.0, None)
    assert after.at >= one.since


def test_of_nested_sections_the_one_that_must_end_first_is_shown(fresh: ModuleType, page: Page) -> None:
    with section("evaluate", timeout=None):
        assert page.read(os.getpid())[1:] == ("evaluate", beats._open[0].since, None)
        with section("load", timeout=60), section("read", timeout=600):
            assert page.read(os.getpid()).section == "load"
        assert page.read(os.getpid()).section == "evaluate"
    assert page.read(os.getpid()).section == ""


def test_a_section_ends_with_an_exception_too(fresh: ModuleType, page: Page) -> None:
    with pytest.raises(KeyError), section("load", timeout=60):
        raise KeyError
    assert page.read(os.getpid()).section == ""


def test_a_long_name_is_cut(fresh: ModuleType, page: Page) -> None:
    with section("x" * 1000, timeout=60):
        assert page.read(os.getpid()).section == "x" * (beats.SIZE - beats.LAYOUT.size)


@pytest.mark.parametrize("timeout", [0, -1, float("inf"), float("nan")])
def test_a_section_that_could_not_be_left_in_time_is_refused(timeout: float) -> None:
    with pytest.raises(ValueError, match="write seconds, more than 0, or None"):
        section("load", timeout=timeout)


def test_a_fork_speaks_for_its_worker(fresh: ModuleType, page: Page) -> None:
    heartbeat()
    before = page.read(os.getpid())
    child = os.fork()
    if child == 0:
        heartbeat()
        os._exit(0)
    os.waitpid(child, 0)
    assert page.read(os.getpid()).at > before.at


def test_a_page_that_is_gone_is_forgotten(fresh: ModuleType, page: Page) -> None:
    heartbeat()
    assert page.read(os.getpid()).at > 0
    fresh._page.close()
    assert page.read(os.getpid()) == Beat()


def test_nonsense_in_a_page_is_nothing(fresh: ModuleType, page: Page) -> None:
    heartbeat()
    for byte in (b"\0", b"\1", b"\xff"):
        fresh._page[:] = byte * beats.SIZE
        assert page.read(os.getpid()) == Beat()
