"""Conversations with the store, as transcripts.

A line is a client, `>` and a request (`-` is an empty field), or a client, `<` and what it was sent since, in
hex; an answer not mentioned fails the test. A client and `!`: its connection is lost.
"""

from __future__ import annotations

import pytest

from launcher_plugins.c10d_store import wire
from launcher_plugins.c10d_store.service import MAX_ANSWER, MAX_GROWN, StoreService

TRANSCRIPTS = {
    "a key is set and read, waiting first as torch does": """
        a > SET /k v
        a > WAIT /k
        a < 00
        a > GET /k
        a < 0100000000000000 76
    """,
    "a missing key reads as empty": """
        a > GET /k
        a < 0000000000000000
    """,
    "numbers are signed and have 64 bits": """
        a > ADD /n 5
        a < 0500000000000000
        a > ADD /n -7
        a < feffffffffffffff
        a > GET /n
        a < 0200000000000000 2d32
    """,
    "compare_set answers with the value held": """
        a > COMPARE_SET /c - x
        a < 0100000000000000 78
        a > COMPARE_SET /c y z
        a < 0100000000000000 78
        a > COMPARE_SET /other y z
        a < 0100000000000000 79
    """,
    "checking answers ready or not": """
        a > SET /k v
        a > CHECK /k /l
        a < 01
        a > CHECK /k
        a < 00
        a > CHECK
        a < 00
    """,
    "keys are counted, listed and deleted, queues are not": """
        a > MULTI_SET /a 1 /b 2
        a > QUEUE_PUSH /q x
        a > GETNUMKEYS
        a < 0200000000000000
        a > LIST_KEYS
        a < 0200000000000000 0200000000000000 2f61 0200000000000000 2f62
        a > DELETE_KEY /a
        a < 0100000000000000
        a > DELETE_KEY /q
        a < 0000000000000000
        a > MULTI_GET /b /a /b
        a < 0100000000000000 32 0000000000000000 0100000000000000 32
    """,
    "appending answers nothing": """
        a > APPEND /k ab
        a > APPEND /k c
        a > GET /k
        a < 0300000000000000 616263
    """,
    "a ping comes back": """
        a > PING 305419896
        a < 78563412
    """,
    "a wait is answered when another client sets the key": """
        a > WAIT /k /l
        b > SET /k 1
        b > SET /l 1
        a < 00
    """,
    "while one waits it is served": """
        a > WAIT /k
        a > PING 1
        a < 01000000
        a > SET /k -
        a < 00
    """,
    "a cancelled wait is never answered": """
        a > WAIT /k
        a > CANCEL_WAIT
        a < 01
        b > SET /k 1
        a > CANCEL_WAIT
        a < 01
    """,
    "a wait that ended before its cancelling came is answered twice": """
        a > WAIT /k
        b > SET /k 1
        a > CANCEL_WAIT
        a < 00 01
    """,
    "who is lost is not woken": """
        a > WAIT /q
        b > WAIT /q
        a !
        c > QUEUE_PUSH /q x
        b < 00
    """,
    "a queue gives its length before and the oldest element": """
        a > WAIT /q
        b > QUEUE_PUSH /q hello
        b > QUEUE_PUSH /q you
        a < 00
        a > QUEUE_LEN /q
        a < 0200000000000000
        a > QUEUE_POP /q
        a < 0200000000000000 0500000000000000 68656c6c6f
        a > QUEUE_POP /q
        a < 0100000000000000 0300000000000000 796f75
        a > QUEUE_POP /q
        a < 0000000000000000
    """,
    "a barrier answers all when the last has come": """
        a > BARRIER /bar 3
        b > BARRIER /bar 3
        b > CANCEL_WAIT
        b < 01
        c > BARRIER /bar 3
        a < 00
        c < 00
        b > BARRIER /bar 3
        b < 00
    """,
}


class Client:
    """A peer that keeps what it is sent, and its session."""

    address = "here"
    torn = False

    def __init__(self, service: StoreService) -> None:
        self.sent: list[bytes] = []
        self.session = service.open(self)
        self.session.receive(wire.HELLO)

    def send(self, data: bytes) -> None:
        self.sent.append(data)

    def close(self) -> None:
        raise AssertionError("the store closes no connection: it raises ValueError")

    def ask(self, op: int, fields: tuple[bytes, ...] = (), number: int = 0) -> bytes:
        self.session.receive(wire.encode(op, fields, number))
        return self.take()

    def take(self) -> bytes:
        data = b"".join(self.sent)
        self.sent.clear()
        return data


