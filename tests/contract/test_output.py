"""Worker output, with real files, pipes, terminals and processes: all of it arrives, whole, unaltered."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import select
import signal
import sys
import termios
import threading
import tty
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from launcher_core.model.job import Streams
from launcher_core.model.logs import LogsDest
from launcher_core.runtime import inotify
from launcher_core.runtime.tails import Output

DEADLINE = 30.0


class Screen:
    """A console: what was written to `file` is collected by a thread of its own."""

    def __init__(self, ends: tuple[int, int]) -> None:
        self._read_end, write_end = ends
        self.file = os.fdopen(write_end, "w")
        self._seen = bytearray()
        self._news = threading.Condition()
        self._thread: threading.Thread | None = None

    def watched(self) -> Screen:
        """The screen, now with somebody who reads."""
        self._thread = threading.Thread(target=self._collect, daemon=True)
        self._thread.start()
        return self

    def until(self, text: bytes) -> bytes:
        """All that was shown so far, once the text is part of it."""
        with self._news:
            assert self._news.wait_for(lambda: text in self._seen, DEADLINE), bytes(self._seen[-1000:])
            return bytes(self._seen)

    def all(self) -> bytes:
        """All that was shown. Nothing can be shown any more."""
        self.file.close()
        assert self._thread is not None
        self._thread.join(DEADLINE)
        return bytes(self._seen)

    def break_off(self) -> None:
        """Have nobody read any more, ever."""
        os.close(self._read_end)
        self._read_end = -1

    def close(self) -> None:
        """Release everything."""
        self.file.close()
        if self._thread is not None:
            self._thread.join(DEADLINE)
        if self._read_end >= 0:
            os.close(self._read_end)

    def _collect(self) -> None:
        while True:
            try:
                chunk = os.read(self._read_end, 1 << 16)
            except OSError:  # EIO: a terminal of which the other end is closed
                chunk = b""
            if not chunk:
                return
            with self._news:
                self._seen += chunk
                self._news.notify_all()


class Crew:
    """Workers of one start. Those that are left are killed at the end."""

    def __init__(self) -> None:
        self._pids: dict[int, int] = {}

    def start(self, streams: Mapping[int, Streams], script: str) -> None:
        """Start a Python script for each entry; its first argument is the local rank."""
        for rank, (stdin, stdout, stderr) in streams.items():
            actions = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate((stdin, stdout, stderr))]
            argv = [sys.executable, "-S", "-c", script, str(rank)]
            self._pids[rank] = os.posix_spawn(sys.executable, argv, os.environ, file_actions=actions)

    def wait(self) -> dict[int, int]:
        """Exit codes by local rank, once all have ended."""
        codes = {}
        for rank, pid in self._pids.items():
            pidfd = os.pidfd_open(pid)
            assert select.select([pidfd], [], [], DEADLINE)[0], f"worker {rank} does not end"
            os.close(pidfd)
            codes[rank] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        self._pids.clear()
        return codes

    def kill(self) -> None:
        """End all that are left."""
        for pid in self._pids.values():
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


@pytest.fixture
def crew() -> Iterator[Crew]:
    crew = Crew()
    yield crew
    crew.kill()


@pytest.fixture
def screen() -> Iterator[Screen]:
    """What stands for the launcher's stdout, a pipe."""
    screen = Screen(os.pipe()).watched()
    yield screen
    screen.close()


@pytest.fixture
def errors() -> Iterator[Screen]:
    """What stands for the launcher's stderr, a pipe."""
    screen = Screen(os.pipe()).watched()
    yield screen
    screen.close()


@pytest.fixture
def make(screen: Screen, errors: Screen) -> Iterator[Callable[..., Output]]:
    """Makes Outputs, by default onto `screen` and `errors`, and closes them."""
    made: list[Output] = []

    def make(report_lines: int = 3, stdout: Any = screen.file, stderr: Any = errors.file) -> Output:
        made.append(Output(report_lines=report_lines, stdout=stdout, stderr=stderr))
        return made[-1]

    yield make
    for output in made:
        output.close()


def prefixes(count: int) -> dict[int, bytes]:
    return {rank: b"[r%d]:" % rank for rank in range(count)}


def teed(directory: Path, count: int = 1) -> LogsDest:
    """Both streams of each worker in files and on the console."""
    out = {rank: str(directory / f"{rank}.out") for rank in range(count)}
    err = {rank: str(directory / f"{rank}.err") for rank in range(count)}
    filtered = str(directory / "filtered_stdout.log"), str(directory / "filtered_stderr.log")
    return LogsDest(out, err, out, err, {}, *filtered)


