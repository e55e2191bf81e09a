"""The gate: whom a 429 stops, who goes first, what an operator can say about it."""

import concurrent.futures
import hashlib
import json
import re
import socket
import threading
import time

import pytest

from sim import mark_of
from world import Bot, assert_webex_error, wait_until

ME = "/v1/people/me"
# So fast that nothing but a refusal holds anybody back.
OPEN = {"start_rate": 10_000, "burst": 10_000}
# Equal reads of one token share an answer; one that wants its own must say so.
OWN = {"Cache-Control": "no-cache"}


@pytest.fixture
def start(pair, sim):
    """Starts a proxy in front of the module's simulator: keys of [gate], and [[tenant]] tables."""

    def start(tenants=(), **gate):
        tables = "\n".join("[[tenant]]\n" + "\n".join(f"{k} = {json.dumps(v)}" for k, v in t.items()) for t in tenants)
        return pair(sim=sim, tables={"gate": gate}, config=tables)[1]

    return start


@pytest.fixture
def people(sim, token):
    """Makes so many people; returns their tokens."""

    def people(count):
        tokens = [f"{token}-{number}" for number in range(count)]
        for one in tokens:
            sim.person(one)
        return tokens

    return people


def listed(name, *tokens, **keys):
    """A [[tenant]] of these tokens."""
    hashes = [hashlib.sha256(token.encode()).hexdigest() for token in tokens]
    return {"name": name, "token_sha256": hashes} | keys


def refuse(sim, seconds, path=ME, method="GET", **order):
    sim.force(method, path, 429, headers={"Retry-After": str(seconds)}, **order)


def timed(bot, path=ME, **options):
    """The status of an answer, what it states as Retry-After, and how long it took."""
    started = time.monotonic()
    answer = bot.get(path, timeout=60, **options)
    stated = answer.headers.get("Retry-After")
    assert stated is None or re.fullmatch("[1-9][0-9]*", stated), stated
    return answer.status_code, stated and int(stated), time.monotonic() - started


def all_at_once(calls):
    """The results of calls that run at the same time."""
    with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


def close_the_gate(sim, proxy, token, seconds, path=ME):
    """Lets a bot run into a refusal; returns its answer to be, once the gate knows."""
    refuse(sim, seconds, path)
    pool = concurrent.futures.ThreadPoolExecutor(1)
    first = pool.submit(timed, proxy.bot(token), path)
    wait_until(lambda: "tollgate_queue_depth 1" in proxy.metrics(), what="a refused request in line")
    pool.shutdown(wait=False)
    return first


def test_with_egress_one_429_silences_everybody_for_its_whole_time(start, sim, people):
    proxy = start(retry_after_scope="egress", start_rate=20, burst=1)
    tokens = people(25)
    refuse(sim, 3)
    sim.force("GET", ME, delay_ms=300, n=1000)
    bots = [proxy.bot(one) for one in tokens]

    def ask(bot, late):
        time.sleep(late)
        return timed(bot)[0]

    answers = all_at_once([lambda b=bot, n=number: ask(b, 0.3 if n else 0) for number, bot in enumerate(bots)])
    assert answers == [200] * 25
    log = [entry for entry in sim.log() if entry["path"] == ME]
    assert [entry["status"] for entry in log] == [429] + [200] * 25
    at = [entry["at_ms"] - log[0]["at_ms"] for entry in log]
    assert 3000 <= at[1] <= 3700, at
    assert at[2] >= at[1] + 300, "the second before the first was answered"
    # At most 20 a second before the refusal, so at most 10 after it, and slowly more.
    assert at[-1] - at[2] >= 1200, at
    assert all(sum(1 for other in at[2:] if one <= other < one + 200) <= 6 for one in at[2:]), at


def test_with_auto_a_full_room_delays_no_other_room(start, sim, people):
    proxy = start(start_rate=40, burst=10)
    one, other = people(2)
    busy, calm = sim.room(one), sim.room(one)
    elsewhere = sim.room(other)
    sim.set(limit="room=240:3", limit_mode="token-bucket")

    def read(token, room, late=0.0):
        time.sleep(late)
        return timed(proxy.bot(token), f"/v1/messages?roomId={room}", headers=OWN)

    # Each success proves the one refusal narrower: another tenant's, another family's, another room's.
    refuse(sim, 5, "/v1/messages", query=busy)
    sim.force("GET", "/v1/messages", delay_ms=100, n=10_000)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        began = time.monotonic()
        first = pool.submit(read, one, busy)
        wait_until(lambda: "tollgate_queue_depth 1" in proxy.metrics(), what="a refused request in line")
        assert read(other, elsewhere)[0] == timed(proxy.bot(one))[0] == read(one, calm)[0] == 200
        assert time.monotonic() - began < 4.5
        assert first.result()[0] == 200

    crowd = [lambda: read(one, busy) for _ in range(20)]
    spared = [lambda n=number: read(one, calm, 0.5 + n * 0.3) for number in range(3)]
    answers = all_at_once(crowd + spared)
    assert {status for status, _, _ in answers} == {200}
    assert 429 in sim.statuses("GET", "/v1/messages")[1:]
    assert max(took for _, _, took in answers[:20]) > 3
    assert max(took for _, _, took in answers[20:]) < 0.8, answers


