"""The bytes of the store's protocol, as torch's own clients send them."""

from __future__ import annotations

import pytest

from launcher_plugins.c10d_store import wire
from launcher_plugins.c10d_store.wire import HELLO, MAX_KEY, MAX_KEYS, MAX_VALUE, Decoder, encode


def u64(value: int) -> bytes:
    return value.to_bytes(8, "little")


def decode(data: bytes) -> list[wire.Request]:
    return list(Decoder().feed(data))


# What torch 2.13's client was seen to send.
CAPTURED = [
    ("set", "01 0200000000000000 2f6b 0100000000000000 76", (wire.SET, [b"/k", b"v"], 0)),
    ("wait", "06 0100000000000000 0200000000000000 2f6b", (wire.WAIT, [b"/k"], 0)),
    ("get", "03 0200000000000000 2f6b", (wire.GET, [b"/k"], 0)),
    ("add -7", "04 0200000000000000 2f6e f9ffffffffffffff", (wire.ADD, [b"/n"], -7)),
    (
        "compare_set from nothing",
        "02 0300000000000000 2f6373 0000000000000000 0100000000000000 61",
        (wire.COMPARE_SET, [b"/cs", b"", b"a"], 0),
    ),
    ("barrier", "12 0400000000000000 2f626172 0100000000000000", (wire.BARRIER, [b"/bar"], 1)),
]

# Every other request, spelled out from the protocol's description.
SPELLED = [
    (b"\x05" + u64(2) + u64(1) + b"a" + u64(2) + b"bc", (wire.CHECK, [b"a", b"bc"], 0)),
    (b"\x05" + u64(0), (wire.CHECK, [], 0)),
    (b"\x07", (wire.GETNUMKEYS, [], 0)),
    (b"\x08" + u64(1) + b"k", (wire.DELETE_KEY, [b"k"], 0)),
    (b"\x09" + u64(1) + b"k" + u64(2) + b"vw", (wire.APPEND, [b"k", b"vw"], 0)),
    (b"\x0a" + u64(2) + u64(1) + b"a" + u64(1) + b"b", (wire.MULTI_GET, [b"a", b"b"], 0)),
    (
        b"\x0b" + u64(2) + u64(1) + b"a" + u64(1) + b"1" + u64(1) + b"b" + u64(0),
        (wire.MULTI_SET, [b"a", b"1", b"b", b""], 0),
    ),
    (b"\x0c", (wire.CANCEL_WAIT, [], 0)),
    (b"\x0d\x2a\x00\x00\x80", (wire.PING, [], 0x8000002A)),
    (b"\x0e" + u64(1) + b"q" + u64(5) + b"hello", (wire.QUEUE_PUSH, [b"q", b"hello"], 0)),
    (b"\x0f" + u64(1) + b"q", (wire.QUEUE_POP, [b"q"], 0)),
    (b"\x10" + u64(1) + b"q", (wire.QUEUE_LEN, [b"q"], 0)),
    (b"\x11", (wire.LIST_KEYS, [], 0)),
]
KNOWN = [(bytes.fromhex(text), request) for _, text, request in CAPTURED] + SPELLED
EVERYTHING = b"".join(data for data, _ in KNOWN)
ALL_REQUESTS = [request for _, request in KNOWN]


def test_the_tables_above_name_every_opcode_but_validate():
    assert {request[0] for request in ALL_REQUESTS} == set(range(1, len(wire.NAMES)))


@pytest.mark.parametrize(("data", "request_"), KNOWN, ids=lambda value: str(value)[:40])
def test_a_request_is_read_and_written_as_torch_does(data: bytes, request_: wire.Request):
    assert decode(HELLO + data) == [request_]
    assert encode(*request_) == data


def test_a_client_opens_with_the_bytes_that_torch_sends():
    assert bytes.fromhex("00 ce f7 85 3c") == HELLO
    assert decode(HELLO + bytes.fromhex("0d 41 07 00 00")) == [(wire.PING, [], 0x741)]


@pytest.mark.parametrize("at", range(len(HELLO + EVERYTHING) + 1))
def test_a_stream_split_in_two_anywhere_reads_the_same(at: int):
    stream, decoder = HELLO + EVERYTHING, Decoder()

    assert [*decoder.feed(stream[:at]), *decoder.feed(stream[at:])] == ALL_REQUESTS


def test_a_stream_that_comes_byte_by_byte_reads_the_same():
    decoder = Decoder()

    assert [request for byte in HELLO + EVERYTHING for request in decoder.feed(bytes((byte,)))] == ALL_REQUESTS


def test_a_large_value_in_many_pieces_is_put_together():
    value = bytes(range(256)) * 4096
    data = HELLO + encode(wire.SET, [b"k", value]) + encode(wire.GETNUMKEYS)
    decoder = Decoder()
    pieces = [data[at : at + 1440] for at in range(0, len(data), 1440)]

    assert [request for piece in pieces for request in decoder.feed(piece)] == [
        (wire.SET, [b"k", value], 0),
        (wire.GETNUMKEYS, [], 0),
    ]


def test_keys_and_values_may_hold_any_bytes_and_none():
    request = (wire.SET, [b"\x00\xff\n", b""], 0)

    assert decode(HELLO + encode(*request)) == [request]


