"""What cannot work with etcd: one paragraph with the value and what to do, exit code 2, and nothing was started."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from etcd import PASSWORDS, Cluster
from in_process import InProcess
from launches import Launcher

from launcher_core.errors import UsageError

Refused = Callable[..., str]


@pytest.fixture
def refused(launcher: Launcher, tmp_path: Path) -> Refused:
    """What a launch says that is refused."""

    def run(endpoint: str, *conf: str, env: dict[str, str] | None = None, code: int = 2) -> str:
        words = ["--rdzv-backend=etcd", "--rdzv-id=job", f"--rdzv-endpoint={endpoint}", "--no-python"]
        if conf:
            words.append(f"--rdzv-conf={','.join(conf)}")
        end = launcher.run(*words, "touch", tmp_path / "started", env=env)
        assert (end.code, end.out) == (code, ""), end
        assert not (tmp_path / "started").exists()
        assert "Traceback" not in end.err
        assert end.err.startswith("launcher: error: ")
        assert end.err.count("\n") == 1
        return end.err.removeprefix("launcher: error: ").removesuffix("\n")

    return run


@pytest.fixture
def at_once(in_process: InProcess) -> Refused:
    """What is said of a request that is refused before etcd is asked."""

    def run(endpoint: str, *conf: str) -> str:
        words = ["--rdzv-backend=etcd", "--rdzv-id=job", f"--rdzv-endpoint={endpoint}"]
        with pytest.raises(UsageError) as refused:
            in_process.main(*words, f"--rdzv-conf={','.join(conf)}", "--no-python", "true")
        return str(refused.value)

    return run


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """An etcd that asks for users."""
    with Cluster(tmp_path_factory.mktemp("users")) as cluster:
        cluster.ask_for_users()
        yield cluster


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """An etcd that speaks TLS, and asks for client certificates."""
    with Cluster(tmp_path_factory.mktemp("tls"), tls=True) as cluster:
        yield cluster


@pytest.fixture
def password(tmp_path: Path) -> Callable[[str], str]:
    """Writes a password into a file; the key that names it."""

    def write(text: str) -> str:
        file = tmp_path / "password"
        file.write_text(f"{text}\n")
        return f"password_file={file}"

    return write


def identity(cluster: Cluster, name: str = "client") -> tuple[str, str]:
    return f"ssl_cert={cluster.folder / name}.pem", f"ssl_cert_key={cluster.folder / name}.key"


def authority(cluster: Cluster, name: str = "ca") -> str:
    return f"ca_cert={cluster.folder / name}.pem"


# --- what stands on the command line ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "says"),
    [
        ("", "--rdzv-endpoint='': name the servers of etcd, HOST[:2379], separated by commas"),
        ("a,,b", "--rdzv-endpoint='a,,b': name the servers of etcd, HOST[:2379], separated by commas"),
        ("ftp://a", "--rdzv-endpoint: 'ftp://a' begins with neither http:// nor https://"),
        ("a:0", "--rdzv-endpoint: 'a:0': etcd has no port 0; it usually has 2379"),
        ("a:x", "'x' is no port; write a number up to 65535"),
        ("a,b/c", "--rdzv-endpoint='b/c': write HOST, HOST:PORT, or [IPv6 ADDRESS]:PORT"),
    ],
)
def test_an_endpoint_that_is_none(at_once: Refused, endpoint: str, says: str) -> None:
    assert says in at_once(endpoint)


@pytest.mark.parametrize(
    ("conf", "says"),
    [
        ("lease_ttl=1.5", "lease_ttl=1.5: write a whole number of seconds, 2 or more"),
        ("connect_timeout=soon", "connect_timeout='soon': write a number of seconds above 0"),
        ("protocol=ftp", "protocol=ftp: write http or https"),
        ("prefix=/", "prefix='/': write what the job's keys shall begin with, e.g. /launcher"),
        ("user=bob", "user=bob: the password is missing; give password_file, or PET_RDZV_PASSWORD"),
        ("password_file=/dev/null", "password_file=/dev/null: whose password is it? Give user, or PET_RDZV_USER"),
        ("password_file=/not/there", "password_file=/not/there: No such file or directory"),
        ("ca_cert=/not/there", "ca_cert=/not/there: No such file or directory"),
        ("ca_cert=/dev/null", "ca_cert=/dev/null: there is no certificate in it"),
        ("ssl_cert=/dev/null", "ssl_cert=/dev/null: no certificate with key; name PEM files"),
        ("leas_ttl=3", "etcd has no key 'leas_ttl'; did you mean lease_ttl?"),
    ],
)
def test_a_key_with_a_value_that_makes_no_sense(at_once: Refused, conf: str, says: str) -> None:
    assert says in at_once("127.0.0.1", conf)


@pytest.mark.parametrize(
    ("conf", "meant"),
    [
        ("cacert=ca.pem", "'cacert'; did you mean ca_cert?"),
        ("cert=node.pem", "'cert'; did you mean ca_cert or ssl_cert?"),
        ("key=node.key", "'key'; did you mean ssl_cert_key?"),
        ("etcd_prefix=/jobs", "'etcd_prefix'; did you mean prefix?"),
    ],
)
def test_a_key_of_torchruns_first_etcd_backend_is_answered_with_its_name_here(
    at_once: Refused, conf: str, meant: str
) -> None:
    assert f"etcd has no key {meant} it takes ca_cert, " in at_once("127.0.0.1", conf)


def test_certificates_for_a_member_without_tls(at_once: Refused) -> None:
    assert at_once("http://a", "ca_cert=ca.pem") == (
        "--rdzv-backend=etcd: --rdzv-endpoint: ca_cert is for https, but http://a:2379 is not; write https://"
    )


def test_the_name_that_torchrun_has_for_the_first_api_says_what_to_use(launcher: Launcher) -> None:
    end = launcher.run(
        "--rdzv-backend=etcd-v2", "--rdzv-endpoint=a", "--rdzv-conf=read_timeout=60", "--no-python", "true"
    )

    assert (end.code, end.err) == (
        2,
        "launcher: error: --rdzv-backend=etcd-v2: it needs etcd's v2 API, which etcd has off since 3.4 and not at all "
        "since 3.6; write --rdzv-backend=etcd, which uses the v3 API of the same server\n",
    )


# --- who answers there --------------------------------------------------------------------------------------


def test_nobody_answers(refused: Refused) -> None:
    assert refused("127.0.0.1:1,127.0.0.2:1", "connect_timeout=0.3", code=1) == (
        "no etcd answered within 0.3 s (127.0.0.1:1: Connection refused; 127.0.0.2:1: Connection refused); start it, "
        "correct --rdzv-endpoint, or wait longer with connect_timeout in --rdzv-conf"
    )


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_server_that_is_no_web_server_answers(refused: Refused, scheme: str) -> None:
    def greet() -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            with client:
                client.sendall(b"SSH-2.0-OpenSSH_9.2p1\r\n")
                client.recv(1)

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        thread = threading.Thread(target=greet)
        thread.start()
        said = refused(f"{scheme}://127.0.0.1:{port}")
        server.shutdown(socket.SHUT_RDWR)
        thread.join()

    assert (
        said
        == {
            "http": f"what answers at 127.0.0.1:{port} is not etcd: it said 'SSH-2.0-OpenSSH_9.2p1'; correct "
            "--rdzv-endpoint",
            "https": f"127.0.0.1:{port} does not speak TLS; write http://127.0.0.1:{port} in --rdzv-endpoint, or "
            "correct the port",
        }[scheme]
    )


class Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


class OldEtcd(Silent):
    """Answers as an etcd does that was told to serve no gateway."""

    def do_POST(self) -> None:
        self.answer(404, b"404 page not found\n")

    def do_GET(self) -> None:
        self.answer(200, b'{"etcdserver":"3.1.0","etcdcluster":"3.1.0"}')

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (Silent, "what answers at {} is not etcd: an HTTP server that said 501 (text/html;charset=utf-8); correct "),
        (OldEtcd, "etcd 3.1.0 at {} does not serve /v3/ over HTTP; use etcd 3.4 or later, without "),
    ],
)
def test_another_web_server_answers(refused: Refused, kind: type[Silent], says: str) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        place = f"127.0.0.1:{server.server_address[1]}"
        said = refused(place)
        server.shutdown()
        thread.join()

    assert said.startswith(says.format(place))


def test_tls_is_spoken_to_an_etcd_that_has_none(refused: Refused, etcd: Cluster) -> None:
    place = etcd.host(0)

    assert refused(f"https://{place}") == (
        f"{place} does not speak TLS; write http://{place} in --rdzv-endpoint, or correct the port"
    )


def test_plain_text_is_spoken_to_an_etcd_with_tls(refused: Refused, tls: Cluster) -> None:
    place = tls.host(0)

    assert refused(place) == (
        f"{place} speaks TLS; write https://{place} in --rdzv-endpoint, and ca_cert=FILE in --rdzv-conf"
    )


def test_one_member_is_down_and_the_other_is_no_etcd(refused: Refused, tls: Cluster) -> None:
    place = tls.host(0)

    assert refused(f"{tls.address}:1,{place}").startswith(f"{place} speaks TLS; ")


# --- users --------------------------------------------------------------------------------------------------


def test_a_user_where_nobody_is_asked(refused: Refused, etcd: Cluster, password) -> None:
    assert refused(etcd.endpoint, "user=launcher", password("x")) == (
        f"etcd at {etcd.host(0)} asks nobody who he is, so user 'launcher' cannot be checked; leave the user out, or "
        "run `etcdctl auth enable`"
    )


def test_no_user_where_one_is_asked_for(refused: Refused, users: Cluster) -> None:
    assert refused(users.endpoint) == (
        f"etcd at {users.host(0)} asks for a user and a password; give user and password_file in --rdzv-conf, or "
        "PET_RDZV_USER and PET_RDZV_PASSWORD"
    )


def test_a_wrong_password_is_not_repeated(refused: Refused, users: Cluster) -> None:
    said = refused(users.endpoint, env={"PET_RDZV_USER": "launcher", "PET_RDZV_PASSWORD": "opensesame"})

    assert said == (
        f"etcd at {users.host(0)} refuses the password of user 'launcher'; correct user and password_file in "
        "--rdzv-conf, or PET_RDZV_USER and PET_RDZV_PASSWORD"
    )


@pytest.mark.parametrize(("user", "prefix"), [("stranger", "/launcher"), ("launcher", "/other")])
def test_a_user_that_may_not(refused: Refused, users: Cluster, password, user: str, prefix: str) -> None:
    assert refused(users.endpoint, f"user={user}", password(PASSWORDS[user]), f"prefix={prefix}") == (
        f"etcd at {users.host(0)} does not let user '{user}' read and write below {prefix}/: etcdserver: permission "
        f"denied; have `etcdctl role grant-permission ROLE readwrite --prefix=true {prefix}/` run, or give another "
        "prefix in --rdzv-conf"
    )


# --- certificates -------------------------------------------------------------------------------------------


def test_a_server_of_a_ca_that_is_not_trusted(refused: Refused, tls: Cluster) -> None:
    said = refused(tls.endpoint, authority(tls, "other"))

    assert said.startswith(f"the certificate of etcd at {tls.host(0)} is not trusted by {authority(tls, 'other')}: ")
    assert said.endswith("; name the file of the CA that signed it with ca_cert in --rdzv-conf")


def test_no_client_certificate_where_one_is_asked_for(refused: Refused, tls: Cluster) -> None:
    said = refused(tls.endpoint, authority(tls))

    assert said.startswith(f"etcd at {tls.host(0)} wants a client certificate (")
    assert said.endswith("); name one with ssl_cert and ssl_cert_key in --rdzv-conf")


def test_a_client_certificate_of_another_ca(refused: Refused, tls: Cluster) -> None:
    certificate, key = identity(tls, "foreign")
    said = refused(tls.endpoint, authority(tls), certificate, key)

    assert said.startswith(f"etcd at {tls.host(0)} refuses the client certificate {certificate} (")
    assert said.endswith("); name one that is valid and signed by a CA that etcd trusts")


def test_a_key_of_another_certificate(refused: Refused, tls: Cluster) -> None:
    certificate, key = identity(tls)[0], identity(tls, "named")[1]

    assert refused(tls.endpoint, certificate, key) == (
        f"--rdzv-backend=etcd: {certificate} and {key}: they do not belong together; name PEM files, the key without "
        "a passphrase"
    )


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("past", "certificate has expired; renew it, or set this machine's clock"),
        ("elsewhere", "IP address mismatch, certificate is not valid for '{}'; write a name that it is for in "),
    ],
)
def test_a_server_with_a_bad_certificate(refused: Refused, tmp_path: Path, name: str, says: str) -> None:
    with Cluster(tmp_path / "etcd", tls=True, certificate=name) as cluster:
        said = refused(cluster.endpoint, authority(cluster), *identity(cluster), "connect_timeout=20")

        assert said.startswith(f"the certificate of etcd at {cluster.host(0)}: {says.format(cluster.address)}")


def test_a_client_certificate_with_a_common_name_where_users_are_asked_for(
    refused: Refused, tmp_path: Path, password
) -> None:
    with Cluster(tmp_path / "etcd", tls=True) as cluster:
        cluster.ask_for_users()
        certificate, key = identity(cluster, "named")
        conf = authority(cluster), certificate, key, "user=launcher", password(PASSWORDS["launcher"])

        assert refused(cluster.endpoint, *conf) == (
            f"etcd at {cluster.host(0)} takes no client certificate with a common name over HTTP while it asks for "
            f"users: make {certificate} one whose subject has no CN (e.g. /O=launcher), and give user and "
            "password_file in --rdzv-conf, or PET_RDZV_USER and PET_RDZV_PASSWORD"
        )
