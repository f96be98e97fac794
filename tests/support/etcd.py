"""Real etcd servers for tests: one or several members, plain or with TLS and users, each a process of this test's own.

Every cluster has a loopback address to itself, so that its fixed ports are nobody else's.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import signal
import ssl
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from launches import until

_NUMBERS = itertools.count()
KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
PASSWORDS = {"root": "toor", "launcher": "open sesame", "stranger": "who knows"}


def need(program: str, package: str) -> str:
    """Where the program is; fails the test, and says where it is to be had, when it is not there."""
    found = shutil.which(program)
    if found is None:
        pytest.fail(f"{program} is not installed; on Debian: apt-get install --no-install-recommends {package}")
    return found


def _address() -> str:
    """A loopback address of this process and this cluster."""
    number = os.getpid() * 64 + next(_NUMBERS) % 64
    return f"127.{1 + (number >> 15) % 254}.{(number >> 7) & 255}.{1 + (number & 127)}"


class Cluster:
    """Members are numbered from 0; member i serves port 2379 + 10 i."""

    patience = 5.0
    """Seconds for an answer."""

    def __init__(
        self, folder: Path, members: int = 1, tls: bool = False, certificate: str = "server", flags: Sequence[str] = ()
    ) -> None:
        """`certificate` is what a member with TLS shows; with one that nobody trusts it is not waited for."""
        self.folder = folder
        self.address = _address()
        self.size = members
        self.tls = tls
        self.certificate = certificate
        self.flags = tuple(flags)
        """For etcd, beside those that make it a member."""
        self._binary = need("etcd", "etcd-server")
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        folder.mkdir(parents=True, exist_ok=True)
        if tls:
            make_certificates(folder, self.address)

    def __enter__(self) -> Cluster:
        memory = "/dev/shm" if os.path.isdir("/dev/shm") else None  # etcd waits for the disk at each write
        self.data = Path(tempfile.mkdtemp(prefix="etcd-", dir=memory))
        try:
            for index in range(self.size):
                self.start(index)
            if self.certificate == "server":
                self.ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes.values():
            process.kill()
            process.wait(10)
        shutil.rmtree(self.data, ignore_errors=True)

    @property
    def endpoint(self) -> str:
        """All members, for --rdzv-endpoint."""
        return ",".join(self.host(index) for index in range(self.size))

    def host(self, index: int) -> str:
        return f"{self.address}:{2379 + 10 * index}"

    def peer(self, index: int) -> str:
        """Where a member serves the others."""
        return f"{self.address}:{2380 + 10 * index}"

    def enter(self, index: int) -> list[str]:
        """The words that run a command on a member's machine."""
        return []

    def start(self, index: int) -> None:
        """Start a member, on the data that it had before."""
        scheme = "https" if self.tls else "http"
        client, peer = f"{scheme}://{self.host(index)}", f"http://{self.peer(index)}"
        everyone = ",".join(f"m{one}=http://{self.peer(one)}" for one in range(self.size))
        command = [
            *self.enter(index), self._binary, *self.flags, "--name", f"m{index}",
            "--data-dir", str(self.data / f"m{index}"),
            "--listen-client-urls", client, "--advertise-client-urls", client,
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
            "--initial-cluster", everyone, "--logger", "zap", "--auth-token", "simple",
        ]  # fmt: skip
        if self.tls:
            name = self.certificate
            files = {"cert-file": f"{name}.pem", "key-file": f"{name}.key", "trusted-ca-file": "ca.pem"}
            command += [f"--{flag}={self.folder / name}" for flag, name in files.items()] + ["--client-cert-auth"]
        with (self.folder / f"m{index}.log").open("ab") as log:
            self._processes[index] = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def signal(self, index: int, signum: int) -> None:
        """Signal a member; one that is to stop has stopped then."""
        process = self._processes[index]
        process.send_signal(signum)
        if signum == signal.SIGSTOP:
            threads = Path(f"/proc/{process.pid}/task").glob("*/stat")
            for thread in threads:
                until(lambda thread=thread: thread.read_text().rpartition(")")[2].split()[0] == "T", "it stops", 10)

    def kill(self, index: int) -> None:
        """Kill a member, and wait until it is gone."""
        self._processes[index].send_signal(signal.SIGCONT)
        self._processes[index].kill()
        self._processes[index].wait(10)

    def ready(self, index: int | None = None) -> None:
        """Wait until a member, or every one, answers with the cluster's word."""
        for one in range(self.size) if index is None else [index]:
            until(lambda one=one: self._answers(one), f"etcd {self.host(one)}; its log is in {self.folder}")

    def _answers(self, index: int) -> bool:
        try:
            self.post("/v3/kv/range", {"key": "eA=="}, index)
        except urllib.error.HTTPError as error:
            said = error.read()
            return b"user name is empty" in said or b"permission denied" in said
        except (OSError, ValueError):
            return False
        return True

    def leader(self) -> int:
        """The member that leads."""

        def found() -> int | None:
            for index in range(self.size):
                with suppress(OSError, ValueError):
                    status = self.post("/v3/maintenance/status", {}, index)
                    if status.get("leader") == status["header"]["member_id"]:
                        return index + 1
            return None

        return int(until(found, "no member leads")) - 1  # type: ignore[call-overload]

    def post(self, path: str, body: dict[str, Any], index: int = 0, token: str = "") -> dict[str, Any]:
        """A request to one member, as the API's documentation has it."""
        url = f"{'https' if self.tls else 'http'}://{self.host(index)}{path}"
        request = urllib.request.Request(url, json.dumps(body).encode(), {"Authorization": token} if token else {})
        context = None
        if self.tls:
            context = ssl.create_default_context(cafile=str(self.folder / "ca.pem"))
            context.load_cert_chain(self.folder / "client.pem", self.folder / "client.key")
        answer: dict[str, Any] = json.loads(self._fetch(index, request, context))
        return answer

    def _fetch(self, index: int, request: urllib.request.Request, context: ssl.SSLContext | None) -> bytes:
        handlers = [urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)]
        with urllib.request.build_opener(*handlers).open(request, timeout=self.patience) as response:
            return bytes(response.read())

    def keys(self, token: str = "") -> list[str]:
        """Every key in it."""
        answer = self.post("/v3/kv/range", {"key": "AA==", "range_end": "AA==", "keys_only": True}, token=token)
        return [base64.b64decode(pair["key"]).decode() for pair in answer.get("kvs", [])]

    def ask_for_users(self, prefix: str = "/launcher/") -> None:
        """Have it ask for users from now on: `launcher` may use the prefix, `stranger` nothing, `root` everything."""
        key, end = (base64.b64encode(text.encode()).decode() for text in (prefix, prefix[:-1] + "0"))
        for user, password in PASSWORDS.items():
            self.post("/v3/auth/user/add", {"name": user, "password": password})
        for role in ("root", "jobs"):
            self.post("/v3/auth/role/add", {"name": role})
        permission = {"permType": "READWRITE", "key": key, "range_end": end}
        self.post("/v3/auth/role/grant", {"name": "jobs", "perm": permission})
        for user, role in (("root", "root"), ("launcher", "jobs")):
            self.post("/v3/auth/user/grant", {"user": user, "role": role})
        self.post("/v3/auth/enable", {})

    def login(self, user: str = "root") -> str:
        return str(self.post("/v3/auth/authenticate", {"name": user, "password": PASSWORDS[user]})["token"])


