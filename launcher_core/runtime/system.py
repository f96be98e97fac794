"""Every system call that the launcher makes on processes and their groups, one small name for each.

Nothing here decides anything, remembers anything from one call to the next, or waits longer than it was told.
Linux is the system this is written for; the other ways, for macOS and for kernels without pidfd (before 5.3),
are kept as short as they can be.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from contextlib import contextmanager, suppress
from time import sleep

TYPE_CHECKING = False  # not typing's: every worker would pay for that import
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

_CATCHABLE = tuple(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
KILLED_WITHIN = 1.0
"""Seconds that `end` waits for a process that was killed."""
LOOKS, PAUSE = 9, 0.01
"""How often to look for processes that are not to be seen while they execute a program; seconds between."""
_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of <linux/prctl.h>


# --- starting --------------------------------------------------------------------------------------------


def spawn(program: str, argv: Sequence[str], env: Mapping[str, str], fds: Sequence[int]) -> int:
    """The pid of a new process that leads a session of its own, with `fds[i]` as its descriptor i.

    It has no other descriptor, exactly this environment, default signal dispositions and no signal blocked.
    Raises OSError when it cannot be started; nothing is left of it then.
    """
    sources, moved = _out_of_the_way(fds)
    try:
        actions: list[tuple[int, ...]] = [(os.POSIX_SPAWN_DUP2, fd, target) for target, fd in enumerate(sources)]
        # glibc refuses to close numbers above the limit, which was lowered after they had been given out
        limit = os.sysconf("SC_OPEN_MAX")
        actions += [(os.POSIX_SPAWN_CLOSE, fd) for fd in _inheritable(len(fds)) if fd < limit]
        return os.posix_spawn(
            program, list(argv), env, file_actions=actions, setsid=True, setsigmask=(), setsigdef=_CATCHABLE
        )
    finally:
        for fd in moved:
            os.close(fd)


def _out_of_the_way(fds: Sequence[int]) -> tuple[list[int], list[int]]:
    """The descriptors, with copies in place of those that a dup2 to 0, 1, 2 ... overwrites; the copies."""
    import fcntl

    sources, moved = list(fds), []
    try:
        for target, fd in enumerate(fds):
            if fd < len(fds) and not fd == target <= 2:
                sources[target] = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, len(fds))
                moved.append(sources[target])
    except OSError:
        for fd in moved:
            os.close(fd)
        raise
    return sources, moved


def _inheritable(first: int) -> Iterator[int]:
    # Python's own descriptors are not inheritable: what this finds was inherited or opened by foreign code.
    for fd in _open_descriptors():
        with suppress(OSError):
            if fd >= first and os.get_inheritable(fd):
                yield fd


def _open_descriptors() -> list[int]:
    for directory in ("/proc/self/fd", "/dev/fd"):
        with suppress(OSError):
            return [int(name) for name in os.listdir(directory)]
    return list(range(min(os.sysconf("SC_OPEN_MAX"), 4096)))


def is_open(fd: int) -> bool:
    """Whether this process has that descriptor."""
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def keep_from_children(first: int) -> None:
    """Have no program that this process executes inherit a descriptor from `first` on."""
    for fd in list(_inheritable(first)):
        os.set_inheritable(fd, False)


def too_many_files(error: OSError) -> str:
    """What to do about an error that says that no more descriptors can be had; "" about any other."""
    if error.errno == errno.EMFILE:
        return f"{os.sysconf('SC_OPEN_MAX')} open files are too few for this launch; raise the limit, see `ulimit -n`"
    if error.errno == errno.ENFILE:
        return "this machine has no more open files to give; see /proc/sys/fs/file-max"
    return ""


def anonymous_file(name: str) -> int:
    """A descriptor of a new empty file that has no path; `name` shows in /proc only."""
    if hasattr(os, "memfd_create"):
        with suppress(OSError):
            return os.memfd_create(f"launcher-{name}")
    import tempfile

    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


# --- CPUs ------------------------------------------------------------------------------------------------


def cpus() -> frozenset[int] | None:
    """The CPUs that this thread may run on, and whatever it starts; None where there is no such thing."""
    return frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


@contextmanager
def running_on(chosen: Collection[int] | None) -> Iterator[None]:
    """Have this thread run on these CPUs, and what it starts meanwhile for good. None: nothing is changed.

    Raises OSError when it may run on none of them.
    """
    before = cpus()
    if chosen is None or before is None or before == frozenset(chosen):
        yield
        return
    try:
        os.sched_setaffinity(0, chosen)
    except OSError as error:
        raise OSError(error.errno, f"cannot run on any of the CPUs {sorted(chosen)}: {error.strerror}") from error
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


# --- becoming a worker, in a forked child ------------------------------------------------------------------


def place_descriptors(fds: Sequence[int]) -> None:
    """Make `fds[i]` this process's descriptor i, the first three inheritable, and close every other."""
    sources, _ = _out_of_the_way(fds)
    for target, fd in enumerate(sources):
        os.dup2(fd, target, inheritable=target <= 2)
    for fd in _open_descriptors():
        if fd >= len(fds):
            with suppress(OSError):
                os.close(fd)