@pytest.mark.parametrize("scope, family_waits", [("tenant", True), ("route", False)])
def test_a_narrow_scope_stops_nobody_else(start, sim, people, scope, family_waits):
    proxy = start(retry_after_scope=scope, **OPEN)
    one, other = people(2)
    first = close_the_gate(sim, proxy, one, 3)
    theirs, family, same = all_at_once(
        [
            lambda: timed(proxy.bot(other)),
            lambda: timed(proxy.bot(one), "/v1/rooms"),
            lambda: timed(proxy.bot(one)),
        ]
    )
    assert theirs[0] == family[0] == same[0] == first.result()[0] == 200
    assert theirs[2] < 1
    assert (family[2] > 2) == family_waits, family
    assert same[2] > 2


def test_observe_holds_nothing_and_says_what_the_line_would_have_meant(start, sim, people):
    proxy = start(mode="observe", retry_after_scope="egress")
    one, other = people(2)
    refuse(sim, "2.5")
    status, stated, took = timed(proxy.bot(one))
    assert (status, stated) == (429, 3)
    assert took < 1
    assert sim.statuses("GET", ME) == [429]
    status, _, took = timed(proxy.bot(other))
    assert status == 200
    assert took < 1

    def observed():
        return [line for line in proxy.log() if "observed_wait_ms" in line]

    lines = wait_until(lambda: len(observed()) == 2 and observed(), what="two lines of log")
    assert [line["wait_ms"] for line in lines] == [0, 0]
    assert 1500 <= lines[1]["observed_wait_ms"] <= 3000, lines[1]


def test_observe_repeats_nothing_into_a_closed_gate(start, sim, people):
    proxy = start(mode="observe")
    (one,) = people(1)
    sim.force("GET", ME, 503, headers={"Retry-After": "5"}, n=5)
    assert timed(proxy.bot(one))[:2] in [(503, 5), (503, 6)]
    assert sim.statuses("GET", ME) == [503]


def test_admit_listed_turns_strangers_away(start, sim, people, tmp_path):
    by_hash, by_file, stranger = people(3)
    kept = tmp_path / "token"
    kept.write_text(f"{by_file}\n")
    proxy = start([listed("hash", by_hash), {"name": "file", "token_files": [str(kept)]}], admit="listed")
    assert timed(proxy.bot(by_hash))[0] == timed(proxy.bot(by_file))[0] == 200
    refused = proxy.bot(stranger).get(ME)
    assert refused.status_code == 403
    assert_webex_error(refused)
    assert proxy.bot(None).get(ME).status_code == 403
    assert sim.askers(ME) == {mark_of(by_hash), mark_of(by_file)}


def test_a_light_tenant_does_not_wait_behind_a_heavy_one(start, people):
    heavy, light = people(2)
    proxy = start([listed("heavy", heavy, weight=3), listed("light", light)], rate=20, burst=1, max_wait="60s")
    done = threading.Event()

    def flood():
        bot, answered = proxy.bot(heavy), 0
        while not done.is_set():
            answered += timed(bot, headers=OWN)[0] == 200
        return answered

    with concurrent.futures.ThreadPoolExecutor(30) as pool:
        began = time.monotonic()
        floods = [pool.submit(flood) for _ in range(30)]
        time.sleep(1)
        waits = [timed(proxy.bot(light)) for _ in range(6)]
        done.set()
        answered = sum(flooding.result() for flooding in floods)
        lasted = time.monotonic() - began
    assert {status for status, _, _ in waits} == {200}
    # One turn in four is the light tenant's, and a turn is a twentieth of a second.
    assert sorted(took for _, _, took in waits)[3] < 0.5, waits
    assert max(took for _, _, took in waits) < 1, waits
    assert answered + 6 > lasted * 20 * 0.8, "the budget was not used"


def test_a_tenants_ceiling_is_its_own(start, people):
    slow, other = people(2)
    proxy = start([listed("slow", slow, rate=2, burst=2)], **OPEN)
    calls = [lambda: timed(proxy.bot(slow), headers=OWN) for _ in range(6)] + [lambda: timed(proxy.bot(other))]
    *held, free = all_at_once(calls)
    assert {status for status, _, _ in [*held, free]} == {200}
    took = sorted(took for _, _, took in held)
    assert took[1] < 1 and took[5] >= 1.9, took
    assert free[2] < 1


def test_a_tenants_own_deadline_holds(start, sim, people):
    hasty, patient = people(2)
    proxy = start([listed("hasty", hasty, max_wait="1s")], **OPEN, retry_after_scope="egress")
    first = close_the_gate(sim, proxy, patient, 3)
    status, stated, took = timed(proxy.bot(hasty))
    assert (status, took < 0.9) == (429, True)
    assert stated in (3, 4)
    assert first.result()[0] == 200


