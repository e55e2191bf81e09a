"""One shared bucket as a test holds it: the scripts of src/share by name, and a model of what they may answer."""

import dataclasses

from world import ROOT

SCRIPTS = ROOT / "src/share/scripts"
ANSWER = "k first interval gate members weights rate met phase wait acquitted fresh"
OPEN, SHUT, TRIES, OTHER_TRIES = range(4)
SECOND = 1_000_000


@dataclasses.dataclass
class Booked:
    """What `acquire` answered: whole numbers all."""

    k: int
    first: int
    interval: int
    gate: int
    members: int
    weights: int
    rate: int
    met: int
    phase: int
    wait: int
    acquitted: int
    fresh: int

    def slots(self):
        """Due times, relative to the call."""
        return [self.first + number * self.interval for number in range(self.k)]


class Bucket:
    """The two scripts at one bucket of a server."""

    def __init__(self, client, name="{b}", prefix="tg", ceiling=100_000, burst=10):
        self.client, self.ceiling, self.burst = client, ceiling, burst
        self.keys = [f"{prefix}:v1:{name}:{part}" for part in "sm"]
        self.channel = f"{prefix}:v1:gate"
        self.acquire_script, self.gate_script = (
            client.register_script((SCRIPTS / f"{name}.lua").read_text()) for name in ("acquire", "gate")
        )

    def acquire(self, me, want, horizon=200_000, weight=1, ttl=3 * SECOND, known=None, met=0, lease=SECOND, alone=0):
        known = self.ceiling if known is None else known
        arguments = [me, want, horizon, self.ceiling, self.burst, weight, ttl, known, met, lease, alone, 1]
        answer = self.acquire_script(keys=self.keys, args=arguments)
        assert len(answer) == len(ANSWER.split()) and all(type(number) is int for number in answer), answer
        return Booked(*answer)

    def report(self, what, me, remaining=0, sent=0, known=None, met=0, message="moved"):
        """Gate, rate, moved and cut, as `gate` answers."""
        known = self.ceiling if known is None else known
        arguments = [what, me, remaining, sent, known, met, self.ceiling, self.channel, message]
        answer = self.gate_script(keys=self.keys[:1], args=arguments)
        assert len(answer) == 4 and all(type(number) is int for number in answer), answer
        return answer

    def now(self):
        """The server's time at the last call."""
        return int(self.client.hget(self.keys[0], "last") or 0)

    def forget(self):
        self.client.delete(*self.keys)


def assert_within(times, rate, burst):
    """Never more sent than rate x time + burst; times in microseconds, the rate in requests a second."""
    tokens, before = float(burst), None
    for at in sorted(times):
        if before is not None:
            tokens = min(float(burst), tokens + (at - before) * rate / SECOND)
        tokens -= 1
        # A microsecond of rounding.
        assert tokens >= -rate / SECOND - 1e-6, (at, tokens)
        before = at


class Model:
    """What is known of a bucket from outside: which slots stand, until when it is shut, who tries it."""

    def __init__(self, bucket):
        self.bucket = bucket
        self.forget()

    def forget(self):
        """The server knows nothing any more, or its clock has stepped: one burst more may go."""
        self.sent = []
        self.furthest = {}
        self.last = None
        self.gate = 0
        self.half = False
        self.trial = None
        self.cut_at = None

    def settle(self):
        """The slots of this while, all together, kept to the ceiling."""
        assert_within(self.sent, self.bucket.ceiling / 1000, self.bucket.burst)

    def booked(self, me, want, horizon, lease, answer):
        """Judges the answer to the last call."""
        now = self.bucket.now()
        assert answer.interval == -(-(10**9) // answer.rate), answer
        assert 1 <= answer.rate <= self.bucket.ceiling, answer
        assert 0 <= answer.k <= want, (want, answer)
        assert answer.members >= 1 and answer.gate >= 0 and answer.wait >= 0, answer
        assert answer.gate == max(0, self.gate - now), (now, self.gate, answer)
        assert (answer.phase == SHUT) == (self.gate > now), (now, self.gate, answer)
        if answer.phase in (SHUT, OTHER_TRIES):
            assert answer.k == 0, answer
            assert answer.wait > 0 or want == 0, answer
        if answer.phase == TRIES:
            assert self.half and answer.k == 1, answer
            _, until = self.trial or (me, 0)
            assert until <= now, ("two try at once", self.trial, now, me)
            self.trial = (me, now + lease)
        elif want and answer.phase == OPEN:
            assert not self.half, answer
            assert answer.k >= 1, answer
            # Only one may lie beyond the horizon, and only if it is the first.
            beyond = [slot for slot in answer.slots() if slot > horizon]
            assert not beyond or answer.k == 1, (horizon, answer)
        times = [now + slot for slot in answer.slots()]
        for one in times:
            assert one >= self.gate, ("a slot inside a closed gate", one, self.gate)
        # The one that tries a gate goes when the API said that it may, whatever the rate.
        if times and answer.phase == OPEN:
            if self.last is not None:
                assert times[0] >= self.last, ("a slot twice", times[0], self.last)
            self.last, self.furthest[me] = times[-1] + 1, times[-1]
            self.sent += [max(now, one) for one in times]

    def shut(self, remaining, sent, answer, what):
        """Judges the answer to a report, and takes it over."""
        now = self.bucket.now()
        gate, rate, _, cut = answer
        asked_at = now - sent
        if what == "shut":
            if self.cut_at is not None and asked_at <= self.cut_at:
                assert cut == 0, ("the rate fell twice for one episode", asked_at, self.cut_at)
            # An episode that began before this model did is not known to it.
            if cut or (self.cut_at is not None and asked_at > self.cut_at):
                self.cut_at = now
        else:
            assert cut == 0, answer
        until = max(self.gate, now + remaining)
        assert gate == until - now, (gate, until - now)
        assert 1 <= rate <= self.bucket.ceiling
        self.gate, self.half, self.trial = until, True, None
        # Whoever hears of it sends nothing that is not yet due.
        self.sent = [at for at in self.sent if at <= now]
        self.last, self.furthest = None, {}

    def opened(self):
        """Whether the request that tried the gate opens it."""
        if self.half and self.gate <= self.bucket.now():
            self.half, self.trial, self.last = False, None, None
            return True
        return False
