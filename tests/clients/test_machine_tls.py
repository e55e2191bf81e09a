"""The API's certificate goes bad, also mid-run: no byte of a token leaves, the reason is told, and it ends by itself."""

import contextlib
import os
import socket
import ssl
import subprocess
import time

import pytest

from machine import clock_shim, metric
from raw import Server, read_head
from world import Proxy, assert_webex_error

DAY = 24 * 60 * 60
ME = "/v1/people/me"
YES = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """Makes certificates of a CA; each lies in a folder with its key."""
    folder = tmp_path_factory.mktemp("certificates")
    library, offset = clock_shim(folder)
    shifted = os.environ | {"LD_PRELOAD": str(library), "WALL_CLOCK_OFFSET": str(offset)}

    def make(name, host, days_ago=0, ca="ca"):
        offset.write_text(str(-days_ago * DAY))
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        command += ["-days", "5", "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem"]
        if host:
            command += ["-addext", f"subjectAltName=DNS:{host}", "-addext", "basicConstraints=CA:FALSE"]
            command += ["-CA", f"{ca}.pem", "-CAkey", f"{ca}.key"] if ca else []
        subprocess.run(command, cwd=folder, env=shifted, check=True, capture_output=True, timeout=60)

    make("ca", None)
    make("stranger", None)
    make("good", "webexapis.com")
    make("renewed", "webexapis.com")
    make("expired", "webexapis.com", days_ago=30)
    make("early", "webexapis.com", days_ago=-30)
    make("other", "example.com")
    make("self-signed", "webexapis.com", ca=None)
    make("foreign", "webexapis.com", ca="stranger")
    return folder


class Api:
    """A TLS server whose certificate can change; knows every byte that clients said to it in confidence."""

    def __init__(self, certificates):
        self.certificates = certificates
        self.heard = []
        self.handshakes = []
        self.open = []
        self.show("good")
        self.server = Server(self._serve)
        self.address = self.server.address

    def show(self, name):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.certificates / f"{name}.pem", self.certificates / f"{name}.key")

    def _serve(self, connection):
        try:
            tls = self.context.wrap_socket(connection, server_side=True)
        except OSError as error:
            self.handshakes.append(error)
            return
        self.handshakes.append("done")
        self.open.append(tls)
        while True:
            head, rest = read_head(tls)
            self.heard.append(head + rest)
            if b"HTTP/1.1" not in head:
                return
            tls.sendall(YES)

    def hang_up(self):
        for connection in self.open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.open.clear()

    def tokens(self, token):
        return sum(token.encode() in said for said in self.heard)


@pytest.fixture
def api(certificates, folder):
    api = Api(certificates)
    tables = {"replay": {"faults": False}, "gate": {"start_rate": 1_000_000}, "cache": {"enabled": False}}
    proxy = Proxy(folder("tls"), api.address, certificates / "ca.pem", tables=tables)
    yield api, proxy
    proxy.stop()
    api.server.stop()


def assert_failed_closed(api, proxy, token, told, error):
    before = len(api.heard)
    for method in ["GET", "POST"]:
        answer = proxy.bot(token).ask(method, ME, data=b"{}" if method == "POST" else None)
        assert answer.status_code == 502
        assert_webex_error(answer)
        assert told in answer.json()["message"]
        assert f"error={error}" in answer.headers["Proxy-Status"]
        assert token not in answer.text
    assert [said for said in api.heard[before:] if said] == []


@pytest.mark.parametrize(
    "shown, told",
    [
        ("expired", "expired"),
        ("early", "not valid yet"),
        ("other", "example.com"),
        ("self-signed", "certificate"),
        ("foreign", "certificate"),
    ],
)
def test_a_certificate_that_goes_bad_mid_run_lets_nothing_out(api, token, shown, told):
    api, proxy = api
    bot = proxy.bot(token)
    assert bot.get(ME).status_code == 200
    api.show(shown)
    # What was agreed on with a good certificate holds as long as the connection does.
    assert bot.get(ME).status_code == 200
    assert api.handshakes == ["done"]
    api.hang_up()
    time.sleep(0.1)
    heard = api.tokens(token)
    assert_failed_closed(api, proxy, token, told, "tls_certificate_error")
    assert api.tokens(token) == heard
    assert metric(proxy, "tollgate_upstream_failures_total", '{reason="certificate"}') == 2
    api.show("renewed")
    assert bot.get(ME).status_code == 200
    assert metric(proxy, "tollgate_upstream_failures_total", '{reason="certificate"}') == 2


def test_an_api_that_speaks_only_old_tls_is_told(api, token):
    api, proxy = api
    api.context.set_ciphers("ALL:@SECLEVEL=0")
    api.context.minimum_version = ssl.TLSVersion.TLSv1
    api.context.maximum_version = ssl.TLSVersion.TLSv1_1
    assert_failed_closed(api, proxy, token, "handshake", "tls_protocol_error")
    assert metric(proxy, "tollgate_upstream_failures_total", '{reason="handshake"}') >= 2


@pytest.mark.parametrize(
    "said, told",
    [
        (b"\x15\x03\x03\x00\x02\x02\x28", "HandshakeFailure"),
        (b"\x15\x03\x03\x00\x02\x02\x50", "InternalError"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "handshake"),
        (b"", "handshake"),
    ],
)
def test_an_api_that_refuses_the_handshake_is_told(certificates, folder, token, said, told):
    raw = []

    def refuse(connection):
        raw.append(connection.recv(65536))
        connection.sendall(said)

    server = Server(refuse)
    proxy = Proxy(folder("alert"), server.address, certificates / "ca.pem", tables={"replay": {"faults": False}})
    try:
        answer = proxy.bot(token).post(ME, data=b"{}")
        assert answer.status_code == 502
        assert_webex_error(answer)
        assert told in answer.json()["message"], answer.text
        assert "error=tls_protocol_error" in answer.headers["Proxy-Status"]
        assert raw and not any(token.encode() in said for said in raw)
    finally:
        proxy.stop()
        server.stop()