def reset_signals() -> None:
    """Give this process the dispositions of a fresh Python, no wake-up descriptor, and no blocked signal."""
    signal.set_wakeup_fd(-1)
    for number in _CATCHABLE:
        if signal.getsignal(number) is not signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def parent_death() -> Callable[[int], None]:
    """A function that a child calls with its parent's pid, to be killed when the thread that started it ends.

    It kills at once when that has happened already, and does nothing where the kernel has no such signal.
    Made before a fork, because a child of a process with threads had better not load libraries.
    """
    if sys.platform != "linux":
        return lambda parent: None
    try:
        import ctypes

        prctl = ctypes.CDLL(None).prctl
    except (ImportError, OSError, AttributeError):
        return lambda parent: None

    def die_with(parent: int) -> None:
        prctl(_SET_PARENT_DEATH_SIGNAL, int(signal.SIGKILL))
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)

    return die_with


# --- ending ----------------------------------------------------------------------------------------------


def exit_fd(pid: int) -> int:
    """A new descriptor that is readable once a child of this process has exited. Raises OSError."""
    try:
        return pid_fd(pid)
    except NotImplementedError:
        return exit_pipe(pid)


def pid_fd(pid: int) -> int:
    """As `exit_fd`, for any process. Raises NotImplementedError where the kernel has no such thing."""
    if sys.platform == "darwin":
        return _exit_queue(pid)
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError) as error:
        # EPERM: how older container runtimes refuse a call that they do not know.
        if getattr(error, "errno", errno.ENOSYS) not in (errno.ENOSYS, errno.EPERM):
            raise
        raise NotImplementedError("pidfd_open is missing: it needs Linux 5.3") from error


def exit_pipe(pid: int) -> int:
    """As `exit_fd`, by a thread that waits: for kernels without pidfd."""
    import threading

    readable, writable = os.pipe()

    def wait() -> None:
        with suppress(ChildProcessError):
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        os.close(writable)

    threading.Thread(target=wait, name=f"exit of {pid}", daemon=True).start()
    return readable


if sys.platform == "darwin":

    def _exit_queue(pid: int) -> int:
        import select

        queue = select.kqueue()
        event = select.kevent(pid, select.KQ_FILTER_PROC, select.KQ_EV_ADD, select.KQ_NOTE_EXIT)
        try:
            queue.control([event], 0)
        except ProcessLookupError:  # it has exited already, which kqueue does not report
            readable, writable = os.pipe()
            os.close(writable)
            return readable
        return os.dup(queue.fileno())


def exit_status(pid: int) -> int | None:
    """How a child of this process ended, minus the signal's number if by one; None while it runs.

    The child stays a zombie (not on macOS before Python 3.13: ask once, and keep the answer there).
    Raises ChildProcessError when somebody else has waited for it.
    """
    if hasattr(os, "waitid"):
        found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        if found is None:
            return None
        return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
    waited, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if waited else None


