"""An API that is down, slow, broken, or ourselves."""

import threading
import time

import pytest
import requests

from raw import Server, connect, read_head, read_request, splice
from world import Proxy, assert_webex_error, curl

GREETING = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.fixture
def scripted(folder):
    """A proxy in front of a plain-http server that does what a test says."""
    started = []

    def start(serve):
        server = Server(serve)
        started.append(server)
        upstream = f"http://{server.address}"
        tables = {"upstream": {"header_timeout": "2s", "idle_timeout": "2s"}, "replay": {"faults": False}}
        proxy = Proxy(folder("scripted"), None, None, upstream=upstream, tables=tables)
        started.append(proxy)
        return server, proxy

    yield start
    for process in reversed(started):
        process.stop()


def test_an_api_that_is_down_is_told_at_once(folder, token):
    closed = Server(lambda connection: None)
    closed.stop()
    proxy = Proxy(folder("down"), closed.address, None)
    try:
        started = time.monotonic()
        for method in ["GET", "POST"]:
            answer = proxy.bot(token).ask(method, "/v1/people", data=b"{}")
            assert answer.status_code == 502
            assert_webex_error(answer)
        assert time.monotonic() - started < 20
    finally:
        proxy.stop()


def test_an_api_that_says_nothing_is_a_504(scripted, token):
    _, proxy = scripted(lambda connection: (read_request(connection), time.sleep(20)))
    started = time.monotonic()
    answer = proxy.bot(token).post("/v1/rooms", json={"title": "t"})
    assert answer.status_code == 504
    assert_webex_error(answer)
    assert time.monotonic() - started < 10


def test_an_api_that_never_shakes_hands_is_told(folder, token):
    mute = Server(lambda connection: time.sleep(20))
    tables = {"upstream": {"handshake_timeout": "1s"}, "replay": {"faults": False}}
    proxy = Proxy(folder("mute"), mute.address, None, tables=tables)
    try:
        started = time.monotonic()
        answer = proxy.bot(token).post("/v1/rooms", json={"title": "t"})
        assert answer.status_code in (502, 504)
        assert_webex_error(answer)
        assert time.monotonic() - started < 15
    finally:
        proxy.stop()
        mute.stop()


BROKEN = {
    "no http": b"hello\r\n\r\n",
    "nothing": b"",
    "bad status": b"HTTP/1.1 abc\r\n\r\n",
    "two lengths": GREETING + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}\n",
    "half a head": GREETING + b"Content-Le",
    "huge head": GREETING + b"X-A: " + b"a" * 2_000_000,
    "an upgrade": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
}


@pytest.mark.parametrize("name", BROKEN)
def test_an_answer_that_is_no_http_is_a_502(scripted, token, name):
    def serve(connection):
        read_request(connection)
        connection.sendall(BROKEN[name])

    _, proxy = scripted(serve)
    answer = proxy.bot(token).post("/v1/rooms", json={"title": "t"})
    assert answer.status_code == 502
    assert_webex_error(answer)


TRUNCATED = {
    "length": GREETING + b'Content-Length: 1000\r\n\r\n{"items": [',
    "chunks": GREETING + b'Transfer-Encoding: chunked\r\n\r\nb\r\n{"items": [\r\n',
    "bad chunk": GREETING + b'Transfer-Encoding: chunked\r\n\r\nb\r\n{"items": [\r\nzz\r\n',
}


@pytest.mark.parametrize("path", ["/v1/rooms", "/v1/contents/Y2lz"])
@pytest.mark.parametrize("protocol, codes", [("--http1.1", (18, 22, 52, 56)), ("--http2", (18, 22, 56, 92))])
@pytest.mark.parametrize("name", TRUNCATED)
def test_a_cut_answer_never_looks_whole(scripted, token, name, protocol, codes, path):
    def serve(connection):
        read_request(connection)
        connection.sendall(TRUNCATED[name])
        time.sleep(0.2)

    _, proxy = scripted(serve)
    for _ in range(2):
        arguments = ["--fail", "-w", "%{exitcode}", "-H", f"Authorization: Bearer {token}", protocol]
        answer = curl(*arguments, proxy.base + path, ca=proxy.ca, code=None)
        assert int(answer[-2:]) in codes, answer


