"""A shared Redis that fails, lies or is somebody else's: it is named, replicas go on by themselves, no request fails."""

import re
import subprocess
import time

import pytest
import redis
import requests

from fake_redis import FakeRedis, mad, version_5
from fleet import ME, Fleet
from machine import metric, told
from redis_servers import Redis, free_port, tls_of
from relay import Relay
from world import BINARY, ROOT, TIMEOUT, wait_until

PASSWORD = "canary-password-of-the-redis"


@pytest.fixture
def server(folder):
    server = Redis(folder("redis"))
    yield server
    server.stop()


@pytest.fixture
def start(folder):
    """Starts replicas at a Redis; a fast limit, so that nothing but a fault holds a request up."""
    started = []

    def start(redis, replicas=1, rate=1000, **options):
        fleet = Fleet(folder, redis, rate, burst=100, **options)
        started.append(fleet)
        fleet.start(replicas)
        fleet.people(4)
        return fleet

    yield start
    for fleet in started:
        fleet.stop()


def is_up(replica):
    return metric(replica, "tollgate_share_up") == 1


def errors(replica, kind):
    return metric(replica, "tollgate_share_errors_total", f'{{kind="{kind}"}}')


def assert_serves(fleet, replica, requests_made=5):
    """No request fails for the Redis, and the balancer is not told to go elsewhere."""
    bot = replica.bot(fleet.tokens[0])
    for _ in range(requests_made):
        answer = bot.get(f"{replica.plain}{ME}", headers={"Cache-Control": "no-cache"})
        assert answer.status_code == 200, (answer.status_code, answer.text)
    assert requests.get(f"{replica.admin}/readyz", timeout=TIMEOUT).status_code == 200


def assert_named(fleet, replica, kind):
    """Log, metric and status say what it is."""
    wait_until(lambda: errors(replica, kind), what=f"an error of the kind {kind}")

    def lines():
        events = ("share down, local share in force", "share disturbed")
        return [line for event in events for line in told(replica, event) if line["kind"] == kind]

    lines = wait_until(lines, what=f"a line of the log about {kind}")
    assert all(line["level"] == "WARN" for line in lines)
    shown = requests.get(f"{replica.admin}/status", timeout=TIMEOUT).json()["share"]
    assert shown["trouble"]["kind"] == kind and shown["trouble"]["text"]
    assert_serves(fleet, replica)
    assert not [line for line in replica.errors if "panicked" in line]


def users(*lines):
    return {"user": ["default off", *lines]}


def login(folder, **more):
    path = folder("password") / "password"
    path.write_text(PASSWORD + "\n")
    return {"username": "tollgate", "password_file": str(path)} | more


def doctor(replica):
    """What `tollgate doctor` says of the share, with the configuration of a replica."""


    command = [BINARY, "doctor", "--config", replica.folder / "tollgate.toml", "--state-dir", replica.folder / "other"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=60, cwd=replica.folder)
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("user", "kind"),
    [
        ("tollgate on >another ~* &* +@all", "auth"),
        (f"tollgate on >{PASSWORD} ~tg:* &tg:* -@all +hello +auth +ping +subscribe", "permission"),
        (f"tollgate on >{PASSWORD} ~other:* &tg:* +@all", "permission"),
        (f"tollgate on >{PASSWORD} ~tg:* resetchannels +@all", "permission"),
    ],
    ids=["password", "commands", "keys", "channels"],
)
def test_wrong_credentials_and_missing_rights_are_named(folder, start, user, kind):
    server = Redis(folder("redis"), **users(user))
    try:
        fleet = start(server, share=login(folder))
        (replica,) = fleet.replicas
        assert_named(fleet, replica, kind)
        assert not is_up(replica)
        # What lasts is told once and not twice a second.
        time.sleep(1.5)
        assert len(told(replica, "share down, local share in force")) == 1
        assert "share" in doctor(replica)
        said = "\n".join(replica.output + replica.errors) + replica.metrics()
        assert PASSWORD not in said and PASSWORD not in doctor(replica)
    finally:
        server.stop()


