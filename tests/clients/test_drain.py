"""SIGTERM: what was accepted is answered, what cannot be in time is told so, and the process ends with 0."""

import concurrent.futures
import itertools
import json
import os
import pathlib
import signal
import subprocess
import time

import pytest
import requests
from urllib3.exceptions import NewConnectionError

from raw import connect, connect_tls, read_to_end
from world import TIMEOUT, assert_webex_error, wait_until

ME = "/v1/people/me"
# No two requests ask the same: each must go to the API, none waits for the answer to another.
NUMBERS = itertools.count()


def ready(proxy):
    return requests.get(f"{proxy.admin}/readyz", timeout=TIMEOUT).status_code


def terminate(proxy):
    """SIGTERM; returns what waits for the end and says when it came."""
    started = time.monotonic()
    proxy.child.send_signal(signal.SIGTERM)

    def ended(within):
        code = proxy.child.wait(timeout=within)
        return code, time.monotonic() - started

    return ended


def refuses(port):
    try:
        connect(port).close()
    except ConnectionRefusedError:
        return True
    return False


def test_readiness_goes_first_then_the_door_then_the_process(pair, token):
    sim, proxy = pair(tables={"shutdown": {"delay": "2s", "drain": "5s"}})
    sim.person(token)
    assert ready(proxy) == 200
    ended = terminate(proxy)
    wait_until(lambda: ready(proxy) == 503, what="readiness off")
    assert requests.get(f"{proxy.admin}/livez", timeout=TIMEOUT).status_code == 200
    # New connections are still taken and served, for as long as balancers may send them.
    assert proxy.bot(token).get(ME).status_code == 200
    assert requests.get(proxy.plain + ME, headers={"Authorization": f"Bearer {token}"}, timeout=10).status_code == 200
    wait_until(lambda: refuses(proxy.http_port), what="the door closing")
    code, took = ended(10)
    print(f"ended after {took:.2f} s with {code}")
    assert code == 0
    assert 2 <= took < 4


