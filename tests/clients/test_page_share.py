"""The live page of a replica that shares its limit: with how many, and what is left to it when it is cut off."""

import pytest

from browser import Browser
from fleet import Fleet
from redis_servers import Redis
from relay import Relay

SHARED = "document.getElementById('share').innerText"


@pytest.fixture
def pair(folder):
    """Two replicas; the first reaches the Redis through a relay that a test may close."""
    server = Redis(folder("redis"))
    relay = Relay(server.port)
    fleet = Fleet(folder, server, 100)
    fleet.add(url=f"redis://127.0.0.1:{relay.port}")
    fleet.add()
    yield fleet.replicas[0], relay
    fleet.stop()
    relay.stop()
    server.stop()


@pytest.fixture
def browser():
    browser = Browser()
    yield browser
    browser.stop()


def test_the_page_says_with_whom_the_limit_is_shared_and_when_it_no_longer_is(browser, pair):
    replica, relay = pair
    assert browser.tell("open", url=replica.admin + "/", width=1200, height=900)["status"] == 200
    browser.tell("wait", code=f"{SHARED}.startsWith('shared by 2 replicas; ')", seconds=15)
    relay.cut()
    browser.tell("wait", code=f"{SHARED}.startsWith('cut off from 2 replicas (timeout); ')", seconds=15)
    relay.mend()
    browser.tell("wait", code=f"{SHARED}.startsWith('shared by 2 replicas; ')", seconds=15)
