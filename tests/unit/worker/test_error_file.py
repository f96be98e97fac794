"""The file that a worker leaves: torch elastic's format, whole or absent, readable whatever it holds."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher_core.worker import error_file
from launcher_core.worker.error_file import Reading

OBJECT = {
    "message": {
        "message": "ValueError: bad",
        "extraInfo": {"py_callstack": "Traceback ...\nValueError: bad\n", "timestamp": "1795329509"},
    }
}


def read(path: Path) -> dict[str, Any]:
    found = error_file.read(str(path))
    assert isinstance(found, Reading)
    return {name: getattr(found, name) for name in Reading.__slots__}


def aged(path: Path, text: str, seconds: float) -> Path:
    path.write_text(text)
    os.utime(path, (seconds, seconds))
    return path


# --- writing -----------------------------------------------------------------------------------------------


def test_an_exception_is_described_in_torchs_schema() -> None:
    try:
        raise ValueError("bad")
    except ValueError as error:
        described = error_file.describe(error, 1795329509.75)
    callstack = described["message"]["extraInfo"].pop("py_callstack")
    assert described == {"message": {"message": "ValueError: bad", "extraInfo": {"timestamp": "1795329509"}}}
    assert callstack.startswith("Traceback (most recent call last):\n  File ")
    assert callstack.endswith('    raise ValueError("bad")\nValueError: bad\n')


def test_the_callstack_holds_what_the_exception_came_from() -> None:
    try:
        try:
            raise KeyError("a")
        except KeyError as error:
            raise ValueError("bad") from error
    except ValueError as error:
        callstack = error_file.describe(error, 0.0)["message"]["extraInfo"]["py_callstack"]
    assert callstack.count("Traceback (most recent call last):") == 2
    assert "KeyError: 'a'\n" in callstack


def test_an_exception_that_cannot_be_printed_is_described_all_the_same() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    try:
        raise Mute
    except Mute as error:
        described = error_file.describe(error, 0.0)
    assert described["message"]["message"] == "Mute: <its __str__ raised another exception>"


def test_half_a_character_in_a_message_survives_the_way_through_the_file(tmp_path: Path) -> None:
    path = tmp_path / "error.json"
    error_file.write(str(path), json.dumps(error_file.describe(ValueError("\ud800 ü"), 1.0)))
    assert read(path)["message"]["message"] == "ValueError: \ud800 ü"


def test_writing_replaces_the_file_at_once_and_leaves_no_draft(tmp_path: Path) -> None:
    path = tmp_path / "error.json"
    path.write_text("old")
    with path.open() as reader:
        error_file.write(str(path), "new and longer")
        assert reader.read() == "old"
    assert {entry.name: entry.read_text() for entry in tmp_path.iterdir()} == {"error.json": "new and longer"}


def test_a_link_is_written_through_and_stays_a_link(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("old")
    link = tmp_path / "link"
    link.symlink_to(target)
    error_file.write(str(link), "new")
    assert (link.is_symlink(), target.read_text()) == (True, "new")


def test_a_device_is_written_to_and_stays_a_device() -> None:
    error_file.write(os.devnull, "new")
    assert not os.path.isfile(os.devnull)


def test_a_draft_that_cannot_be_made_leaves_writing_in_place(tmp_path: Path) -> None:
    """A name so long that there is no room for the draft's ending."""
    path = tmp_path / ("e" * 250)
    path.write_text("old")
    error_file.write(str(path), "new")
    assert path.read_text() == "new"