def run(output: Output, crew: Crew, dest: LogsDest, script: str, count: int = 1, **filters: Sequence[str]) -> None:
    """One start, from open to drain."""
    crew.start(output.open(dest, prefixes(count), range(count), {}, **filters), script)
    output.started()
    crew.wait()
    assert output.drain(DEADLINE)


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "output"]


def descriptors() -> list[str]:
    return sorted(os.listdir("/proc/self/fd"))


def test_two_flushes_of_one_line_give_one_prefix(
    make: Callable[..., Output], crew: Crew, screen: Screen, errors: Screen, tmp_path: Path
) -> None:
    output = make()
    gate, go = os.pipe()
    streams = output.open(teed(tmp_path), prefixes(1), [0], {0: gate})
    crew.start(
        streams,
        "import os; os.write(1, b'par'); os.write(2, b'written\\n'); os.read(0, 1); os.write(1, b'tial\\n')",
    )
    output.started()
    errors.until(b"[r0]:written\n")
    os.write(go, b"x")

    crew.wait()
    assert output.drain(DEADLINE)

    assert screen.all() == b"[r0]:partial\n"
    os.close(gate)
    os.close(go)


def test_a_line_is_shown_while_its_worker_runs(
    make: Callable[..., Output], crew: Crew, screen: Screen, tmp_path: Path
) -> None:
    output = make()
    gate, go = os.pipe()
    streams = output.open(teed(tmp_path), prefixes(1), [0], {0: gate})
    crew.start(streams, "import os\nfor n in range(3): os.write(1, b'line %d\\n' % n); os.read(0, 1)")
    output.started()

    for number in range(3):
        screen.until(b"[r0]:line %d\n" % number)
        os.write(go, b"x")
    assert crew.wait() == {0: 0}
    os.close(gate)
    os.close(go)


def test_a_progress_display_shows_its_state_while_its_worker_runs(
    make: Callable[..., Output], crew: Crew, screen: Screen, tmp_path: Path
) -> None:
    output = make()
    gate, go = os.pipe()
    streams = output.open(teed(tmp_path), prefixes(1), [0], {0: gate})
    crew.start(streams, "import os\nos.write(1, b'\\r10%'); os.read(0, 1); os.write(1, b'\\r20%\\r100%\\n')")
    output.started()

    screen.until(b"[r0]:10%\n")
    os.write(go, b"x")
    crew.wait()
    assert output.drain(DEADLINE)

    assert screen.all() == b"[r0]:10%\n[r0]:100%\n"
    os.close(gate)
    os.close(go)


def test_eight_writers_at_once_lose_nothing_and_keep_their_order(
    make: Callable[..., Output], crew: Crew, screen: Screen, tmp_path: Path
) -> None:
    script = "import sys\nfor n in range(3000): print(f'worker {sys.argv[1]} line {n}', flush=n % 7 == 0)"

    run(make(), crew, teed(tmp_path, 8), script, 8)

    lines = screen.all().decode().splitlines()
    for rank in range(8):
        assert [line for line in lines if line.startswith(f"[r{rank}]:")] == [
            f"[r{rank}]:worker {rank} line {n}" for n in range(3000)
        ]
    assert len(lines) == 8 * 3000


def test_long_lines_arrive_whole(make: Callable[..., Output], crew: Crew, screen: Screen, tmp_path: Path) -> None:
    script = (
        "import os, sys\n"
        "line = sys.argv[1].encode() * 999_999 + b'\\n'\n"
        "for n in range(5):\n"
        "    for i in range(0, len(line), 50_000): os.write(1, line[i:i + 50_000])"
    )

    run(make(), crew, teed(tmp_path, 3), script, 3)

    expected = [b"[r%d]:%s" % (rank, b"%d" % rank * 999_999) for rank in range(3) for _ in range(5)]
    assert sorted(screen.all().split(b"\n")) == [b"", *expected]


def test_no_byte_is_altered_on_the_console_or_in_the_file(
    make: Callable[..., Output], crew: Crew, screen: Screen, tmp_path: Path
) -> None:
    said = b"A\xff\xfe\x80Z\nnul \x00\ncrlf\r\n\n\xe2\x82\xac \x0b \x0c \xc2\x85 \x1b[31mred\nwithout newline"

    run(
        make(),
        crew,
        teed(tmp_path),
        f"import os\nfor i in range({len(said)}): os.write(1, {said!r}[i:i + 1])",
    )

    assert (tmp_path / "0.out").read_bytes() == said
    assert screen.all() == b"".join(b"[r0]:%s\n" % line for line in said.split(b"\n"))


