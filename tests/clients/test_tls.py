"""Names and certificates on both sides: no SNI, name override, the trap certificate, HTTP versions."""

import os
import shutil
import ssl
import subprocess

import pytest
import requests
import webexpythonsdk

from raw import connect, connect_tls, exchange
from sim import Sim
from world import ROOT, Bot, Proxy, assert_webex_error, curl, heads_of


@pytest.fixture
def me(sim, token):
    sim.person(token)
    return "/v1/people/me"


@pytest.mark.parametrize("protocol, version", [("--http1.1", b"1.1"), ("--http2", b"2")])
def test_curl_speaks_both_versions(proxy, me, token, protocol, version):
    arguments = [protocol, "-w", "\n%{http_version} %{http_code}", "-H", f"Authorization: Bearer {token}"]
    answer = curl(*arguments, proxy.base + me, ca=proxy.ca)
    assert answer.rsplit(b"\n", 1)[1] == version + b" 200"


def test_http2_is_offered_first(proxy):
    with connect_tls(proxy.https_port, proxy.ca, alpn=("http/1.1", "h2")) as connection:
        assert connection.selected_alpn_protocol() == "h2"
    with connect_tls(proxy.https_port, proxy.ca, alpn=("http/1.1",)) as connection:
        assert connection.selected_alpn_protocol() == "http/1.1"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_old_and_new_tls_work(proxy, version):
    context = ssl.create_default_context(cafile=str(proxy.ca))
    context.minimum_version = context.maximum_version = version
    with context.wrap_socket(connect(proxy.https_port), server_hostname="localhost") as connection:
        assert connection.version() == version.name.replace("_", ".")


def test_a_client_without_sni_is_served(proxy, me, token):
    request = f"GET {me} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{proxy.https_port}", "-noservername"]
    command += ["-CAfile", str(proxy.ca), "-verify_return_error", "-verify_ip", "127.0.0.1", "-quiet", "-ign_eof"]
    done = subprocess.run(command, input=request.encode(), capture_output=True, timeout=30)
    assert b"HTTP/1.1 200 OK" in done.stdout, (done.stdout[:500], done.stderr[-500:])


def test_the_address_is_as_good_as_the_name(proxy, me, token):
    bot = Bot(f"https://127.0.0.1:{proxy.https_port}", token, proxy.ca)
    assert bot.get(me).status_code == 200


def test_the_local_ca_cannot_vouch_for_webex(proxy, tmp_path):
    text = subprocess.run(
        ["openssl", "x509", "-in", str(proxy.ca), "-noout", "-text"], capture_output=True, timeout=30, check=True
    ).stdout.decode()
    assert "Name Constraints: critical" in text
    constraints = text[text.index("Name Constraints") :][:600]
    assert "localhost" in constraints and "webexapis" not in constraints
    assert "CA:TRUE" in text


def test_the_keys_are_the_owners_alone(proxy):
    for path in proxy.state.rglob("*"):
        if path.is_file() and "PRIVATE KEY" in path.read_text(errors="replace"):
            assert path.stat().st_mode & 0o077 == 0, path


@pytest.fixture(scope="module")
def override(shared_sim, folder):
    """A proxy whose certificate carries the API's names."""
    tables = {
        "listen.tls": {"names": ["webexapis.com", "api.ciscospark.com"]},
        "gate": {"start_rate": 1_000_000},
    }
    proxy = Proxy(folder("override"), shared_sim.https_address, shared_sim.ca, tables=tables)
    yield proxy
    proxy.stop()


@pytest.mark.parametrize("host", ["webexapis.com", "api.ciscospark.com"])
@pytest.mark.parametrize("protocol", ["--http1.1", "--http2"])
def test_under_the_apis_own_name_nothing_is_rewritten(override, sim, token, host, protocol):
    sim.person(token)
    room = sim.room(token)
    sim.upload(token, room, "example.png", "image/png", 1000)
    sim.messages(room, 3)
    # connect-to leaves the authority without a port, as DNS and port 443 would.
    route = ["--connect-to", f"{host}:443:127.0.0.1:{override.https_port}", protocol, "-i"]
    url = f"https://{host}/v1/messages?roomId={room}&max=2"
    for _ in range(2):
        answer = curl(*route, "-H", f"Authorization: Bearer {token}", url, ca=override.ca)
        status, fields = heads_of(answer)
        assert status == 200
        if "link" in fields:
            [link] = fields["link"]
            assert link.startswith("<https://webexapis.com/v1/messages?")
            url = link[1 : link.index(">")].replace("webexapis.com", host)
    assert b'"https://webexapis.com/v1/contents/' in answer
    assert str(override.https_port).encode() not in answer


