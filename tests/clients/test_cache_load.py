"""One fetch for many readers, and memory that the cache's own limits bound, at full size."""

import time

import pytest

from readers import Reader, read_all
from world import wait_until

MIB = 1024 * 1024
SIZE = 100_000_000
TENANTS = 25
READERS = 50
# What 50 connections and their buffers may take beside the body itself.
HEADROOM = 96 * MIB
# A machine with two busy cores is granted this much on top of what a first byte takes without the cache.
PATIENCE = 3


@pytest.fixture
def fast(pair):
    """Starts a simulator and a proxy whose gate holds nobody up."""

    def start(cache=None, sim=None):
        return pair(sim=sim, tables={"gate": {"start_rate": 1_000_000}, "cache": cache or {}})

    return start


def share(sim, token, size, names):
    """A content of that size in a room of all those tokens: its path and digest."""
    sim.person(token)
    room = sim.room(token)
    for name in names:
        sim.person(name, room=room)
    made = sim.control("POST", "content", json={"roomId": room, "name": "big.bin", "size": size})
    path = made["url"].removeprefix("https://webexapis.com")
    sim.forget()
    return path, made["sha256"]


def firsts(readers):
    times = sorted(reader.first_after for reader in readers)
    return times[len(times) // 2], times[-1]


@pytest.mark.timeout(300)
def test_fifty_readers_of_a_hundred_megabytes_cost_one_download(fast, token, capsys):
    sim, proxy = fast()
    tokens = [f"{token}-{number}" for number in range(TENANTS)]
    path, digest = share(sim, token, SIZE, tokens)
    _, plain = fast(cache={"enabled": False}, sim=sim)
    small, _ = share(sim, token, 1000, tokens)
    for name in tokens:
        assert proxy.bot(name).get(small).ok
        assert plain.bot(name).get(small).ok
    direct = [Reader(plain, path, tokens[number % TENANTS]) for number in range(READERS)]
    read_all(direct, until=1)
    for reader in direct:
        reader.leave()
    sim.forget()
    before = proxy.memory_peak()

    readers = [Reader(proxy, path, tokens[number % TENANTS]) for number in range(READERS)]
    read_all(readers)

    took = max(reader.ended_after for reader in readers)
    peak = proxy.memory_peak()
    (middle, last), (middle_direct, last_direct) = firsts(readers), firsts(direct)
    with capsys.disabled():
        print(
            f"\n  {READERS} readers of 100 MB: first byte {middle:.2f} s (median), {last:.2f} s (last); without the "
            f"cache {middle_direct:.2f} s and {last_direct:.2f} s; all done after {took:.1f} s; {before / MIB:.0f} MiB "
            f"before, peak {peak / MIB:.0f} MiB; upstream {sim.count('GET', path)} GET, {sim.count('HEAD', path)} HEAD"
        )
    assert {reader.status for reader in readers} == {200}
    assert {reader.digest.hexdigest() for reader in readers} == {digest}
    assert sim.statuses("GET", path) == [200]
    assert sim.statuses("HEAD", path) == [200] * (TENANTS - 1)
    assert last < last_direct + PATIENCE
    assert peak - before < SIZE + HEADROOM


@pytest.mark.timeout(180)
def test_two_gigabytes_through_a_small_cache_stay_within_its_bounds(fast, token, capsys):
    count, size, memory = 200, 10_000_000, 256 * MIB
    sim, proxy = fast(cache={"memory": "256MiB", "max_entry": "32MiB"})
    sim.person(token)
    room = sim.room(token)
    # The bytes follow from the size: each is another one.
    orders = [{"roomId": room, "name": "a.bin", "size": size + number} for number in range(count)]
    made = [sim.control("POST", "content", json=order) for order in orders]
    wanted = [(order["url"].removeprefix("https://webexapis.com"), order["sha256"]) for order in made]
    proxy.bot(token).get("/v1/people/me")
    before = proxy.memory_peak()
    started = time.monotonic()

    def fetch(some):
        readers = [Reader(proxy, path, token) for path, _ in some]
        read_all(readers)
        assert [reader.digest.hexdigest() for reader in readers] == [digest for _, digest in some]
        return sum("; hit" in reader.head or "proved" in reader.head for reader in readers)

    at_once = 4
    for first in range(0, count, at_once):
        assert fetch(wanted[first : first + at_once]) == 0
    filled = time.monotonic() - started
    sim.forget()
    kept = sum(fetch([one]) for one in wanted)
    asked = sum(sim.count("GET", path) for path, _ in wanted)
    peak = proxy.memory_peak()
    with capsys.disabled():
        print(
            f"\n  2 GB through 256 MiB in {filled:.1f} s: {before / MIB:.0f} MiB before, peak {peak / MIB:.0f} MiB; of "
            f"all {count} contents, {kept} were kept and {asked} downloaded again"
        )
    assert kept > 0
    assert kept + asked == count
    assert peak - before < memory + at_once * size + HEADROOM


@pytest.fixture
def held(sim, proxy, token):
    """A content of 20 MB whose download falls silent after 1 MB, and the tokens of three more people."""
    tokens = [f"{token}-{number}" for number in range(3)]
    path, digest = share(sim, token, 20_000_000, tokens)

    def hold(seconds=1.5, **order):
        sim.force("GET", path, pause_after=1_000_000, pause_ms=int(seconds * 1000), **order)

    return path, digest, tokens, hold


def test_followers_read_while_the_first_one_is_still_being_served(held, proxy, sim, token):
    path, digest, tokens, hold = held
    hold(3)
    leader = Reader(proxy, path, token).read_until(500_000)
    followers = [Reader(proxy, path, name) for name in tokens]
    read_all(followers, until=500_000)
    assert all(reader.first_after < 2 for reader in followers), [reader.first_after for reader in followers]
    read_all([leader, *followers])
    assert {reader.digest.hexdigest() for reader in [leader, *followers]} == {digest}
    assert sim.statuses("GET", path) == [200]


def test_a_reader_that_stops_delays_nobody(held, proxy, sim, token):
    path, digest, tokens, _ = held
    slow = Reader(proxy, path, token, window=8192).read_until(1000)
    fast = [Reader(proxy, path, name) for name in tokens]
    read_all(fast, seconds=20)
    assert {reader.digest.hexdigest() for reader in fast} == {digest}
    assert sim.count("GET", path) == 1
    assert slow.read_until(20_000_000).digest.hexdigest() == digest


def test_a_first_reader_that_leaves_does_not_break_the_others(held, proxy, sim, token):
    path, digest, tokens, hold = held
    hold()
    leader = Reader(proxy, path, token).read_until(500_000)
    followers = [Reader(proxy, path, name) for name in tokens]
    read_all(followers, until=500_000)
    leader.leave()
    read_all(followers)
    assert {reader.digest.hexdigest() for reader in followers} == {digest}
    assert sim.statuses("GET", path) == [200]


def test_a_download_that_breaks_breaks_for_every_reader_and_is_not_kept(held, proxy, sim, token):
    path, digest, tokens, hold = held
    hold(truncate=2_000_000)
    readers = [Reader(proxy, path, token).read_until(500_000)]
    readers += [Reader(proxy, path, name) for name in tokens]
    read_all(readers)
    assert all(reader.is_broken() for reader in readers), [reader.received for reader in readers]
    assert sim.count("GET", path) == 1
    whole = Reader(proxy, path, token).read_until(20_000_000)
    assert whole.digest.hexdigest() == digest
    assert sim.count("GET", path) == 2
    wait_until(lambda: "; hit" in Reader(proxy, path, token).read_until(1).head, what="a hit")
