"""The worker store and torch: its clients and our server, our client and its servers, a process group.

Our server is always a process of its own: torch's `queue_len` keeps the GIL while it waits for the answer.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest

torch = pytest.importorskip(
    "torch",
    reason="torch is not installed: `tox -e interop`, or `pip install torch numpy` (its CPU build will do)",
)
from torch.distributed import DistStoreError, TCPStore  # noqa: E402

from launcher_plugins.c10d_store.client import StoreClient  # noqa: E402

SOON = 60.0
"""Seconds after which what has not happened will not; torch's name lookups alone can take several."""
BRIEFLY = timedelta(milliseconds=100)
SERVER = """
import sys
from launcher_core.runtime.serving import PortServer, listen
from launcher_plugins.c10d_store.service import StoreService
server = PortServer(listen("127.0.0.1", 0), [StoreService()])
server.start()
print(server.port, flush=True)
sys.stdin.read()
server.stop()
"""


@pytest.fixture
def port() -> Iterator[int]:
    """The port of our server, with an empty key space."""
    command = [sys.executable, "-c", SERVER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.communicate("", timeout=SOON)
    assert process.returncode == 0


@pytest.fixture
def connect(port: int) -> Callable[[], Any]:
    """Makes torch clients of our server."""
    return lambda: TCPStore("127.0.0.1", port, is_master=False, wait_for_workers=False, timeout=timedelta(seconds=SOON))


@pytest.fixture
def store(connect: Callable[[], Any]) -> Any:
    return connect()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as pool:
        yield pool


# --- torch's client, our server


@pytest.mark.parametrize("value", [b"", b"v", bytes(range(256)), b"x" * 1024 * 1024], ids=len)
def test_torch_sets_and_gets(store: Any, value: bytes):
    store.set("k", value)

    assert store.get("k") == value


def test_torch_adds(store: Any):
    assert [store.add("n", 5), store.add("n", -7), store.get("n")] == [5, -2, b"-2"]


def test_torch_waits_for_what_is_there_and_for_what_comes(connect: Callable[[], Any], pool: ThreadPoolExecutor):
    store, other = connect(), connect()
    store.set("a", "1")
    store.wait(["a"])
    set_by_set = pool.submit(store.wait, ["a", "b"])
    set_by_add = pool.submit(connect().wait, ["n"])
    other.set("b", "")
    other.add("n", 1)

    assert (set_by_set.result(SOON), set_by_add.result(SOON)) == (None, None)


def test_torch_waits_in_vain_and_goes_on(store: Any):
    store.set("here", "1")

    with pytest.raises(DistStoreError, match="wait timeout after 100ms, keys: /here, /k"):
        store.wait(["here", "k"], BRIEFLY)

    store.set("k", "2")
    assert store.get("k") == b"2"


def test_torch_checks_counts_lists_and_deletes(store: Any):
    store.set("a", "1")
    store.set("b", "2")

    assert [store.check(["a", "b"]), store.check(["a", "c"])] == [True, False]
    assert (store.num_keys(), sorted(store.list_keys())) == (2, ["a", "b"])
    assert [store.delete_key("a"), store.delete_key("a"), store.num_keys()] == [True, False, 1]


def test_torch_compares_and_sets(store: Any):
    assert store.compare_set("k", "", "a") == b"a"
    assert store.compare_set("k", "x", "b") == b"a"
    assert store.compare_set("k", "a", "b") == b"b"
    assert store.compare_set("other", "x", "b") == b"x"


def test_torch_appends(store: Any):
    store.append("k", "ab")
    store.append("k", "c")

    assert store.get("k") == b"abc"


def test_torch_sets_and_gets_many(store: Any):
    keys, values = [f"key{n}" for n in range(3000)], [str(n) * 50 for n in range(3000)]
    store.multi_set(keys, values)

    assert store.multi_get(keys) == [value.encode() for value in values]


def test_torch_pushes_and_pops(connect: Callable[[], Any], pool: ThreadPoolExecutor):
    store = connect()
    store.queue_push("q", "1")
    store.queue_push("q", "2")
    assert [store.queue_len("q"), store.queue_pop("q"), store.queue_pop("q"), store.queue_len("q")] == [
        2,
        b"1",
        b"2",
        0,
    ]

    waiting = pool.submit(connect().queue_pop, "q")
    store.queue_push("q", "3")

    assert waiting.result(SOON) == b"3"
    with pytest.raises(RuntimeError, match="empty"):
        store.queue_pop("q", False)


def test_torch_meets_at_a_barrier(connect: Callable[[], Any], pool: ThreadPoolExecutor):
    wait = timedelta(seconds=SOON)
    stores = [connect() for _ in range(3)]
    passed = [pool.submit(store.barrier, "bar", 3, wait) for store in stores]
    assert [each.result(SOON) for each in passed] == [None, None, None]

    with pytest.raises(DistStoreError, match="barrier timeout"):
        stores[0].barrier("lonely", 2, BRIEFLY)
    assert stores[0].get("lonely") == b"1"


def test_torch_clones_its_client(store: Any):
    clone = store.clone()
    clone.set("k", "1")

    assert store.get("k") == b"1"


def test_torch_counts_its_workers(port: int):
    """With a world size every client adds to a key of another kind: it is counted, and not listed."""
    stores = [TCPStore("127.0.0.1", port, 2, is_master=False) for _ in range(2)]

    assert (stores[0].num_keys(), stores[0].list_keys()) == (1, [])


def test_keys_that_torch_wraps_in_prefixes_are_the_same_for_us(port: int, store: Any):
    torch.distributed.PrefixStore("outer", torch.distributed.PrefixStore("inner", store)).set("k", "1")

    with closing(StoreClient("127.0.0.1", port, SOON)) as ours:
        assert ours.list_keys() == store.list_keys() == ["inner/outer/k"]


# --- our client, torch's servers


@pytest.fixture(params=[True, False], ids=["libuv", "legacy"])
def ours(request: pytest.FixtureRequest) -> Iterator[StoreClient]:
    """Our client of a server of torch."""
    server = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False, use_libuv=request.param)
    with closing(StoreClient("127.0.0.1", server.port, SOON)) as client:
        yield client
    del server


