"""What the client of each torch sends, in order, as bytes; replayed whole, byte by byte and split by chance.

A conversation is lines of `>` (sent to the server) and `<` (answered), in hex; `name >` is another connection. The
versions differ in how they open, in the number of an opcode (2.1), and in which requests they have; the requests are
those seen of torch 2.13, and where none was kept, spelled out from the protocol's description.
"""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest

from launcher_plugins.c10d_store.service import StoreService

VALIDATE = "00 ce f7 85 3c"
PING = "0d 41 07 00 00"
PONG = "41 07 00 00"
JOINED = """
    > 04 0500000000000000 696e69742f 0100000000000000
    < 0100000000000000
"""
"""A client that was given a world size counts itself, at a key without a slash."""

SET_AND_GET = """
    > 01 0200000000000000 2f6b 0100000000000000 76
    > 06 0100000000000000 0200000000000000 2f6b
    < 00
    > 03 0200000000000000 2f6b
    < 0100000000000000 76
"""
ADD = """
    > 04 0200000000000000 2f6e 0500000000000000
    < 0500000000000000
    > 04 0200000000000000 2f6e f9ffffffffffffff
    < feffffffffffffff
"""
COMPARE_SET = """
    > 02 0300000000000000 2f6373 0000000000000000 0100000000000000 61
    < 0100000000000000 61
    > 02 0300000000000000 2f6373 0100000000000000 78 0100000000000000 62
    < 0100000000000000 61
"""
CHECK_COUNT_DELETE = """
    > 05 0100000000000000 0200000000000000 2f78
    < 01
    > 01 0200000000000000 2f78 0000000000000000
    > 05 0100000000000000 0200000000000000 2f78
    < 00
    > 08 0200000000000000 2f78
    < 0100000000000000
    > 08 0200000000000000 2f78
    < 0000000000000000
"""
EXTENDED = """
    > 09 0200000000000000 2f61 0200000000000000 6162
    > 09 0200000000000000 2f61 0100000000000000 63
    > 0b 0200000000000000 0200000000000000 2f62 0100000000000000 31 0200000000000000 2f63 0000000000000000
    > 06 0300000000000000 0200000000000000 2f61 0200000000000000 2f62 0200000000000000 2f63
    < 00
    > 0a 0300000000000000 0200000000000000 2f61 0200000000000000 2f62 0200000000000000 2f63
    < 0300000000000000 616263 0100000000000000 31 0000000000000000
"""
WAIT_IN_VAIN = """
    > 06 0100000000000000 0500000000000000 2f6c617465
    > 0c
    < 01
    other > 01 0500000000000000 2f6c617465 0000000000000000
    > 06 0100000000000000 0500000000000000 2f6c617465
    < 00
"""
COUNT = """
    > 01 0200000000000000 2f6f 0000000000000000
    > 07
    < 0100000000000000
"""
QUEUES = """
    > 0e 0200000000000000 2f71 0500000000000000 68656c6c6f
    > 10 0200000000000000 2f71
    < 0100000000000000
    > 06 0100000000000000 0200000000000000 2f71
    < 00
    > 0f 0200000000000000 2f71
    < 0100000000000000 0500000000000000 68656c6c6f
    > 0f 0200000000000000 2f71
    < 0000000000000000
"""
LIST = """
    > 01 0200000000000000 2f6f 0000000000000000
    > 11
    < 0100000000000000 0200000000000000 2f6f
"""
BARRIER = """
    > 12 0400000000000000 2f626172 0100000000000000
    < 00
    > 12 0400000000000000 2f747770 0200000000000000
    other > 12 0400000000000000 2f747770 0200000000000000
    < 00
    other < 00
"""

BASIC = {
    "set and get": SET_AND_GET,
    "add": ADD,
    "compare_set": COMPARE_SET,
    "check, delete": CHECK_COUNT_DELETE,
    "num_keys": COUNT,
    "append, multi_set, multi_get": EXTENDED,
    "a wait in vain": WAIT_IN_VAIN,
    "world size": JOINED,
}
NEWER = {**BASIC, "queues": QUEUES}
LISTING = {**NEWER, "list_keys": LIST}
ALL = {**LISTING, "barrier": BARRIER}
TOGETHER = ("a wait in vain", "barrier")
"""Those that take two connections, with an order between them."""
OPENINGS = {"none": "", "validate": f"> {VALIDATE}", "ping": f"> {VALIDATE} {PING}\n< {PONG}"}
CLIENTS = {
    "2.1": ("none", BASIC),
    "2.2": ("validate", BASIC),
    "2.3": ("validate", BASIC),
    "2.4": ("validate", BASIC),
    "2.5": ("ping", BASIC),
    "2.6": ("ping", BASIC),
    "2.7": ("ping", BASIC),
    "2.8": ("ping", NEWER),
    "2.9": ("ping", NEWER),
    "2.10": ("ping", LISTING),
    "2.12": ("ping", ALL),
    "2.13": ("ping", ALL),
    "2.15": ("ping", ALL),
}
EACH = [(torch, name) for torch, (_, talks) in CLIENTS.items() for name in talks]


def conversation(torch: str, name: str) -> list[tuple[str, str, bytes]]:
    """(Who, > or <, bytes) of each line, as that torch writes it."""
    opening, talks = CLIENTS[torch]
    lines = []
    for line in filter(None, map(str.strip, (talks[name]).splitlines())):
        left, mark, text = line.partition("<" if "<" in line else ">")
        data = bytes.fromhex(text)
        if torch == "2.1" and mark == ">":
            data = bytes((data[0] - 1,)) + data[1:]
        lines.append((left.strip(), mark, data))
    begun = [
        (who, line[0], bytes.fromhex(line[1:]))
        for who in sorted({who for who, _, _ in lines})
        for line in filter(None, OPENINGS[opening].splitlines())
    ]
    return begun + lines


