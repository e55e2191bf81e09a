"""A failover: the address of the shared Redis is answered by the copy that was promoted, as managed services do it."""

import time

import pytest
import requests

from fleet import ME, Fleet
from machine import metric
from redis_servers import Redis
from relay import Relay
from world import TIMEOUT, wait_until

RATE = 100


@pytest.fixture
def pair(folder):
    """A server, its copy, and the one address that replicas know."""
    first = Redis(folder("redis"))
    copy = Redis(folder("redis"), replicaof=f"127.0.0.1 {first.port}", **{"repl-diskless-sync-delay": 0})
    relay = Relay(first.port)
    wait_until(lambda: copy.client().info("replication")["master_link_status"] == "up", seconds=20, what="a copy")
    yield first, copy, relay
    relay.stop()
    copy.stop()
    first.stop()


@pytest.fixture
def fleet(folder, pair):
    first, _, relay = pair
    fleet = Fleet(folder, first, RATE, share={"url": f"redis://127.0.0.1:{relay.port}"}, gate={"retry_after_scope": "egress"})
    fleet.start(3)
    wait_until(lambda: all(metric(one, "tollgate_share_members") == 3 for one in fleet.replicas), what="three that know each other")
    yield fleet
    fleet.stop()


def fail_over(pair):
    """The first dies; its copy becomes the server that answers."""
    first, copy, relay = pair
    first.kill()
    copy.client().replicaof("NO", "ONE")
    relay.target = ("127.0.0.1", copy.port)
    relay.drop()


def is_sharing(fleet):
    return all(metric(one, "tollgate_share_up") == 1 for one in fleet.replicas)


def test_bots_notice_nothing_of_a_failover_and_the_rate_is_back_at_once(pair, fleet):
    fleet.limit(RATE, 15)
    demand = fleet.demand(60, [10, 10, 10])
    time.sleep(3)
    moment = time.monotonic()
    fail_over(pair)
    time.sleep(4)
    seen = demand.stop()
    assert seen.statuses().keys() == {"200"}
    assert seen.recovered(seen.at(moment), RATE * 0.95) <= 2
    assert is_sharing(fleet)
    # Slots are booked at the copy now.
    assert pair[1].calls("evalsha", "eval") > 10
    assert seen.rate(seen.at(moment) + 2, seen.at(moment) + 4) <= RATE * 1.05


def test_what_was_learned_outlives_a_failover(pair, fleet):
    first = fleet.replicas[0]
    (token,) = fleet.people(1)
    fleet.sim.force("GET", ME, 429, headers={"Retry-After": "6"})
    own = {"Cache-Control": "no-cache", "Prefer": "wait=1"}
    assert first.bot(token).get(first.plain + ME, headers=own).status_code == 429
    (key,) = pair[1].client().scan_iter("tg:v1:*:s")
    wait_until(lambda: pair[1].client().hget(key, "gate") == pair[0].client().hget(key, "gate"), what="the copy to know")
    # Nobody who was told of the closed gate is left to say it again.
    for replica in fleet.replicas:
        replica.stop()
    fail_over(pair)
    late = fleet.add()
    wait_until(lambda: metric(late, "tollgate_share_up") == 1, what="sharing")
    shown = requests.get(f"{late.admin}/status", timeout=TIMEOUT).json()["gate"]
    assert shown["remaining_seconds"] > 0
    fleet.sim.forget()
    assert late.bot(token).get(late.plain + ME, headers=own).status_code == 429
    assert fleet.sim.log() == []
