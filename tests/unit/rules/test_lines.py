"""Chunks in, whole lines out: nothing altered, nothing lost, nothing torn."""

from __future__ import annotations

import string
from collections.abc import Mapping

import pytest

from launcher_core.rules import lines as rule
from launcher_core.rules.lines import Lines, last_lines, matching, prefix, prefixed, substitute

NAMES: Mapping[str, object] = {"role_name": "trainer", "rank": 9, "local_rank": 1, "hostname": "n7"}


def shown(*chunks: bytes) -> bytes:
    """What a stream of these chunks shows at time 0, without any tick, and at its end."""
    lines = Lines()
    return b"".join(lines.feed(chunk, 0.0) for chunk in chunks) + lines.end()


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([], b""),
        ([b"one\n"], b"one\n"),
        ([b"one\ntwo\n"], b"one\ntwo\n"),
        ([b"par", b"tial", b"\n"], b"partial\n"),
        ([b"a\nb", b"c\nd"], b"a\nbc\nd\n"),
        ([b"\n", b"\n\n"], b"\n\n\n"),
        ([b"last without newline"], b"last without newline\n"),
        ([b"\xff\xfe\x00\x80\n"], b"\xff\xfe\x00\x80\n"),
        ([b"\xe2\x82", b"\xac\n"], b"\xe2\x82\xac\n"),
        ([b"vt \x0b ff \x0c nel \xc2\x85 end\n"], b"vt \x0b ff \x0c nel \xc2\x85 end\n"),
        ([b"ls \xe2\x80\xa8 end\n"], b"ls \xe2\x80\xa8 end\n"),
        ([b"crlf\r\nnext\r\n"], b"crlf\r\nnext\r\n"),
        ([b"crlf\r", b"\n", b"next\n"], b"crlf\r\nnext\n"),
        ([b"\r\n", b"\r", b"\n"], b"\r\n\r\n"),
        ([b"10%\r20%\r30%\n"], b"30%\n"),
        ([b"\r10%", b"\r20%", b"\r30%\n"], b"30%\n"),
        ([b"10%\r", b"20%\r", b"30%\r", b"\n"], b"30%\n"),
        ([b"10%\r", b"20", b"%\r", b"done\nnext"], b"done\nnext\n"),
        ([b"10%\r20%\r\n"], b"20%\n"),
        ([b"10%\r20%\r"], b"20%\n"),
        ([b"10%\r"], b"10%\n"),
        ([b"\r"], b""),
        ([b"\r\r\n"], b"\n"),
    ],
)
def test_lines_come_whole_and_as_they_were_written(chunks: list[bytes], expected: bytes) -> None:
    assert shown(*chunks) == expected


def test_it_does_not_matter_where_chunks_end() -> None:
    text = b"a\r\nbb\n\n10%\r20%\r\xff\n\rx\ry\r\nend"
    one_by_one = shown(*(text[i : i + 1] for i in range(len(text))))

    assert one_by_one == shown(text) == b"a\r\nbb\n\n\xff\ny\nend\n"


def test_a_partial_line_shows_nothing_until_it_is_complete() -> None:
    lines = Lines()

    assert (lines.feed(b"par", 0.0), lines.due, lines.tick(99.0)) == (b"", None, b"")
    assert lines.feed(b"tial\n", 100.0) == b"partial\n"


def test_a_long_line_in_pieces_arrives_complete() -> None:
    line = b"x" * 1_000_000 + b"\n"

    assert shown(*(line[i : i + 65536] for i in range(0, len(line), 65536))) == line


def test_a_line_too_long_to_keep_is_shown_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rule, "LONGEST_LINE", 5)

    assert shown(b"abc", b"def", b"gh\n") == b"abcdef\ngh\n"
    assert shown(b"1%\rabcdef", b"gh\n") == b"abcdef\ngh\n"