def test_resolved_to_a_port_of_its_own_the_name_is_answered_too(override, sim, token):
    sim.person(token)
    port = override.https_port
    route = ["--resolve", f"webexapis.com:{port}:127.0.0.1", "-i", "-H", f"Authorization: Bearer {token}"]
    status, _ = heads_of(curl(*route, f"https://webexapis.com:{port}/v1/people/me", ca=override.ca))
    assert status == 200


class Redirected(requests.adapters.HTTPAdapter):
    """What an entry in /etc/hosts does: the name stays, the address is the proxy's."""

    def __init__(self, port, ca):
        self.port = port
        self.ca = ca
        super().__init__()

    def send(self, request, **options):
        request.headers["Host"] = "webexapis.com"
        request.url = request.url.replace("https://webexapis.com/", f"https://127.0.0.1:{self.port}/")
        return super().send(request, **(options | {"verify": str(self.ca)}))

    def init_poolmanager(self, *arguments, **options):
        options |= {"server_hostname": "webexapis.com", "assert_hostname": "webexapis.com"}
        return super().init_poolmanager(*arguments, **options)


def test_an_sdk_that_was_told_nothing_lists_all_pages(override, sim, token):
    sim.person(token)
    room = sim.room(token)
    sim.messages(room, 30)
    api = webexpythonsdk.WebexAPI(token)
    api._session._req_session.mount("https://webexapis.com/", Redirected(override.https_port, override.ca))
    assert len(list(api.messages.list(room, max=10))) == 30
    assert sim.strangers() == []


def test_the_api_is_asked_with_its_name_and_a_verified_certificate(pair, token):
    sim, proxy = pair(["--require-sni"])
    sim.person(token)
    assert proxy.bot(token).get("/v1/people/me").status_code == 200


@pytest.mark.parametrize("certificate, told", [("trap", "wbx2.com"), ("stranger", "certificate")])
def test_a_wrong_certificate_is_never_accepted(folder, pair, token, certificate, told):
    sim, proxy = pair(["--certificate", certificate])
    answer = proxy.bot(token).get("/v1/people/me")
    assert answer.status_code == 502
    assert_webex_error(answer)
    assert told in answer.json()["message"]
    if certificate == "trap":
        assert "SNI" in answer.json()["message"]
        assert "webexapis.com" in answer.json()["message"]
    assert sim.log() == []


def test_an_unknown_ca_is_never_accepted(folder, pair, token):
    other = Sim(folder("other"))
    try:
        _, proxy = pair(upstream_ca=other.ca)
        answer = proxy.bot(token).get("/v1/people/me")
        assert answer.status_code == 502
        assert_webex_error(answer)
    finally:
        other.stop()


def test_a_certificate_of_ones_own_is_shown(folder, pair, token, tmp_path):
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=bots.example"]
    command += ["-addext", "subjectAltName=DNS:localhost,DNS:bots.example"]
    command += ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem")]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    files = {"cert_file": str(tmp_path / "cert.pem"), "key_file": str(tmp_path / "key.pem")}
    sim, proxy = pair(tables={"listen.tls": files})
    sim.person(token)
    assert Bot(proxy.base, token, tmp_path / "cert.pem").get("/v1/people/me").status_code == 200


def test_plain_http_on_the_tls_port_is_told_or_closed(proxy):
    answer = exchange(connect(proxy.https_port), b"GET /v1/people/me HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert not answer.startswith(b"HTTP/1.1 200")


@pytest.mark.skipif(not shutil.which("node"), reason="no Node on this machine")
def test_nodes_own_clients_reach_every_page(proxy, sim, token):
    sim.person(token)
    room = sim.room(token)
    sim.messages(room, 30)
    script = ROOT / "tests/clients/pages.mjs"
    command = ["node", str(script), f"{proxy.base}/v1/messages?roomId={room}&max=10", token]
    environment = os.environ | {"NODE_EXTRA_CA_CERTS": str(proxy.ca)}
    done = subprocess.run(command, env=environment, capture_output=True, timeout=60)
    assert done.stdout.decode().split() == ["https", "30", "fetch", "30"], done.stderr.decode()
    assert sim.strangers() == []