def encoded(text: str) -> bytes:
    name, *words = text.split()
    op = wire.NAMES.index(name)
    number = int(words.pop()) if op in (wire.ADD, wire.PING, wire.BARRIER) else 0
    return wire.encode(op, [b"" if word == "-" else word.encode() for word in words], number)


@pytest.mark.parametrize("transcript", TRANSCRIPTS.values(), ids=TRANSCRIPTS)
def test_transcript(transcript: str):
    service = StoreService()
    clients = {name: Client(service) for name in "abc"}

    for line in filter(None, map(str.strip, transcript.splitlines())):
        name, mark, *rest = line.split(maxsplit=2)
        client = clients[name]
        if mark == "<":
            assert client.take() == bytes.fromhex(rest[0]), line
        else:
            client.session.lost() if mark == "!" else client.session.receive(encoded(rest[0]))

    assert {name: client.take() for name, client in clients.items()} == {"a": b"", "b": b"", "c": b""}


def test_the_transcripts_use_every_request():
    used = {line.split()[2] for text in TRANSCRIPTS.values() for line in text.splitlines() if " > " in line}

    assert used == set(wire.NAMES) - {"VALIDATE"}


@pytest.fixture
def client() -> Client:
    return Client(StoreService())


def test_requests_that_come_together_are_answered_together_and_in_order(client: Client):
    client.session.receive(
        wire.encode(wire.SET, [b"k", b"v"])
        + wire.encode(wire.WAIT, [b"later"])
        + wire.encode(wire.PING, number=7)
        + wire.encode(wire.SET, [b"later", b""])
        + wire.encode(wire.GET, [b"k"])
    )

    assert client.sent == [wire.encode_nonce(7) + wire.STOP_WAITING + wire.encode_blob(b"v")]


def test_what_came_before_nonsense_is_done_and_answered(client: Client):
    with pytest.raises(ValueError, match="255"):
        client.session.receive(wire.encode(wire.SET, [b"k", b"v"]) + wire.encode(wire.CHECK, [b"k"]) + b"\xff")

    assert client.take() == wire.READY


def test_adding_to_a_text_ends_the_conversation(client: Client):
    client.ask(wire.SET, (b"n", b"abc"))

    with pytest.raises(ValueError, match="b'n'"):
        client.ask(wire.ADD, (b"n",), 1)


def test_a_multi_set_is_seen_only_when_it_is_complete():
    service = StoreService()
    writer, reader = Client(service), Client(service)
    data = wire.encode(wire.MULTI_SET, [b"a", b"1", b"b", b"2"])

    seen = []
    for at in range(len(data)):
        writer.session.receive(data[at : at + 1])
        seen.append(reader.ask(wire.GETNUMKEYS))

    assert seen == [wire.encode_number(0)] * (len(data) - 1) + [wire.encode_number(2)]


def test_a_service_starts_with_no_keys():
    Client(StoreService()).ask(wire.SET, (b"k", b"v"))

    assert Client(StoreService()).ask(wire.GETNUMKEYS) == wire.encode_number(0)


def test_nobody_can_ask_for_more_than_the_server_will_hold(client: Client):
    size = wire.MAX_VALUE
    client.ask(wire.SET, (b"k", b"v" * size))
    times = MAX_ANSWER // size

    with pytest.raises(ValueError, match="at once"):
        client.ask(wire.MULTI_GET, (b"k",) * (times + 1))
    with pytest.raises(ValueError, match="at once"):
        client.session.receive(wire.encode(wire.GET, [b"k"]) * times)


def test_a_value_that_could_not_be_read_again_is_not_made(client: Client):
    for _ in range(MAX_GROWN // wire.MAX_VALUE):
        client.ask(wire.APPEND, (b"k", b"v" * wire.MAX_VALUE))

    with pytest.raises(ValueError, match="APPEND"):
        client.ask(wire.APPEND, (b"k", b"v"))

    assert len(client.ask(wire.GET, (b"k",))) == 8 + MAX_GROWN
