"""Clients that send nonsense, too much, or nothing."""

import json
import time

import pytest

from raw import connect, connect_tls, exchange, seconds_until_closed
from world import Proxy, curl, heads_of

MALFORMED = {
    "no http": b"hello\r\n\r\n",
    "no version": b"GET /v1/people/me\r\nHost: localhost\r\n\r\n",
    "odd version": b"GET /v1/people/me HTTP/9.9\r\nHost: localhost\r\n\r\n",
    "space in name": b"GET / HTTP/1.1\r\nHost: localhost\r\nBad Name: x\r\n\r\n",
    "space before colon": b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length : 5\r\n\r\nhello",
    "folded field": b"GET / HTTP/1.1\r\nHost: localhost\r\nX-A: 1\r\n folded\r\n\r\n",
    "nul in value": b"GET / HTTP/1.1\r\nHost: localhost\r\nX-A: a\0b\r\n\r\n",
    "two lengths": b"POST /v1/rooms HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "signed length": b"POST /v1/rooms HTTP/1.1\r\nHost: localhost\r\nContent-Length: +5\r\n\r\nhello",
    "no host": b"GET /v1/people/me HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: webexapis.com\r\n\r\n",
    "bad chunk size": b"POST /v1/rooms HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
    "unknown coding": b"POST /v1/rooms HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: cow\r\n\r\nhello",
    "two credentials": b"GET /v1/people/me HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer a\r\n"
    b"Authorization: Bearer b\r\nConnection: close\r\n\r\n",
    "dot segments": b"GET /v1/rooms/../people/me HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    "encoded slash": b"GET /v1/contents/a%2fb HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
}


@pytest.fixture(scope="module")
def impatient(shared_sim, folder):
    """A proxy with short deadlines and small limits."""
    limits = {
        "handshake_timeout": "1s",
        "header_timeout": "1s",
        "idle_timeout": "2s",
        "body_idle_timeout": "1s",
        "body_bytes": "1MB",
    }
    tables = {"limits": limits, "gate": {"start_rate": 1_000_000}}
    proxy = Proxy(folder("impatient"), shared_sim.https_address, shared_sim.ca, tables=tables)
    yield proxy
    proxy.stop()


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_http_is_answered_400_and_closed(proxy, sim, name, secure):
    connection = connect_tls(proxy.https_port, proxy.ca) if secure else connect(proxy.http_port)
    answer = exchange(connection, MALFORMED[name])
    first = answer.split(b"\r\n", 1)[0]
    assert first.split(b" ", 1)[-1].startswith((b"400", b"501")), answer[:300]
    assert answer.count(b"HTTP/1.") == 1
    assert sim.log() == []


def test_length_and_chunks_together_never_reach_the_api_as_two_requests(proxy, sim, token):
    sim.person(token)
    smuggled = b"GET /v1/rooms HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n\r\n" % token.encode()
    body = b"0\r\n\r\n" + smuggled
    head = (
        b"POST /v1/rooms HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n" % len(body)
    )
    answer = exchange(connect(proxy.http_port), head + body)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert sim.count("GET", "/v1/rooms") == 0


@pytest.mark.parametrize("target", ["CONNECT webexapis.com:443", "TRACE /v1/people/me"])
def test_tunnels_and_traces_are_refused(proxy, sim, target):
    request = f"{target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer secret\r\nConnection: close\r\n\r\n"
    answer = exchange(connect(proxy.http_port), request.encode())
    assert answer.startswith((b"HTTP/1.1 405", b"HTTP/1.1 400", b"HTTP/1.1 501")), answer[:200]
    assert b"secret" not in answer
    assert sim.log() == []


@pytest.mark.parametrize("host", ["evil.example", "webexapis.com.evil.example", "localhost.evil.example"])
@pytest.mark.parametrize("protocol", ["--http1.1", "--http2"])
def test_an_unknown_host_is_refused(proxy, sim, host, protocol):
    route = ["--connect-to", f"{host}:{proxy.https_port}:127.0.0.1:{proxy.https_port}", "-k", "-i", protocol]
    answer = curl(*route, f"https://{host}:{proxy.https_port}/v1/people/me")
    status, _ = heads_of(answer)
    assert status == 421
    assert json.loads(answer[answer.index(b"{") :])["trackingId"]
    assert sim.log() == []


def test_a_silent_connection_is_closed_in_time(impatient):
    for port in [impatient.http_port, impatient.https_port]:
        took, got = seconds_until_closed(connect(port))
        assert took < 5
        assert got == b"" or got.startswith(b"HTTP/1.1 408") or got[0] == 21


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_a_head_that_never_ends_is_given_up(impatient, secure):
    connection = connect_tls(impatient.https_port, impatient.ca) if secure else connect(impatient.http_port)
    connection.sendall(b"GET /v1/people/me HTTP/1.1\r\nHost: loc")
    assert seconds_until_closed(connection)[0] < 5


