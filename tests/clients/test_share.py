"""Replicas that share a limit: quick forms of the design's figures, and what one replica learns that holds for all.

`tests/scale.sh` has the figures at full length.
"""

import hashlib
import json

import pytest
import requests

import scale
from fleet import ME, Fleet
from machine import metric, told
from redis_servers import Cluster, Redis, engines
from relay import Relay
from scale import Bench
from world import TIMEOUT, wait_until

RULES = '[[cache.rule]]\npath = "/v1/rooms/{id}"\nttl = "30s"\n'
OWN = {"Cache-Control": "no-cache"}


@pytest.fixture
def bench(folder):
    bench = Bench(folder)
    yield bench
    bench.stop()


@pytest.fixture(scope="module")
def server(folder):
    server = Redis(folder("redis"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def shared(folder, server):
    """Two replicas with a cache, at a relay each, that nothing holds up but what a test does."""
    relays = [Relay(server.port), Relay(server.port)]
    fleet = Fleet(folder, server, 1000, burst=100, config=RULES)
    for relay in relays:
        fleet.add(url=f"redis://127.0.0.1:{relay.port}")
    fleet.relays = relays
    yield fleet
    for relay in relays:
        relay.stop()
    fleet.stop()


@pytest.fixture
def fleet(shared):
    """The same, with gates open and everybody there."""
    wait_until(lambda: all(is_up(one) and remaining(one) == 0 for one in shared.replicas), what="sharing")
    return shared


def is_up(replica):
    return metric(replica, "tollgate_share_up") == 1


def remaining(replica):
    return requests.get(f"{replica.admin}/status", timeout=TIMEOUT).json()["gate"]["remaining_seconds"]


def ask(replica, token, path=ME, method="GET", **options):
    return replica.bot(token).ask(method, replica.plain + path, **options)


def assert_reached(figures, **eased):
    """Short runs beside everything else that a test machine does: some bars are eased for them, by the first word of the figure."""
    for figure in figures:
        figure.bar = eased.get(figure.name.split(" ")[0], figure.bar)
    missed = [figure.row() for figure in figures if not figure.is_reached()]
    assert not missed, "\n".join(missed)


def test_a_limit_is_used_whole_and_by_weight(bench):
    # At 200/s the parts of a horizon are whole slots (20, 10, 5, 5): at half the rate the small ones are rounded up from 2.5.
    figures = scale.weighted(bench, seconds=8, rate=200, tenants=(20, 10, 5, 5), settled=3)
    # The faster it goes, the fewer are the calls for a request.
    assert_reached(figures, accepted=0.95, calls=0.3)


def test_a_slow_limit_costs_a_call_for_each_request(bench):
    assert_reached(scale.slow(bench, seconds=10, replicas=4, settled=2), accepted=0.9, calls=1.15)


@pytest.mark.parametrize("event", ["stopped for 5 s", "kill -9, restarted empty", "FLUSHALL, SCRIPT FLUSH"])
def test_when_redis_fails_bots_notice_little(bench, event):
    assert_reached(scale.failing(bench, {event: scale.EVENTS[event]}, rate=100, tenants=(10, 10, 10), settled=2.5))


def test_a_rate_set_too_high_meets_few_refusals(bench):
    figures = scale.overrated(bench, seconds=8, limit=50, replicas=3, tenants=5, alone=0, forms=["decimal"])
    # Half of so short a run is spent on finding out.
    assert_reached([figure for figure in figures if not figure.name.endswith("accepted, of the limit")])


def test_a_closure_is_seen_by_all_within_milliseconds(bench):
    figures = scale.closing(bench, fleets=1, closures=3, replicas=4)
    # The full row has the figure, on a machine that does nothing else.
    assert max(figure.seen for figure in figures if "ms" in figure.name) < 100, figures


@pytest.mark.parametrize("engine", ["redis-6", "valkey-9"])
def test_older_and_other_servers_do(bench, engine):
    if engine not in engines():
        pytest.skip(f"no {engine} for this Python")
    # What they answer is the subject, not how soon.
    fleet = bench.fleet(bench.redis(engine=engine), 50, 2, share={"response_timeout": "1s"})
    seen = fleet.demand(3, [5, 5]).ended()
    assert seen.statuses().keys() == {"200"}
    assert seen.rate(1, 3) == pytest.approx(50, rel=0.15)
    assert all(is_up(one) and metric(one, "tollgate_share_fallback_grants_total") == 0 for one in fleet.replicas)


def test_a_cluster_does(folder):
    cluster = Cluster(folder("cluster"))
    fleet = Fleet(folder, cluster, 50, share={"cluster": True}, gate={"retry_after_scope": "egress"})
    try:
        fleet.start(2)
        fleet.limit(50, 12)
        wait_until(lambda: all(is_up(one) for one in fleet.replicas), what="sharing")
        seen = fleet.demand(3, [5, 5]).ended()
        assert seen.statuses().keys() == {"200"}
        assert seen.rate(1, 3) == pytest.approx(50, rel=0.15)
        close(fleet, fleet.replicas[0], 3)
        wait_until(lambda: remaining(fleet.replicas[1]) > 1, what="a closed gate at the other replica")
        # The node that holds the egress dies, and nobody takes its place.
        (key,) = [key for node in cluster.nodes for key in node.client().scan_iter("tg:v1:*:s")]
        cluster.holder(key).kill()
        wait_until(lambda: not any(is_up(one) for one in fleet.replicas), what="trouble")
        assert ask(fleet.replicas[0], fleet.tokens[0], headers=OWN).status_code == 200
    finally:
        fleet.stop()
        cluster.stop()


def close(fleet, replica, seconds):
    """Has the API refuse a request through one replica; returns when that replica knows."""
    fleet.sim.force("GET", ME, 429, headers={"Retry-After": str(seconds)})
    assert ask(replica, fleet.people(1)[0], headers=OWN | {"Prefer": "wait=1"}).status_code == 429


def test_a_retry_after_holds_for_all_tenants_and_all_replicas(bench):
    fleet = bench.fleet(bench.redis(), 1000, 3, burst=100, gate={"retry_after_scope": "egress"})
    first, *others = fleet.replicas
    wait_until(lambda: all(is_up(one) for one in fleet.replicas), what="sharing")
    close(fleet, first, 3)
    fleet.sim.forget()
    for replica in others:
        answer = ask(replica, fleet.people(1)[0], headers=OWN | {"Prefer": "wait=1"})
        assert answer.status_code == 429 and 1 <= int(answer.headers["Retry-After"]) <= 4
        assert "received-status" not in answer.headers["Proxy-Status"]
    assert fleet.sim.log() == []
    # Who starts now hears of it as well, and so does who starts at a server that has forgotten it.
    late = fleet.add()
    wait_until(lambda: is_up(late) and remaining(late) > 0, what="a closed gate at a new replica")
    close(fleet, first, 6) if remaining(first) == 0 else None
    fleet.redis.restart_empty()
    wait_until(lambda: is_up(first), what="sharing again")
    later = fleet.add()
    wait_until(lambda: is_up(later), what="sharing")
    wait_until(lambda: remaining(later) > 0 or remaining(first) == 0, what="the gate at the newest")
    # Of all that wait, one goes first and the others after its success.
    with_patience = [ask(replica, fleet.people(1)[0], headers=OWN) for replica in fleet.replicas]
    assert [answer.status_code for answer in with_patience] == [200] * 5
    assert fleet.throttled() == 1


def test_what_a_write_changes_is_void_at_the_other_replica(fleet):
    first, second = fleet.replicas
    (token,) = fleet.people(1)
    room = f"/v1/rooms/{fleet.sim.room(token, 'before')}"
    for replica in (first, second, first, second):
        assert ask(replica, token, room).json()["title"] == "before"
    assert "hit" in ask(second, token, room).headers["Cache-Status"]
    assert ask(first, token, room, "PUT", json={"title": "after"}).status_code == 200
    wait_until(lambda: ask(second, token, room).json()["title"] == "after", seconds=1, what="the new title")
    assert "hit" in ask(second, token, room).headers["Cache-Status"]


def content(fleet):
    """A token that has read an attachment at both replicas, and the path of it."""
    (token,) = fleet.people(1)
    path = fleet.sim.upload(token, fleet.sim.room(token), "a.png", "image/png", 1000)
    for replica in [*fleet.replicas, *fleet.replicas]:
        assert ask(replica, token, path).status_code == 200
    assert all("hit" in ask(replica, token, path).headers["Cache-Status"] for replica in fleet.replicas)
    return token, path


def test_a_lost_right_to_read_is_lost_at_the_other_replica(fleet):
    first, second = fleet.replicas
    token, path = content(fleet)
    fleet.sim.forget()
    assert ask(second, token, path).status_code == 200 and fleet.sim.log() == []
    for method in ("HEAD", "GET"):
        fleet.sim.force(method, path, 403, n=1)
    assert ask(first, token, path, headers=OWN).status_code == 403
    wait_until(lambda: not ask(second, token, path).headers["Cache-Status"].endswith("; hit"), seconds=1, what="a new proof")
    assert [entry for entry in fleet.sim.log() if entry["status"] in (200, 403)][-1]["path"] == path


def test_what_was_not_heard_counts_as_stale(fleet):
    first, second = fleet.replicas
    (token,) = fleet.people(1)
    room = f"/v1/rooms/{fleet.sim.room(token, 'before')}"
    assert ask(second, token, room).json()["title"] == "before"
    assert "hit" in ask(second, token, room).headers["Cache-Status"]
    fleet.relays[1].cut()
    wait_until(lambda: not is_up(second), what="the gap")
    assert ask(first, token, room, "PUT", json={"title": "after"}).status_code == 200
    fleet.relays[1].mend()
    wait_until(lambda: is_up(second), what="sharing again")
    assert ask(second, token, room).json()["title"] == "after"


def test_no_token_is_in_redis_and_no_bare_hash_of_one(fleet, server):
    tokens = fleet.people(3)
    for token in tokens:
        for replica in fleet.replicas:
            fleet.sim.force("GET", ME, 429, headers={"Retry-After": "0"}) if replica is fleet.replicas[0] else None
            assert ask(replica, token, headers=OWN).status_code == 200
    client = server.client()
    kept = {key: client.hgetall(key) for key in client.scan_iter("*")}
    assert kept and all(key.startswith("tg:v1:{") for key in kept)
    text = json.dumps(kept)
    for token in fleet.tokens:
        assert token not in text
        for name in ("sha256", "sha1", "md5"):
            assert hashlib.new(name, token.encode()).hexdigest()[:16] not in text
    assert all(0 < client.ttl(key) <= 90_000 for key in kept)
    assert not [line for line in told(fleet.replicas[0], "share disturbed")]