def test_a_tenant_that_bypasses_the_line_meets_the_apis_own_answers(start, sim, people):
    free, other = people(2)
    proxy = start([listed("free", free, bypass=True)], **OPEN, retry_after_scope="egress")
    first = close_the_gate(sim, proxy, other, 2)
    status, _, took = timed(proxy.bot(free))
    assert (status, took < 1) == (200, True)
    assert first.result()[0] == 200
    sim.forget()
    refuse(sim, 2, n=20)
    status, stated, took = timed(proxy.bot(free))
    assert (status, took < 1) == (429, True)
    assert stated in (2, 3)
    assert sim.statuses("GET", ME) == [429]


def test_a_client_says_how_long_it_waits(start, sim, people):
    proxy = start(**OPEN, max_wait="2s", retry_after_scope="egress")
    refused, hurried, plain, patient = people(4)
    refuse(sim, 4)
    assert timed(proxy.bot(refused))[0] == 429
    answers = all_at_once(
        [
            lambda: timed(proxy.bot(hurried), headers={"Prefer": "wait=0"}),
            lambda: timed(proxy.bot(plain)),
            lambda: timed(proxy.bot(patient), headers={"Prefer": "respond-async, wait=40"}),
        ]
    )
    for status, stated, took in answers[:2]:
        assert (status, took < 1) == (429, True)
        assert stated in (4, 5)
    assert answers[2][0] == 200
    assert 3 < answers[2][2] < 6
    assert timed(proxy.bot(hurried), headers={"Prefer": "wait=0"})[0] == 200


def test_what_a_refusal_states_is_when_a_retry_is_admitted(start, sim, people):
    proxy = start(**OPEN, max_wait="0s", retry_after_scope="egress")
    one, other = people(2)
    refuse(sim, 2)
    status, stated, _ = timed(proxy.bot(one))
    assert status == 429
    began = time.monotonic()
    while timed(proxy.bot(other))[0] == 429:
        time.sleep(0.05)
    assert stated - 1 <= time.monotonic() - began <= stated


def test_a_flood_is_refused_and_the_others_keep_their_share(start, people):
    flooder, calm = people(2)
    tenants = [listed("flooder", flooder), listed("calm", calm)]
    proxy = start(tenants, rate=10, burst=1, max_tenant_waiting=10)
    flood = [lambda: timed(proxy.bot(flooder), headers=OWN) for _ in range(40)]

    def ask_calmly():
        time.sleep(0.3)
        return [timed(proxy.bot(calm)) for _ in range(5)]

    *flooded, share = all_at_once([*flood, ask_calmly])
    assert {status for status, _, _ in share} == {200}
    assert max(took for _, _, took in share) < 1, share
    stated = [seconds for status, seconds, _ in flooded if status == 429]
    assert 15 <= len(stated) <= 30
    assert all(1 <= seconds <= 3 for seconds in stated), stated
    time.sleep(max(stated))
    assert timed(proxy.bot(flooder))[0] == 200


def test_writes_to_one_room_keep_their_order_through_refusals(start, sim, people):
    proxy = start(**OPEN)
    (one,) = people(1)
    room = sim.room(one)
    for skip in (2, 5, 6, 11, 17):
        refuse(sim, "0.3", "/v1/messages", "POST", skip=skip)
    bots = [Bot(proxy.plain, one) for _ in range(20)]
    # A connection each, so that what is measured is the order of requests and not of handshakes.
    assert {status for status, _, _ in all_at_once([lambda b=bot: timed(b) for bot in bots])} == {200}
    began = time.monotonic() + 0.1

    def write(number):
        time.sleep(max(0, began + number * 0.04 - time.monotonic()))
        return bots[number].post("/v1/messages", json={"roomId": room, "text": f"{number}"}).status_code

    assert all_at_once([lambda n=number: write(n) for number in range(20)]) == [200] * 20
    assert sim.statuses("POST", "/v1/messages").count(429) == 5
    texts = [item["text"] for item in sim.ask(one, "GET", f"/v1/messages?roomId={room}").json()["items"]]
    assert texts == [f"{number}" for number in reversed(range(20))]


def test_a_client_that_leaves_the_line_is_never_heard_of(start, sim, people):
    proxy = start(**OPEN, retry_after_scope="egress", max_tenant_waiting=2)
    one, leaver = people(2)
    first = close_the_gate(sim, proxy, one, 3)
    host, port = proxy.http_address.rsplit(":", 1)
    head = f"GET /v1/rooms HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {leaver}\r\n\r\n"
    with socket.create_connection((host, int(port))) as client:
        client.sendall(head.encode())
        wait_until(lambda: "tollgate_queue_depth 2" in proxy.metrics(), what="a second in line")
    wait_until(lambda: "tollgate_queue_depth 1" in proxy.metrics(), what="its departure")
    # Its place is free: two may stand in the strangers' line.
    assert timed(proxy.bot(leaver), "/v1/people/me")[0] == first.result()[0] == 200
    assert sim.count("GET", "/v1/rooms") == 0
