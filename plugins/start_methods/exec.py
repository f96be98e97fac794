"""Start method `exec`: a command, by posix_spawn. The only one that starts commands."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from launcher_core.hooks.ports import Declaration
from launcher_core.hooks.specs import hookimpl
from launcher_core.model.capability import Capability
from launcher_core.runtime import system
from launcher_plugins.start_methods import child

if TYPE_CHECKING:
    from collections.abc import Mapping

    from launcher_core.hooks.ports import Child, Starter
    from launcher_core.model.job import Command, Streams


@hookimpl
def launcher_declare() -> Declaration:
    """Commands only."""
    return Declaration(Capability.COMMANDS)


@hookimpl
def launcher_make_starter() -> Starter:
    """A starter that needs no helper process."""
    return ExecStarter()


class ExecStarter:
    """Starts commands. The program is looked up in the PATH of the worker's own environment."""

    def start(self, command: Command, env: Mapping[str, str], streams: Streams) -> Child:
        """Start the command line. Raises OSError or ValueError that name the program when it cannot."""
        if not command.argv:
            raise ValueError(f"start method exec starts commands, and {command.name or 'this'} is none")
        program = find_program(command.argv[0], env)
        try:
            pid = system.spawn(program, command.argv, env, streams)
        except OSError as error:
            raise explained(error, program) from error
        except ValueError as error:
            raise ValueError(f"cannot start {program}: {error} in its arguments or environment") from error
        return child.adopt(pid)

    def close(self) -> None:
        """Nothing to stop."""


def find_program(name: str, env: Mapping[str, str]) -> str:
    """The path that `name` means with this environment's PATH; a name with a slash is a path already.

    Raises FileNotFoundError, or PermissionError when all that was found cannot be executed.
    """
    if "/" in name:
        return name
    search = env.get("PATH", os.defpath)
    refused = None
    for directory in search.split(os.pathsep) if name else ():
        path = os.path.join(directory or os.curdir, name)
        if os.path.isfile(path):
            if os.access(path, os.X_OK):
                return path
            refused = refused or path
    if refused:
        raise explained(PermissionError(errno.EACCES, ""), refused)
    text = f"no program {name!r} in PATH={search}; give its path, or correct PATH"
    raise _error(FileNotFoundError, errno.ENOENT, text)


def explained(error: OSError, program: str) -> OSError:
    """The error of a failed start, of the same class and number, with the reason in words."""
    number = error.errno or 0
    reason = _reason(number, program) or error.strerror
    return _error(type(error), number, f"cannot start {program}: {reason}")


def _missing_interpreter(program: str) -> str:
    """What is said of a program that is there, when the kernel finds no such file."""
    try:
        with open(program, "rb") as file:
            line = file.readline(256)
    except OSError:
        line = b""
    words = line.removeprefix(b"#!").split(maxsplit=1) if line.startswith(b"#!") else []
    if words:
        return f"its interpreter (its #! line) does not exist: {os.fsdecode(words[0])}"
    return "it names an interpreter (its #! line, or its ELF loader) that does not exist"


def _reason(number: int, program: str) -> str:
    if number == errno.ENOENT and os.path.exists(program):
        return _missing_interpreter(program)
    if number == errno.EACCES and os.path.isdir(program):
        return "it is a directory"
    return {
        errno.ENOENT: "there is no such file",
        errno.EACCES: "it is not executable; chmod +x it, or give its interpreter",
        errno.ENOEXEC: "it is neither a binary for this machine nor a script with a #! line",
        errno.E2BIG: "its arguments and environment are larger than the kernel allows",
        errno.EAGAIN: "the limit on processes is reached (ulimit -u, or pids.max of the cgroup)",
        errno.EBADF: "a descriptor that it was to get as stdin, stdout or stderr is closed",
    }.get(number, "")


def _error(kind: type[OSError], number: int, text: str) -> OSError:
    error = kind(text)  # with the number as an argument the text would begin with "[Errno 2]"
    error.errno = number
    return error
