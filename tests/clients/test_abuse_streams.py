"""HTTP/2 clients that flood: the neighbour hardly notices, memory stays, and little of it reaches the API."""

import time

import pytest

import floods
from floods import CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, RST, SETTINGS, WINDOW_UPDATE, H2Wire, flood, frame

ME = "/v1/people/me"


def rapid_reset(field, until, held):
    wires = [H2Wire(held, field.proxy) for _ in range(4)]

    def batch(wire):
        frames = []
        for _ in range(100):
            stream = wire.next_stream()
            frames.append(frame(HEADERS, END_HEADERS | END_STREAM, stream, wire.block("GET", ME, "attacker")))
            frames.append(frame(RST, 0, stream, (8).to_bytes(4)))
        return b"".join(frames)

    return again(held, field, wires, batch, until)


def again(held, field, wires, batch, until):
    """An attacker who is thrown out comes back at once."""
    sent = 0
    while time.monotonic() < until:
        sent += flood(wires, batch, until)
        wires = [H2Wire(held, field.proxy) for _ in wires]
    return sent


def made_you_reset(field, until, held):
    """The server is made to reset each stream, by a window update of nothing."""
    wires = [H2Wire(held, field.proxy) for _ in range(4)]

    def batch(wire):
        frames = []
        for _ in range(100):
            stream = wire.next_stream()
            frames.append(frame(HEADERS, END_HEADERS | END_STREAM, stream, wire.block("GET", ME, "attacker")))
            frames.append(frame(WINDOW_UPDATE, 0, stream, (0).to_bytes(4)))
        return b"".join(frames)

    return again(held, field, wires, batch, until)


def continuation(field, until, held):
    """Heads that never end."""
    wires = [H2Wire(held, field.proxy) for _ in range(4)]
    # Not indexed: one character of name, 1,000 of value.
    literal = b"\x00\x01x\x7f\xe1\x06" + b"y" * 1000

    def batch(wire):
        if wire.stream < 0:
            return frame(HEADERS, END_STREAM, wire.next_stream(), wire.block("GET", ME, "attacker"))
        return frame(CONTINUATION, 0, wire.stream, literal * 15)

    return again(held, field, wires, batch, until)


def empty_continuation(field, until, held):
    wires = [H2Wire(held, field.proxy) for _ in range(4)]

    def batch(wire):
        if wire.stream < 0:
            return frame(HEADERS, END_STREAM, wire.next_stream(), wire.block("GET", ME, "attacker"))
        return frame(CONTINUATION, 0, wire.stream) * 1000

    return again(held, field, wires, batch, until)


def settings(field, until, held):
    wires = [H2Wire(held, field.proxy) for _ in range(4)]
    return again(held, field, wires, lambda _: frame(SETTINGS, 0, 0, b"\0\3\0\0\0\x64") * 1000, until)


def unread_settings(field, until, held):
    return deaf(field, until, held, frame(SETTINGS, 0, 0, b"\0\3\0\0\0\x64") * 1000)


def pings(field, until, held):
    wires = [H2Wire(held, field.proxy) for _ in range(4)]
    return again(held, field, wires, lambda _: frame(PING, 0, 0, b"12345678") * 1000, until)


def unread_pings(field, until, held):
    """Answers that nobody reads must not pile up."""
    return deaf(field, until, held, frame(PING, 0, 0, b"12345678") * 1000)


def deaf(field, until, held, batch):
    wires = [H2Wire(held, field.proxy) for _ in range(4)]
    while any([wire.send(batch) for wire in wires]):
        pass
    floods.wait(until)
    return sum(wire.sent for wire in wires)


def window_updates(field, until, held):
    wires = [H2Wire(held, field.proxy) for _ in range(4)]
    return again(held, field, wires, lambda _: frame(WINDOW_UPDATE, 0, 0, (1).to_bytes(4)) * 1000, until)


def uploading(size):
    def attack(field, until, held):
        wires = [H2Wire(held, field.proxy) for _ in range(4)]

        def batch(wire):
            head = b""
            if wire.stream < 0:
                kind = ("content-type", "application/json")
                head = frame(HEADERS, END_HEADERS, wire.next_stream(), wire.block("POST", "/v1/rooms", "attacker", kind))
            return head + frame(DATA, 0, wire.stream, b"x" * size) * 1000

        return again(held, field, wires, batch, until)

    return attack


def bomb(fields, streams=200):
    """A field of 4,000 bytes, once; then references of one byte to it, held by a server that waits for the bodies."""

    def attack(field, until, held):
        sent = 0
        for _ in range(20):
            wire = H2Wire(held, field.proxy, window=0, connection_window=0)
            value = "y" * (4000 if fields > 64 else 5500 // fields - 33)
            # With authorization and the pseudo-header fields at most 64.
            more = [("x", value)] * fields
            first, again = [wire.block("POST", "/v1/rooms", "attacker", *more) for _ in range(2)]
            wire.send(frame(HEADERS, END_HEADERS, wire.next_stream(), first))
            wire.send(b"".join(frame(HEADERS, END_HEADERS, wire.next_stream(), again) for _ in range(streams)))
            sent += wire.sent
        floods.wait(until)
        return sent

    return attack


ATTACKS = {
    "rapid reset": rapid_reset,
    "MadeYouReset": made_you_reset,
    "CONTINUATION without end": continuation,
    "empty CONTINUATION": empty_continuation,
    "SETTINGS": settings,
    "SETTINGS, answers unread": unread_settings,
    "PING": pings,
    "PING, answers unread": unread_pings,
    "WINDOW_UPDATE": window_updates,
    "empty DATA": uploading(0),
    "DATA of one byte": uploading(1),
    "HPACK bomb, 480 references": bomb(480),
    "HPACK bomb, 40 references": bomb(40, 60),
    "HPACK bomb, 59 references": bomb(59, 60),
}


# Calls that may reach the API: of the floods of resets as many as SECURITY 3 allows.
CALLS = {"rapid reset": 500, "MadeYouReset": 500}
# What may be held for each byte sent. Those that keep within all limits are bound by the total alone: a stream costs
# kilobytes, its head a few bytes.
HELD = {"HPACK bomb, 480 references": 20}


@pytest.mark.parametrize("name", ATTACKS)
def test_a_flood_costs_the_attacker_more_than_the_neighbour(field, name):
    cost = field.suffer(name, ATTACKS[name], may_stay=20)
    cost.judge(CALLS.get(name, 0), may_stay=20, ratio=HELD.get(name))