# --- the dialect of torch 2.1


OLD = [(data, request) for data, request in KNOWN if request[0] <= wire.CANCEL_WAIT]


@pytest.mark.parametrize(("data", "request_"), OLD, ids=lambda value: str(value)[:40])
def test_torch_2_1_numbers_its_requests_one_lower_and_opens_with_any_of_them(data: bytes, request_: wire.Request):
    old = bytes((data[0] - 1,)) + data[1:]
    decoder = Decoder()

    assert decode(old) == [request_]
    assert [request for byte in old + old for request in decoder.feed(bytes((byte,)))] == [request_, request_]


def test_the_dialect_of_a_connection_does_not_change():
    count_keys = b"\x06"

    assert decode(count_keys + count_keys) == [(wire.GETNUMKEYS, [], 0)] * 2
    with pytest.raises(ValueError, match="19"):
        decode(HELLO + b"\x13")


# --- what is refused


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        (
            b"\x00\x11\x22\x33\x44\x00\x00\x00\x00",
            "at most 8192",
        ),  # a wrong magic number reads as a key's length
        (HELLO + HELLO, "0 is no opcode"),
        (HELLO + b"\x13", "19 is no opcode"),
        (HELLO + b"\xff", "255 is no opcode"),
        (b"\x0c", "12 is no opcode"),
        (b"GET / HTTP/1.1\r\n\r\n", "71 is no opcode"),
        (HELLO + b"\x03" + u64(MAX_KEY + 1), "GET with 8193 bytes"),
        (HELLO + b"\x03" + b"\xff" * 8, "GET with 18446744073709551615 bytes"),
        (HELLO + b"\x01" + u64(1) + b"k" + u64(MAX_VALUE + 1), "SET with 8388609 bytes"),
        (HELLO + b"\x02" + u64(1) + b"k" + u64(0) + u64(MAX_VALUE + 1), "COMPARE_SET with 8388609 bytes"),
        (HELLO + b"\x0b" + u64(2) + (u64(1) + b"k") * 2 + u64(MAX_KEY + 1), "MULTI_SET with 8193 bytes"),
        (HELLO + b"\x05" + u64(MAX_KEYS + 1), "CHECK of 131073 keys"),
        (HELLO + b"\x06" + u64(2**63), "WAIT of 9223372036854775808 keys"),
    ],
)
def test_nonsense_is_refused_as_soon_as_it_shows(stream: bytes, reason: str):
    with pytest.raises(ValueError, match=reason):
        decode(stream)


@pytest.mark.parametrize(
    "request_",
    [
        (wire.GET, [b"k" * MAX_KEY], 0),
        (wire.SET, [b"k", b"v" * MAX_VALUE], 0),
        (wire.MULTI_SET, [b"k", b"v" * MAX_VALUE, b"l" * MAX_KEY, b""], 0),
        (wire.CHECK, [b""] * MAX_KEYS, 0),
    ],
    ids=["key", "value", "value of several", "count"],
)
def test_what_meets_a_bound_exactly_passes(request_: wire.Request):
    assert decode(HELLO + encode(*request_)) == [request_]


def test_requests_before_the_nonsense_are_read():
    read: list[wire.Request] = []

    with pytest.raises(ValueError, match="255"):
        read.extend(Decoder().feed(HELLO + EVERYTHING + b"\xff"))

    assert read == ALL_REQUESTS


@pytest.mark.parametrize(
    ("op", "fields", "reason"),
    [
        (wire.SET, [b"k" * (MAX_KEY + 1), b""], "8193"),
        (wire.SET, [b"k", b"v" * (MAX_VALUE + 1)], "8388609"),
        (wire.CHECK, [b""] * (MAX_KEYS + 1), "131073"),
    ],
)
def test_what_a_server_would_refuse_is_not_written(op: int, fields: list[bytes], reason: str):
    with pytest.raises(ValueError, match=reason):
        encode(op, fields)


@pytest.mark.parametrize(
    ("first", "ours"),
    [
        (HELLO[:1], True),
        (HELLO[:3], True),
        (HELLO, True),
        (HELLO + b"\x0d\x01\x02", True),
        (b"\x06", True),  # torch 2.1 counts keys
        (b"\x03" + u64(5)[:7], True),  # torch 2.1 adds to "init/"
        (b"\x00\x11\x22\x33\x44\x00\x00\x00", False),
        (b"\x03\x01\x02\x03\x04\x05\x06\x07", False),
        (b"GET / HT", False),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01", False),  # TLS
        (b"\x0c", False),
    ],
)
def test_the_first_bytes_tell_whether_it_is_this_protocol(first: bytes, ours: bool):
    assert wire.opens(first) is ours


def test_answers_are_written_as_torch_reads_them():
    assert wire.encode_number(-2) == bytes.fromhex("feffffffffffffff")
    assert wire.encode_nonce(0x8000002A) == bytes.fromhex("2a000080")
    assert wire.encode_blob(b"hello") == bytes.fromhex("0500000000000000 68656c6c6f")
    assert (wire.READY, wire.NOT_READY, wire.STOP_WAITING, wire.WAIT_CANCELED) == (b"\0", b"\1", b"\0", b"\1")
