"""The clock is set, the machine sleeps: waits are as long as they were to be, and nothing bursts."""

import concurrent.futures
import email.utils
import time

import pytest
import requests

from machine import clock_shim, metric, suspended, together
from world import Bot, Proxy, wait_until

DAY = 24 * 60 * 60
ME = "/v1/people/me"


@pytest.fixture
def clocked(pair, token, tmp_path):
    """A proxy whose wall clock can be set."""
    library, offset = clock_shim(tmp_path)
    environment = {"LD_PRELOAD": str(library), "WALL_CLOCK_OFFSET": str(offset)}
    sim, proxy = pair(environment=environment)
    sim.person(token)

    def step(seconds):
        offset.write_text(str(seconds))
        shown = metric(proxy, "tollgate_config_last_reload_success_timestamp_seconds")
        assert shown is not None

    return sim, proxy, step, environment


def test_the_clock_of_the_process_is_really_set(clocked):
    _, proxy, step, _ = clocked
    for seconds in [DAY, -DAY, 0]:
        step(seconds)
        at = requests.get(f"{proxy.admin}/status", timeout=5).json()["at"]
        assert abs(at - time.time() - seconds) < 5


@pytest.mark.parametrize("seconds", [-DAY, 100 * 365 * DAY])
def test_a_clock_that_is_set_while_requests_wait_changes_no_wait(clocked, token, seconds):
    sim, proxy, step, _ = clocked
    sim.force("GET", ME, 429, headers={"Retry-After": "2"})
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        waiter = pool.submit(proxy.bot(token).get, ME)
        wait_until(lambda: sim.count("GET", ME) == 1, what="the refusal")
        step(seconds)
        # Unencrypted: in a hundred years our certificate is another one, which clients of today do not accept.
        late = pool.submit(Bot(proxy.plain, token).get, f"{ME}?late")
        assert waiter.result(timeout=20).status_code == 200
        assert late.result(timeout=20).status_code == 200
    assert 1.5 < time.monotonic() - began < 8
    assert proxy.child.poll() is None


@pytest.mark.parametrize("seconds", [DAY, -DAY])
def test_a_date_to_retry_after_is_measured_by_the_apis_own_clock(clocked, token, seconds):
    sim, proxy, step, _ = clocked
    step(seconds)
    sim.force("GET", ME, 429, headers={"Retry-After": email.utils.formatdate(time.time() + 4, usegmt=True)})
    began = time.monotonic()
    assert proxy.bot(token).get(ME).status_code == 200
    # Dates are whole seconds.
    assert 2 <= time.monotonic() - began < 8
    assert sim.statuses("GET", ME) == [429, 200]


def test_what_is_kept_ages_by_the_time_that_passes(clocked, token):
    sim, proxy, step, _ = clocked
    room = sim.room(token)
    path = sim.upload(token, room, "a.bin", "application/octet-stream", 1000)
    bot = proxy.bot(token)
    bot.get(path)
    for seconds in [DAY, -DAY]:
        step(seconds)
        sim.forget()
        answer = bot.get(path)
        assert answer.status_code == 200 and len(answer.content) == 1000
        # The proof is some seconds old by any clock that only ticks.
        assert sim.log() == [], answer.headers["Cache-Status"]


def test_a_clock_that_was_set_back_between_two_starts_closes_nothing_for_longer(clocked, token):
    sim, proxy, step, environment = clocked
    step(2 * 3600)
    sim.force("GET", ME, 429, headers={"Retry-After": "30"})
    assert proxy.bot(token).get(ME, headers={"Prefer": "wait=1"}).status_code == 429
    assert proxy.stop() == 0
    with open(environment["WALL_CLOCK_OFFSET"], "w") as offset:
        offset.write("0")
    proxy = Proxy(proxy.folder, sim.https_address, sim.ca, environment=environment)
    try:
        answer = proxy.bot(token).get(ME, headers={"Prefer": "wait=1"})
        assert answer.status_code == 429
        assert 1 <= int(answer.headers["Retry-After"]) <= 34
    finally:
        proxy.stop()


def test_a_machine_that_slept_sends_no_burst_and_loses_nobody(pair, token):
    rate, burst = 10, 5
    sim, proxy = pair(tables={"gate": {"rate": rate, "burst": burst}, "cache": {"enabled": False}})
    sim.person(token)
    count = 60
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        asked = pool.submit(together, count, lambda number: proxy.bot(token).get(f"{ME}?{number}").status_code)
        wait_until(lambda: sim.count("GET", ME) >= 10, what="the first turns")
        with suspended(proxy):
            before = sim.count("GET", ME)
            time.sleep(4)
        outcomes = asked.result(timeout=60)
    assert outcomes == [200] * count
    at = sorted(entry["at_ms"] for entry in sim.log())
    assert len(at) == count > before
    for first in range(len(at)):
        within = sum(at[first] <= moment < at[first] + 1000 for moment in at)
        # One more, for what was under way when the process stopped; and a tenth, for the way there.
        assert within <= burst + rate * 1.1 + 1, f"{within} within a second"