def test_the_rights_that_doctor_names_are_enough(folder, start):
    advice = re.search(r"allow the user ((?:\+\w+ )*\+\w+)", (ROOT / "src/share/examine.rs").read_text())[1]
    server = Redis(folder("redis"), **users(f"tollgate on >{PASSWORD} ~tg:v1:* &tg:v1:* -@all {advice}"))
    try:
        fleet = start(server, replicas=2, share=login(folder))
        first, second = fleet.replicas
        wait_until(lambda: is_up(first) and is_up(second), what="sharing")
        fleet.sim.force("GET", ME, 429, headers={"Retry-After": "1"})
        assert_serves(fleet, first)
        assert_serves(fleet, second)
        assert first.bot(fleet.tokens[1]).post(f"{first.plain}/v1/rooms", json={"title": "t"}).status_code == 200
        for replica in fleet.replicas:
            assert [errors(replica, kind) for kind in ("permission", "server", "auth")] == [0, 0, 0], replica.said()
        assert "does all that is needed" in doctor(first)
    finally:
        server.stop()


@pytest.mark.parametrize("is_trusted", [True, False])
def test_a_certificate_is_verified(folder, start, is_trusted):
    place = folder("redis")
    certificate, key = tls_of(place)
    stranger, _ = tls_of(folder("stranger"))
    files = {"tls-cert-file": certificate, "tls-key-file": key, "tls-ca-cert-file": certificate, "tls-auth-clients": "no"}
    user = users(f"tollgate on >{PASSWORD} ~tg:* &tg:* +@all")
    server = Redis(place, **files, **user, **{"port": 0, "tls-port": free_port()})
    try:
        share = login(folder, ca_file=str(certificate if is_trusted else stranger))
        fleet = start(server, share=share)
        (replica,) = fleet.replicas
        if is_trusted:
            wait_until(lambda: is_up(replica), what="sharing over TLS")
            assert_serves(fleet, replica)
        else:
            assert_named(fleet, replica, "tls")
            assert not is_up(replica)
    finally:
        server.stop()


@pytest.mark.parametrize(("kind", "answer"), [("version", version_5), ("timeout", mad)])
def test_a_server_that_cannot_do_it_is_named(start, kind, answer):
    fake = FakeRedis(answer)
    try:
        fleet = start(fake)
        (replica,) = fleet.replicas
        before = replica.memory_peak()
        assert_named(fleet, replica, kind)
        assert not is_up(replica)
        time.sleep(1)
        assert replica.memory_peak() < before + 64 * 1024 * 1024
    finally:
        fake.stop()


def test_without_redis_at_the_start_a_replica_takes_its_part_and_then_shares(folder, start):
    server = Redis(folder("redis"))
    server.kill()
    try:
        fleet = start(server, rate=100, share={"expected_replicas": 4}, gate={"burst": 1})
        (replica,) = fleet.replicas
        assert_named(fleet, replica, "connect")
        seen = fleet.demand(4, [20]).ended()
        # Four fifths of a quarter.
        assert seen.rate(1, 4) == pytest.approx(20, rel=0.15)
        assert seen.statuses().keys() == {"200"}
        assert metric(replica, "tollgate_share_fallback_grants_total") > 50
        server.start()
        wait_until(lambda: is_up(replica), seconds=3, what="sharing")
        wait_until(lambda: told(replica, "share up"), what="a line of the log")
        assert fleet.demand(3, [20]).ended().rate(1, 3) == pytest.approx(100, rel=0.15)
    finally:
        server.stop()


