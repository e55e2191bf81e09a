"""One request in is at most one request out: HTTP/1.1 that two parsers could read differently, before a strict upstream."""

import itertools

import pytest

import framing_cases
import head_cases
from messages import answers
from raw import connect, connect_tls, exchange
from recorder import Recorder
from world import Proxy

SUFFIX = b"GET /v1/suffix HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer suffix\r\nConnection: close\r\n\r\n"
REFUSALS = (400, 403, 405, 408, 413, 414, 417, 421, 431, 501, 504, 505, 508)
_numbers = itertools.count(1)

TABLES = {
    name: table
    for module in [framing_cases, head_cases]
    for name, table in vars(module).items()
    if name.isupper() and isinstance(table, dict)
}
CASES = {f"{family.lower()}: {name}": case for family, table in TABLES.items() for name, case in table.items()}


@pytest.fixture(scope="module")
def recorder():
    recorder = Recorder()
    yield recorder
    recorder.stop()


def before(recorder, folder, keeps):
    tables = {
        "limits": {"body_idle_timeout": "1s", "header_timeout": "2s", "body_bytes": "1MB"},
        "gate": {"start_rate": 1_000_000},
        "cache": {"enabled": keeps},
        "replay": {"faults": False},
    }
    return Proxy(folder("strict"), None, None, upstream=f"http://{recorder.server.address}", tables=tables)


@pytest.fixture(scope="module")
def strict(recorder, folder):
    """A proxy that keeps nothing, before the recorder."""
    proxy = before(recorder, folder, False)
    yield proxy
    proxy.stop()


@pytest.fixture(scope="module")
def keeper(recorder, folder):
    """A proxy that answers the second request of each kind by itself."""
    proxy = before(recorder, folder, True)
    yield proxy
    proxy.stop()


def only_request(case, request, token):
    """The one that was forwarded is the one that was sent, framed once."""
    assert (request.method, request.target, request.body) == (case.method, case.target, case.body)
    assert request.all("authorization") == [b"Bearer " + token]
    hops = {"connection", "keep-alive", "upgrade", "http2-settings", "expect", "proxy-connection"}
    assert not hops & {name for name, _ in request.fields}, request.fields
    assert request.trailers == []


def outcome_of(found, seen):
    """What became of the request, told from the answers and from what the upstream saw."""
    statuses = [answer.status for answer in found]
    targets = [request.target for request in seen]
    assert len(found) <= 2 and not any("smuggled" in target for target in targets), (statuses, targets)
    forwarded = [target for target in targets if target != "/v1/suffix"]
    assert len(forwarded) <= 1 and targets == forwarded + ["/v1/suffix"] * (len(found) == 2), (statuses, targets)
    if not found:
        return "dropped"
    if forwarded:
        assert statuses[0] == 200, statuses
    else:
        assert statuses[0] in REFUSALS, statuses
    return {(0, 1): "refused", (0, 2): "answered", (1, 1): "once", (1, 2): "piped"}[len(forwarded), len(found)]


def check(recorder, connection, name, via):
    case, token = CASES[name], b"tok%d" % next(_numbers)
    sent = case.sent.replace(b"%T", token).replace(b"%V", via)
    with recorder.watching() as seen:
        received = exchange(connection, sent + SUFFIX)
        found = answers(received, [sent.lstrip().split(b" ")[0].decode("latin-1")])
    assert outcome_of(found, seen) in case.outcomes, (received[:300], seen)
    if seen and seen[0].target != "/v1/suffix":
        only_request(case, seen[0], token)


@pytest.fixture(scope="module")
def via(strict, recorder):
    """How this proxy signs itself."""
    strict.bot("via").get("/v1/rooms")
    return recorder.requests[-1].all("via")[0].split(b" ")[1]


@pytest.mark.parametrize("name", CASES)
def test_what_two_parsers_could_read_differently_is_one_request_or_none(strict, recorder, via, name):
    check(recorder, connect_tls(strict.https_port, strict.ca), name, via)


@pytest.mark.parametrize("name", CASES)
def test_the_plain_listener_is_as_strict(strict, recorder, via, name):
    check(recorder, connect(strict.http_port), name, via)


UNREAD = {
    "counted": b"Content-Length: %d\r\n\r\n%s" % (len(framing_cases.SMUGGLED), framing_cases.SMUGGLED),
    "counted, more than is drained": b"Content-Length: %d\r\n\r\n" % (100_000 + len(framing_cases.SMUGGLED))
    + b"x" * 100_000
    + framing_cases.SMUGGLED,
    "in chunks": b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n"
    % (len(framing_cases.SMUGGLED), framing_cases.SMUGGLED),
    "in bad chunks": b"Transfer-Encoding: chunked\r\n\r\n0x\r\n" + framing_cases.SMUGGLED,
    "expecting": b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n%s"
    % (len(framing_cases.SMUGGLED), framing_cases.SMUGGLED),
}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("name", UNREAD)
def test_the_body_of_a_request_that_the_cache_answers_is_no_request(keeper, recorder, token, name, method):
    keeper.bot(token).get("/v1/people/me")
    line = b"%s /v1/people/me HTTP/1.1\r\nHost: localhost:%d\r\n" % (method.encode(), keeper.https_port)
    head = line + b"Authorization: Bearer %s\r\n" % token.encode()
    with recorder.watching() as seen:
        received = exchange(connect_tls(keeper.https_port, keeper.ca), head + UNREAD[name] + SUFFIX)
        found = answers(received, [method])
    targets = [request.target for request in seen]
    assert set(targets) <= {"/v1/people/me", "/v1/suffix"}, targets
    assert targets.count("/v1/people/me") <= 1 and targets.count("/v1/suffix") == len(found) - 1, (targets, received)
    assert method == "HEAD" or found[0].status >= 400 or b"/v1/people/me" in found[0].body
