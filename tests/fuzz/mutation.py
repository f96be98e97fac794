"""Streams of frames that no honest peer sends: made of honest ones, from a seed, so that each can be made again."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from random import Random
from typing import Any

from launcher_core.rules import proof
from launcher_core.rules.protocol import MAGIC
from launcher_plugins.c10d_store import wire

STREAM = 12
"""The most frames of one stream."""
KEYS = (b"", b"/k", b"/n", b"/q", b"init/", b"/" + b"k" * 300, b"\xff\x00")
TEXTS = (b"", b"1", b"-7", b" 12abc", b"9" * 19, b"0" * 4096 + b"1" * 20, b" " * 4096 + b"x", b"\0" * 70_000)
LENGTHS = (0, 1, 7, 255, 8192, 8193, 65_536, 65_537, 1 << 20, 1 << 23, (1 << 23) + 1, 1 << 31, 1 << 32, 1 << 63)
DEEP = (10, 400, 950, 990, 1000, 5000, 30_000)


# --- the store's protocol --------------------------------------------------------------------------------


def store_request(random: Random) -> bytes:
    """One honest request, of any kind."""
    op = random.randrange(1, len(wire.NAMES))
    _, limits, counted, _ = wire._LAYOUTS[op]
    fields = [random.choice(KEYS if limit == wire.MAX_KEY else TEXTS) for limit in limits]
    many = fields * random.choice((0, 1, 2, 5)) if counted else fields
    if op == wire.ADD and random.random() < 0.1:
        return wire.encode(wire.SET, [many[0], b"0" * (1 << 20) + b"1" * 20]) + wire.encode(op, many, 1)
    return wire.encode(op, many, random.choice((0, 1, 2, 1000, (1 << 31) - 1)))


def store_opening(random: Random) -> bytes:
    """How a client opens: nearly always as torch 2.2 does."""
    ping = wire.encode(wire.PING, number=random.randrange(1 << 32))
    return random.choice((wire.HELLO + ping, wire.HELLO, wire.HELLO, b"", b"\0", wire.HELLO + wire.HELLO, MAGIC))


# --- the agents' protocol --------------------------------------------------------------------------------


def node(random: Random) -> dict[str, Any]:
    """A node; never one that another stream or an honest agent could be."""
    id = f"fuzz-{random.getrandbits(64):x}"
    rank = random.choice((None, None, 0, 1, 5))
    return {"id": id, "name": "fuzz", "local_world_size": 1, "role": "r", "node_rank": rank, "pid": 1}


def from_agent(random: Random, me: dict[str, Any], close: bool) -> dict[str, Any]:
    """One message of this node; with `close`, it may be the one that ends the job for everybody."""
    number = random.choice((0, 1, 7))
    kinds: list[dict[str, Any]] = [
        {"type": "ok", "n": number},
        {"type": "join", "node": me, "past": random.choice((None, [0, 0, 0, 1], [3, 1, 1, 2]))},
        {"type": "resume", "node": me, "round": number},
        {"type": "failed", "round": number, "reason": "boom"},
        {"type": "finished", "round": number},
        {"type": "hello", "run_id": "job", "nonce": "n", "proof": "0" * 64},
        {"type": "leave", "reason": "bye"},
    ]
    return random.choice([*kinds, {"type": "close", "reason": "x"}] if close else kinds)


def from_host(random: Random) -> dict[str, Any]:
    """One message of a host."""
    names = "round group_rank group_world_size base_rank world_size base_role_rank role_world_size restarts"
    seat: dict[str, Any] = {**dict.fromkeys(names.split(), 1), "master_addr": "", "master_port": 1}
    return random.choice(
        [
            {"type": "challenge", "nonce": "n", "token": True},
            {"type": "welcome", "silence": 9, "interval": 3, "nonce": "h", "proof": host_proof()},
            {"type": "refused", "reason": "x"},
            {"type": "ok", "n": 1},
            {"type": "seat", **seat},
            {"type": "dismiss", "round": 1, "reason": "x", "restart": True, "restarts": 1, "max_restarts": 3},
            {"type": "park"},
            {"type": "waiting", "have": 1, "low": 1, "high": 2, "detail": "x", "seconds_left": None},
            {"type": "end", "succeeded": True, "reason": "x"},
        ]
    )


def host_proof() -> str:
    """What a host says that knows the token "secret", to a guest whose nonce is "mine"."""
    return proof.of(b"secret", "host", "job", "mine", "h")


def framed(body: bytes) -> bytes:
    """A frame of the agents' protocol, whatever is in it."""
    return len(body).to_bytes(4, "big") + body


