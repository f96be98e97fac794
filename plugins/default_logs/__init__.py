"""The logs specs that `--logs-specs default` names: torch elastic's layout of directories and files.

Nothing is created before a start asks for it, nothing that an earlier start wrote is touched again, and
every path is absolute, so that a worker may change its directory.  README.md draws the layout.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Set
from contextlib import suppress

from launcher_core.errors import UsageError
from launcher_core.hooks.ports import Declaration
from launcher_core.hooks.specs import hookimpl
from launcher_core.model.logs import LogsDest, Std, StdChoice, to_map
from launcher_core.model.settings import LogsConfig

_RANDOM_LETTERS = b"abcdefghijklmnopqrstuvwxyz012345"  # 32 of them: each takes 5 bits
_LONGEST_RUN_ID = 200  # bytes; a file name has 255, and the random part needs some


@hookimpl
def launcher_declare() -> Declaration:
    """Nothing to promise, no keys to take."""
    return Declaration()


@hookimpl
def launcher_make_logs_specs(config: LogsConfig) -> DefaultLogsSpecs:
    """The logs specs for this launch. Raises UsageError when its log_dir cannot be used."""
    specs = DefaultLogsSpecs(config.log_dir, config.redirects, config.tee, config.local_ranks_filter)
    specs.check()
    return specs


class DefaultLogsSpecs:
    """Chooses `<root>/<run_id>_<random>/attempt_<restarts>/<local_rank>/` for each worker of each start.

    Without `log_dir` the root is a new directory for temporary files. With the null device for it streams
    stay on the console, whatever `redirects` and `tee` say. Ranks that `local_ranks_filter` leaves out show
    nothing on the console; their files are written all the same.
    """

    def __init__(
        self,
        log_dir: str | None = None,
        redirects: StdChoice = Std.NONE,
        tee: StdChoice = Std.NONE,
        local_ranks_filter: Set[int] | None = None,
    ) -> None:
        self._given = os.path.abspath(log_dir) if log_dir else None
        self._redirects = redirects
        self._tee = tee
        self._local_ranks_filter = local_ranks_filter
        self._temporary_root = ""
        self._run_dir = ""

    @property
    def root_log_dir(self) -> str:
        """The directory that output is written under; empty for the null device, and until there is one."""
        if self._discards:
            return ""
        return self._given or self._temporary_root

    def check(self) -> None:
        """Raise UsageError unless `log_dir` is, or can become, a directory to write in. Leaves nothing there."""
        if self._given is None or self._discards:
            return
        try:
            reason = _obstacle(self._given)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
        if reason:
            raise UsageError(
                f"--log-dir={self._given!r}: {reason}; name a directory that this user can create or write in"
            )

    def reify(self, envs: dict[int, dict[str, str]]) -> LogsDest:
        """Create this start's directories and return its paths; TORCHELASTIC_ERROR_FILE is added to each env.

        The run id and the number of restarts come from the workers' environment. Raises OSError when a
        directory cannot be created.
        """
        env = next(iter(envs.values()), {})
        try:
            attempt_dir = self._new_attempt_dir(
                env.get("TORCHELASTIC_RUN_ID", "test_run_id"), env.get("TORCHELASTIC_RESTART_COUNT", "0")
            )
            rank_dirs = {rank: os.path.join(attempt_dir, str(rank)) for rank in envs}
            for path in rank_dirs.values():
                os.mkdir(path)
        except OSError as error:
            raise OSError(error.errno, _cannot_create(error)) from error
        error_files = {rank: os.path.join(path, "error.json") for rank, path in rank_dirs.items()}
        for rank, path in error_files.items():
            envs[rank]["TORCHELASTIC_ERROR_FILE"] = path
        return self._destination(attempt_dir, rank_dirs, error_files)

    def close(self, succeeded: bool) -> None:
        """Remove a temporary root that nobody will want to read; a `log_dir` that was given always stays.

        Kept when the job failed, or when a stream was to be written to a file.
        """
        root, self._temporary_root, self._run_dir = self._temporary_root, "", ""
        if root and (self._discards or (succeeded and not self._writes_streams)):
            _remove_tree(root)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DefaultLogsSpecs):
            return NotImplemented
        return self._value() == other._value()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        root, redirects, tee, ranks = self._value()
        return (
            f"DefaultLogsSpecs(root_log_dir={root!r}, redirects={redirects!r}, tee={tee!r}, "
            f"local_ranks_filter={ranks!r})"
        )

    def _value(self) -> tuple[str | None, StdChoice, StdChoice, Set[int] | None]:
        return self._given, self._redirects, self._tee, self._local_ranks_filter

    @property
    def _discards(self) -> bool:
        return self._given == os.devnull

    @property
    def _writes_streams(self) -> bool:
        return any(
            choice if isinstance(choice, Std) else any(choice.values()) for choice in (self._redirects, self._tee)
        )

    def _new_attempt_dir(self, run_id: str, restarts: str) -> str:
        if not self._run_dir:
            # error files need a place even where output has none: a worker's exception is always recorded
            root = self._temporary_root if self._discards else self.root_log_dir
            if not root:
                root = self._temporary_root = _make_temporary_root()
            os.makedirs(root, exist_ok=True)
            self._run_dir = _make_unique(root, f"{_as_file_name(run_id)}_")
        name = f"attempt_{_as_file_name(restarts)}"
        for candidate in _numbered(os.path.join(self._run_dir, name)):
            try:
                os.mkdir(candidate)
            except FileExistsError:
                continue  # a start that cost no restart; what it wrote stays
            return candidate
        raise AssertionError("there is always a next number")

    def _destination(self, attempt_dir: str, rank_dirs: dict[int, str], error_files: dict[int, str]) -> LogsDest:
        out, tee_out = self._paths(Std.OUT, "stdout.log", rank_dirs)
        err, tee_err = self._paths(Std.ERR, "stderr.log", rank_dirs)
        filtered_dir = "" if self._discards else attempt_dir
        return LogsDest(
            stdouts=out,
            stderrs=err,
            tee_stdouts=tee_out,
            tee_stderrs=tee_err,
            error_files=error_files,
            filtered_stdout=filtered_dir and os.path.join(filtered_dir, "filtered_stdout.log"),
            filtered_stderr=filtered_dir and os.path.join(filtered_dir, "filtered_stderr.log"),
        )

    def _paths(self, stream: Std, name: str, rank_dirs: dict[int, str]) -> tuple[dict[int, str], dict[int, str]]:
        """The stream's paths, and those of them that are tee'd, each by local rank."""
        redirects = to_map(self._redirects, len(rank_dirs))
        tees = to_map(self._tee, len(rank_dirs))
        paths: dict[int, str] = {}
        tee_paths: dict[int, str] = {}
        for rank, directory in rank_dirs.items():
            shown = not self._local_ranks_filter or rank in self._local_ranks_filter
            if self._discards or not stream & (redirects[rank] | tees[rank]):
                paths[rank] = "" if shown else os.devnull
                continue
            paths[rank] = os.path.join(directory, name)
            if stream & tees[rank] and shown:
                tee_paths[rank] = paths[rank]
        return paths, tee_paths


def _as_file_name(text: str) -> str:
    """The text with what a file name cannot hold replaced, and not too long for one."""
    safe = text.replace("/", "_").replace("\0", "_")
    return os.fsdecode(os.fsencode(safe)[:_LONGEST_RUN_ID])


def _numbered(path: str) -> Iterator[str]:
    """The path itself, then with .1, .2 and so on."""
    yield path
    number = 0
    while True:
        number += 1
        yield f"{path}.{number}"


def _make_unique(directory: str, prefix: str) -> str:
    """A new directory that only this user may enter, named prefix and 8 random letters."""
    while True:
        letters = bytes(_RANDOM_LETTERS[byte & 31] for byte in os.urandom(8))
        path = os.path.join(directory, prefix + letters.decode())
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            continue
        return path


def _make_temporary_root() -> str:
    """A new directory where the system keeps temporary files: in the places that the tempfile module tries.

    That module itself is not used: importing it would cost more than everything else this plugin does.
    """
    named = [os.environ[name] for name in ("TMPDIR", "TEMP", "TMP") if os.environ.get(name)]
    first: OSError | None = None
    for directory in (*named, "/tmp", "/var/tmp", "/usr/tmp", os.curdir):
        try:
            return _make_unique(os.path.abspath(directory), "torchelastic_")
        except OSError as error:
            first = first or error
    assert first is not None
    raise first


def _obstacle(path: str) -> str:
    """Why no directory can be made or written at the path; empty when one can. Raises OSError, ValueError."""
    here = path
    while True:
        try:
            os.lstat(here)
            break
        except (FileNotFoundError, NotADirectoryError):
            here = os.path.dirname(here)
    if not os.path.isdir(here):
        return "it is not a directory" if here == path else f"{here!r} is not a directory"
    if not os.access(here, os.W_OK | os.X_OK):
        reason = "it cannot be written" if here == path else f"{here!r} cannot be written"
        return f"{reason} ({os.strerror(errno.EROFS)})" if os.statvfs(here).f_flag & os.ST_RDONLY else reason
    try:
        os.rmdir(_make_unique(here, ".launcher_"))  # access() tells root that it may write anywhere, even in /proc
    except OSError as error:
        return f"nothing can be created in {here!r} ({error.strerror})"
    return ""


def _cannot_create(error: OSError) -> str:
    return f"the log directory {error.filename!r} cannot be created: {error.strerror}; name another one with --log-dir"


def _remove_tree(root: str) -> None:
    """Remove the directory with what is in it, as far as that is allowed; links are not followed."""
    for path, directories, files in os.walk(root, topdown=False):
        for name in files:
            _ignoring_errors(os.unlink, os.path.join(path, name))
        for name in directories:
            _ignoring_errors(os.rmdir, os.path.join(path, name))
            _ignoring_errors(os.unlink, os.path.join(path, name))  # a link to a directory
    _ignoring_errors(os.rmdir, root)


def _ignoring_errors(act: Callable[[str], None], path: str) -> None:
    with suppress(OSError):  # a left-over temporary file is not worth a word
        act(path)
