"""Memory runs short: large uploads are refused first, everything later, and all of it ends by itself."""

import os
import threading

import pytest
import requests

from machine import MIB, FakeGroup, RealGroup, metric, operator, together, told
from raw import Server, connect, read_head
from world import Proxy, assert_webex_error, wait_until

ME = "/v1/people/me"
MESSAGES = "/v1/messages"
# 100 for the figures of SECURITY 2, which take half a minute and more; the buffers are the same for 10.
UPLOAD_MB = int(os.environ.get("MACHINE_UPLOAD_MB", "10"))


@pytest.fixture
def group(tmp_path):
    return FakeGroup(tmp_path)


@pytest.fixture
def short(pair, token, group):
    sim, proxy = pair(tables={"memory": {"cgroup": str(group.folder)}, "gate": {"start_rate": 1_000_000}})
    sim.person(token)
    return sim, proxy


def pressure(proxy, level):
    wait_until(lambda: metric(proxy, "tollgate_memory_pressure") == level, what=f"pressure {level}")


def assert_refused(answer):
    assert answer.status_code == 503
    assert_webex_error(answer)
    assert answer.headers["Retry-After"] == "5"
    assert "memory" in answer.json()["message"]


def chunks(count):
    yield from (b"x" * 10_000 for _ in range(count))


def test_large_uploads_are_refused_first_then_everything_and_it_ends_by_itself(short, token, group):
    sim, proxy = short
    room = sim.room(token)
    path = sim.upload(token, room, "a.bin", "application/octet-stream", 500_000)
    bot = proxy.bot(token)
    assert bot.get(path).status_code == 200
    assert metric(proxy, "tollgate_cache_bytes") > 400_000
    small = {"data": {"roomId": room}, "files": {"files": ("a.bin", b"x" * 1000)}}
    large = {"data": {"roomId": room}, "files": {"files": ("a.bin", b"x" * 200_000)}}
    assert bot.post(MESSAGES, **large).status_code == 200

    group.use(75)
    pressure(proxy, 1)
    sim.forget()
    assert_refused(bot.post(MESSAGES, **large))
    assert_refused(bot.post(MESSAGES, data=chunks(20)))
    assert [entry for entry in sim.log() if entry["method"] == "POST"] == []
    assert bot.post(MESSAGES, **small).status_code == 200
    assert bot.get(ME).status_code == 200
    assert bot.get(path).status_code == 200

    group.use(85)
    pressure(proxy, 2)
    sim.forget()
    for method in ["GET", "HEAD", "POST", "DELETE"]:
        answer = bot.ask(method, ME)
        assert answer.status_code == 503 and answer.headers["Retry-After"] == "5"
    assert_refused(bot.get(path))
    assert sim.log() == []
    wait_until(lambda: metric(proxy, "tollgate_cache_bytes") < 1000, what="a smaller cache")
    for shown in ["/livez", "/readyz", "/metrics", "/status", "/"]:
        assert operator(proxy, shown).status_code == 200
    status = requests.get(f"{proxy.admin}/status", timeout=5).json()
    assert status["memory"] == {"used_bytes": 850 * MIB, "limit_bytes": 1000 * MIB, "refused": "requests"}
    assert {entry["reason"] for entry in status["refusals"]} == {"overloaded"}

    group.use(20)
    pressure(proxy, 0)
    assert bot.get(path).status_code == 200
    assert bot.post(MESSAGES, **large).status_code == 200
    assert metric(proxy, "tollgate_memory_refused_total", '{what="uploads"}') == 2
    assert metric(proxy, "tollgate_memory_refused_total", '{what="requests"}') == 5
    assert [line["refused"] for line in told(proxy, "memory short")] == ["uploads", "requests"]
    assert len(told(proxy, "memory eased")) == 1


def test_what_the_kernel_can_drop_is_no_pressure(short, token, group):
    _, proxy = short
    group.use(95, inactive_file=500 * MIB)
    wait_until(lambda: (metric(proxy, "tollgate_memory_used_bytes") or 0) == 450 * MIB, what="a look")
    assert metric(proxy, "tollgate_memory_pressure") == 0
    assert proxy.bot(token).get(ME).status_code == 200


