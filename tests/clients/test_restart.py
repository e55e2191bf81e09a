"""A restart: what the gate knew outlives it."""

import json
import os
import stat
import time

import requests

from world import TIMEOUT, Proxy, wait_until

ME = "/v1/people/me"


def again(proxy, sim, **options):
    """The same proxy, started anew."""
    assert proxy.stop() == 0, proxy.said()
    return Proxy(proxy.folder, sim.https_address, sim.ca, **options)


def test_a_restart_does_not_run_into_a_wall_it_knew(pair, token):
    sim, proxy = pair()
    sim.person(token)
    sim.force("GET", ME, 429, headers={"Retry-After": "30"})
    assert proxy.bot(token).get(ME).status_code == 429
    wait_until((proxy.state / "gates.json").exists, what="the file")
    proxy = again(proxy, sim)
    try:
        sim.forget()
        answer = proxy.bot(token).get(ME, headers={"Prefer": "wait=1"})
        assert answer.status_code == 429
        assert 20 <= int(answer.headers["Retry-After"]) <= 34
        assert "received-status" not in answer.headers["Proxy-Status"]
        assert sim.log() == []
    finally:
        proxy.stop()


def test_the_file_holds_no_credential_and_is_its_owners_alone(pair, token):
    sim, proxy = pair(tables={"gate": {"retry_after_scope": "tenant"}})
    sim.person(token)
    sim.force("GET", ME, 429, headers={"Retry-After": "30"})
    proxy.bot(token).get(ME)
    [shown] = requests.get(f"{proxy.admin}/status", timeout=TIMEOUT).json()["gate"]["gates"]
    assert (shown["level"], shown["closed"], len(shown["tenant"])) == ("tenant", True, 12)
    assert 'tollgate_upstream_throttled_total{scope="tenant",tenant="unlisted"} 1' in proxy.metrics()
    assert proxy.stop() == 0
    path = proxy.state / "gates.json"
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    kept = json.loads(path.read_text())
    [gate] = kept["gates"]
    assert gate["level"] == "tenant"
    assert len(gate["tenant"]) == 32
    assert gate["closed_until"] > time.time()
    assert token not in path.read_text()


def test_a_damaged_file_is_told_and_ignored(pair, token):
    sim, proxy = pair()
    sim.person(token)
    assert proxy.bot(token).get(ME).status_code == 200
    assert proxy.stop() == 0
    (proxy.state / "gates.json").write_text('{"version": 1, "gates": [')
    proxy = again(proxy, sim)
    try:
        assert proxy.bot(token).get(ME).status_code == 200
        told = [line for line in proxy.output if "learned limits ignored" in line]
        assert len(told) == 1 and "WARN" in told[0]
    finally:
        proxy.stop()