def value(random: Random) -> str:
    """The JSON, or nearly, of something that stands in no honest field."""
    deep = random.choice(DEEP)
    return random.choice(
        (
            *("null", "true", "-1", "0", "1.5", "1e999", "-Infinity", "NaN", "9" * 400, "9" * 5000, "-0"),
            *('""', '"x"', '"\\ud800"', '"\\u0000"', '"' + "x" * 5000 + '"', "[]", "{}", '{"a":1}', "[1,2]", "[[]]"),
            *("[" * deep + "]" * deep, '{"a":' * deep + "1" + "}" * deep, "[" * deep, "", "\\", "0" * 20, "\x00"),
        )
    )


def spoilt(random: Random, message: dict[str, Any]) -> bytes:
    """The message with something wrong in one field, or one more, or one less; as a frame."""
    parts = {key: json.dumps(item) for key, item in message.items()}
    key = random.choice(list(parts))
    inner = message.get("node")
    if inner and random.random() < 0.7:
        fields = {name: json.dumps(item) for name, item in inner.items()}
        fields[random.choice([*fields, "more"])] = value(random)
        parts["node"] = written(fields)
    elif random.random() < 0.1:
        del parts[key]
    else:
        parts[random.choice((key, key, key, "more"))] = value(random)
    body = written(parts).encode("utf-8", "surrogatepass")
    return framed(random.choice((body, body, body, body, body[1:-1], b"[" + body + b"]", b"\xff\xfe" + body)))


def written(parts: dict[str, str]) -> str:
    """An object of JSON texts."""
    return "{" + ",".join(f'"{key}":{text}' for key, text in parts.items()) + "}"


# --- bytes -----------------------------------------------------------------------------------------------


def flipped(random: Random, data: bytes) -> bytes:
    """A few bits are others."""
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 8))):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def cut(random: Random, data: bytes) -> bytes:
    """The end, or something in the middle, is missing."""
    at = random.randrange(len(data))
    return data[:at] + random.choice((b"", data[at + random.randrange(1, 9) :]))


def stuffed(random: Random, data: bytes) -> bytes:
    """There is more: noise, or a part of it again."""
    at = random.randrange(len(data) + 1)
    return data[:at] + random.choice((random.randbytes(random.randrange(1, 40)), data[:at][-64:])) + data[at:]


def mismeasured(random: Random, data: bytes) -> bytes:
    """Some bytes, a length perhaps, are another number."""
    at, size, order = random.randrange(len(data)), random.choice((4, 8)), random.choice(("big", "little"))
    number = (random.choice(LENGTHS) % (1 << 8 * size)).to_bytes(size, order)
    at = random.choice((at, 0, 1))
    return data[:at] + number + data[at + size :]


def as_it_is(random: Random, data: bytes) -> bytes:
    """Nothing is wrong with it but, perhaps, its place."""
    return data


BYTES: tuple[Callable[[Random, bytes], bytes], ...] = (as_it_is, as_it_is, flipped, cut, stuffed, mismeasured)


def mutated(random: Random, data: bytes) -> bytes:
    """The frame after one mutation of its bytes."""
    return random.choice(BYTES)(random, data)


def pieces(random: Random, data: bytes) -> list[bytes]:
    """The stream in parts, split anywhere; now and then byte by byte."""
    if not data:
        return []
    if random.random() < 0.02 and len(data) < 3000:
        return [data[at : at + 1] for at in range(len(data))]
    cuts = sorted({0, *(random.randrange(len(data)) for _ in range(random.choice((0, 1, 2, 5)))), len(data)})
    whole = [data[at:end] for at, end in pairwise(cuts)]
    return [part[at : at + 65_536] for part in whole for at in range(0, len(part), 65_536)]
