"""Clients that are slow, silent or many: each is closed in its time, and nothing of theirs reaches the API."""

import os
import time

import pytest

import floods
from floods import END_HEADERS, END_STREAM, HEADERS, WINDOW_UPDATE, H2Wire, Wire, flood, frame, plain_wires

# Above the field's timeouts of 1 s.
SECONDS = 1.4
MANY = 200
HEAD = b"Host: localhost\r\nAuthorization: Bearer attacker\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def picture(field):
    """The path of a content of the attacker's."""
    return field.sim.upload("attacker", field.sim.room("attacker"), "big.bin", "application/octet-stream", 5_000_000)


def begun(begin, then, count=MANY):
    """Plain connections that say something and then drip."""

    def attack(field, until, held):
        wires = plain_wires(held, field.proxy, count)
        for wire in wires:
            wire.send(begin)
        return flood(wires, lambda _: then, until, pause=0.2)

    return attack


def slow_streams(field, until, held):
    """Uploads on many streams, each a byte at a time."""
    wires = [H2Wire(held, field.proxy) for _ in range(10)]
    kind = ("content-type", "application/json")
    for wire in wires:
        heads = [frame(HEADERS, END_HEADERS, wire.next_stream(), wire.block("POST", "/v1/rooms", "attacker", kind)) for _ in range(50)]
        wire.send(b"".join(heads))
    return flood(wires, lambda wire: b"".join(frame(0, 0, stream, b"x") for stream in range(1, 100, 2)), until, pause=0.3)


def many_heads(field, until, held):
    """As large as a head may be, but for its end."""
    wires = plain_wires(held, field.proxy, MANY)
    for wire in wires:
        wire.send(b"GET / HTTP/1.1\r\n" + b"".join(b"x-%d: %s\r\n" % (number, b"y" * 500) for number in range(60)))
    floods.wait(until)
    return sum(wire.sent for wire in wires)


def refused_heads(field, until, held):
    """Larger than a head may be, again and again."""
    sent = 0
    while time.monotonic() < until:
        wires = plain_wires(held, field.proxy, 10)
        for wire in wires:
            wire.send(b"GET / HTTP/1.1\r\n" + b"x: " + b"y" * 300_000)
        sent += sum(wire.sent for wire in wires)
    return sent


def idle(secure, begin=b""):
    def attack(field, until, held):
        wires = [Wire(held, field.proxy.https_port if secure else field.proxy.http_port) for _ in range(500)]
        for wire in wires:
            wire.send(begin)
        floods.wait(until)
        return sum(wire.sent for wire in wires)

    return attack


def shaken(alpn):
    def attack(field, until, held):
        wires = [Wire(held, field.proxy.https_port, field.proxy.ca, [alpn]) for _ in range(MANY)]
        floods.wait(until)
        return len(wires) * 600

    return attack


def coming_and_going(field, until, held):
    count = 0
    while time.monotonic() < until:
        Wire(held, field.proxy.https_port).connection.close()
        count += 1
    return count


def garbage(field, until, held):
    sent = 0
    while time.monotonic() < until:
        wires = [Wire(held, field.proxy.https_port) for _ in range(20)]
        for wire in wires:
            wire.send(os.urandom(20_000))
            wire.connection.close()
        sent += sum(wire.sent for wire in wires)
    return sent


ATTACKS = {
    "slow heads": begun(b"GET / HTTP/1.1\r\nX: ", b"y"),
    "slow bodies": begun(b"POST /v1/rooms HTTP/1.1\r\nContent-Length: 1000\r\n" + HEAD + b"\r\n", b"x"),
    "half of the largest head": many_heads,
    "heads beyond the largest": refused_heads,
    "no byte": idle(False),
    "no handshake": idle(True),
    "a byte of a handshake": idle(True, b"\x16"),
    "a handshake, http/1.1": shaken("http/1.1"),
    "a handshake, h2": shaken("h2"),
    "connections come and go": coming_and_going,
    "no TLS": garbage,
}


@pytest.mark.parametrize("name", ATTACKS)
def test_a_client_that_comes_to_nothing_is_closed(field, name):
    cost = field.suffer(name, ATTACKS[name], seconds=SECONDS)
    cost.judge()


def test_slow_streams_are_given_up(field):
    cost = field.suffer("slow bodies, h2", slow_streams, seconds=SECONDS, may_stay=10)
    cost.judge(may_stay=10)


@pytest.mark.parametrize("bytes_at_once", [0, 1])
def test_a_slow_reader_is_closed(field, picture, bytes_at_once):
    request = b"GET %s HTTP/1.1\r\n%s\r\n" % (picture.encode(), HEAD)

    def attack(field, until, held):
        wires = plain_wires(held, field.proxy, 50, small=True)
        for wire in wires:
            wire.send(request)
        while time.monotonic() < until:
            for wire in wires:
                if bytes_at_once:
                    wire.take(bytes_at_once)
            time.sleep(0.2)
        return sum(wire.sent for wire in wires)

    cost = field.suffer(f"h1 readers, {bytes_at_once} bytes at once", attack, seconds=SECONDS)
    cost.judge(most_calls=50)


@pytest.mark.parametrize(("window", "more"), [(0, 0), (1, 0), (1, 1)], ids=["closed", "one byte", "byte by byte"])
def test_a_window_that_hardly_opens_is_given_up(field, picture, window, more):
    """Answers of all sizes: small ones are in the connection's hands at once, and must not stay there."""

    def attack(field, until, held):
        wires = [H2Wire(held, field.proxy, window=window) for _ in range(10)]
        for wire in wires:
            paths = ["/v1/people/me", picture] * 25
            heads = [frame(HEADERS, END_HEADERS | END_STREAM, wire.next_stream(), wire.block("GET", path, "attacker")) for path in paths]
            wire.send(b"".join(heads))
        update = b"".join(frame(WINDOW_UPDATE, 0, stream, (1).to_bytes(4)) for stream in range(1, 100, 2)) if more else b""
        return flood(wires, lambda _: update, until, pause=0.2)

    cost = field.suffer(f"h2 windows of {window}, then {more}", attack, seconds=SECONDS)
    cost.judge(most_calls=510)