class Client:
    """A connection that keeps what it was answered."""

    address = "here"
    torn = False

    def __init__(self, service: StoreService) -> None:
        self.answers = bytearray()
        self.session = service.open(self)

    def send(self, data: bytes) -> None:
        self.answers += data

    def close(self) -> None:
        raise AssertionError("the store closes no connection of an honest client")


def replay(lines: list[tuple[str, str, bytes]], split) -> None:
    """Say what was said, in these pieces; each answer must have come, and nothing else."""
    service = StoreService()
    clients = {who: Client(service) for who, _, _ in lines}
    for who, mark, data in lines:
        client = clients[who]
        if mark == ">":
            for piece in split(data):
                client.session.receive(piece)
        else:
            assert bytes(client.answers[: len(data)]) == data
            del client.answers[: len(data)]
    assert not any(client.answers for client in clients.values())


@pytest.mark.parametrize(("torch", "name"), EACH)
def test_each_torch_is_answered_as_it_expects(torch: str, name: str):
    replay(conversation(torch, name), lambda data: [data])


@pytest.mark.parametrize(("torch", "name"), EACH)
def test_each_torch_is_answered_when_it_comes_byte_by_byte(torch: str, name: str):
    replay(conversation(torch, name), lambda data: [data[at : at + 1] for at in range(len(data))])


@pytest.mark.parametrize(("torch", "name"), EACH)
def test_each_torch_is_answered_however_it_is_split(torch: str, name: str):
    for seed in range(20):
        random = Random(f"{torch} {name} {seed}")

        def split(data: bytes, random: Random = random) -> list[bytes]:
            cuts = sorted({0, len(data), *(random.randrange(len(data)) for _ in range(3))})
            return [data[at:end] for at, end in pairwise(cuts)]

        replay(conversation(torch, name), split)


@pytest.mark.parametrize(("torch", "name"), [each for each in EACH if each[1] not in TOGETHER])
def test_requests_that_are_not_waited_for_are_answered_in_order(torch: str, name: str):
    """All that one client says in one piece: torch's servers take that, too."""
    lines = conversation(torch, name)
    client = Client(StoreService())
    client.session.receive(b"".join(data for _, mark, data in lines if mark == ">"))

    assert client.answers == b"".join(data for _, mark, data in lines if mark == "<")


# --- what torch's servers get wrong ----------------------------------------------------------------------


@pytest.mark.parametrize("at", range(1, 10))
def test_a_handshake_may_be_split_anywhere(at: int):
    """Torch's libuv server closes the connection."""
    service, opening = StoreService(), bytes.fromhex(VALIDATE + PING)
    assert service.claims(opening[:at])
    client = Client(service)
    client.session.receive(opening[:at])
    client.session.receive(opening[at:])

    assert client.answers == bytes.fromhex(PONG)


def waiting(service: StoreService, key: str) -> Client:
    client = Client(service)
    client.session.receive(bytes.fromhex(f"{VALIDATE} 06 0100000000000000 0200000000000000 {key}"))
    return client


def says(service: StoreService, text: str) -> bytes:
    """The answer to one request of another client."""
    other = Client(service)
    other.session.receive(bytes.fromhex(f"{VALIDATE} {text}"))
    return bytes(other.answers)


def test_a_compare_and_swap_that_lost_wakes_nobody():
    """Torch's libuv server wakes who waits for the key, which does not exist."""
    service = StoreService()
    client = waiting(service, "2f63")
    lost = says(service, "02 0200000000000000 2f63 0100000000000000 78 0100000000000000 79")

    assert (lost, client.answers) == (bytes.fromhex("0100000000000000 78"), b"")


def test_a_compare_and_swap_that_makes_the_key_wakes_who_waits_for_it():
    """Torch's other server does not."""
    service = StoreService()
    client = waiting(service, "2f63")
    says(service, "02 0200000000000000 2f63 0000000000000000 0100000000000000 79")

    assert client.answers == b"\0"


def test_half_a_multi_set_is_not_seen():
    """Torch's libuv server does the pairs that have come, again with every piece."""
    service, writer = StoreService(), Client(StoreService())
    writer.session = service.open(writer)
    pairs = "0200000000000000 2f61 0100000000000000 31 0200000000000000 2f62 0000000000000000"
    whole = bytes.fromhex(f"{VALIDATE} 0b 0200000000000000 {pairs}")
    writer.session.receive(whole[:-1])
    assert says(service, "07") == bytes(8)

    writer.session.receive(whole[-1:])
    assert says(service, "07") == (2).to_bytes(8, "little")


def test_without_a_handshake_nothing_of_the_new_dialect_is_done():
    """Torch's libuv server does the first request, and all after it, as soon as the second comes."""
    service, stranger = StoreService(), Client(StoreService())
    stranger.session = service.open(stranger)
    with pytest.raises(ValueError):
        stranger.session.receive(bytes.fromhex(PING))

    assert (stranger.answers, says(service, "07")) == (b"", bytes(8))


def test_a_missing_key_reads_as_empty():
    """Torch's other server closes the connection."""
    assert says(StoreService(), "03 0200000000000000 2f7a") == bytes(8)