def test_a_burst_before_sigkill_is_shown_completely(
    make: Callable[..., Output], crew: Crew, screen: Screen, tmp_path: Path
) -> None:
    script = (
        "import os, sys\n"
        "for n in range(20_000): print(f'line {n}')\n"
        "print('the end', end='', flush=True); os.kill(os.getpid(), 9)"
    )

    run(make(), crew, teed(tmp_path, 2), script, 2)

    lines = screen.all().decode().splitlines()
    for rank in range(2):
        own = [line for line in lines if line.startswith(f"[r{rank}]:")]
        assert own == [*(f"[r{rank}]:line {n}" for n in range(20_000)), f"[r{rank}]:the end"]


def test_a_destination_without_a_descriptor_is_given_text(
    make: Callable[..., Output], crew: Crew, tmp_path: Path
) -> None:
    stdout, stderr = io.StringIO(), io.StringIO()
    dest = teed(tmp_path)._replace(stderrs={0: ""}, tee_stderrs={})
    script = "import os\nos.write(1, b'\\xff \\xe2\\x82\\xac\\n'); os.write(2, b'\\xe2\\x82'); os.write(2, b'\\xac')"

    output = make(stdout=stdout, stderr=stderr)
    run(output, crew, dest, script)

    assert (stdout.getvalue(), stderr.getvalue()) == ("[r0]:\ufffd \u20ac\n", "\u20ac")
    assert output.tail(0) == "\u20ac"


def test_a_console_that_nobody_reads_any_more_harms_neither_files_nor_workers(
    make: Callable[..., Output], crew: Crew, errors: Screen, tmp_path: Path
) -> None:
    gone = Screen(os.pipe())
    gone.break_off()
    output = make(stdout=gone.file)
    crew.start(
        output.open(teed(tmp_path), prefixes(1), [0], {}),
        "import os\nfor n in range(50_000): print('a line')\nos.write(2, b'done\\n')",
    )
    output.started()

    assert crew.wait() == {0: 0}
    assert output.drain(DEADLINE)
    assert (tmp_path / "0.out").read_bytes() == b"a line\n" * 50_000
    assert errors.until(b"[r0]:done\n") == b"[r0]:done\n"
    gone.close()


def test_a_console_that_is_not_read_for_a_while_gets_everything_in_the_end(
    make: Callable[..., Output], crew: Crew, tmp_path: Path
) -> None:
    slow = Screen(os.pipe())
    output = make(stdout=slow.file)
    crew.start(output.open(teed(tmp_path), prefixes(1), [0], {}), "for n in range(100_000): print('a line')")
    output.started()
    crew.wait()

    shown_in_time = output.drain(0.01)
    slow.watched()
    output.close()

    assert (shown_in_time, slow.all()) == (False, b"[r0]:a line\n" * 100_000)
    slow.close()


@pytest.mark.parametrize("patience", [None, 0.05])
def test_a_reader_that_pauses_is_waited_for_unless_the_caller_has_no_patience(
    make: Callable[..., Output], crew: Crew, tmp_path: Path, patience: float | None
) -> None:
    slow = Screen(os.pipe())
    output = make(stdout=slow.file)
    crew.start(output.open(teed(tmp_path), prefixes(1), [0], {}), "for n in range(100_000): print('a line')")
    output.started()
    crew.wait()

    closing = threading.Thread(target=output.close, args=(patience,))
    closing.start()
    closing.join(0.5)
    waits = closing.is_alive()
    slow.watched()
    closing.join(DEADLINE)
    output.close()

    assert waits is (patience is None)
    assert (threads(), slow.all()) == ([], b"[r0]:a line\n" * 100_000)
    slow.close()


def test_a_console_that_does_not_block_gets_everything(make: Callable[..., Output], crew: Crew, tmp_path: Path) -> None:
    slow = Screen(os.pipe())
    os.set_blocking(slow.file.fileno(), False)
    slow.watched()

    run(make(stdout=slow.file), crew, teed(tmp_path), "for n in range(100_000): print('a line')")

    assert slow.all() == b"[r0]:a line\n" * 100_000
    slow.close()


