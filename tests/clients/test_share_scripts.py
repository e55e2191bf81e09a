"""The scripts that replicas share a limit by, in a real server whose clock the test sets: random stories, and garbage.

`SEED=7 STEPS=100000 bash tests/clients/run.sh test_share_scripts.py -k walk` tells one longer story.
"""

import os
import random
import time

import pytest
import redis

from bucket import OPEN, OTHER_TRIES, SECOND, SHUT, TRIES, Bucket, Model, assert_within
from fleet import jain
from redis_servers import Clock, Redis, engines
from world import wait_until

SEEDS = [int(os.environ["SEED"])] if "SEED" in os.environ else list(range(6))
STEPS = int(os.environ.get("STEPS", "1200"))
DAY = 86_400 * SECOND
TTL = 3 * SECOND


class RunningClock:
    """The clock of a server that cannot be set: to pass some time is to wait, and never for long."""

    can_be_set = False

    def __iadd__(self, micros):
        time.sleep(min(2000, max(0, micros)) / SECOND)
        return self


class SetClock(Clock):
    can_be_set = True

    def __iadd__(self, micros):
        self.micros += micros
        return self


@pytest.fixture(scope="module", params=sorted(engines()))
def place(request, folder):
    """A server of each kind with its clock."""
    directory = folder("redis")
    # Valkey takes the wall clock once in a while and goes on by a clock of its own.
    clock = RunningClock() if request.param.startswith("valkey") else SetClock(directory)
    server = Redis(directory, engine=request.param, shim=clock.shim if clock.can_be_set else {})
    yield server, clock
    server.stop()


@pytest.fixture
def bucket(place):
    place[0].client().flushall()
    return Bucket(place[0].client())


@pytest.fixture
def clock(place):
    if not place[1].can_be_set:
        pytest.skip("this server's clock cannot be set")
    return place[1]