def test_a_head_that_drips_is_given_up(impatient):
    connection = connect(impatient.http_port)
    started = time.monotonic()
    with connection:
        for letter in b"GET /v1/people/me HTTP/1.1\r\nHost: localhost\r\nX-Drip: aaaaaaaaaaaaaaaaaaaaaaaaa":
            try:
                connection.sendall(bytes([letter]))
                connection.settimeout(0.1)
                if connection.recv(1000) == b"":
                    break
            except TimeoutError:
                continue
            except OSError:
                break
            if time.monotonic() - started > 6:
                break
    assert time.monotonic() - started < 5


def test_a_body_that_stops_is_given_up(impatient, sim):
    connection = connect(impatient.http_port)
    connection.sendall(
        b"POST /v1/rooms HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Authorization: Bearer a\r\nContent-Length: 100\r\n\r\n{"
    )
    took, answer = seconds_until_closed(connection)
    assert took < 6
    assert answer == b"" or answer.startswith((b"HTTP/1.1 408", b"HTTP/1.1 400"))
    assert sim.count("POST", "/v1/rooms") == 0


def test_an_idle_connection_lives_as_long_as_it_may(impatient, sim, token):
    sim.person(token)
    request = b"GET /v1/people/me HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n\r\n" % token.encode()
    with connect(impatient.http_port) as connection:
        for _ in range(2):
            connection.sendall(request)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
            time.sleep(1)
        took, _ = seconds_until_closed(connection)
    assert took < 4


@pytest.mark.parametrize("way", ["declared", "chunked"])
@pytest.mark.parametrize("protocol", ["--http1.1", "--http2"])
def test_a_body_above_the_limit_is_refused_in_the_apis_shape(impatient, sim, token, tmp_path, way, protocol):
    path = tmp_path / "big.bin"
    path.write_bytes(b"x" * 3_000_000)
    arguments = [protocol, "-i", "-H", f"Authorization: Bearer {token}", "-H", "Content-Type: image/png"]
    arguments += ["-H", "Expect:", "-X", "POST", "-T", path if way == "declared" else "-"]
    if protocol == "--http1.1" and way == "chunked":
        arguments += ["-H", "Transfer-Encoding: chunked"]
    data = path.read_bytes() if way == "chunked" else None
    answer = curl(*arguments, f"{impatient.base}/v1/messages", ca=impatient.ca, data=data, code=None)
    status, fields = heads_of(answer)
    assert status == 413
    body = json.loads(answer[answer.index(b"{") :])
    assert body["message"] and body["errors"] and body["trackingId"] == fields["trackingid"][0]
    assert sim.log() == []


def test_too_many_fields_and_too_long_a_path_are_refused(proxy, sim, bot):
    many = {f"X-{number}": "1" for number in range(200)}
    assert bot.get("/v1/people/me", headers=many).status_code == 431
    assert bot.get("/v1/people?x=" + "a" * 20_000).status_code in (414, 431)
    assert sim.log() == []


def test_hop_by_hop_fields_stay_behind(proxy, sim, token):
    sim.person(token)
    request = (
        b"GET /v1/people/me HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nConnection: close, X-Secret\r\n"
        b"X-Secret: 1\r\nKeep-Alive: timeout=5\r\nProxy-Authorization: Basic eDp5\r\nUpgrade: h2c\r\n"
        b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\nTE: gzip\r\n\r\n" % token.encode()
    )
    answer = exchange(connect(proxy.http_port), request)
    assert answer.startswith(b"HTTP/1.1 200")
    names = {name.lower() for name in sim.log()[-1]["headers"]}
    stays = {"x-secret", "keep-alive", "proxy-authorization", "upgrade", "http2-settings", "connection"}
    assert not names & stays, names & stays
    assert "via" in names


@pytest.mark.parametrize("credential", [b"Bearer", b"Bearer  ", b"Basic dTpw", b"\xff\xfe", b"Bearer expired x"])
def test_an_odd_credential_never_breaks_anything(proxy, sim, credential):
    request = b"GET /v1/people/me HTTP/1.1\r\nHost: localhost\r\nAuthorization: %s\r\nConnection: close\r\n\r\n"
    answer = exchange(connect(proxy.http_port), request % credential)
    assert answer.startswith((b"HTTP/1.1 401", b"HTTP/1.1 400")), answer[:200]