def test_a_refreshed_line_shows_its_newest_state_at_most_once_a_second() -> None:
    lines = Lines()

    assert (lines.feed(b"\r10%", 5.0), lines.due) == (b"", 5.0)
    assert (lines.tick(5.0), lines.due) == (b"10%\n", None)
    assert (lines.feed(b"\r20%", 5.25), lines.due) == (b"", 6.0)
    assert (lines.feed(b"\r30%", 5.5), lines.due) == (b"", 6.0)
    assert (lines.tick(5.75), lines.due) == (b"", 6.0)
    assert (lines.tick(6.0), lines.due) == (b"30%\n", None)
    assert (lines.feed(b"\r100%\n", 6.25), lines.due) == (b"100%\n", None)


def test_a_state_that_was_shown_is_not_shown_again_by_its_newline_or_its_end() -> None:
    lines = Lines()
    lines.feed(b"100%\r", 0.0)

    assert lines.tick(0.0) == b"100%\n"
    assert lines.feed(b"\n", 0.5) == b""
    assert lines.feed(b"next\n", 0.5) == b"next\n"
    lines.feed(b"\rdone", 1.0)
    assert (lines.tick(1.0), lines.end()) == (b"done\n", b"")


def test_a_new_refreshed_line_waits_its_second_too() -> None:
    lines = Lines()
    lines.feed(b"\r1%", 0.0)
    lines.tick(0.0)

    assert (lines.feed(b"\r2%\n\r3%", 0.5), lines.due) == (b"2%\n", 1.0)


def test_a_stream_can_be_used_again_after_its_end() -> None:
    lines = Lines()
    lines.feed(b"\r1%\r", 0.0)
    lines.end()

    assert (lines.due, lines.feed(b"plain\n", 0.0)) == (None, b"plain\n")


def test_each_line_of_a_block_gets_the_prefix() -> None:
    assert b"".join(prefixed(b"a\n\nb\n", b"[x]:")) == b"[x]:a\n[x]:\n[x]:b\n"
    assert b"".join(prefixed(b"", b"[x]:")) == b""
    assert b"".join(prefixed(b"a\n", b"")) == b"a\n"


@pytest.mark.parametrize(
    ("needles", "expected"),
    [
        ([b"err"], b"an error\nerr\n"),
        ([b"err", b"fine"], b"an error\nall fine\nerr\n"),
        ([b"nothing"], b""),
        ([b"r\ne"], b""),
        ([b""], b"an error\nall fine\nerr\n"),
        ([], b""),
    ],
)
def test_lines_that_contain_a_needle_match(needles: list[bytes], expected: bytes) -> None:
    assert matching(b"an error\nall fine\nerr\n", needles) == expected


@pytest.mark.parametrize(
    ("data", "count", "expected"),
    [
        (b"", 3, ""),
        (b"a\nb\nc\n", 2, "b\nc"),
        (b"a\nb\nc", 2, "b\nc"),
        (b"a\n", 5, "a"),
        (b"a\n\nb\n", 2, "\nb"),
        (b"a\nb\n", 0, ""),
        (b" 1%\r 2%\r\nKilled \xff\n", 5, " 2%\nKilled \ufffd"),
    ],
)
def test_the_last_lines_are_text_for_people(data: bytes, count: int, expected: str) -> None:
    assert last_lines(data, count) == expected


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (None, b"[trainer1]:"),
        ("", b"[trainer1]:"),
        ("[${role_name}/${rank}] ", b"[trainer/9] "),
        ("$local_rank@${hostname}|", b"1@n7|"),
        ("caf\u00e9 ${rank}:", b"caf\xc3\xa9 9:"),
    ],
)
def test_the_prefix_comes_from_the_template_or_is_role_and_local_rank(template: str | None, expected: bytes) -> None:
    assert prefix(template, NAMES) == expected


@pytest.mark.parametrize("template", [None, "[${role_name}${local_rank}]:"])
def test_a_role_that_is_not_utf_8_stands_in_the_prefix_as_it_was_given(template: str | None) -> None:
    assert prefix(template, {**NAMES, "role_name": "\udcff"}) == b"[\xff1]:"


@pytest.mark.parametrize(
    "template",
    ["plain", "$$", "$$rank", "$rank$rank", "${rank}0", "$rank0", "${none} $none", "$ 5", "${", "${rank", "$1"],
)
def test_substitution_is_that_of_a_safe_string_template(template: str) -> None:
    assert substitute(template, NAMES) == string.Template(template).safe_substitute(NAMES)