def test_our_client_does_everything_with_torchs_servers(ours: StoreClient):
    large = os.urandom(1024 * 1024)
    ours.set("k", large)
    ours.append("text", "ab")
    ours.append("text", "c")
    ours.multi_set({"x": "1", "y": b"2"})

    assert ours.get("k") == large
    assert ours.get("text") == b"abc"
    assert ours.multi_get(["y", "x"]) == [b"2", b"1"]
    assert [ours.add("n", 5), ours.add("n", -7)] == [5, -2]
    assert [ours.compare_set("c", "", "a"), ours.compare_set("c", "x", "b")] == [b"a", b"a"]
    assert [ours.check(["k", "x"]), ours.check(["k", "z"])] == [True, False]
    assert [ours.delete_key("k"), ours.delete_key("k")] == [True, False]
    assert (ours.num_keys(), sorted(ours.list_keys())) == (5, ["c", "n", "text", "x", "y"])


def test_our_client_waits_in_vain_at_torchs_servers_and_goes_on(ours: StoreClient):
    with pytest.raises(TimeoutError, match="for key 'k'"):
        ours.get("k", 0.05)
    with pytest.raises(TimeoutError, match="barrier 'bar', where 1 of 2 have arrived"):
        ours.barrier("bar", 2, 0.05)

    ours.barrier("bar", 2)
    ours.set("k", "1")
    assert ours.get("k") == b"1"


def test_our_client_waits_for_what_another_sets_at_torchs_servers(ours: StoreClient, pool: ThreadPoolExecutor):
    with closing(StoreClient(ours.host, ours.port, SOON)) as other:
        value = pool.submit(other.get, "k")
        ours.set("k", "1")

        assert value.result(SOON) == b"1"


@pytest.mark.parametrize("ours", [True], indirect=True, ids=["libuv"])
def test_our_client_uses_the_queues_of_torchs_newer_server(ours: StoreClient):
    ours.queue_push("q", "1")

    assert [ours.queue_len("q"), ours.queue_pop("q"), ours.queue_len("q")] == [1, b"1", 0]
    with pytest.raises(TimeoutError, match="'q'"):
        ours.queue_pop("q", 0.05)


# --- a process group

WORKER = """
import torch, torch.distributed as dist
dist.init_process_group("gloo", init_method="env://")
rank, size = dist.get_rank(), dist.get_world_size()
tensor = torch.tensor([rank + 1.0])
dist.all_reduce(tensor)
group = dist.new_group([0, 1])
gathered = [None] * size
dist.all_gather_object(gathered, {"rank": rank})
dist.barrier()
print(int(tensor.item()), [each["rank"] for each in gathered], flush=True)
dist.destroy_process_group()
"""


def test_a_gloo_process_group_forms_over_our_server(port: int):
    world_size = 4
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER],
            env={
                **os.environ,
                "RANK": str(rank),
                "WORLD_SIZE": str(world_size),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
                "TORCHELASTIC_USE_AGENT_STORE": "True",
                "TORCHELASTIC_RESTART_COUNT": "0",
            },
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(world_size)
    ]
    try:
        outputs = [process.communicate(timeout=SOON * 2)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()

    assert [(process.returncode, output) for process, output in zip(processes, outputs, strict=True)] == [
        (0, "10 [0, 1, 2, 3]\n")
    ] * world_size
    with closing(StoreClient("127.0.0.1", port, SOON)) as ours:
        assert any(key.startswith("default_pg/0//cpu//0/") for key in ours.list_keys())