def test_matching_lines_of_teed_streams_are_copied_with_their_prefix(
    make: Callable[..., Output], crew: Crew, screen: Screen, tmp_path: Path
) -> None:
    script = "import sys; print('loss 1\\nstep 2\\nloss 3'); print('warn', file=sys.stderr)"

    run(make(), crew, teed(tmp_path, 2), script, 2, stdout_filters=["loss", "nothing"], stderr_filters=["x"])

    assert sorted((tmp_path / "filtered_stdout.log").read_text().splitlines()) == [
        "[r0]:loss 1",
        "[r0]:loss 3",
        "[r1]:loss 1",
        "[r1]:loss 3",
    ]
    assert (tmp_path / "filtered_stderr.log").read_text() == ""
    assert len(screen.all().splitlines()) == 6


def test_filters_without_a_path_or_without_a_teed_stream_copy_nothing(
    make: Callable[..., Output], crew: Crew, tmp_path: Path
) -> None:
    run(make(), crew, teed(tmp_path)._replace(filtered_stdout=""), "print('x')", stdout_filters=["x"])
    run(make(0), crew, LogsDest(filtered_stdout=str(tmp_path / "f")), "", stdout_filters=["x"])

    assert (tmp_path / "f").read_text() == ""
    assert not (tmp_path / "filtered_stdout.log").exists()


def test_stderr_passes_through_unchanged_and_its_end_is_kept(
    make: Callable[..., Output], crew: Crew, errors: Screen
) -> None:
    output = make(report_lines=1)
    script = "import sys, os\nos.write(2, b'one\\n10%\\r20%\\r\\nthree \\xff\\nfour ' + sys.argv[1].encode())"

    crew.start(output.open(LogsDest(), {}, [0, 1], {}), script)
    output.started()
    crew.wait()
    tails = output.tail(0), output.tail(1), output.tail(2)
    assert output.drain(DEADLINE)

    assert tails == ("one\n20%\nthree \ufffd\nfour 0", "one\n20%\nthree \ufffd\nfour 1", "")
    whole = b"one\n10%\r20%\r\nthree \xff\n"
    shown = errors.all()
    assert (shown.count(whole), sorted(shown.replace(whole, b"").split(b"four"))) == (2, [b"", b" 0", b" 1"])


def test_the_beginning_of_a_line_on_stderr_waits_for_its_end_but_not_for_long(
    make: Callable[..., Output], crew: Crew, errors: Screen
) -> None:
    output = make(report_lines=1)
    script = "import sys, os\nos.write(2, b'Password: ')\nos.read(0, 1)"
    hold, release = os.pipe()

    crew.start(output.open(LogsDest(), {}, [0], {0: hold}), script)
    output.started()
    assert errors.until(b"Password: ") == b"Password: "
    os.write(release, b"x")
    crew.wait()
    os.close(hold)
    os.close(release)


def test_only_the_end_of_a_long_stderr_is_kept(make: Callable[..., Output], crew: Crew, errors: Screen) -> None:
    output = make(report_lines=10**9)
    script = "import sys\nfor n in range(200_000): print(f'line {n:09}', file=sys.stderr)"

    run(output, crew, LogsDest(), script)

    assert output.tail(0).splitlines()[-2:] == ["line 000199998", "line 000199999"]
    assert 64 * 1024 <= len(output.tail(0)) + 1 <= 128 * 1024
    assert errors.all() == b"".join(b"line %09d\n" % n for n in range(200_000))


def test_the_end_of_a_redirected_stderr_come_from_its_file(
    make: Callable[..., Output], crew: Crew, errors: Screen, tmp_path: Path
) -> None:
    (tmp_path / "0").write_text("from another start")
    dest = LogsDest(stderrs={0: str(tmp_path / "0"), 1: str(tmp_path / "1"), 2: os.devnull})
    output = make(report_lines=2)
    script = "import sys; print('\\n1', sys.argv[1], '\\n2\\n3', file=sys.stderr)"

    run(output, crew, dest, script, 3)

    assert [output.tail(rank) for rank in range(3)] == ["\n1 0 \n2\n3", "\n1 1 \n2\n3", ""]
    assert (tmp_path / "0").read_text() == "from another start\n1 0 \n2\n3\n"
    assert errors.all() == b""


def test_what_a_file_held_before_the_start_is_not_shown(
    make: Callable[..., Output], crew: Crew, screen: Screen, tmp_path: Path
) -> None:
    (tmp_path / "0.out").write_text("from another start\n")

    run(make(), crew, teed(tmp_path), "print('new')")

    assert screen.all() == b"[r0]:new\n"
    assert (tmp_path / "0.out").read_text() == "from another start\nnew\n"


