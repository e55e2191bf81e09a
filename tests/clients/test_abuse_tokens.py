"""Tokens by the thousand, and answers that are worth far more bytes than the question."""

import gzip
import os
import time

import pytest
import requests
import urllib3

from abuse import MIB, MOST_MEMORY, Field, Memory, Neighbour
from floods import DATA, END_HEADERS, END_STREAM, HEADERS, WINDOW_UPDATE, H2Wire, frame
from raw import Server, read_request
from world import Proxy

# ABUSE_TOKENS=100000 is the run by hand: about two minutes.
TOKENS = int(os.environ.get("ABUSE_TOKENS", "2000"))
REMEMBERED = TOKENS // 4
IN_FLIGHT = 50


def ask_with(wire, tokens):
    """One GET with each token; returns when all are answered, and room for as much again is given back."""
    heads = [frame(HEADERS, END_HEADERS | END_STREAM, wire.next_stream(), wire.block("GET", "/v1/people/me", token)) for token in tokens]
    wire.send(b"".join(heads))
    answered = taken = 0
    buffer = b""
    wire.connection.settimeout(20)
    while answered < len(heads):
        part = wire.connection.recv(65536)
        assert part, "closed"
        buffer += part
        while len(buffer) >= 9 and len(buffer) >= (length := 9 + int.from_bytes(buffer[:3])):
            answered += buffer[3] in (DATA, HEADERS) and bool(buffer[4] & END_STREAM)
            taken += length - 9 if buffer[3] == DATA else 0
            buffer = buffer[length:]
    if taken:
        wire.send(frame(WINDOW_UPDATE, 0, 0, taken.to_bytes(4)))


@pytest.fixture
def crowd(shared_sim, folder):
    """A proxy that remembers few tenants, in front of an API that knows only one of those who come."""
    shared_sim.person("neighbour")
    content = shared_sim.upload("neighbour", shared_sim.room("neighbour"), "logo.png", "image/png", 20_000)
    tables = {
        "gate": {"start_rate": 1_000_000, "probation_rate": 1_000_000, "probation_burst": 1_000_000},
        "limits": {"tenants": REMEMBERED},
        "log": {"level": "warn"},
    }
    proxy = Proxy(folder("crowd"), shared_sim.https_address, shared_sim.ca, tables=tables)
    neighbour = Neighbour(proxy, "neighbour", content)
    yield Field(shared_sim, proxy, neighbour)
    neighbour.stop()
    proxy.stop()


@pytest.mark.timeout(600)
def test_distinct_tokens_are_forgotten_again(crowd, capsys):
    half = []

    def attack(field, until, held):
        wire = H2Wire(held, field.proxy)
        for first in range(0, TOKENS, IN_FLIGHT):
            ask_with(wire, [f"spray-{number}" for number in range(first, first + IN_FLIGHT)])
            if first == TOKENS // 2:
                half.append((field.memory.now(), len(field.proxy.metrics())))
        return wire.sent

    cost = crowd.suffer(f"{TOKENS} tokens", attack, may_stay=1)
    with capsys.disabled():
        print(crowd.table())
    ((memory, metrics),) = half
    after = len(crowd.proxy.metrics())
    with capsys.disabled():
        print(f"  RSS at half of them {memory / MIB:.1f} MiB; /metrics {metrics} bytes at half, {after} after all")
    assert after < metrics + 2_000, "the page grows with the tokens"
    assert crowd.memory.now() - memory < 8 * MIB, "the second half of the tokens must cost nothing"
    cost.judge(most_calls=TOKENS + IN_FLIGHT, may_stay=1)


