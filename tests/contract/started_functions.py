"""Functions that the tests of the start methods have workers run."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from typing import Any, NoReturn

HOME = os.path.dirname(os.path.abspath(__file__))


def double(number: int) -> int:
    return 2 * number


def nothing() -> None:
    pass


def zeros(count: int) -> bytes:
    return bytes(count)


def environment_at_exec() -> dict[str, str]:
    with open("/proc/self/environ") as file:
        return dict(pair.split("=", 1) for pair in file.read().split("\0") if pair)


def descriptors() -> list[int]:
    """Those that a program would inherit from this process, and those that it would not, 0 to 2 left out."""
    found = [int(name) for name in os.listdir("/proc/self/fd")]
    alive = [fd for fd in found if fd > 2 and os.path.exists(f"/proc/self/fd/{fd}")]
    return sorted(alive)


def inheritable_descriptors() -> list[int]:
    return [fd for fd in descriptors() if os.get_inheritable(fd)]


def place() -> dict[str, Any]:
    return {
        "leads its session": os.getsid(0) == os.getpid(),
        "leads its group": os.getpgrp() == os.getpid(),
        "threads": threading.active_count(),
        "in its main thread": threading.current_thread() is threading.main_thread(),
    }


def signals() -> dict[str, Any]:
    changed = {
        int(number): str(signal.getsignal(number))
        for number in signal.valid_signals()
        if signal.getsignal(number) is not signal.SIG_DFL and number != signal.SIGINT
    }
    return {
        "not default": changed,
        "interrupts": signal.getsignal(signal.SIGINT) is signal.default_int_handler,
        "blocked": signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        "wake-up descriptor": signal.set_wakeup_fd(-1),
    }


def read_a_line() -> str:
    return sys.stdin.readline()


def say_and_wait(text: str) -> None:
    print(text)
    sys.stdin.readline()


def speak() -> None:
    print("to stdout")
    os.write(1, b"straight to 1\n")
    print("to stderr", file=sys.stderr)
    sys.stdout.write("an unfinished line")


def wait_for_ever() -> None:
    while True:
        time.sleep(60)


def leave(*code: Any) -> NoReturn:
    sys.exit(*code)


def leave_at_once(code: int) -> NoReturn:
    os._exit(code)


def die(signum: int) -> None:
    os.kill(os.getpid(), signum)
    wait_for_ever()


def fail() -> NoReturn:
    raise LookupError("no such luck")


def interrupt() -> NoReturn:
    raise KeyboardInterrupt


def unsendable() -> Any:
    return threading.Lock()


def exit_handlers_run() -> None:
    import atexit

    atexit.register(print, "at exit")
    threading.Thread(target=lambda: (time.sleep(0.05), print("in a thread"))).start()


KEPT: list[Any] = []
"""What the worker never lets go of."""


def leave_files_open(folder: str) -> None:
    for name, mode in (("text", "w"), ("both ways", "w+"), ("bytes", "wb")):
        file = open(f"{folder}/{name}", mode)  # noqa: SIM115 - it is the point
        file.write(name if "b" not in mode else name.encode())
        KEPT.append(file)


class Unreadable:
    """Can be pickled, and not unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (fail, ())


def unreadable() -> Unreadable:
    return Unreadable()
