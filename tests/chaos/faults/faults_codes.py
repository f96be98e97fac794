"""Faults that are a number: exit codes, and signals from within and without."""

from __future__ import annotations

from fault import Fault, Truth, one

CODE = """
import sys
if rank == 1:
    sys.exit({code})
wait()
"""


def code(number: int, rank: int = 1) -> Fault:
    return Fault(f"exit code {number}", one("exit_code", rank, f"exit code {number}"), CODE.format(code=number))


def shell(what: str, number: int, line: str, says: str = "") -> Fault:
    """Of a program that is no Python."""
    script = f'#!/bin/sh\n[ "$RANK" = 1 ] || exec sleep 60\n{line}\n'
    truth = one("exit_code", 1, says or f"exit code {number}")
    return Fault(what, truth, options=("--no-python",), program=("./fault.sh",), files=(("fault.sh", script),))


def dies(what: str, name: str, script: str, rank: int = 1, says: str = "", kinds: tuple[str, ...] = ()) -> Fault:
    """Of a signal."""
    body = f"import ctypes, mmap, os, resource, signal, sys\nif rank == {rank}:\n"
    body += "".join(f"    {line}\n" for line in script.strip().splitlines()) + "wait()\n"
    return Fault(what, Truth(kinds or ("signal",), rank, says or name), body)


SEGV = ("segmentation_fault", "signal")
LIBC = "libc = ctypes.CDLL(None)\n"
ASSERTS = LIBC + "libc.__assert_fail(b'rows > 0', b'loader.c', 12, b'load')"
DUMPED = "__import__('faulthandler').enable()\nctypes.string_at(0)"
BAD_CODE = (
    "page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)\n"
    "page.write(b'\\x0f\\x0b' if os.uname().machine == 'x86_64' else b'\\0\\0\\0\\0')\n"
    "ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()"
)
SHRUNK = (
    "file = os.open('weights', os.O_RDWR | os.O_CREAT)\n"
    "os.ftruncate(file, 8192)\n"
    "page = mmap.mmap(file, 8192)\n"
    "os.ftruncate(file, 0)\n"
    "page[4096]"
)
FREED_TWICE = (
    LIBC + "libc.malloc.restype = ctypes.c_void_p\nlibc.free.argtypes = [ctypes.c_void_p]\n"
    "block = libc.malloc(64)\nlibc.free(block)\nlibc.free(block)"
)
THROWN = "ctypes.CDLL('libstdc++.so.6')._ZSt20__throw_length_errorPKc(b'vector::_M_default_append')"
FROM_OUTSIDE = """
import subprocess
all_ready()
if rank == 0:
    subprocess.Popen(["sh", "-c", f"sleep 0.1; kill -{signal} {{pid_of(2)}}"], start_new_session=True)
wait()
"""

FAULTS = (
    *(code(number) for number in (1, 2, 3, 77, 255)),
    dies("os._exit", "", "os._exit(9)", 2, "exit code 9", ("exit_code",)),
    shell("exit code 127: a shell that finds no such command", 127, "nvcc-13.9 --version", "not found"),
    shell("exit code 126: a shell's command that cannot be executed", 126, "exec /etc/passwd", "Permission denied"),
    shell("exit code 137: a shell whose command was killed", 137, "sh -c 'kill -9 $$'; exit $?"),
    *(
        Fault(
            f"SIG{name} from outside",
            one("signal", 2, f"SIG{name}"),
            FROM_OUTSIDE.format(signal=name),
        )
        for name in ("KILL", "TERM", "HUP")
    ),
    dies("SIGTERM to itself", "SIGTERM", "signal.raise_signal(signal.SIGTERM)"),
    dies("a read at address 0", "SIGSEGV", "ctypes.string_at(0)", 2, kinds=SEGV),
    dies("the same, seen by faulthandler", "SIGSEGV", DUMPED, kinds=SEGV),
    dies("os.abort", "SIGABRT", "os.abort()", 0),
    dies("a C++ exception that nobody catches", "SIGABRT", THROWN, 1, "std::length_error"),
    dies("memory freed twice", "SIGABRT", FREED_TWICE, 2, "double free"),
    dies("a failed assertion in C", "SIGABRT", ASSERTS, 0, "rows > 0"),
    dies("a mapped file that became shorter", "SIGBUS", SHRUNK),
    dies("a division by zero in C", "SIGFPE", LIBC + "libc.div(1, 0)", 2),
    dies("an instruction that this CPU does not have", "SIGILL", BAD_CODE),
    dies(
        "a pipe that nobody reads",
        "SIGPIPE",
        "signal.signal(signal.SIGPIPE, signal.SIG_DFL)\nread, write = os.pipe()\nos.close(read)\nos.write(write, b'x')",
    ),
    dies(
        "a limit of CPU time",
        "SIGXCPU",
        "resource.setrlimit(resource.RLIMIT_CPU, (1, 4))\nwhile True: pass",
        2,
    ),
    dies(
        "a limit of file size",
        "SIGXFSZ",
        "signal.signal(signal.SIGXFSZ, signal.SIG_DFL)\nresource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))\n"
        "open('large', 'wb', 0).write(bytes(20))\nopen('large', 'ab', 0).write(bytes(20))",
    ),
    dies("a timer of its own", "SIGALRM", "signal.setitimer(signal.ITIMER_REAL, 0.05)", 0),
    dies("a real-time signal", "SIGRTMIN+3", "signal.raise_signal(signal.SIGRTMIN + 3)"),
)
