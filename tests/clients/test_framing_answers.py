"""An upstream's answer is the asker's alone: what is framed badly is a 502, and what comes too much is nobody's."""

import itertools
import json
import socket
import threading
import time

import pytest
import requests

import answer_cases
from messages import Reader
from raw import Server
from world import Proxy, assert_webex_error, wait_until

_numbers = itertools.count(1)
TABLES = ["PLAIN", "FRAMING", "CHUNKS", "HEADS", "BODILESS"]
CASES = {f"{table.lower()}: {name}": case for table in TABLES for name, case in getattr(answer_cases, table).items()}
HONEST = answer_cases.OK + b"Content-Length: %d\r\n\r\n%s"


class Upstream:
    """Answers what the test says to the paths it names, and every other request with the asker's own token."""

    def __init__(self):
        self.replies = {}
        self.late = {}
        self.said = {}
        self.asked = []
        self.connections = itertools.count()
        self.server = Server(self._serve)

    def _serve(self, connection):
        number = next(self.connections)
        reader = Reader(lambda: connection.recv(65536))
        connection.settimeout(60)
        # What is said late must not wait here for the acknowledgement of what was said before.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while not reader.is_over():
            request = reader.request()
            path = request.target.split("?")[0]
            self.asked.append((path, number))
            if path not in self.replies:
                body = json.dumps({"asker": request.all("authorization")[0].decode(), "path": path}).encode()
                connection.sendall(HONEST % (len(body), body))
                continue
            connection.sendall(self.replies[path])
            if path in self.late:
                time.sleep(self.late[path][0])
                connection.sendall(self.late[path][1])
                self.said[path] = self.said.get(path, 0) + 1
                continue
            if not any(case.reused for case in CASES.values() if case.sent == self.replies[path]):
                # What is not said to the end ends here; a second request could only be read from the same socket.
                connection.settimeout(0.3)

    def times(self, path):
        return sum(asked == path for asked, _ in self.asked)

    def asked_behind(self, path):
        """Paths asked for over a connection that had carried an answer to this one before."""
        used, behind = set(), []
        for asked, number in self.asked:
            if number in used:
                behind.append(asked)
            if asked == path:
                used.add(number)
        return behind


@pytest.fixture(scope="module")
def upstream():
    upstream = Upstream()
    yield upstream
    upstream.server.stop()


@pytest.fixture(scope="module")
def suspicious(upstream, folder):
    """A proxy that keeps what it may, before the upstream."""
    tables = {
        "upstream": {"header_timeout": "2s", "idle_timeout": "2s"},
        "gate": {"start_rate": 1_000_000},
        "replay": {"faults": False},
    }
    proxy = Proxy(folder("suspicious"), None, None, upstream=f"http://{upstream.server.address}", tables=tables)
    yield proxy
    proxy.stop()


def outcome_of(case, answer):
    if answer is None:
        return "broken"
    if answer.status_code == 502:
        if case.method != "HEAD":
            assert_webex_error(answer)
        return "bad"
    assert (answer.status_code, answer.content) == (case.status, case.body), answer.content
    lengths = answer.headers.get("Content-Length")
    assert lengths is None or lengths.isdigit(), lengths
    return "right"


def ask(proxy, token, method, path):
    try:
        return proxy.bot(token).ask(method, path, headers={"Connection": "close"})
    except requests.exceptions.RequestException:
        return None


def assert_own(proxy, path="/v1/rooms/next"):
    """Somebody else's next request gets its own answer."""
    token = f"next{next(_numbers)}"
    answer = proxy.bot(token).get(path)
    assert (answer.status_code, answer.json()) == (200, {"asker": f"Bearer {token}", "path": path})


@pytest.mark.parametrize("name", CASES)
def test_an_answer_is_right_or_refused_and_the_next_one_is_the_next_askers(suspicious, upstream, name):
    case, token = CASES[name], f"tok{next(_numbers)}"
    path = f"/v1/contents/{token}"
    upstream.replies[path] = case.sent
    for _ in range(2):
        assert outcome_of(case, ask(suspicious, token, case.method, path)) in case.outcomes
        before = len(upstream.asked)
        assert_own(suspicious)
        assert len(upstream.asked) == before + 1
    if not case.reused:
        assert not upstream.asked_behind(path)
        if case.method == "GET" and case.outcomes != ("right",):
            # Nothing of it was kept: the second request had to ask again.
            assert upstream.times(path) == 2