def test_a_client_that_will_not_wait_is_served_if_the_limit_allows(server, start):
    fleet = start(server)
    (replica,) = fleet.replicas
    wait_until(lambda: is_up(replica), what="sharing")
    # The first slot of a bucket that is new lies one horizon ahead.
    time.sleep(0.5)
    bot = replica.bot(fleet.tokens[0])
    for _ in range(3):
        answer = bot.get(f"{replica.plain}{ME}", headers={"Cache-Control": "no-cache", "Prefer": "wait=0"})
        assert answer.status_code == 200, answer.text
        time.sleep(0.3)


def buckets(client, part):
    return sorted(client.scan_iter(f"tg:v1:*:{part}"))


@pytest.mark.parametrize("part", ["s", "m"])
def test_a_key_of_a_foreign_type_stops_no_request(server, start, part):
    fleet = start(server)
    (replica,) = fleet.replicas
    wait_until(lambda: is_up(replica), what="sharing")
    assert_serves(fleet, replica)
    client = server.client()
    for key in buckets(client, part):
        client.pipeline().delete(key).rpush(key, "somebody's").execute()
    assert_named(fleet, replica, "foreign")
    for key in buckets(client, part):
        assert client.lrange(key, 0, -1) == ["somebody's"]
        client.delete(key)
    before = metric(replica, "tollgate_share_fallback_grants_total")
    wait_until(lambda: client.exists(*buckets(client, part)) if buckets(client, part) else 0, what="a bucket anew")
    time.sleep(1)
    settled = metric(replica, "tollgate_share_fallback_grants_total")
    assert_serves(fleet, replica)
    assert metric(replica, "tollgate_share_fallback_grants_total") == settled >= before


@pytest.mark.parametrize(
    ("part", "field", "value"),
    [("s", "tat", "soon"), ("s", "rate", "1e999"), ("s", "gate", "-5"), ("m", "replica\n\x1b[31m" + "x" * 100_000, "never")],
)
def test_garbage_in_a_hash_stops_no_request(server, start, part, field, value):
    fleet = start(server)
    (replica,) = fleet.replicas
    wait_until(lambda: is_up(replica), what="sharing")
    assert_serves(fleet, replica)
    client = server.client()
    keys = buckets(client, part)
    for key in keys:
        client.hset(key, field, value)
    assert_named(fleet, replica, "garbage")
    # A stranger's field is told, but neither at any length nor with what moves a terminal.
    lines = [line for line in replica.output if "garbage" in line]
    assert lines and all(len(line) < 2000 and "\x1b" not in line for line in lines), [len(line) for line in lines]
    for key in keys:
        client.hdel(key, field)
    time.sleep(1.5)
    settled = metric(replica, "tollgate_share_fallback_grants_total")
    assert_serves(fleet, replica)
    assert metric(replica, "tollgate_share_fallback_grants_total") == settled


def close(fleet, replica, seconds):
    """Has the API refuse a request through one replica; returns when that replica knows."""
    fleet.sim.force("GET", ME, 429, headers={"Retry-After": str(seconds)})
    answer = replica.bot(fleet.tokens[0]).get(f"{replica.plain}{ME}", headers={"Cache-Control": "no-cache", "Prefer": "wait=1"})
    assert answer.status_code == 429


def remaining(replica):
    return requests.get(f"{replica.admin}/status", timeout=TIMEOUT).json()["gate"]["remaining_seconds"]


def hostile(said):
    """What a stranger may publish who has read along, and knows the code."""
    replica = "0123456789abcdef"
    yield from [b"", b" ", b"\xff\xfe\x00", b"x" * 1_000_000, b"shut", b"1", b"1 " * 1000]
    for text in ("look egress", "open egress", "shut egress - 3600000000 0", "void everything", "verdict messages:read room"):
        for signature in ("", "0" * 64, "g" * 64, "0" * 63, "a" * 65):
            yield f"1 {replica} {2**64 - 1} {text} {signature}".encode()
    for message in said:
        yield message
        yield message.replace(b" 1 ", b" 2 ", 1)
        yield message[:-1] + (b"0" if message[-1:] != b"0" else b"1")
        yield message.upper()


