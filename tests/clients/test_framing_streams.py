"""One stream in is at most one request out: HTTP/2 that would be something else in HTTP/1.1, before strict upstreams."""

import itertools

import pytest

import stream_cases
from frames import H2Server, client, read_answer
from raw import connect_tls
from recorder import Recorder
from world import Proxy

TABLES = {name: table for name, table in vars(stream_cases).items() if name.isupper() and isinstance(table, dict)}
CASES = {f"{family.lower()}: {name}": case for family, table in TABLES.items() for name, case in table.items()}
REFUSALS = (400, 403, 405, 413, 414, 421, 431, 501)
_numbers = itertools.count(1)


@pytest.fixture(scope="module", params=["h1", "h2"])
def upstream(request, folder):
    """What both kinds of upstream saw, and the proxy before one that keeps nothing."""
    tables = {
        "limits": {"body_idle_timeout": "1s", "body_bytes": "1MB"},
        "gate": {"start_rate": 1_000_000},
        "cache": {"enabled": False},
        "replay": {"faults": False},
    }
    if request.param == "h1":
        recorder = Recorder()
        proxy = Proxy(folder("streams"), None, None, upstream=f"http://{recorder.server.address}", tables=tables)
    else:
        recorder = H2Server(folder("h2"), plain_answer)
        proxy = Proxy(folder("streams"), recorder.address, recorder.ca, tables=tables)
    yield recorder, proxy
    proxy.stop()
    recorder.stop()


def plain_answer(frames, stream, request):
    body = b"" if request.method == "HEAD" else b'{"target": "%s"}' % request.target.encode()
    length = [] if request.method == "HEAD" else [("content-length", str(len(body)))]
    fields = [(":status", "200"), ("content-type", "application/json"), *length]
    frames.headers(stream, fields, *([] if body else ["END_STREAM"]))
    if body:
        frames.data(stream, body, "END_STREAM")


def send(frames, stream, case, token):
    fields = [(name, value.replace("%T", token)) for name, value in case.fields]
    frames.headers(stream, fields, *(["END_STREAM"] if case.data is None else []))
    if case.data is not None:
        frames.data(stream, case.data, *(["END_STREAM"] if case.trailers is None else []))
    if case.trailers is not None:
        frames.headers(stream, case.trailers, "END_STREAM")


def assert_forwarded(case, request, token):
    assert (request.method, request.target, request.body) == (case.method, case.target, case.body)
    assert request.all("authorization") == [b"Bearer " + token.encode()]
    hops = {"connection", "keep-alive", "upgrade", "http2-settings", "proxy-connection"}
    assert not hops & {name for name, _ in request.fields}, request.fields
    assert len(request.all("cookie")) <= 1
    assert request.trailers == []


@pytest.mark.parametrize("name", CASES)
def test_a_stream_is_one_request_or_none(upstream, name):
    recorder, proxy = upstream
    case, token = CASES[name], f"tok{next(_numbers)}"
    before = len(recorder.requests)
    with connect_tls(proxy.https_port, proxy.ca, alpn=("h2",)) as connection:
        frames = client(connection)
        send(frames, 1, case, token)
        answer = read_answer(frames, 1)
        refused = answer.broken or answer.status in REFUSALS
        assert refused or answer.status == 200, answer.status
        assert ("refused" if refused else "forwarded") in case.outcomes, (answer.status, answer.broken, recorder.requests[before:])
        seen = recorder.requests[before:]
        assert len(seen) == (0 if refused else 1), seen
        if seen:
            assert_forwarded(case, seen[0], token)
        if answer.broken is None or "RstStream" in answer.broken:
            frames.headers(3, stream_cases.fields(method="GET", path="/v1/suffix"), "END_STREAM")
            after = read_answer(frames, 3)
            assert after.status == 200 and b'"/v1/suffix"' in after.body, (after.status, after.broken)
            assert recorder.requests[-1].target == "/v1/suffix"
    assert not getattr(recorder, "faults", []), recorder.faults
