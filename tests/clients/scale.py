"""What several replicas with one limit come to: each row of the design's figures, seen beside its bar.

`tests/scale.sh [ROW...]` runs it at full length against the release binary; test_share.py has the quick forms.
"""

import contextlib
import dataclasses
import os
import pathlib
import shutil
import sys
import tempfile
import time

from fleet import ME, Fleet, processor_seconds
from redis_servers import Redis
from relay import Relay

# Beside the burst that the gate allows itself, the strict bucket of the simulator forgives so many seconds of timers, threads and
# sockets being late.
LATENESS = 0.05


@dataclasses.dataclass
class Figure:
    """One number beside its bar."""

    name: str
    seen: float
    bar: float
    wants: str = "<="

    def is_reached(self):
        return {"<=": self.seen <= self.bar, ">=": self.seen >= self.bar, "": True}[self.wants]

    def row(self):
        bar = f"{self.wants} {self.bar:g}" if self.wants else ""
        verdict = ("reached" if self.is_reached() else "MISSED") if self.wants else ""
        return f"  {self.name:<52} {self.seen:>9.4g}   {bar:<10} {verdict}"


class Bench:
    """Makes fleets, and ends all that was started."""

    def __init__(self, folder):
        self.folder = folder
        self.stack = contextlib.ExitStack()

    def redis(self, **settings):
        server = Redis(self.folder("redis"), **settings)
        self.stack.callback(server.stop)
        return server

    def fleet(self, redis, rate, replicas, limit=None, burst=10, **options):
        """Replicas that know each other, at an API that takes `limit` a second, else `rate`."""
        fleet = Fleet(self.folder, redis, rate, burst, **options)
        self.stack.callback(fleet.stop)
        limit = limit or rate
        fleet.start(replicas)
        fleet.limit(limit, burst + max(1, round(limit * LATENESS)))
        return fleet

    def relay(self, redis):
        relay = Relay(redis.port)
        self.stack.callback(relay.stop)
        return relay

    def stop(self):
        self.stack.close()


class Window:
    """What happened between two moments of a run."""

    def __init__(self, fleet, seconds):
        before, began, worked = self._counted(fleet), time.monotonic(), processor_seconds()
        time.sleep(seconds)
        after, self.seconds = self._counted(fleet), time.monotonic() - began
        self.accepted, self.throttled, self.calls = (one - other for one, other in zip(after, before, strict=True))
        self.busy = (processor_seconds()[0] - worked[0]) / max(1e-9, processor_seconds()[1] - worked[1])

    @staticmethod
    def _counted(fleet):
        calls = fleet.redis.calls("evalsha", "eval", "publish") if fleet.redis.process.child.poll() is None else 0
        return fleet.accepted(), fleet.throttled(), calls

    def rate(self):
        return self.accepted / self.seconds

    def machine(self):
        return Figure("share of the machine's processors in use", self.busy, 1, "")


def weighted(bench, seconds=30, rate=500, tenants=(200, 100, 50, 50), settled=3):
    """4 replicas, 500/s, weights 200/100/50/50 tenants."""
    fleet = bench.fleet(bench.redis(), rate, len(tenants))
    demand = fleet.demand(seconds + settled + 1, tenants)
    time.sleep(settled)
    window = Window(fleet, seconds)
    seen = demand.ended()
    return [
        Figure("accepted a second, of the limit", window.rate() / rate, 0.99, ">="),
        Figure("calls of Redis per upstream request", window.calls / max(1, window.accepted + window.throttled), 0.04),
        Figure("429s of the API", fleet.throttled(), 0),
        Figure("429s that clients saw", seen.statuses().get("429", 0), 0),
        Figure("Jain's index, weighted", seen.fairness(tenants, settled, settled + seconds), 0.99, ">="),
        window.machine(),
    ]


def slow(bench, seconds=40, rate=10, replicas=8, settled=5):
    """8 replicas, 10/s."""
    fleet = bench.fleet(bench.redis(), rate, replicas)
    demand = fleet.demand(seconds + settled + 1, [5] * replicas)
    time.sleep(settled)
    window = Window(fleet, seconds)
    seen = demand.ended()
    return [
        Figure("accepted a second, of the limit", window.rate() / rate, 0.97, ">="),
        Figure("calls of Redis per upstream request", window.calls / max(1, window.accepted + window.throttled), 1),
        Figure("429s of the API", fleet.throttled(), 0),
        Figure("Jain's index", seen.fairness([1] * replicas, settled, settled + seconds), 0.99, ">="),
        window.machine(),
    ]


def frozen(redis, seconds):
    with redis.frozen():
        time.sleep(seconds)


def gone(redis, seconds):
    redis.kill()
    time.sleep(seconds)
    redis.start()


def restarted(redis, _):
    redis.restart_empty()


def flushed(redis, _):
    client = redis.client()
    client.flushall()
    client.script_flush()


EVENTS = {"stopped for 5 s": frozen, "gone for 5 s": gone, "kill -9, restarted empty": restarted, "FLUSHALL, SCRIPT FLUSH": flushed}


def failing(bench, events=EVENTS, rate=200, tenants=(20, 20, 20, 20), outage=5, settled=4):
    """Redis stopped 5 s mid-run; kill -9 and restart empty; FLUSHALL + SCRIPT FLUSH."""
    figures = []
    for name, event in events.items():
        redis = bench.redis()
        fleet = bench.fleet(redis, rate, len(tenants))
        demand = fleet.demand(3 * settled + outage + 60, tenants)
        time.sleep(settled)
        began = time.monotonic()
        event(redis, outage)
        back = time.monotonic()
        time.sleep(settled)
        seen = demand.stop()
        start, end = seen.at(began), seen.at(back)
        recovered = seen.recovered(end, rate * 0.95)
        figures += [
            Figure(f"{name}: 429s that clients saw", seen.statuses().get("429", 0), 0),
            Figure(f"{name}: other answers than 200", sum(seen.statuses().values()) - seen.statuses().get("200", 0), 0),
            Figure(f"{name}: seconds until the rate is back", 99 if recovered is None else recovered, 2),
            Figure(f"{name}: rate meanwhile, of the limit", seen.rate(start, max(end, start + 2)) / rate, 0.75, ">="),
            Figure(f"{name}: 429s of the API", fleet.throttled(), 0, ""),
        ]
        fleet.stop()
    return figures