def make_certificates(folder: Path, address: str) -> None:
    """A throw-away CA, and what it signed: server, client (no common name), named (with one), past (expired).

    `other` is a CA that signed nothing but `foreign`; `elsewhere` is a server's certificate for another address.
    """
    openssl = need("openssl", "openssl")

    def run(*words: str) -> None:
        subprocess.run([openssl, *words], cwd=folder, check=True, capture_output=True)

    def sign(name: str, subject: str, authority: str, *more: str, names: str = "") -> None:
        run("req", "-new", *KEY, "-nodes", "-keyout", f"{name}.key", "-out", "r.csr", "-subj", subject)
        (folder / "r.ext").write_text("extendedKeyUsage=serverAuth,clientAuth\n" + names)
        signer = ("-CA", f"{authority}.pem", "-CAkey", f"{authority}.key", "-CAcreateserial", "-extfile", "r.ext")
        run("x509", "-req", "-in", "r.csr", *signer, "-out", f"{name}.pem", *(more or ("-days", "2")))

    for authority in ("ca", "other"):
        new = ("req", "-x509", *KEY, "-nodes", "-days", "2", "-subj", f"/O=test {authority}")
        run(*new, "-keyout", f"{authority}.key", "-out", f"{authority}.pem")
    sign("server", "/O=etcd", "ca", names=f"subjectAltName=IP:{address}\n")
    sign("elsewhere", "/O=etcd", "ca", names="subjectAltName=DNS:etcd.example\n")
    sign("past", "/O=etcd", "ca", "-days", "-1", names=f"subjectAltName=IP:{address}\n")
    sign("client", "/O=launcher", "ca")
    sign("named", "/O=launcher/CN=launcher", "ca")
    sign("foreign", "/O=launcher", "other")
