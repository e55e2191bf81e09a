"""Descriptors run out: operators are answered, who is served goes on being served, and it ends by itself."""

import contextlib
import json
import pathlib
import re
import resource
import socket
import subprocess
import time

import pytest
import requests

from machine import descriptors, metric, open_descriptors, operator, processor_seconds, told
from raw import connect
from world import BINARY, TIMEOUT, toml_of, wait_until

ME = "/v1/people/me"
REQUEST = "GET {} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n"


def limit_of(process):
    text = pathlib.Path(f"/proc/{process.child.pid}/limits").read_text()
    return tuple(int(number) for number in re.search(r"Max open files\s+(\d+)\s+(\d+)", text).groups())


@contextlib.contextmanager
def flood(port, count):
    """So many clients that say nothing."""
    clients = []
    try:
        for _ in range(count):
            client = socket.socket()
            client.setblocking(False)
            # The kernel's own line may be full as well: then it goes on trying.
            client.connect_ex(("127.0.0.1", port))
            clients.append(client)
        yield clients
    finally:
        for client in clients:
            client.close()


@contextlib.contextmanager
def nothing_left(process):
    """Every descriptor that the process may have is taken."""
    soft, hard = limit_of(process)
    # A new descriptor gets the lowest free number, which must not be below the limit.
    taken = {int(path.name) for path in pathlib.Path(f"/proc/{process.child.pid}/fd").iterdir()}
    lowest_free = next(number for number in range(len(taken) + 1) if number not in taken)
    resource.prlimit(process.child.pid, resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        yield
    finally:
        resource.prlimit(process.child.pid, resource.RLIMIT_NOFILE, (soft, hard))


def test_the_soft_limit_is_raised_to_the_hard_one(pair):
    _, proxy = pair(within=descriptors(128, 10_000))
    assert limit_of(proxy) == (10_000, 10_000)
    assert metric(proxy, "process_max_fds") == 10_000
    assert told(proxy, "descriptors short, connections limited") == []


def test_a_flood_of_connections_leaves_operators_and_tenants_their_service(pair, token):
    sim, proxy = pair(within=descriptors(64), tables={"gate": {"start_rate": 1_000_000}})
    sim.person(token)
    [line] = told(proxy, "descriptors short, connections limited")
    assert (line["limit"], line["connections"], line["configured"]) == (64, 14, 4096)
    bot = proxy.bot(token)
    assert bot.get(ME).status_code == 200
    before = open_descriptors(proxy)
    with flood(proxy.http_port, 200), flood(proxy.https_port, 200):
        wait_until(lambda: metric(proxy, "tollgate_connections") == 14, what="a full house")
        for path in ["/livez", "/readyz", "/metrics", "/status", "/"] * 3:
            assert operator(proxy, path).status_code == 200
        for number in range(20):
            assert bot.get(f"{ME}?{number}").status_code == 200
        with flood(int(proxy.admin_address.rsplit(":", 1)[1]), 50):
            assert bot.get(f"{ME}?again").status_code == 200
        assert operator(proxy).status_code == 200
        assert open_descriptors(proxy) < 64
    wait_until(lambda: proxy.bot(token).get(ME).status_code == 200, what="service for newcomers")
    wait_until(lambda: open_descriptors(proxy) <= before + 4, what="descriptors that come back")


def test_a_process_without_descriptors_answers_waits_and_recovers(pair, token):
    sim, proxy = pair(tables={"gate": {"start_rate": 1_000_000}, "upstream": {"pool_idle_timeout": "200ms"}})
    sim.person(token)
    with connect(proxy.http_port) as kept, requests.Session() as operators:
        kept.sendall(REQUEST.format(ME, token).encode())
        assert kept.recv(65536).startswith(b"HTTP/1.1 200")
        operators.get(f"{proxy.admin}/livez", timeout=TIMEOUT)
        # HTTP/2 connections of the pool are closed when they are idle: the next request has to open one.
        wait_until(lambda: metric(proxy, "tollgate_upstream_connections") == 0, what="a pool that is empty")
        sim.forget()
        time.sleep(0.5)  # Closed connections give their descriptors back a moment later.
        with nothing_left(proxy), contextlib.ExitStack() as newcomers:
            kept.sendall(REQUEST.format(f"{ME}?a", token).encode())
            answer = kept.recv(65536)
            assert answer.startswith(b"HTTP/1.1 503"), answer
            body = json.loads(answer.partition(b"\r\n\r\n")[2])
            assert body["message"] and body["trackingId"] and isinstance(body["errors"], list)
            assert b"proxy-status: tollgate; error=proxy_internal_error" in answer.lower()
            assert sim.log() == []
            waiting = [newcomers.enter_context(connect(proxy.http_port)) for _ in range(5)]
            for client in waiting:
                client.sendall(REQUEST.format(ME, token).encode())
            assert operators.get(f"{proxy.admin}/livez", timeout=5).status_code == 200
            began, spent = time.monotonic(), processor_seconds(proxy)
            time.sleep(1.5)
            assert processor_seconds(proxy) - spent < 0.5 * (time.monotonic() - began), "it spins"
            resource.prlimit(proxy.child.pid, resource.RLIMIT_NOFILE, limit_of(proxy)[1:] * 2)
            for client in waiting:
                assert client.recv(65536).startswith(b"HTTP/1.1 200")
        kept.sendall(REQUEST.format(f"{ME}?b", token).encode())
        assert kept.recv(65536).startswith(b"HTTP/1.1 200")
    assert metric(proxy, "tollgate_upstream_failures_total", '{reason="exhausted"}') >= 1
    assert proxy.bot(token).get(ME).status_code == 200


def test_an_upload_that_finds_no_descriptor_for_its_file_is_sent_all_the_same(pair, token):
    sim, proxy = pair(tables={"gate": {"start_rate": 1_000_000}})
    sim.person(token)
    room = sim.room(token)
    bot = proxy.bot(token)
    body = {"data": {"roomId": room}, "files": {"files": ("a.bin", b"x" * 300_000)}}
    assert bot.post("/v1/messages", **body).status_code == 200
    time.sleep(0.5)
    with nothing_left(proxy):
        assert bot.post("/v1/messages", **body).status_code == 200
    assert sim.statuses("POST", "/v1/messages") == [200, 200]


@pytest.mark.parametrize("limit, mark", [(1024, "warn"), (20_000, "ok")])
def test_the_doctor_tells_beforehand(tmp_path, limit, mark):
    (tmp_path / "tollgate.toml").write_text(toml_of({"upstream": {"connect": ["127.0.0.1:9"]}, "listen": {"https": "127.0.0.1:0"}}))
    command = [*descriptors(limit), BINARY, "doctor", "--config", tmp_path / "tollgate.toml"]
    command += ["--state-dir", tmp_path / "state", "--admin", "127.0.0.1:0"]
    done = subprocess.run(command, capture_output=True, timeout=60, env={"PATH": "/usr/bin:/bin"})
    [line] = [line for line in done.stdout.decode().splitlines() if "descriptors" in line]
    assert line.split()[0] == mark and "8288" in line