def test_who_waits_in_line_is_served_though_memory_runs_short_meanwhile(short, token, group):
    sim, proxy = short
    sim.force("POST", MESSAGES, 429, headers={"Retry-After": "2"})
    room = sim.room(token)
    outcomes = []
    body = {"data": {"roomId": room}, "files": {"files": ("a.bin", b"x" * 300_000)}}
    waiter = threading.Thread(target=lambda: outcomes.append(proxy.bot(token).post(MESSAGES, **body)))
    waiter.start()
    wait_until(lambda: sim.count("POST", MESSAGES) == 1, what="the refusal")
    group.use(90)
    pressure(proxy, 2)
    assert proxy.bot(token).get(ME).status_code == 503
    waiter.join(timeout=20)
    assert [answer.status_code for answer in outcomes] == [200]
    assert sim.statuses("POST", MESSAGES) == [429, 200]


def test_the_guard_can_be_switched_off(pair, token, group):
    group.use(99)
    sim, proxy = pair(tables={"memory": {"cgroup": str(group.folder), "guard": False}})
    sim.person(token)
    assert proxy.bot(token).get(ME).status_code == 200
    assert metric(proxy, "tollgate_memory_limit_bytes") is None
    assert metric(proxy, "tollgate_memory_pressure") == 0


def swallow(connection):
    """Reads one request with a length and says yes."""
    head, rest = read_head(connection)
    if not head:
        return
    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]) - len(rest)
    buffer = bytearray(1 << 20)
    while length > 0:
        got = connection.recv_into(buffer)
        if not got:
            return
        length -= got
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")


def upload(port, token, size):
    """One POST of so many bytes; the status."""
    block = b"x" * (1 << 20)
    with connect(port, timeout=240) as client:
        head = f"POST {MESSAGES} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
        head += f"Content-Type: application/octet-stream\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n"
        client.sendall(head.encode())
        left = size
        while left:
            left -= client.send(block[: min(left, len(block))])
        return int(client.recv(4096).split()[1])


@pytest.mark.timeout(400)
@pytest.mark.parametrize("enclosed", ["control group", "no limit"])
def test_fifty_large_uploads_at_once_stay_within_512_mib(folder, token, enclosed, capsys):
    group = RealGroup(512 * MIB) if enclosed == "control group" else None
    server = Server(swallow)
    tables = {"gate": {"start_rate": 1_000_000, "burst": 1000, "max_wait": "120s"}, "replay": {"faults": False}}
    within = group.within() if group else ()
    proxy = Proxy(folder("many"), None, None, upstream=f"http://{server.address}", tables=tables, within=within)
    try:
        size = UPLOAD_MB * 1_000_000
        statuses = together(50, lambda number: upload(proxy.http_port, f"{token}-{number}", size))
        peak = proxy.memory_peak()
        most = group.most_used() if group else 0
        with capsys.disabled():
            print(f"\n  50 x {UPLOAD_MB} MB ({enclosed}): VmHWM {peak / MIB:.0f} MiB, group {most / MIB:.0f} MiB")
        assert statuses == [200] * 50
        assert peak < 256 * MIB
        assert proxy.child.poll() is None
        assert told(proxy, "memory short") == []
    finally:
        proxy.stop()
        server.stop()
        if group:
            group.stop()


@pytest.mark.timeout(120)
def test_a_cache_larger_than_the_memory_does_not_end_the_process(folder, pair, token, capsys):
    group = RealGroup(256 * MIB)
    try:
        tables = {"gate": {"start_rate": 1_000_000}, "cache": {"memory": "1GiB", "max_entry": "16MiB"}}
        sim, proxy = pair(tables=tables, within=group.within())
        sim.person(token)
        room = sim.room(token)
        paths = [sim.upload(token, room, f"{n}.bin", "application/octet-stream", 4_000_000) for n in range(100)]
        bot = proxy.bot(token)
        statuses = [bot.get(path).status_code for path in paths]
        assert set(statuses) <= {200, 503}
        assert 503 in statuses, "it was never short"
        wait_until(lambda: bot.get(paths[0]).status_code == 200, seconds=20, what="recovery")
        assert proxy.child.poll() is None
        with capsys.disabled():
            print(f"\n  400 MB of attachments within 256 MiB: {statuses.count(503)} of 100 refused, "
                  f"peak {proxy.memory_peak() / MIB:.0f} MiB")
        proxy.stop()
    finally:
        group.stop()