def test_where_stderr_is_a_terminal_the_worker_has_one_of_the_same_size(
    make: Callable[..., Output], crew: Crew
) -> None:
    ends = pty.openpty()
    tty.setraw(ends[1])
    fcntl.ioctl(ends[1], termios.TIOCSWINSZ, b"\x28\0\x50\0\0\0\0\0")
    terminal = Screen(ends).watched()
    output = make(stderr=terminal.file)
    script = "import os\nos.write(2, f'{os.isatty(2)} {tuple(os.get_terminal_size(2))}\\n10%\\r20%\\r\\n'.encode())"

    run(output, crew, LogsDest(), script)

    assert terminal.until(b"20%\r\n") == b"True (80, 40)\n10%\r20%\r\n"
    assert output.tail(0) == "True (80, 40)\n20%"
    terminal.close()


def test_a_terminal_that_changes_its_size_changes_the_workers_too(make: Callable[..., Output], crew: Crew) -> None:
    ends = pty.openpty()
    tty.setraw(ends[1])
    terminal = Screen(ends).watched()
    output = make(stderr=terminal.file)
    gate, go = os.pipe()
    script = (
        "import os\nfor text in ('one', 'two'):\n    os.write(2, text.encode())\n    os.read(0, 1)\n"
        "os.write(2, f'{tuple(os.get_terminal_size(2))}'.encode())"
    )
    crew.start(output.open(LogsDest(), {}, [0], {0: gate}), script)
    output.started()

    terminal.until(b"one")
    fcntl.ioctl(ends[1], termios.TIOCSWINSZ, b"\x28\0\x50\0\0\0\0\0")
    os.write(go, b"x")
    terminal.until(b"two")
    os.write(go, b"x")

    assert terminal.until(b")") == b"onetwo(80, 40)"
    crew.wait()
    output.close()
    terminal.close()
    os.close(gate)
    os.close(go)


def test_much_stderr_through_a_terminal_arrives_completely(make: Callable[..., Output], crew: Crew) -> None:
    ends = pty.openpty()
    tty.setraw(ends[1])
    terminal = Screen(ends).watched()
    script = "import sys\nfor n in range(20_000): sys.stderr.write(f'line {n}\\n')\nsys.stderr.write('end')"

    run(make(stderr=terminal.file), crew, LogsDest(), script)

    assert terminal.until(b"end") == b"".join(b"line %d\n" % n for n in range(20_000)) + b"end"
    terminal.close()


def test_a_process_that_keeps_a_workers_stderr_open_does_not_hold_up_the_end(
    make: Callable[..., Output], crew: Crew, errors: Screen
) -> None:
    output = make()
    gate, go = os.pipe()
    script = "import os, sys\nif os.fork(): os.write(2, b'worker says\\n'); os._exit(3)\nos.read(0, 1)"
    crew.start(output.open(LogsDest(), {}, [0], {0: gate}), script)
    output.started()

    assert crew.wait() == {0: 3}
    assert output.tail(0) == "worker says"
    assert output.drain(DEADLINE)
    output.close()
    assert errors.all() == b"worker says\n"
    os.close(gate)
    os.close(go)


def test_a_process_that_never_stops_writing_does_not_hold_up_the_end(
    make: Callable[..., Output], crew: Crew, errors: Screen, tmp_path: Path
) -> None:
    output = make()
    script = (
        "import os, sys\n"
        "if os.fork(): os._exit(0)\n"
        "print(os.getpid(), flush=True)\n"
        "while True: os.write(2, b'chatter\\n')"
    )
    dest = LogsDest(stdouts={0: str(tmp_path / "pid")})
    crew.start(output.open(dest, {}, [0], {}), script)
    output.started()
    crew.wait()
    errors.until(b"chatter\n")

    output.drain(0.05)
    output.close()

    assert threads() == []
    pidfd = os.pidfd_open(int((tmp_path / "pid").read_text()))
    assert select.select([pidfd], [], [], DEADLINE)[0], "a closed stderr ends it"
    os.close(pidfd)


def test_a_second_start_is_shown_like_the_first(
    make: Callable[..., Output], crew: Crew, screen: Screen, errors: Screen, tmp_path: Path
) -> None:
    output = make()
    for attempt in ("a", "b"):
        (tmp_path / attempt).mkdir()
        dest = teed(tmp_path / attempt)._replace(stderrs={}, tee_stderrs={})
        run(output, crew, dest, f"import sys; print('{attempt}'); print('{attempt}', file=sys.stderr)")
        assert output.tail(0) == attempt

    assert (screen.all(), errors.all()) == (b"[r0]:a\n[r0]:b\n", b"a\nb\n")