def test_an_answer_that_stalls_in_its_body_ends_with_an_error(scripted, token):
    def serve(connection):
        read_request(connection)
        connection.sendall(TRUNCATED["length"])
        time.sleep(20)

    _, proxy = scripted(serve)
    started = time.monotonic()
    with pytest.raises(requests.exceptions.RequestException):
        proxy.bot(token).get("/v1/rooms")
    assert time.monotonic() - started < 10


def test_interim_answers_are_kept_from_the_client(scripted, token):
    def serve(connection):
        read_request(connection)
        connection.sendall(b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        connection.sendall(GREETING + b"Content-Length: 2\r\n\r\n{}")

    _, proxy = scripted(serve)
    for protocol in ["--http1.1", "--http2"]:
        answer = curl("-i", protocol, proxy.base + "/v1/rooms", ca=proxy.ca)
        assert answer.count(b"HTTP/") == 1, answer
        assert answer.endswith(b"{}")


def test_a_connection_that_died_in_the_pool_is_replaced_even_for_a_write(scripted, token):
    served = []

    def serve(connection):
        served.append(read_request(connection)[0])
        connection.sendall(GREETING + b"Content-Length: 2\r\n\r\n{}")

    _, proxy = scripted(serve)
    bot = proxy.bot(token)
    for _ in range(4):
        assert bot.post("/v1/rooms", json={"title": "t"}).status_code == 200
        time.sleep(0.1)
    assert len(served) == 4


def test_a_slow_answer_reaches_the_client_as_it_comes(scripted, token):
    released = threading.Event()

    def serve(connection):
        read_request(connection)
        connection.sendall(GREETING.replace(b"application/json", b"text/html") + b"Content-Length: 10\r\n\r\nhello")
        released.wait(10)
        connection.sendall(b"world")

    _, proxy = scripted(serve)
    with proxy.bot(token).get("/v1/rooms", stream=True) as answer:
        assert answer.raw.read(5) == b"hello"
        released.set()
        assert answer.raw.read(5) == b"world"


def test_a_proxy_that_leads_to_itself_says_so(folder, token):
    target = []

    def serve(connection):
        with connect(target[0]) as inner:
            splice(connection, inner)

    relay = Server(serve)
    proxy = Proxy(folder("loop"), None, None, upstream=f"http://{relay.address}")
    target.append(proxy.http_port)
    try:
        answer = proxy.bot(token).post("/v1/rooms", json={"title": "t"})
        assert answer.status_code == 508
        assert_webex_error(answer)
        assert relay.accepted == 1
    finally:
        proxy.stop()
        relay.stop()


def test_the_sites_proxy_is_asked_to_connect(pair, folder, shared_sim, token):
    asked = []

    def serve(connection):
        head, _ = read_head(connection)
        asked.append(head.split(b"\r\n")[0])
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with connect(int(shared_sim.https_address.rsplit(":", 1)[1])) as inner:
            splice(connection, inner)

    site = Server(serve)
    shared_sim.reset()
    shared_sim.person(token)
    tables = {"upstream": {"proxy": f"http://{site.address}"}}
    proxy = Proxy(folder("site"), None, shared_sim.ca, tables=tables)
    try:
        assert proxy.bot(token).get("/v1/people/me").status_code == 200
        assert asked == [b"CONNECT webexapis.com:443 HTTP/1.1"]
    finally:
        proxy.stop()
        site.stop()


def test_a_client_that_leaves_while_it_waits_costs_the_api_nothing(pair, token):
    sim, proxy = pair()
    sim.person(token)
    sim.force("GET", "/v1/people/me", 429, headers={"Retry-After": "3"})
    # Both within the first second: after it one request of another family may find out how far the refusal reaches.
    with pytest.raises(requests.exceptions.Timeout):
        proxy.bot(token).get("/v1/people/me", timeout=0.4)
    with pytest.raises(requests.exceptions.Timeout):
        proxy.bot(token).get("/v1/rooms", timeout=0.3)
    time.sleep(4)
    assert sim.statuses("GET", "/v1/people/me") == [429]
    assert sim.count("GET", "/v1/rooms") == 0