class Walk:
    """A random story of some replicas with one bucket."""

    def __init__(self, place, seed):
        server, self.clock = place
        self.chance = random.Random(seed)
        client = server.client()
        client.flushall()
        is_set = self.clock.can_be_set
        ceiling = self.chance.choice([300, 10_000, 500_000, 20_000_000] if is_set else [500_000, 20_000_000])
        self.waits = [0, 10_000, 300_000, SECOND, 5 * SECOND, 3600 * SECOND] if is_set else [0, 500, 3000]
        self.bucket = Bucket(client, ceiling=ceiling, burst=self.chance.choice([1, 1, 10, 50]))
        self.model = Model(self.bucket)
        self.replicas = [f"replica-{number}" for number in range(self.chance.randint(1, 8))]
        self.interval = 10**9 // ceiling
        self.met, self.told = set(), []

    def step(self):
        deeds = [self.acquire, self.pass_by, self.shut, self.rest, self.open, self.acquit, self.lose]
        weights = [50, 30, 4, 1, 8, 2, 0.3]
        if self.clock.can_be_set:
            deeds, weights = [*deeds, self.expire, self.turn_clock], [*weights, 0.2, 0.5]
        (deed,) = self.chance.choices(deeds, weights)
        deed()

    def tell(self, *words):
        self.told.append(" ".join(map(str, words)))

    def pass_by(self):
        longest = self.chance.choice([self.interval, 10 * self.interval, 200_000, 3 * SECOND])
        self.clock += self.chance.randint(0, min(longest, TTL * 9 // 10))
        # Who has a turn keeps saying so; who has none may fall silent.
        self.say_so([me for me, at in self.model.furthest.items() if at > self.bucket.now()])

    def say_so(self, replicas):
        for me in replicas:
            self.model.booked(me, 0, 0, 0, self.bucket.acquire(me, 0, ttl=TTL))

    def acquire(self):
        me, want = self.chance.choice(self.replicas), self.chance.choice([0, 1, 1, 2, 5, 100])
        horizon, lease = self.chance.choice([10_000, 200_000, SECOND]), self.chance.choice([100_000, SECOND])
        # Who has a turn beyond the horizon waits for that one first.
        want = 0 if self.model.furthest.get(me, 0) > self.bucket.now() + horizon else want
        answer = self.bucket.acquire(me, want, horizon, self.chance.choice([0, 1, 5, 200]), TTL, lease=lease, alone=int(self.chance.random() < 0.1))
        self.tell(me, want, horizon, lease, answer)
        self.model.booked(me, want, horizon, lease, answer)
        self.met.add(answer.phase)

    def shut(self, what="shut"):
        remaining = self.chance.choice(self.waits)
        remaining = remaining if self.chance.random() < 0.9 else self.chance.randint(0, max(self.waits) // 100)
        sent = self.chance.choice([0, 1000, 100_000, SECOND])
        # The same refusal meets several replicas, each a little later.
        for me in self.chance.sample(self.replicas, self.chance.randint(1, len(self.replicas))):
            answer = self.bucket.report(what, me, remaining, sent)
            self.tell(what, me, remaining, sent, answer)
            self.model.shut(remaining, sent, answer, what)
            late = self.chance.randint(0, 500)
            self.clock += late
            sent += late
        if remaining >= 3600 * SECOND and self.chance.random() < 0.8:
            self.clock += remaining

    def rest(self):
        self.shut("rest")

    def open(self):
        gate, _, moved, cut = self.bucket.report("open", self.chance.choice(self.replicas), 0, 100_000)
        self.tell("open", gate, moved)
        assert (moved, cut) == (int(self.model.opened()), 0)
        assert gate == max(0, self.model.gate - self.bucket.now())

    def acquit(self):
        gate, _, moved, cut = self.bucket.report("acquit", self.chance.choice(self.replicas), 0, self.chance.choice([0, 50_000]))
        self.tell("acquit", gate, moved)
        assert cut == 0
        if moved:
            cut_at = self.model.cut_at
            self.model.settle()
            self.model.forget()
            self.model.cut_at = cut_at
        else:
            assert gate == max(0, self.model.gate - self.bucket.now())

    def lose(self):
        self.bucket.forget()
        self.fresh_start("loss")

    def expire(self):
        if self.model.gate <= self.bucket.now():
            self.clock += 3 * DAY
            self.fresh_start("expiry")

    def turn_clock(self):
        step = self.chance.choice([1000, 500_000, 5 * SECOND, DAY // 2])
        self.clock += self.chance.choice([step, -step])
        self.fresh_start("clock")
        self.say_so(self.replicas)

    def fresh_start(self, why):
        self.tell(why)
        self.model.settle()
        self.model.forget()
        answer = self.bucket.acquire(self.replicas[0], 0)
        self.model.gate = self.bucket.now() + answer.gate if answer.gate else 0
        self.model.half = answer.phase in (SHUT, TRIES, OTHER_TRIES)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_walk_never_breaks_the_limit_nor_a_closed_gate(place, seed):
    if "SEED" not in os.environ and seed >= 2 and place[0].engine != "redis-7":
        pytest.skip("the others tell two stories each")
    walk = Walk(place, seed)
    for number in range(STEPS):
        try:
            walk.step()
        except AssertionError as error:
            kept = walk.bucket.client.hgetall(walk.bucket.keys[0])
            story = "\n".join(walk.told[-12:])
            raise AssertionError(f"SEED={seed}, step {number}, kept {kept}\n{story}") from error
    walk.model.settle()
    assert {OPEN, SHUT, TRIES} <= walk.met


def test_however_many_replicas_tell_of_a_refusal_the_rate_falls_once(bucket, clock):
    bucket.acquire("a", 1)
    clock += SECOND
    told = []
    for number in range(8):
        clock += 3000
        # All of them were sent before the first answer came.
        told.append(bucket.report("shut", f"replica-{number}", 2 * SECOND, sent=100_000 + 3000 * number))
    assert [cut for _, _, _, cut in told] == [1, 0, 0, 0, 0, 0, 0, 0]
    assert len({rate for _, rate, _, _ in told}) == 1
    # Each names the same wait a little later: the latest end counts.
    assert [gate for gate, _, _, _ in told] == [2 * SECOND] * 8


def test_only_a_gate_that_moves_is_told_to_the_others(bucket, clock):
    heard = bucket.client.pubsub(ignore_subscribe_messages=True)
    heard.subscribe(bucket.channel)
    wait_until(lambda: heard.subscribed and bucket.client.pubsub_numsub(bucket.channel)[0][1] == 1, what="a subscriber")
    told = [("shut", SECOND), ("shut", SECOND + 40_000), ("shut", SECOND + 100_000), ("shut", 10_000), ("open", 0)]
    moved = [bucket.report(what, "a", remaining, message=f"{number}")[2] for number, (what, remaining) in enumerate(told)]
    clock += 2 * SECOND
    assert bucket.acquire("a", 1).phase == TRIES
    moved.append(bucket.report("open", "a", message="opened")[2])
    assert moved == [1, 0, 1, 0, 0, 1]
    messages = []
    wait_until(lambda: messages.append(heard.get_message(timeout=0.1)) or len([one for one in messages if one]) == 3, what="three")
    assert [one["data"] for one in messages if one] == ["0", "2", "opened"]


def test_whoever_tries_a_gate_gets_no_second_slot_before_its_answer(bucket, clock):
    bucket.acquire("a", 1)
    bucket.report("shut", "a", SECOND)
    clock += SECOND
    assert bucket.acquire("a", 3, lease=2 * SECOND).phase == TRIES
    clock += SECOND
    for me in ("a", "b"):
        answer = bucket.acquire(me, 3, lease=2 * SECOND)
        assert (answer.phase, answer.k, answer.wait) == (OTHER_TRIES, 0, SECOND)
    clock += SECOND
    assert bucket.acquire("b", 3).phase == TRIES


def fill(bucket, clock, replicas, seconds, step=50_000):
    """Everybody asks for more than there is, for so many seconds."""
    taken = dict.fromkeys(replicas, 0)
    for _ in range(seconds * SECOND // step):
        for me, weight in replicas.items():
            taken[me] += len(bucket.acquire(me, 100, weight=weight).slots())
            clock += step // len(replicas)
    return taken


def test_a_rate_that_long_stood_at_its_ceiling_is_not_halved_by_one_refusal(bucket, clock):
    fill(bucket, clock, {"a": 1}, 9)
    assert bucket.acquire("a", 1).met == 0
    fill(bucket, clock, {"a": 1}, 2)
    assert bucket.acquire("a", 1).met == 2
    _, rate, _, cut = bucket.report("shut", "a", 10_000, sent=1000)
    assert cut == 1 and rate == pytest.approx(0.9 * bucket.ceiling, rel=0.01)


def test_a_bucket_that_was_lost_believes_whoever_stood_at_the_ceiling(bucket, clock):
    for met, left in [(0, 0.45), (2, 0.9)]:
        bucket.forget()
        bucket.acquire("a", 1, met=met)
        clock += SECOND // 2
        bucket.acquire("a", 10)
        assert bucket.report("shut", "a", SECOND, sent=1000)[1] == pytest.approx(left * bucket.ceiling, rel=0.01)


def test_who_falls_silent_while_the_api_refuses_is_left_its_part_until_it_is_back(bucket, clock):
    replicas = {"a": 1, "b": 1, "c": 1}
    fill(bucket, clock, replicas, 12)
    del replicas["c"]
    fill(bucket, clock, replicas, 1)
    assert bucket.report("shut", "a", 10_000, sent=1000)[3] == 1
    clock += 20_000
    assert bucket.acquire("a", 1).phase == TRIES
    bucket.report("open", "a")
    fill(bucket, clock, replicas, 3)
    # What it takes unseen is four fifths of a third.
    assert bucket.acquire("a", 0).members == 2
    fill(bucket, clock, replicas, 20)
    assert bucket.acquire("a", 0).rate == pytest.approx(bucket.ceiling * (1 - 0.8 / 3), rel=0.02)
    assert bucket.acquire("c", 0, alone=1).rate == pytest.approx(bucket.ceiling, rel=0.02)


def test_who_is_refused_later_is_left_its_part_later(bucket, clock):
    replicas = {"a": 1, "b": 1, "c": 1, "d": 1}
    fill(bucket, clock, replicas, 12)
    fill(bucket, clock, {"a": 1, "b": 1, "c": 1}, 1)
    # Nobody who is seen was refused while they still counted.
    fill(bucket, clock, {"a": 1, "b": 1}, 8)
    assert bucket.acquire("a", 0).rate == bucket.ceiling
    bucket.report("shut", "a", 10_000, sent=1000)
    assert bucket.acquire("a", 0).rate == pytest.approx(0.9 * 0.6 * bucket.ceiling, rel=0.01)
    assert bucket.acquire("c", 0, alone=1).rate == pytest.approx(0.8 * bucket.ceiling, rel=0.01)
    assert bucket.acquire("d", 0, alone=1).rate == bucket.ceiling


def test_who_is_cut_off_again_and_again_never_takes_more_than_its_part(bucket, clock):
    replicas = {"a": 1, "b": 1, "c": 1}
    fill(bucket, clock, replicas, 12)
    for _ in range(4):
        fill(bucket, clock, {"a": 1, "b": 1}, 2)
        bucket.report("shut", "a", 10_000, sent=1000)
        clock += 20_000
        bucket.acquire("a", 1)
        bucket.report("open", "a")
        fill(bucket, clock, {"a": 1, "b": 1}, 2)
        assert bucket.acquire("a", 0).rate >= 0.6 * bucket.ceiling
        assert bucket.acquire("c", 1).rate >= 0.9 * bucket.ceiling


def test_who_falls_silent_while_nothing_is_refused_is_dead(bucket, clock):
    replicas = {"a": 1, "b": 1, "c": 1}
    assert fill(bucket, clock, replicas, 12)
    bucket.report("shut", "a", 10_000, sent=1000)
    clock += 20_000
    bucket.acquire("a", 1)
    bucket.report("open", "a")
    fill(bucket, clock, replicas, 30)
    del replicas["c"]
    fill(bucket, clock, replicas, 10)
    assert bucket.acquire("a", 0).members == 2
    assert bucket.acquire("a", 0).rate == pytest.approx(bucket.ceiling, rel=0.02)


def test_what_goes_out_unseen_is_no_burst_saved_up(bucket, clock):
    bucket.acquire("a", 0)
    clock += SECOND
    bucket.acquire("a", 0, alone=1)
    answer = bucket.acquire("b", 30)
    assert answer.first == 0


def test_parts_of_a_slot_are_given_as_often_as_they_are_large(bucket, clock):
    # 20 slots in a horizon, of which the smaller two have two and a half.
    weights = {"a": 20, "b": 10, "c": 5, "d": 5}
    booked = {me: [] for me in weights}
    served = dict.fromkeys(weights, 0)
    for _ in range(60_000):
        clock += 1009
        for me, weight in weights.items():
            due = [at for at in booked[me] if at <= clock.micros]
            served[me] += len(due)
            booked[me] = booked[me][len(due) :]
            if not booked[me]:
                booked[me] = [clock.micros + slot for slot in bucket.acquire(me, 100, weight=weight).slots()]
    assert sum(served.values()) == pytest.approx(60 * 1.009 * bucket.ceiling / 1000, rel=0.01)
    assert jain([served[me] / weight for me, weight in weights.items()]) > 0.995, served


def test_one_of_many_waits_for_its_turn_by_one_call(bucket, clock):
    bucket.ceiling, bucket.burst = 10_000, 1
    bucket.acquire("replica-0", 0)
    clock += SECOND
    firsts = [bucket.acquire(f"replica-{number}", 5).slots() for number in range(8)]
    # What lies within the horizon first, then one for each, in the order of asking.
    assert [len(slots) for slots in firsts] == [3, 1, 1, 1, 1, 1, 1, 1]
    assert [slot for slots in firsts for slot in slots] == [number * 100_000 for number in range(10)]


def test_a_lost_bucket_begins_behind_what_was_booked_in_it(bucket, clock):
    bucket.acquire("a", 0)
    clock += SECOND
    times = [clock.micros + slot for slot in bucket.acquire("a", 100).slots()]
    bucket.forget()
    clock += 1000
    answer = bucket.acquire("b", 100)
    assert answer.fresh == 1
    times += [clock.micros + slot for slot in answer.slots()]
    # Where it ended is not known to a slot.
    assert_within([max(one, clock.micros - 1000) for one in times], bucket.ceiling / 1000, bucket.burst + 1)


def test_a_replica_that_says_nothing_any_more_is_no_member(bucket, clock):
    assert bucket.acquire("a", 1, weight=3).members == 1
    answer = bucket.acquire("b", 1, weight=2)
    assert (answer.members, answer.weights) == (2, 5)
    clock += 2 * SECOND
    assert bucket.acquire("b", 1, weight=2).members == 2
    clock += SECOND + 1
    answer = bucket.acquire("b", 1, weight=2)
    assert (answer.members, answer.weights) == (1, 2)


def test_a_clock_that_goes_back_leaves_nothing_hours_ahead(bucket, clock):
    bucket.acquire("a", 5)
    bucket.report("shut", "a", 2 * SECOND, sent=0)
    clock += -DAY // 2
    shut = bucket.acquire("b", 1)
    assert shut.phase == SHUT and shut.gate == 2 * SECOND
    clock += shut.gate
    assert bucket.acquire("b", 1).phase == TRIES
    assert bucket.report("open", "b")[2] == 1
    assert bucket.acquire("a", 1).first <= 2 * bucket.acquire("a", 0).interval
    assert bucket.acquire("a", 0).members == 2


def test_a_clock_that_goes_back_does_not_keep_a_gate_from_being_acquitted(bucket, clock):
    bucket.acquire("a", 1)
    bucket.report("shut", "a", 5 * SECOND, sent=10_000)
    clock += -3 * SECOND
    bucket.acquire("b", 0)
    clock += 100_000
    assert bucket.report("acquit", "b", sent=50_000)[2] == 1


FIELDS = "tat gate half lease rate met anchor dip since grown cut began sent busy last acquitted".split()
GARBAGE = ["", "x", "-1", "nan", "inf", "-inf", "1e400", "0x", "1.5", "9007199254740993", "1e15", "7", " 7", "7 7", "\0", "9" * 1000]


@pytest.mark.parametrize("field", [*FIELDS, "refused", "before", "past_sent", "past_us", "stood", "whole", "spared", "owner", "blind", "stranger"])
def test_garbage_in_a_bucket_is_named_or_does_no_harm(bucket, clock, field):
    for value in GARBAGE:
        for call in (lambda: bucket.acquire("a", 3), lambda: bucket.report("shut", "a", SECOND, sent=1000)):
            bucket.forget()
            bucket.acquire("a", 1)
            bucket.client.hset(bucket.keys[0], field, value)
            try:
                answer = call()
            except redis.ResponseError as error:
                assert str(error).startswith(f"TOLLGATE garbage in field {field} of {bucket.keys[0]}"), (value, error)
            else:
                # At worst it is shut, or grants what a fresh one would.
                if isinstance(answer, list):
                    assert answer[0] >= SECOND
                else:
                    assert 0 <= answer.k <= 3 and 1 <= answer.rate <= bucket.ceiling, (value, answer)


@pytest.mark.parametrize("value", ["", "x", "1", "1 2 3", "-1 2", "1e3 1", "9007199254740993 1", "1 nan", "\0"])
def test_garbage_among_the_members_is_named_or_dropped(bucket, value):
    bucket.client.hset(bucket.keys[1], "replica-x", value)
    try:
        answer = bucket.acquire("a", 1)
    except redis.ResponseError as error:
        assert str(error).startswith(f"TOLLGATE garbage in field replica-x of {bucket.keys[1]}")
    else:
        assert (answer.members, answer.k) == (1, 1)


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("make", ["set", "rpush", "sadd", "pfadd"])
def test_a_key_of_a_foreign_type_is_refused_and_left_alone(bucket, number, make):
    getattr(bucket.client, make)(bucket.keys[number], "mine")
    before = bucket.client.dump(bucket.keys[number])
    calls = [lambda: bucket.acquire("a", 1)] + [lambda: bucket.report("shut", "a", SECOND)] * (1 - number)
    for call in calls:
        with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
            call()
    assert bucket.client.dump(bucket.keys[number]) == before


def test_what_is_kept_ends_by_itself(bucket):
    bucket.acquire("a", 1)
    bucket.report("shut", "a", SECOND)
    bucket_ttl, members_ttl = (bucket.client.pttl(key) for key in bucket.keys)
    assert 86_000_000 < bucket_ttl <= 86_402_000
    assert 3_000 < members_ttl <= 6_000