def test_a_stranger_on_the_channels_opens_and_shuts_nothing(server, start):
    fleet = start(server, replicas=2, gate={"retry_after_scope": "egress"})
    first, second = fleet.replicas
    wait_until(lambda: is_up(first) and is_up(second), what="sharing")
    client = redis.Redis(port=server.port)
    listener = client.pubsub(ignore_subscribe_messages=True)
    listener.subscribe("tg:v1:gate", "tg:v1:inv")
    listener.get_message(timeout=1)
    close(fleet, first, 1)
    wait_until(lambda: remaining(second) > 0, what="a closed gate at the other replica")
    said = []
    wait_until(lambda: said.append(listener.get_message(timeout=0.1)) or [one for one in said if one], what="a message")
    said = [one["data"] for one in said if one]
    wait_until(lambda: remaining(second) == 0 and remaining(first) == 0, what="the end of the second")
    assert_serves(fleet, second)
    close(fleet, first, 5)
    wait_until(lambda: remaining(second) > 2, what="the longer wait")
    fleet.sim.forget()
    for message in hostile(said):
        for channel in ("tg:v1:gate", "tg:v1:inv"):
            client.publish(channel, message)
    wait_until(lambda: errors(second, "message"), what="trouble told")
    assert remaining(second) > 1 and remaining(first) > 1
    assert fleet.sim.log() == [], "something went through a closed gate"
    wait_until(lambda: remaining(second) == 0 and remaining(first) == 0, what="the end of the wait")
    for message in hostile(said):
        for channel in ("tg:v1:gate", "tg:v1:inv"):
            client.publish(channel, message)
    for replica in fleet.replicas:
        assert remaining(replica) == 0
        assert_serves(fleet, replica)
        assert not [line for line in replica.errors if "panicked" in line]


def test_a_flood_on_the_channels_stops_no_request(server, start):
    fleet = start(server)
    (replica,) = fleet.replicas
    wait_until(lambda: is_up(replica), what="sharing")
    client = redis.Redis(port=server.port)
    end = time.monotonic() + 1
    while time.monotonic() < end:
        pipe = client.pipeline(transaction=False)
        for _ in range(2000):
            pipe.publish("tg:v1:gate", b"x" * 200)
        pipe.execute()
    assert_named(fleet, replica, "message")
    assert replica.memory_peak() < 300 * 1024 * 1024
    assert len(told(replica, "share disturbed")) + len(told(replica, "share down, local share in force")) < 20
    wait_until(lambda: is_up(replica), what="sharing again")


def test_a_cut_line_is_noticed_and_mended(server, start):
    relay = Relay(server.port)
    try:
        fleet = start(server)
        replica = fleet.add(url=f"redis://127.0.0.1:{relay.port}")
        wait_until(lambda: is_up(replica), what="sharing")
        relay.cut()
        assert_named(fleet, replica, "timeout")
        assert not is_up(replica) and is_up(fleet.replicas[0])
        relay.mend()
        wait_until(lambda: is_up(replica), what="sharing again")
        relay.drop()
        assert_serves(fleet, replica)
        wait_until(lambda: len(told(replica, "share up")) == 3, what="a new connection")
    finally:
        relay.stop()


def test_the_last_that_is_back_says_so_to_those_who_wait_for_it(server, start):
    fleet = start(server, replicas=3)
    wait_until(lambda: all(metric(one, "tollgate_share_members") == 3 for one in fleet.replicas), what="three that know each other")
    server.restart_empty()
    client = redis.Redis(port=server.port)
    listener = client.pubsub(ignore_subscribe_messages=True)
    listener.subscribe("tg:v1:gate")
    said = []

    def looks():
        said.append(listener.get_message(timeout=0.1))
        return [one for one in said if one and b"look egress" in one["data"]]

    wait_until(looks, what="a word of the last")
    wait_until(lambda: all(is_up(one) for one in fleet.replicas), seconds=0.5, what="sharing again")
    assert len(looks()) == 1, said