@pytest.mark.parametrize("moment", ["with its end", "at once", "while idle"])
@pytest.mark.parametrize("name", answer_cases.BEHIND)
def test_bytes_behind_an_answer_are_nobodys(suspicious, upstream, name, moment):
    """With the answer's end, in the last moment before the next request is sent, or on a connection that then rests.

    Bytes that arrive after the next request has left cannot be told from its answer over HTTP/1.1 (docs/security.md)."""
    extra = answer_cases.BEHIND[name]
    path = f"/v1/people/behind{next(_numbers)}"
    mine = HONEST % (len(answer_cases.MINE), answer_cases.MINE)
    if moment == "with its end":
        upstream.replies[path] = mine + extra
    else:
        upstream.replies[path] = mine
        upstream.late[path] = (0.02, extra)
    for turn in range(10 if moment == "at once" else 3):
        answer = ask(suspicious, f"behind{next(_numbers)}", "GET", path)
        assert (answer.status_code, answer.content) == (200, answer_cases.MINE)
        if moment != "with its end":
            wait_until(lambda: upstream.said.get(path, 0) > turn, what="the extra bytes")
        if moment == "while idle":
            time.sleep(0.3)
        assert_own(suspicious)
    assert not upstream.asked_behind(path)


def test_a_second_answer_never_reaches_anybody_in_a_crowd(suspicious, upstream):
    """Many tenants at once over connections of which one in three carries an answer too many."""
    upstream.replies["/v1/people/crowd"] = HONEST % (len(answer_cases.MINE), answer_cases.MINE) + answer_cases.POISON * 3
    wrong = []

    def bot(number):
        for turn in range(20):
            if (number + turn) % 3 == 0:
                answer = ask(suspicious, f"crowd{number}-{turn}", "GET", "/v1/people/crowd")
                if answer is None or answer.content != answer_cases.MINE:
                    wrong.append(answer and answer.content)
                continue
            token, path = f"crowd{number}", f"/v1/rooms/r{number}-{turn}"
            answer = ask(suspicious, token, "GET", path)
            if answer is None or answer.json() != {"asker": f"Bearer {token}", "path": path}:
                wrong.append(answer and answer.content)

    bots = [threading.Thread(target=bot, args=(number,)) for number in range(8)]
    for thread in bots:
        thread.start()
    for thread in bots:
        thread.join(timeout=60)
    assert not wrong


def test_a_few_interim_answers_pass_unseen_and_endless_ones_end(suspicious, upstream, token):
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    upstream.replies["/v1/people/few"] = interim * 5 + HONEST % (len(answer_cases.MINE), answer_cases.MINE)
    assert ask(suspicious, token, "GET", "/v1/people/few").content == answer_cases.MINE
    upstream.replies["/v1/people/many"] = interim * 100_000 + HONEST % (len(answer_cases.MINE), answer_cases.MINE)
    peak = suspicious.memory_peak()
    started = time.monotonic()
    answer = ask(suspicious, token, "GET", "/v1/people/many")
    assert answer.status_code in (502, 504) and time.monotonic() - started < 10
    assert_webex_error(answer)
    assert suspicious.memory_peak() - peak < 8 << 20
    assert_own(suspicious)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_head_arrives_even_if_what_follows_is_broken_at_once(suspicious, upstream, method):
    """For a write it is what tells that it happened."""
    path, token = f"/v1/messages/broken-{method}", f"tok{next(_numbers)}"
    upstream.replies[path] = answer_cases.OK + b"Transfer-Encoding: chunked\r\n\r\nno size\r\n"
    for _ in range(20):
        answer = suspicious.bot(token).ask(method, path, stream=True)
        assert answer.status_code == 200
        with pytest.raises(requests.exceptions.RequestException):
            assert answer.content == b"", "it looks whole"


def test_an_answer_before_the_body_was_read_ends_its_connection(suspicious, upstream, folder):
    """What is left of the request must not become the next one on that connection."""
    done = []

    def serve(connection):
        reader = Reader(lambda: connection.recv(65536))
        reader.line(), reader.fields()
        connection.sendall(HONEST % (len(answer_cases.MINE), answer_cases.MINE))
        time.sleep(0.2)
        done.append(reader.rest())

    server = Server(serve)
    tables = {"gate": {"start_rate": 1_000_000}, "replay": {"faults": False}}
    proxy = Proxy(folder("early"), None, None, upstream=f"http://{server.address}", tables=tables)
    try:
        for status in range(2):
            answer = proxy.bot(f"early{status}").post("/v1/messages", data=b"x" * 20_000_000)
            assert (answer.status_code, answer.content) == (200, answer_cases.MINE)
        wait_until(lambda: len(done) == 2)
        assert not any(b"HTTP/1.1" in rest for rest in done)
        assert server.accepted == 2
    finally:
        proxy.stop()
        server.stop()
