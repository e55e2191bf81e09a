"""An upstream over HTTP/2 that breaks the protocol: the asker gets a right answer or a clear error, others their own."""

import itertools
import json
import typing

import pytest
import requests
from hyperframe.frame import DataFrame, HeadersFrame, PushPromiseFrame, RstStreamFrame

from frames import H2Server
from world import Proxy, assert_webex_error

MINE = b'{"mine": 1}'
_numbers = itertools.count(1)


class Case(typing.NamedTuple):
    """What `play` sends on the asker's stream, and what may become of it; "right" is 200 with `MINE`."""

    play: typing.Callable
    outcomes: tuple


def head(*more, status="200"):
    return [(":status", status), ("content-type", "application/json"), *more]


def fields(*more, outcomes=("bad", "broken"), before=(), status="200"):
    """A head with these fields, and the body."""

    def play(frames, stream):
        frames.headers(stream, [*before, *head(*more, status=status)])
        frames.data(stream, MINE, "END_STREAM")

    return Case(play, outcomes)


def sequence(*steps, outcomes=("bad", "broken")):
    """`steps` are blocks of fields, bytes, or functions of the stream's id that make a frame."""

    def play(frames, stream):
        for number, step in enumerate(steps):
            last = ["END_STREAM"] if number == len(steps) - 1 else []
            if isinstance(step, list):
                frames.headers(stream, step, *last)
            elif isinstance(step, bytes):
                frames.data(stream, step, *last)
            else:
                frames.send(step(stream, frames))

    return Case(play, outcomes)


def ended(stream, _):
    return DataFrame(stream, MINE, flags=["END_STREAM"])


def promise(stream, frames):
    block = frames.block([(":method", "GET"), (":scheme", "https"), (":authority", "webexapis.com"), (":path", "/v1/rooms")])
    return PushPromiseFrame(stream, 2, block, flags=["END_HEADERS"])


HINT = head(status="103")
EITHER = ("right", "bad", "broken")
CASES = {
    "plain": fields(("content-length", "11"), outcomes=("right",)),
    "no length": fields(outcomes=("right",)),
    **{
        f"{name}: {value}": fields((name, value))
        for name, value in [
            ("connection", "close"), ("keep-alive", "timeout=5"), ("proxy-connection", "close"), ("transfer-encoding", "chunked"), ("upgrade", "h2c"),
            ("X-A", "1"), ("x a", "1"), ("x:a", "1"), ("", "1"), ("x\r\na", "1"), ("x-a", "a\r\nb"), ("x-a", "\0"), ("x-a", "a\nb"),
            (":path", "/"), (":status", "404"), ("content-length", "12"), ("content-length", "10"), ("content-length", "+11"), ("content-length", "x"),
        ]
    },
    "two lengths": fields(("content-length", "11"), ("content-length", "12")),
    "twice the same length": fields(("content-length", "11"), ("content-length", "11"), outcomes=EITHER),
    "two statuses": fields(before=[(":status", "204")]),
    "path in front": fields(before=[(":path", "/v1")], outcomes=EITHER),
    "status behind": Case(lambda frames, stream: (frames.headers(stream, [("x-a", "1"), (":status", "200")]), frames.data(stream, MINE, "END_STREAM")), ("bad", "broken")),
    "no status": Case(lambda frames, stream: (frames.headers(stream, [("x-a", "1")]), frames.data(stream, MINE, "END_STREAM")), ("bad", "broken")),
    **{f"status {status!r}": fields(status=status) for status in ["", "99", "1000", "2x0", "-200", " 200", "20"]},
    "101": sequence(head(status="101"), head(), MINE, outcomes=("bad", "broken", "right")),
    "interim at the end": sequence(head(status="103")),
    "some interim": sequence(HINT, HINT, head(), MINE, outcomes=("right",)),
    "data first": sequence(MINE, head()),
    "data behind an interim": sequence(HINT, MINE, head()),
    "data behind the end": sequence(head(("content-length", "11")), ended, MINE, outcomes=EITHER),
    "a head behind the end": sequence(head(("content-length", "11")), ended, head(), outcomes=EITHER),
    "a push": sequence(promise, head(), MINE, outcomes=EITHER),
    "data of another stream": sequence(lambda stream, _: DataFrame(stream + 100, MINE), head(), MINE, outcomes=EITHER),
    "a head of stream 2": sequence(lambda stream, frames: HeadersFrame(2, frames.block(head()), flags=["END_HEADERS", "END_STREAM"]), head(), MINE, outcomes=EITHER),
    "reset without an error": sequence(head(), lambda stream, _: DataFrame(stream, MINE[:5]), lambda stream, _: RstStreamFrame(stream, 0)),
    "trailers with a status": sequence(head(), MINE, [(":status", "500")], outcomes=EITHER),
    "trailers that frame": sequence(head(), MINE, [("content-length", "3"), ("set-cookie", "a=b")], outcomes=EITHER),
    "a head of 200 kB": fields(("x-a", "a" * 200_000)),
    "a second head": sequence(head(), MINE[:3], lambda stream, frames: HeadersFrame(stream, frames.block(head()), flags=["END_HEADERS"]), MINE[3:]),
}


@pytest.fixture(scope="module")
def upstream(folder):
    plays = {}

    def serve(frames, stream, request):
        if request.target in plays:
            plays[request.target](frames, stream)
            return
        body = json.dumps({"asker": request.all("authorization")[0].decode(), "path": request.target}).encode()
        frames.headers(stream, [*head(), ("content-length", str(len(body)))])
        frames.data(stream, body, "END_STREAM")

    server = H2Server(folder("h2"), serve)
    tables = {
        "upstream": {"header_timeout": "2s", "idle_timeout": "2s"},
        "gate": {"start_rate": 1_000_000},
        "replay": {"faults": False},
    }
    proxy = Proxy(folder("before-h2"), server.address, server.ca, tables=tables)
    yield server, proxy, plays
    proxy.stop()
    server.stop()


def ask(proxy, token, path):
    try:
        return proxy.bot(token).get(path)
    except requests.exceptions.RequestException:
        return None


@pytest.mark.parametrize("name", CASES)
def test_a_stream_is_right_or_refused_and_others_get_their_own(upstream, name):
    server, proxy, plays = upstream
    case, token = CASES[name], f"tok{next(_numbers)}"
    path = f"/v1/contents/{token}"
    plays[path] = case.play
    for _ in range(2):
        answer = ask(proxy, token, path)
        if answer is None:
            outcome = "broken"
        elif answer.status_code == 502:
            assert_webex_error(answer)
            outcome = "bad"
        else:
            assert (answer.status_code, answer.content) == (200, MINE), (answer.status_code, answer.content)
            outcome = "right"
        assert outcome in case.outcomes, answer is not None and answer.content
        other = f"other{next(_numbers)}"
        after = ask(proxy, other, "/v1/rooms/next")
        assert (after.status_code, after.json()) == (200, {"asker": f"Bearer {other}", "path": "/v1/rooms/next"})
    if "right" not in case.outcomes:
        # Nothing of it was kept: the second request had to ask again.
        assert sum(request.target == path for request in server.requests) == 2