def test_strangers_share_their_probation(pair):
    """With the limits as they are by default, the API hardly hears of tokens that it does not know."""
    sim, proxy = pair()
    sim.person("neighbour")
    bot = proxy.bot("neighbour")
    assert bot.get("/v1/people/me").status_code == 200
    started = time.monotonic()
    statuses = []
    for number in range(250):
        answer = requests.get(f"{proxy.plain}/v1/people/me", headers={"Authorization": f"Bearer unknown-{number}", "Prefer": "wait=0"}, timeout=20)
        statuses.append(answer.status_code)
    took = time.monotonic() - started
    assert set(statuses) == {401, 429}
    # probation_burst and probation_rate, as they are by default.
    assert statuses.count(401) <= 101 + 20 * took
    assert bot.get("/v1/people/me").status_code == 200


@pytest.fixture
def scripted(folder):
    """A proxy in front of a server of the test's own."""
    started = []

    def start(answer, **upstream):
        def serve(connection):
            while (request := read_request(connection))[0]:
                connection.sendall(answer(request[0]))

        server = Server(serve)
        proxy = Proxy(folder("scripted"), None, None, upstream=f"http://{server.address}", tables={"upstream": upstream})
        started.extend([server, proxy])
        return proxy

    yield start
    for process in reversed(started):
        process.stop()


def test_a_json_bomb_is_not_unpacked_in_memory(scripted, capsys):
    """100 MB of white space in 0.4 MB of gzip, in a page whose links would be rewritten."""
    page = gzip.compress(b'{"items": [' + b" " * 100_000_000 + b"]}", 1)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
    proxy = scripted(lambda _: head % len(page) + page)
    memory = Memory(proxy.child.pid)
    before, began = memory.now(), memory.seconds()
    headers = {"Authorization": "Bearer a", "Accept-Encoding": "gzip"}
    received = 0
    try:
        with requests.get(f"{proxy.plain}/v1/messages?roomId=r", headers=headers, stream=True, timeout=60) as answer:
            while part := answer.raw.read(1 << 20, decode_content=False):
                received += len(part)
    except (requests.RequestException, urllib3.exceptions.HTTPError):
        pass
    with capsys.disabled():
        grown = (memory.peak() - before) / MIB
        print(f"\n  gzip bomb: {len(page) / 1e6:.2f} MB received, {received / 1e6:.2f} MB passed on, +{grown:.1f} MiB, {memory.seconds() - began:.1f} s CPU")
    assert memory.peak() - before < MOST_MEMORY
    assert memory.seconds() - began < 20
    assert "tollgate_panics_total 0" in proxy.metrics()


def test_lists_of_ranges_and_validators_are_cheap(proxy, sim, token):
    sim.person(token)
    path = sim.upload(token, sim.room(token), "a.bin", "application/octet-stream", 1_000_000)
    bot = proxy.bot(token)
    assert len(bot.get(path).content) == 1_000_000
    memory = Memory(proxy.child.pid)
    before = memory.now()
    ranges = ",".join("0-" for _ in range(1500))
    tags = ",".join(f'"{number}"' for number in range(1000))
    for _ in range(20):
        assert len(bot.get(path, headers={"Range": f"bytes={ranges}"}).content) <= 1_000_000
        assert bot.get(path, headers={"If-None-Match": tags}).status_code in (200, 304)
        assert bot.get(path, headers={"If-Match": tags}).status_code in (200, 412)
    assert memory.peak() - before < 16 * MIB


def test_variants_of_one_answer_have_a_bound(scripted):
    """Each answer varies by everything, and each question differs."""
    fields = ", ".join(f"x-{number}" for number in range(200))
    head = f"HTTP/1.1 200 OK\r\nCache-Control: public, max-age=600\r\nVary: {fields}\r\nContent-Length: 10000\r\n\r\n"
    proxy = scripted(lambda _: head.encode() + b"x" * 10_000, kind="generic")
    session = requests.Session()
    memory = Memory(proxy.child.pid)
    ask = [session.get(f"{proxy.plain}/same", headers={"x-1": str(number)}, timeout=20).status_code for number in range(150)]
    before = memory.now()
    ask += [session.get(f"{proxy.plain}/same", headers={"x-2": str(number)}, timeout=20).status_code for number in range(450)]
    assert set(ask) == {200}
    assert memory.now() - before < 32 * MIB