def reap(pid: int, options: int = os.WNOHANG) -> None:
    """Let go of a child that has exited. Does nothing to one that runs, or that is no child of ours."""
    with suppress(ChildProcessError):
        os.waitpid(pid, options)


def wait_readable(fd: int, seconds: float) -> bool:
    """Whether the descriptor became readable within that time."""
    import select

    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def end(pid: int, fd: int, seconds: float) -> None:
    """Wait for a child to exit, at most so long; then kill it. Reaps it and closes `fd`, its `exit_fd`."""
    gone = wait_readable(fd, seconds)
    if not gone:
        kill_group(pid, signal.SIGKILL)
        gone = wait_readable(fd, KILLED_WITHIN)
    os.close(fd)
    if gone:
        reap(pid)
    else:  # it stands still in the kernel; whenever that is over, no zombie stays
        import threading

        threading.Thread(target=reap, args=(pid, 0), name=f"end of {pid}", daemon=True).start()


def keep_exit_statuses() -> bool:
    """Undo an "ignore" of SIGCHLD, by which the kernel forgets how children ended; whether there was one.

    Main thread only.
    """
    ignored = signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN
    if ignored:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    return ignored


# --- groups ----------------------------------------------------------------------------------------------


def kill_group(pgid: int, signum: int) -> bool:
    """Send the signal to every process of the group; False when the group has none, zombies included.

    Raises ValueError for a number that would mean this process's own group, or every process there is.
    """
    if pgid <= 1:
        raise ValueError(f"{pgid} is not the id of a worker's process group")
    try:
        os.killpg(pgid, signum)
    except ProcessLookupError:
        return False
    except PermissionError:
        return sys.platform == "linux"  # theirs is another user by now; macOS says so of zombies, too
    return True


def kill_carriers(variable: Mapping[str, str]) -> None:
    """Kill every process that was executed with this variable in its environment.

    A fork that executed nothing shows its parent's, so it is only found if its parent was executed with it.
    """
    wanted = {os.fsencode(f"{name}={value}") for name, value in variable.items()}
    bare: set[int] = set()
    for _ in range(LOOKS):
        found, now_bare = _carriers(wanted)
        for pid in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if not found and now_bare <= bare:
            return
        bare |= now_bare
        sleep(PAUSE)


def group_alive(pgid: int) -> bool:
    """Whether any process of the group still runs. Zombies do not count, where /proc tells them apart."""
    if not kill_group(pgid, 0):
        return False
    if _runs_in(pgid, pgid):
        return True
    everybody = _everybody()
    return not everybody or any(_runs_in(pid, pgid) for pid in everybody)


def _carriers(wanted: set[bytes]) -> tuple[list[int], set[int]]:
    """The pids of those that show the variable, and of younger ones than this that show none, perhaps not yet."""
    found, bare, began = [], set(), _began(os.getpid())
    for pid in _everybody():
        with suppress(OSError):
            variables = _shown(pid, "environ")
            if not variables and _began(pid) >= began:
                bare.add(pid)
            elif all(one in variables for one in wanted) and wanted <= set(variables.split(b"\0")):
                found.append(pid)
    return found, bare


def _began(pid: int) -> int:
    """When it began, in ticks since the machine did; -1 for a zombie and for the kernel's own, which have no memory."""
    fields = _shown(pid, "stat").rpartition(b")")[2].split()
    return int(fields[19]) if int(fields[20]) else -1


def _shown(pid: int, what: str) -> bytes:
    """What /proc shows of a process. Raises OSError. Not by open(): a restart reads this of every process there is."""
    fd = os.open(f"/proc/{pid}/{what}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = more = os.read(fd, 65536)
        while more:
            more = os.read(fd, 65536)
            data += more
        return data
    finally:
        os.close(fd)


def _everybody() -> list[int]:
    """All pids, where /proc shows them."""
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdecimal()]
    except OSError:
        return []


def _runs_in(pid: int, pgid: int) -> bool:
    try:
        state, _, group = _shown(pid, "stat").rpartition(b")")[2].split()[:3]
    except (OSError, ValueError):
        return False
    return int(group) == pgid and state not in (b"Z", b"X")
