"""The process is told to end, to reload, or is killed, while everything else goes wrong as well."""

import concurrent.futures
import hashlib
import json
import os
import random
import signal
import threading
import time

import pytest

from machine import fill, metric, small_disk, together, told
from raw import Server, read_head
from world import Proxy, assert_webex_error, toml_of, wait_until

ME = "/v1/people/me"
MESSAGES = "/v1/messages"


def test_told_to_end_with_the_api_down_and_the_line_full_everybody_hears_of_it(folder, token):
    refusal = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 20\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    server = Server(lambda connection: (read_head(connection), connection.sendall(refusal)))
    tables = {"gate": {"retry_after_scope": "egress", "max_waiting": 8}, "replay": {"faults": False}}
    proxy = Proxy(folder("down"), None, None, upstream=f"http://{server.address}", tables=tables)
    try:
        assert proxy.bot(token).post("/v1/rooms", json={}, headers={"Prefer": "wait=0"}).status_code == 429
        server.stop()
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            asked = pool.submit(together, 20, lambda n: proxy.bot(token).post(f"/v1/rooms?{n}", json={}))
            full = '{reason="full"}'
            wait_until(lambda: metric(proxy, "tollgate_queue_refused_total", full) == 12, what="a full line")
            began = time.monotonic()
            proxy.child.send_signal(signal.SIGTERM)
            answers = asked.result(timeout=30)
        assert proxy.child.wait(timeout=10) == 0
        assert time.monotonic() - began < 10
        statuses = sorted(answer.status_code for answer in answers)
        assert statuses == [429] * 12 + [503] * 8, statuses
        for answer in answers:
            assert_webex_error(answer)
    finally:
        proxy.stop()


def test_told_to_end_and_to_reload_with_a_full_disk_it_does_both(pair, token, tmp_path):
    (tmp_path / "disk").mkdir()
    with small_disk(tmp_path / "disk") as disk:
        (disk / "cache").mkdir()
        tables = {"replay": {"spool_dir": str(disk)}, "cache.disk": {"path": str(disk / "cache"), "threshold": "0B"}}
        sim, proxy = pair(tables=tables)
        sim.person(token)
        room = sim.room(token)
        path = sim.upload(token, room, "a.bin", "application/octet-stream", 400_000)
        fill(disk)
        sim.force("GET", ME, 429, headers={"Retry-After": "2"})
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            waiter = pool.submit(proxy.bot(token).get, ME)
            wait_until(lambda: sim.count("GET", ME) == 1, what="the refusal")
            body = {"data": {"roomId": room}, "files": {"files": ("a.bin", b"x" * 500_000)}}
            upload = pool.submit(proxy.bot(token).post, MESSAGES, **body)
            plain = {"shutdown": {"delay": "0s", "drain": "5s"}, "upstream": {"connect": [sim.https_address]}}
            text = toml_of(plain | tables | {"gate": {"max_wait": "20s"}})
            (proxy.folder / "tollgate.toml").write_text(text)
            proxy.child.send_signal(signal.SIGHUP)
            proxy.wait_for_line("configuration reloaded")
            proxy.child.send_signal(signal.SIGTERM)
            assert waiter.result(timeout=20).status_code == 200
            assert upload.result(timeout=20).status_code == 200
        assert proxy.child.wait(timeout=15) == 0
        assert sim.statuses("POST", MESSAGES) == [200]
        proxy = Proxy(proxy.folder, sim.https_address, sim.ca, tables=tables)
        try:
            assert len(proxy.bot(token).get(path).content) == 400_000
        finally:
            proxy.stop()


@pytest.mark.timeout(120)
def test_killed_while_it_writes_it_starts_again_and_believes_nothing_that_is_damaged(pair, token, tmp_path):
    kept, chance = tmp_path / "kept", random.Random(6)
    tables = {"gate": {"start_rate": 1_000_000}, "replay": {"spool_dir": str(tmp_path)}}
    tables["cache.disk"] = {"path": str(kept), "threshold": "0B"}
    sim, proxy = pair(tables=tables)
    sim.person(token)
    room = sim.room(token)
    paths = [sim.upload(token, room, f"{n}.bin", "application/octet-stream", 700_000) for n in range(12)]
    digests = {path: sim.digest(path, token) for path in paths}
    try:
        for turn in range(5):
            bots = [proxy.bot(token) for _ in range(3)]
            over = threading.Event()

            def work(number, bots=bots, over=over):
                while not over.is_set():
                    bots[number].get(paths[chance.randrange(12)])
                    bots[number].post(MESSAGES, data={"roomId": room}, files={"files": ("a.bin", b"x" * 200_000)})

            threads = [threading.Thread(target=lambda n=n: ignore(work, n)) for n in range(3)]
            for thread in threads:
                thread.start()
            time.sleep(0.3 + chance.random())
            proxy.child.kill()
            over.set()
            proxy.stop()
            for thread in threads:
                thread.join(timeout=20)
            damage(proxy.state, kept, turn)
            proxy = Proxy(proxy.folder, sim.https_address, sim.ca, tables=tables)
            for path in paths:
                assert hashlib.sha256(proxy.bot(token).get(path).content).hexdigest() == digests[path]
            assert len(told(proxy, "learned limits ignored")) == (1 if turn else 0)
        assert [name for name in os.listdir(tmp_path) if name.startswith(".tmp")] == []
        assert proxy.stop() == 0
        assert json.loads((proxy.state / "gates.json").read_text())["version"] == 1
    finally:
        proxy.stop()


def ignore(work, number):
    """Its connection breaks when the process is killed."""
    try:
        work(number)
    except OSError:
        pass


def damage(state, kept, turn):
    """What a machine that lost its power may leave behind."""
    gates = state / "gates.json"
    if turn == 1:
        gates.write_bytes(b"")
    elif turn == 2:
        gates.write_bytes(b"\0" * 4096)
    elif turn == 3:
        gates.write_bytes(b"[" * 1_000_000)
    elif turn == 4:
        gates.write_bytes(b" " * 100_000_000)
    files = sorted(path for path in kept.iterdir() if path.is_file() and path.name != "lock")
    if files:
        victim = files[turn % len(files)]
        victim.write_bytes(victim.read_bytes()[: victim.stat().st_size // 2])
    (kept / "0123456789abcdef.part").write_bytes(b"half")