def test_an_idle_process_ends_at_once(pair):
    _, proxy = pair(tables={"shutdown": {"delay": "0s", "drain": "20s"}})
    with connect_tls(proxy.https_port, proxy.ca) as idle, connect(proxy.http_port):
        idle.sendall(b"GET /v1/people/me HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert idle.recv(65536).startswith(b"HTTP/1.1 401")
        code, took = terminate(proxy)(10)
    print(f"ended after {took:.2f} s")
    assert (code, took < 4) == (0, True)


def test_who_gets_a_turn_in_time_is_served_and_the_others_are_told_at_once(pair, token):
    """One request a second, a drain of five seconds, twenty in line."""
    tables = {
        "gate": {"rate": 1, "burst": 1, "max_wait": "60s", "retry_after_scope": "egress"},
        "shutdown": {"delay": "0s", "drain": "5s"},
    }
    sim, proxy = pair(tables=tables)
    sim.person(token)
    assert proxy.bot(token).get(ME).status_code == 200

    def ask(number):
        started = time.monotonic()
        answer = proxy.bot(token).get(f"{ME}?n={number}")
        return answer, started, time.monotonic()

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        jobs = [pool.submit(ask, number) for number in range(20)]
        wait_until(lambda: proxy.waiting() in (19, 20), what="the line")
        told_at = time.monotonic()
        ended = terminate(proxy)
        answers = [job.result() for job in jobs]
        code, took = ended(12)
    served = [answer for answer, _, _ in answers if answer.status_code == 200]
    refused = [(answer, at) for answer, _, at in answers if answer.status_code == 503]
    print(f"{len(served)} served, {len(refused)} told within {max(at for _, at in refused) - told_at:.2f} s, end {took:.2f} s")
    assert len(served) + len(refused) == 20
    assert 3 <= len(served) <= 7
    assert code == 0 and took < 8
    for answer, at in refused:
        assert_webex_error(answer)
        assert int(answer.headers["Retry-After"]) >= 5
        assert answer.headers["Connection"] == "close"
        assert at - told_at < 2
    assert [line for line in proxy.log() if "shutting down" in str(line.get("error"))]


def test_the_metric_and_the_log_tell_who_was_refused(pair, token):
    tables = {"gate": {"rate": 1, "burst": 1, "max_wait": "60s"}, "shutdown": {"delay": "0s", "drain": "3s"}}
    sim, proxy = pair(tables=tables)
    sim.person(token)
    proxy.bot(token).get(ME)
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        jobs = [pool.submit(proxy.bot(token).get, f"{ME}?n={number}") for number in range(10)]
        wait_until(lambda: proxy.waiting() in (8, 9, 10), what="the line")
        ended = terminate(proxy)
        counts = []
        while len(counts) < 2 or counts[-1] != counts[-2] or not counts[-1]:
            counts.append([line for line in proxy.metrics().splitlines() if 'reason="shutdown"' in line])
            time.sleep(0.3)
        refused = [job.result() for job in jobs if job.result().status_code == 503]
        assert ended(10)[0] == 0
    assert counts[-1] == [f'tollgate_queue_refused_total{{reason="shutdown"}} {len(refused)}']
    [draining] = [entry for entry in proxy.log() if entry.get("message") == "draining"]
    assert (draining["delay_ms"], draining["drain_ms"]) == (0, 3000)
    [drained] = [entry for entry in proxy.log() if entry.get("message") == "drained"]
    assert drained["took_ms"] < 5000


def test_requests_in_flight_and_uploads_are_finished(pair, token):
    sim, proxy = pair(tables={"shutdown": {"delay": "0s", "drain": "10s"}})
    sim.person(token)
    room = sim.room(token)
    sim.force("GET", ME, 200, delay_ms=2000)
    head = f"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
    body = json.dumps({"roomId": room, "text": "x" * 1000}).encode()
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with connect(proxy.http_port) as upload, concurrent.futures.ThreadPoolExecutor(1) as pool:
        upload.sendall(head.encode() + body[:500])
        slow = pool.submit(proxy.bot(token).get, ME)
        wait_until(lambda: "tollgate_requests_in_flight 1" in proxy.metrics(), what="a request in flight")
        time.sleep(0.2)
        ended = terminate(proxy)
        time.sleep(0.5)
        upload.sendall(body[500:])
        posted = read_to_end(upload)
        assert slow.result().status_code == 200
        assert slow.result().headers["Connection"] == "close"
    assert posted.startswith(b"HTTP/1.1 200") and b"connection: close" in posted, posted[:500]
    code, took = ended(8)
    print(f"ended after {took:.2f} s")
    assert code == 0 and took < 8


def test_what_hangs_is_told_before_the_end(pair, token):
    """An API that never answers and a client that never finishes its upload: both hear 503, and the end is in time."""
    sim, proxy = pair(tables={"shutdown": {"delay": "0s", "drain": "1s"}})
    sim.person(token)
    sim.force("GET", ME, 200, delay_ms=60_000, n=2)
    head = f"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Length: 9\r\n\r\n"
    with connect(proxy.http_port) as upload, concurrent.futures.ThreadPoolExecutor(2) as pool:
        upload.sendall(head.encode() + b"12")
        hanging = [pool.submit(proxy.bot(token).get, ME), pool.submit(over_h2, proxy, token, width=1, most=1)]
        wait_until(lambda: "tollgate_requests_in_flight 2" in proxy.metrics(), what="requests in flight")
        ended = terminate(proxy)
        told = read_to_end(upload)
        answer, streams = (job.result() for job in hanging)
    assert_webex_error(answer)
    assert answer.status_code == 503 and int(answer.headers["Retry-After"]) >= 1
    assert told.startswith(b"HTTP/1.1 503") and b"retry-after: " in told
    assert streams["statuses"].pop("503 with Retry-After") == 1
    assert set(streams["statuses"]) <= {"goaway"}
    code, took = ended(5)
    print(f"ended after {took:.2f} s")
    assert code == 0 and took < 5


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(pair, token, second):
    sim, proxy = pair(tables={"shutdown": {"delay": "20s", "drain": "20s"}})
    sim.person(token)
    sim.force("GET", ME, 200, delay_ms=30_000)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        slow = pool.submit(proxy.bot(token).get, ME)
        wait_until(lambda: "tollgate_requests_in_flight 1" in proxy.metrics(), what="a request in flight")
        ended = terminate(proxy)
        wait_until(lambda: ready(proxy) == 503, what="readiness off")
        assert proxy.child.poll() is None
        proxy.child.send_signal(second)
        code, took = ended(5)
        print(f"ended after {took:.2f} s")
        with pytest.raises(requests.RequestException):
            slow.result()
    assert code == 0 and took < 4


def keep_asking(proxy, token, path, upload, pause):
    """Asks until nobody takes connections any more: what was answered, and what was lost."""
    bot = proxy.bot(token)
    statuses, lost = [], []
    while True:
        try:
            answer = bot.post(path, json=upload) if upload else bot.get(f"{path}?n={next(NUMBERS)}")
        except requests.ConnectionError as error:
            if not isinstance(getattr(error.args[0], "reason", None), NewConnectionError):
                lost.append(repr(error))
            return statuses, lost
        statuses.append(answer.status_code)
        if answer.status_code == 503 and not answer.headers.get("Retry-After", "").isdigit():
            lost.append(answer.text)
        if pause:
            bot.session.close()


def test_under_load_nothing_that_was_accepted_is_lost(pair, token):
    """HTTP/1.1 with and without keep-alive, posts and HTTP/2 streams, all through the gate, until nobody answers."""
    tables = {
        "gate": {"start_rate": 400, "rate": 400, "burst": 10, "max_wait": "60s"},
        "shutdown": {"delay": "1s", "drain": "3s"},
    }
    sim, proxy = pair(tables=tables)
    sim.person(token)
    room = sim.room(token)
    text = {"roomId": room, "text": "x" * 5000}
    ways = [(ME, None, False)] * 4 + [(ME, None, True)] * 3 + [("/v1/messages", text, False)] * 2
    with concurrent.futures.ThreadPoolExecutor(30) as pool:
        jobs = [pool.submit(keep_asking, proxy, token, *way) for way in ways]
        streams = [pool.submit(over_h2, proxy, token) for _ in range(2)]
        wait_until(lambda: sim.count("GET", ME) > 100, what="traffic")
        ended = terminate(proxy)
        done = [job.result() for job in jobs]
        over_http2 = [job.result()["statuses"] for job in streams]
        code, took = ended(10)
    statuses = [status for found, _ in done for status in found]
    print(f"{len(statuses)} answers over HTTP/1.1, {over_http2} over HTTP/2, ended after {took:.2f} s with {code}")
    assert [lost for _, found in done for lost in found] == []
    assert set(statuses) <= {200, 503} and statuses.count(200) > 100
    for found in over_http2:
        assert found.pop("200") > 10
        assert set(found) <= {"503 with Retry-After", "goaway", "ECONNREFUSED", "NGHTTP2_REFUSED_STREAM"}, found
    assert code == 0 and took < 7


def over_h2(proxy, token, width=3, most=1_000_000):
    """Node's own client: streams on one connection, three at a time, until it is told to go away."""
    script = pathlib.Path(__file__).with_name("streams.mjs")
    child = subprocess.Popen(
        ["node", script, proxy.base, ME, token, str(width), str(most)],
        env={"NODE_EXTRA_CA_CERTS": str(proxy.ca), "PATH": os.environ["PATH"]},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    # Its input stays open: it ends by itself.
    with child.stdout as told:
        out = told.read()
    child.stdin.close()
    assert child.wait(timeout=10) == 0
    return json.loads(out)
