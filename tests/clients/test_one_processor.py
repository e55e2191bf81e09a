"""Where there is one processor the process serves with one thread: everything goes on beside everything else all the same."""

import concurrent.futures
import signal

import requests

from world import TIMEOUT, wait_until

ME = "/v1/people/me"


def test_one_thread_serves_waits_reloads_and_drains(pair, token):
    sim, proxy = pair(within=("taskset", "--cpu-list", "0"), tables={"shutdown": {"delay": "0s", "drain": "5s"}})
    sim.person(token)
    room = sim.room(token)
    content = sim.upload(token, room, "film.bin", "application/octet-stream", 3_000_000)

    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        kept = list(pool.map(lambda _: len(proxy.bot(token).get(content).content), range(8)))
        assert kept == [3_000_000] * 8
        # From the disk: bodies of uploads wait there, and files are the work of other threads.
        body = {"roomId": (None, room), "files": ("film.bin", b"x" * 2_000_000)}
        assert proxy.bot(token).post("/v1/messages", files=body).status_code == 200

        sim.force("GET", ME, 429, headers={"Retry-After": "2"})
        waiter = pool.submit(proxy.bot(token).get, ME)
        wait_until(lambda: sim.count("GET", ME) == 1, what="the refusal")
        assert proxy.bot(token).get(content).status_code == 200
        assert requests.get(f"{proxy.admin}/metrics", timeout=TIMEOUT).status_code == 200
        proxy.child.send_signal(signal.SIGHUP)
        proxy.wait_for_line("configuration reloaded")
        proxy.child.send_signal(signal.SIGTERM)
        assert waiter.result().status_code == 200
    assert proxy.child.wait(timeout=10) == 0