@pytest.fixture
def no_room() -> Iterator[None]:
    """Files that are written meanwhile stay empty, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("name", ["error.json", "e" * 250], ids=["by a draft", "in place"])
def test_without_room_there_is_no_file_rather_than_an_empty_one(tmp_path: Path, name: str, no_room: None) -> None:
    with pytest.raises(OSError, match="File too large"):
        error_file.write(str(tmp_path / name), "new")
    assert list(tmp_path.iterdir()) == []


def test_without_room_the_old_file_stays(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    path = tmp_path / "error.json"
    path.write_text("old")
    request.getfixturevalue("no_room")
    with pytest.raises(OSError, match="File too large"):
        error_file.write(str(path), "new")
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("error.json", "old")]


def test_a_missing_directory_is_an_error_for_the_caller(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        error_file.write(str(tmp_path / "gone" / "error.json"), "new")


# --- reading -----------------------------------------------------------------------------------------------


def test_the_object_form_is_read_with_the_files_own_time(tmp_path: Path) -> None:
    path = aged(tmp_path / "error.json", json.dumps(OBJECT), 1795329509.25)
    assert read(path) == {
        "data": OBJECT,
        "message": OBJECT["message"],
        "timestamp": 1795329509,
        "at": 1795329509.25,
        "problem": "",
    }


@pytest.mark.parametrize("stamp", [12, "12", 12.75, "12.75"])
def test_the_flat_form_is_read(tmp_path: Path, stamp: object) -> None:
    path = aged(tmp_path / "error.json", json.dumps({"message": "it broke", "timestamp": stamp}), 50.5)
    assert read(path) == {
        "data": {"message": "it broke", "timestamp": stamp},
        "message": "it broke",
        "timestamp": 12,
        "at": 50.5,
        "problem": "",
    }


@pytest.mark.parametrize(
    "data",
    [
        {"message": "it broke"},
        {"message": "it broke", "timestamp": "yesterday"},
        {"message": "it broke", "timestamp": 1e999},
        {"message": "it broke", "timestamp": []},
        {"message": {"message": "it broke"}},
        {"message": {"message": "it broke", "extraInfo": "none"}},
        {"message": {}},
    ],
)
def test_without_a_sensible_timestamp_the_files_own_time_counts(tmp_path: Path, data: object) -> None:
    found = read(aged(tmp_path / "error.json", json.dumps(data), 50.5))
    assert (found["timestamp"], found["problem"]) == (50, "")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (
            b'{"message": {"mess',
            "it is cut short or not JSON (Unterminated string starting at: line 1 column 14 (char 13)); "
            "it begins '{\"message\": {\"mess'",
        ),
        (b"Traceback (most", "it is cut short or not JSON (Expecting value: line 1 column 1 (char 0)); "
         "it begins 'Traceback (most'"),
        (b"[1]", "it has no \"message\"; it begins '[1]'"),
        (b"{}", "it has no \"message\"; it begins '{}'"),
        (b'{"message": 3}', 'it has no "message"; it begins \'{"message": 3}\''),
        (b'{"message": null}', 'it has no "message"; it begins \'{"message": null}\''),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_said_in_words(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "error.json"
    path.write_bytes(content)
    os.utime(path, (7.5, 7.5))
    assert read(path) == {
        "data": {},
        "message": "",
        "timestamp": 7,
        "at": 7.5,
        "problem": f"the error file {path} cannot be used: {problem}",
    }


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"[" * 100_000, b'{"message": ' * 50_000])
def test_no_content_makes_reading_raise(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "error.json"
    path.write_bytes(content)
    assert read(path)["problem"].startswith(f"the error file {path} cannot be used: ")


def test_a_file_beyond_all_measure_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "error.json"
    with path.open("wb") as file:
        file.truncate(error_file.MAX_BYTES + 1)
    assert read(path)["problem"].endswith(
        f"it is too large ({error_file.MAX_BYTES + 1} bytes, at most {error_file.MAX_BYTES} are read)"
    )


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert read(tmp_path / "pipe")["problem"].endswith("it is not a regular file")
    assert read(tmp_path)["problem"].endswith("it is not a regular file")


@pytest.mark.parametrize("path", ["", "<N/A>", "/no/such/file", "a\0b"])
def test_no_file_is_no_reading(path: str) -> None:
    assert error_file.read(path) is None


# --- exit codes --------------------------------------------------------------------------------------------


def test_the_exit_code_is_added_to_the_object_form_and_the_record_given_is_left_alone() -> None:
    given = {"message": {"message": "ValueError: bad"}}
    assert error_file.with_error_code(given, 3) == {"message": {"message": "ValueError: bad", "errorCode": 3}}
    assert given == {"message": {"message": "ValueError: bad"}}


@pytest.mark.parametrize(
    ("data", "code"),
    [({"message": {"message": "x"}}, 0), ({"message": "flat"}, 3), ({"text": "x"}, 3), ({}, 3)],
)
def test_no_exit_code_is_added_where_there_is_no_room_for_it(data: dict[str, Any], code: int) -> None:
    assert error_file.with_error_code(data, code) == data