def test_without_notification_lines_are_shown_all_the_same(
    make: Callable[..., Output], crew: Crew, screen: Screen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left() -> None:
        raise OSError("no instance left")

    monkeypatch.setattr(inotify, "Inotify", none_left)
    output = make()
    gate, go = os.pipe()
    crew.start(
        output.open(teed(tmp_path), prefixes(1), [0], {0: gate}),
        "import os; print('early', flush=True); os.read(0, 1); print('late')",
    )
    output.started()
    screen.until(b"[r0]:early\n")
    os.write(go, b"x")
    crew.wait()
    assert output.drain(DEADLINE)

    assert screen.all() == b"[r0]:early\n[r0]:late\n"
    os.close(gate)
    os.close(go)


def test_a_file_teed_twice_is_shown_under_both_prefixes(
    make: Callable[..., Output], crew: Crew, screen: Screen, tmp_path: Path
) -> None:
    same = {0: str(tmp_path / "both"), 1: str(tmp_path / "both")}

    run(make(0), crew, LogsDest(stdouts=same, tee_stdouts=same), "import os; os.write(1, b'x\\n')", 2)

    assert sorted(screen.all().splitlines()) == [b"[r0]:x", b"[r0]:x", b"[r1]:x", b"[r1]:x"]


def test_workers_that_need_nothing_from_us_have_our_own_streams_and_no_thread_runs(
    make: Callable[..., Output], tmp_path: Path
) -> None:
    output = make(report_lines=0)
    before = descriptors()

    streams = output.open(LogsDest({0: "", 1: ""}, {0: "", 1: ""}), {}, [0, 1], {1: 7})
    output.started()

    assert streams == {0: Streams(0, 1, 2), 1: Streams(7, 1, 2)}
    assert (threads(), descriptors(), output.drain(0.0), output.tail(0)) == ([], before, True, "")


def test_redirected_streams_need_no_thread(make: Callable[..., Output], crew: Crew, tmp_path: Path) -> None:
    output = make()
    before = descriptors()
    dest = LogsDest({0: str(tmp_path / "out")}, {0: str(tmp_path / "err")})
    crew.start(output.open(dest, {}, [0], {}), "import sys; print('o'); print('e', file=sys.stderr)")
    output.started()

    assert (threads(), descriptors()) == ([], before)
    crew.wait()
    assert ((tmp_path / "out").read_text(), output.tail(0)) == ("o\n", "e")


@pytest.mark.parametrize("how", ["drained", "not drained", "not started", "start failed"])
def test_after_close_no_descriptor_and_no_thread_is_left(
    how: str, make: Callable[..., Output], crew: Crew, tmp_path: Path
) -> None:
    before = descriptors()
    output = make()
    dest = teed(tmp_path, 2)._replace(stderrs={}, tee_stderrs={})
    streams = output.open(dest, prefixes(2), [0, 1], {}, stdout_filters=["x"])
    if how != "start failed":
        crew.start(streams, "print('x')")
    if how != "not started":
        output.started()
    crew.wait()
    if how == "drained":
        assert output.drain(DEADLINE)

    output.close()
    output.close()

    assert (threads(), descriptors()) == ([], before)


def test_a_file_that_cannot_be_opened_is_named_and_nothing_stays_open(
    make: Callable[..., Output], tmp_path: Path
) -> None:
    before = descriptors()
    output = make()
    dest = teed(tmp_path)._replace(stdouts={0: str(tmp_path / "missing" / "out")}, stderrs={})

    with pytest.raises(FileNotFoundError, match=re.escape(str(tmp_path / "missing" / "out"))):
        output.open(dest, prefixes(1), [0], {}, stdout_filters=["x"])

    assert (threads(), descriptors()) == ([], before)


def test_torchs_choice_for_the_null_device_follows_nothing(make: Callable[..., Output]) -> None:
    null = {0: os.devnull}
    dest = LogsDest({0: ""}, {0: ""}, null, null, null, f"{os.devnull}/out", f"{os.devnull}/err")
    output = make(report_lines=0)

    streams = output.open(dest, prefixes(1), [0], {}, stdout_filters=["x"], stderr_filters=["x"])
    output.started()

    assert (streams, threads()) == ({0: Streams(0, 1, 2)}, [])