def overrated(bench, seconds=60, limit=100, replicas=8, tenants=10, alone=20, forms=("decimal", "int")):
    """Ceiling set 2x too high, 8 replicas, 60 s."""
    figures = []
    for form in forms:
        fleet = bench.fleet(bench.redis(), 2 * limit, replicas, limit)
        fleet.sim.set(retry_after=form)
        demand = fleet.demand(seconds, [tenants] * replicas)
        seen = demand.ended()
        told = "Retry-After in tenths" if form == "decimal" else "Retry-After in whole seconds"
        figures += [
            Figure(f"{told}: 429s of the API", fleet.throttled(), 12),
            Figure(f"{told}: accepted, of the limit", fleet.accepted() / limit / seconds, 0.92, ">="),
            Figure(f"{told}: 429s that clients saw", seen.statuses().get("429", 0), 0),
        ]
        fleet.stop()
    if alone:
        fleet = bench.fleet(bench.redis(), 2 * limit, replicas, limit, share={"url": ""})
        fleet.sim.set(retry_after="decimal")
        fleet.demand(alone, [tenants] * replicas).ended()
        figures.append(Figure(f"without sharing: 429s of the API in {alone} s", fleet.throttled(), 120, ""))
    return figures


def changing(bench, seconds=15, rate=100, tenants=20, settled=4):
    """3 replicas, join, kill -9, partition."""
    redis = bench.redis()
    relay = bench.relay(redis)
    fleet = bench.fleet(redis, rate, 2)
    fleet.add(url=f"redis://127.0.0.1:{relay.port}")
    demands = [fleet.demand(10 * seconds + 60, [tenants] * 3)]
    figures = []

    def steady(name):
        time.sleep(settled)
        window = Window(fleet, seconds)
        limit = rate * window.seconds
        figures.extend([
            Figure(f"{name}: sent over the limit", (window.accepted + window.throttled) / limit - 1, 0.02),
            Figure(f"{name}: accepted under the limit", 1 - window.accepted / limit, 0.05),
        ])

    steady("three replicas")
    joined = fleet.add()
    demands.append(fleet.demand(10 * seconds + 60, [tenants], [joined]))
    steady("a fourth has joined")
    joined.child.kill()
    steady("it was killed with -9")
    relay.cut()
    steady("the third is cut off")
    relay.mend()
    steady("it is back")
    for demand in demands:
        demand.stop()
    return figures


def closing(bench, fleets=8, closures=15, replicas=8, tenants=10, shut=0.2):
    """A closure, as seen by 8 replicas."""
    late, after = [], []
    for _ in range(fleets):
        # Each closure lowers the rate: it starts so high that bots are never held up by it.
        fleet = bench.fleet(bench.redis(), 100_000, replicas, burst=1000, gate={"retry_after_scope": "egress"})
        fleet.limit(None)
        demand = fleet.demand(closures * 3 + 60, [tenants] * replicas, think=replicas * tenants / 400)
        time.sleep(2)
        for _ in range(closures):
            entries, refused = refusal(fleet, shut)
            late.append(max((at - refused for at in entries), default=0))
            after.append(len(entries))
        demand.stop()
        fleet.stop()
    late.sort()
    return [
        Figure("closures while 400 requests a second arrive", len(late), 0, ""),
        Figure("ms from the refusal to the last request, median", late[len(late) // 2], 0, ""),
        Figure("ms from the refusal to the last request, p99", late[-(-len(late) * 99 // 100) - 1], 5),
        Figure("requests after the refusal, mean", sum(after) / len(after), 0, ""),
    ]


def refusal(fleet, shut):
    """One refusal for a time, met by some replica: when it was, and when requests came while all should have been shut."""
    fleet.sim.control("POST", "reset", json={"only": "counters"})
    fleet.sim.force("GET", ME, 429, headers={"Retry-After": str(shut)})
    time.sleep(shut + 0.3)
    entries = fleet.sim.control("GET", "log")["items"]
    (refused,) = [entry["at_ms"] for entry in entries if entry["status"] == 429]
    times = [entry["at_ms"] for entry in entries if entry["status"] != 429]
    time.sleep(0.5)
    return [at for at in times if refused < at < refused + shut * 950], refused


ROWS = {"weighted": weighted, "slow": slow, "failing": failing, "overrated": overrated, "changing": changing, "closing": closing}


def main(names):
    made = []

    def folder(name):
        made.append(pathlib.Path(tempfile.mkdtemp(prefix=f"scale-{name}-")))
        return made[-1]

    missed = 0
    print(f"{os.cpu_count()} cores for everything; load average {os.getloadavg()[0]:.1f} before the first row")
    for name in names or ROWS:
        bench = Bench(folder)
        try:
            print(f"\n{name}: {ROWS[name].__doc__}", flush=True)
            figures = ROWS[name](bench)
        finally:
            bench.stop()
        for figure in figures:
            print(figure.row(), flush=True)
        missed += sum(not figure.is_reached() for figure in figures)
    for path in made:
        shutil.rmtree(path, ignore_errors=True)
    print(f"\n{missed} figures missed")
    return missed > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
