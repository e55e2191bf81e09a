"""Several replicas of Tollgate before one simulated Webex, with a Redis that they share and bots that keep them busy."""

import json
import pathlib
import re
import subprocess
import sys
import time

from sim import Sim
from world import ROOT, Proxy

ME = "/v1/people/me"
# The strangers of a test are many at once: nothing but the shared limit is to hold them back.
OPEN = {"probation_rate": 1_000_000, "probation_burst": 10_000, "max_wait": "30s"}
SLICE = 0.1


def jain(values):
    """1 if all are equal, 1/n if one has everything."""
    return sum(values) ** 2 / (len(values) * sum(value * value for value in values)) if any(values) else 0.0


class Fleet:
    """Replicas that share a limit of `rate` requests a second, as the simulator enforces it."""

    def __init__(self, folder, redis, rate, burst=10, gate=None, share=None, config=""):
        self.folder, self.redis, self.rate, self.config = folder, redis, rate, config
        self.gate = OPEN | {"rate": rate, "burst": burst} | (gate or {})
        self.share = share or {}
        self.sim = Sim(folder("sim"), "--limit-mode", "token-bucket")
        self.secret = folder("secret") / "share-secret"
        self.secret.write_text("a secret of the deployment, for tests alone\n")
        self.replicas = []
        self.tokens = []

    def limit(self, rate=None, burst=10):
        """From now on the API takes so many requests a second from all together."""
        self.sim.set(limit="egress=off" if rate is None else f"egress={rate * 60}:{burst}")

    def add(self, url=None, **share):
        """One replica more, at the Redis of all unless another way to it is named."""
        keys = {"url": url or self.redis.url(), "secret_file": str(self.secret)} | self.share | share
        tables = {"gate": self.gate, "share": keys if keys["url"] else {}}
        number = len(self.replicas)
        replica = Proxy(self.folder(f"replica-{number}"), None, None, upstream=self.sim.http, tables=tables, config=self.config)
        self.replicas.append(replica)
        return replica

    def start(self, count, **share):
        return [self.add(**share) for _ in range(count)]

    def people(self, count):
        """So many tokens that the API knows."""
        first = len(self.tokens)
        new = [f"fleet-{number}" for number in range(first, first + count)]
        self.sim.control("POST", "people", json=[{"token": one, "email": f"{one}@example.com"} for one in new])
        self.tokens += new
        return new

    def demand(self, seconds, tenants, replicas=None, think=0):
        """Bots behind each replica, from now on for so many seconds; each rests so long between two requests."""
        tokens = [self.people(count) for count in tenants]
        return Demand(self.folder("demand"), replicas or self.replicas, tokens, seconds, think)

    def throttled(self):
        """The refusals of the API so far."""
        return self.sim.control("GET", "stats")["throttled"]

    def accepted(self):
        return self.sim.control("GET", "stats")["accepted"]

    def calls(self):
        """Calls of the shared Redis by all replicas so far, by what came of them."""
        sums = {}
        for replica in self.replicas:
            for result, count in re.findall(r'^tollgate_share_calls_total\{.*?result="(\w+)".*?\} (\S+)$', replica.metrics(), re.M):
                sums[result] = sums.get(result, 0) + int(float(count))
        return sums

    def stop(self):
        for replica in self.replicas:
            replica.stop()
        self.sim.stop()


class Demand:
    """Bots at work; `ended` waits for what they saw."""

    def __init__(self, folder, replicas, tokens, seconds, think):
        pairs = zip(replicas, tokens, strict=True)
        order = {"seconds": seconds, "path": ME, "think": think}
        order["replicas"] = [{"port": replica.http_port, "tokens": own} for replica, own in pairs]
        (folder / "demand.json").write_text(json.dumps(order))
        command = [sys.executable, ROOT / "tests/clients/demand.py", folder / "demand.json"]
        self.seconds = seconds
        self.child = subprocess.Popen(list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ended(self):
        said = self.child.stdout.read()
        assert self.child.wait(timeout=10) == 0
        return Seen(json.loads(said))

    def stop(self):
        """Ends it now."""
        self.child.stdin.close()
        return self.ended()


class Seen:
    """What the bots saw, in slices of a tenth of a second since `began`."""

    def __init__(self, said):
        self.began, self.said = said["began"], said["replicas"]
        self.seconds = said["ended"] - said["began"]

    def statuses(self):
        """Answers by status, of all replicas."""
        sums = {}
        for replica in self.said:
            for status, slices in replica["slices"].items():
                sums[status] = sums.get(status, 0) + sum(slices)
        return sums

    def served(self, since=0.0, until=None):
        """Answers with 200 of each replica within a time of the run."""
        until = self.seconds if until is None else until
        first, last = round(since / SLICE), round(until / SLICE)
        return [sum(replica["slices"].get("200", [])[first:last]) for replica in self.said]

    def rate(self, since=0.0, until=None):
        """Answers a second, all replicas together."""
        until = self.seconds if until is None else until
        return sum(self.served(since, until)) / (until - since)

    def at(self, moment):
        """Seconds of the run at a monotonic moment."""
        return moment - self.began

    def recovered(self, since, rate, window=0.5):
        """Seconds from `since` until the answers of a window came at `rate` again; none if they never did."""
        at = since
        while at + window <= self.seconds:
            if self.rate(at, at + window) >= rate:
                return at + window - since
            at += SLICE
        return None

    def fairness(self, weights, since=0.0, until=None):
        """Jain's index of what each got, by its weight."""
        pairs = zip(self.served(since, until), weights, strict=True)
        return jain([served / weight for served, weight in pairs])



def processor_seconds():
    """Seconds that all cores of this machine have worked, and those that have passed on them."""
    fields = [int(field) for field in pathlib.Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / 100, sum(fields) / 100
