"""Stores with a protocol of their own, sound and with defects, held against the kit by `test_kit_finds.py`."""

from __future__ import annotations

import json
import socket

import pytest

from launcher_core.testing import StoreContract


class Session:
    """Takes lines of JSON: [what to do, the key, what with]; bytes are written in hexadecimal."""

    def __init__(self, service, peer):
        self.service, self.peer, self.received = service, peer, b""

    def receive(self, data):
        self.received += data
        while b"\n" in self.received:
            line, self.received = self.received.split(b"\n", 1)
            words = json.loads(line)
            if not isinstance(words, list):
                raise ValueError("no request")
            self.do(*words)

    def lost(self):
        self.service.waiting = [(key, one) for key, one in self.service.waiting if one is not self]

    def answer(self, value):
        self.peer.send(json.dumps(value).encode() + b"\n")

    def do(self, what, key, operand):
        values = self.service.values
        if what == "set":
            values[key] = operand
            for waited, one in self.service.waiting:
                if waited == key:
                    one.answer(operand)
            self.service.waiting = [pair for pair in self.service.waiting if pair[0] != key]
        elif what == "add":
            values[key] = str(int(bytes.fromhex(values.get(key, b"0".hex()))) + operand).encode().hex()
            self.answer(values[key])
        elif key in values:
            self.answer(values[key])
        else:
            self.service.waiting.append((key, self))


class Service:
    session = Session

    def __init__(self):
        self.values, self.waiting = {}, []

    def claims(self, first):
        return first[:1] == b"["

    def open(self, peer):
        return self.session(self, peer)


class Client:
    def __init__(self, port, timeout):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout)
        self.sock.settimeout(timeout)
        self.file = self.sock.makefile("rb")

    def ask(self, *words):
        self.sock.sendall(json.dumps(words).encode() + b"\n")

    def read(self):
        return bytes.fromhex(json.loads(self.file.readline()))

    def set(self, key, value):
        self.ask("set", key, value.hex())

    def get(self, key):
        self.ask("get", key, None)
        return self.read()

    def add(self, key, number):
        self.ask("add", key, number)
        return int(self.read())

    def close(self):
        self.sock.shutdown(socket.SHUT_RDWR)  # another thread may be reading
        self.file.close()
        self.sock.close()


class Store:
    """A sound one."""

    def __init__(self, service=Service, client=Client):
        self._service, self._client = service, client

    def serve(self):
        return self._service()

    def connect(self, host, port, timeout):
        return self._client(port, timeout)


class Kit(StoreContract):
    service = Service
    client = Client
    seconds = 0.5
    caught_by = ""

    @pytest.fixture
    def store(self):
        return Store(self.service, self.client)


class TestSound(Kit):
    seconds = 10.0


class TestOneKeySpace(Kit):
    """Every service has the keys of the first."""

    caught_by = "test_every_service_begins_empty_and_sees_nothing_of_another"

    @pytest.fixture
    def store(self):
        service = Service()
        return Store(lambda: service)


class TestWholeLinesOnly(Kit):
    """Takes every piece for a request."""

    caught_by = "test_a_conversation_may_be_split_anywhere"

    class service(Service):
        class session(Session):
            def receive(self, data):
                self.do(*json.loads(data))


class TestClaimsAll(Kit):
    caught_by = "test_connections_of_agents_are_not_claimed"

    class service(Service):
        def claims(self, first):
            return True


class TestClaimsNothing(Kit):
    caught_by = "test_what_one_client_sets_another_gets_as_bytes"

    class service(Service):
        def claims(self, first):
            return False


class TestGetsNothingAtOnce(Kit):
    """Answers for a key that is not there yet."""

    caught_by = "test_get_waits_for_what_another_client_sets"

    class service(Service):
        class session(Session):
            def do(self, what, key, operand):
                if what == "get" and key not in self.service.values:
                    self.answer("")
                else:
                    super().do(what, key, operand)


class TestWakesOne(Kit):
    """Of those who wait for a key the last one is told."""

    caught_by = "test_many_wait_for_one_key"

    class service(Service):
        class session(Session):
            def do(self, what, key, operand):
                self.service.waiting = self.service.waiting[-1:]
                super().do(what, key, operand)


class TestWaitsForEver(Kit):
    """Forgets the timeout."""

    caught_by = "test_a_wait_that_is_too_long_raises"

    class client(Client):
        def __init__(self, port, timeout):
            super().__init__(port, 60.0)


class TestNumbersOfItsOwn(Kit):
    """Adds in the client."""

    caught_by = "test_no_addition_of_many_clients_is_lost"

    class client(Client):
        number = 0

        def add(self, key, number):
            self.number += number
            return self.number


class TestText(Kit):
    """Strips white space and more from values."""

    caught_by = "test_a_value_is_any_bytes"

    class client(Client):
        def set(self, key, value):
            super().set(key, value.rstrip(b"\0"))


class TestFoldsKeys(Kit):
    caught_by = "test_keys_are_told_apart"

    class client(Client):
        def ask(self, what, key, operand):
            super().ask(what, key.lower().strip("/"), operand)


class TestClearsOnLeave(Kit):
    """The first who goes takes everything along."""

    caught_by = "test_a_client_that_is_gone_harms_nobody"

    class service(Service):
        class session(Session):
            def lost(self):
                self.service.values.clear()
