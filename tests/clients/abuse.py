"""What an attack costs: the proxy's memory and time, what reaches the API, and how its neighbour fares."""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

from sim import mark_of
from world import ROOT, wait_until

MIB = 1024 * 1024
TICKS = os.sysconf("SC_CLK_TCK")
# SECURITY 3: what the worst bomb may add in all, and a neighbour's slowest answer in a hundred.
MOST_MEMORY = 64 * MIB
SLOWEST_MS = 250
# All timeouts of the field, and five seconds in which a client may still read that it was refused.
PATIENCE = 9
# What 20 connections cost anyhow, buffers of both TLS and HTTP/2 included.
SLACK = 6 * MIB


class Neighbour:
    """A tenant with a token and a connection of its own, that asks all the time."""

    def __init__(self, proxy, token, content):
        command = [sys.executable, "-B", ROOT / "tests/clients/neighbour.py", str(proxy.https_port), proxy.ca, token, content]
        # A pipe that nobody reads for a minute would be full, and keep the neighbour from asking.
        self.told = tempfile.TemporaryFile()
        self.read_bytes = 0
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=self.told)
        self.asked = []
        wait_until(lambda: self.between(0, time.monotonic()), what="the neighbour's first answer")

    def between(self, begin, end):
        """Milliseconds of the requests that began meanwhile, in order of size; all of them were answered with 200."""
        there = self.told.fileno()
        told = os.pread(there, os.fstat(there).st_size - self.read_bytes, self.read_bytes)
        told = told[: told.rfind(b"\n") + 1]
        self.read_bytes += len(told)
        for line in told.decode().splitlines():
            began, kind, status, took = line.split()
            self.asked.append((float(began), kind, status, float(took)))
        meanwhile = [one for one in self.asked if begin <= one[0] < end]
        assert all(status == "200" for _, _, status, _ in meanwhile), [one for one in meanwhile if one[2] != "200"][:5]
        return sorted(took for _, _, _, took in meanwhile)

    def stop(self):
        self.child.stdin.close()
        self.child.wait(timeout=30)
        self.told.close()


def part_of(ordered, share):
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")


class Memory:
    """Resident memory of a process, in bytes; its peak is counted anew from `forget_peak` on."""

    def __init__(self, pid):
        self.folder = pathlib.Path(f"/proc/{pid}")

    def _field(self, name):
        line = next(line for line in (self.folder / "status").read_text().splitlines() if line.startswith(name))
        return int(line.split()[1]) * 1024

    def now(self):
        return self._field("VmRSS")

    def peak(self):
        return self._field("VmHWM")

    def forget_peak(self):
        (self.folder / "clear_refs").write_text("5")

    def seconds(self):
        """Processor time so far."""
        fields = (self.folder / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS


class Cost:
    """One row of the table."""

    def __init__(self, name):
        self.name = name
        self.before_ms = self.during_ms = ()
        self.rss = self.peak = self.rss_after = 0
        self.cpu_seconds = self.seconds = 0
        self.sent = 0
        self.upstream = 0
        self.left_open = 0
        self.closed_after = 0

    def growth(self):
        return max(0, self.peak - self.rss)

    def row(self):
        before, during = [(part_of(ms, 0.5), part_of(ms, 0.99)) for ms in (self.before_ms, self.during_ms)]
        return (
            f"  {self.name:<34}{before[0]:6.1f}{before[1]:7.1f} {during[0]:7.1f}{during[1]:7.1f}"
            f"{self.rss / MIB:8.1f}{self.peak / MIB:7.1f}{self.rss_after / MIB:7.1f}{self.sent / MIB:8.2f}"
            f"{self.cpu_seconds:6.2f}/{self.seconds:.1f}{self.upstream:7}{self.left_open:6}{self.closed_after:7.1f}"
        )


    def judge(self, most_calls=0, may_stay=0, ratio=None):
        """What has to hold after any attack; `ratio` bounds bytes held per byte sent."""
        allowed = SLOWEST_MS + 10 * part_of(self.before_ms, 0.99)
        slowest = part_of(self.during_ms, 0.99)
        assert self.during_ms, "the neighbour was not served at all"
        assert slowest <= allowed, f"p99 {slowest:.0f} ms, allowed {allowed:.0f} ms"
        assert self.growth() <= MOST_MEMORY, self.growth()
        assert ratio is None or self.growth() <= ratio * self.sent + SLACK, (self.growth(), self.sent)
        assert self.upstream <= most_calls, self.upstream
        assert self.left_open <= may_stay, self.left_open


HEADING = (
    "\n  neighbour in ms, memory in MiB    p50    p99 before|during p50 p99    RSS   peak  after    sent   CPU s  calls  open  in s"
)


class Field:
    """A proxy under attack, its API, and a neighbour who only wants to work."""

    def __init__(self, sim, proxy, neighbour):
        self.sim, self.proxy, self.neighbour = sim, proxy, neighbour
        self.memory = Memory(proxy.child.pid)
        self.costs = []

    def connections(self):
        line = next(line for line in self.proxy.metrics().splitlines() if line.startswith("tollgate_connections "))
        return int(float(line.split()[1]))

    def suffer(self, name, attack, seconds=1.2, settle=0.2, quiet=0.5, may_stay=0):
        """Runs `attack(field, until, held)`, which says how many bytes it sent; what it `held` is closed after the count."""
        cost = Cost(name)
        began = time.monotonic()
        time.sleep(quiet)
        cost.before_ms = self.neighbour.between(began, time.monotonic())
        open_before = self.connections()
        self.memory.forget_peak()
        cost.rss, cpu = self.memory.now(), self.memory.seconds()
        calls = self.calls()
        began = time.monotonic()
        with contextlib.ExitStack() as held:
            cost.sent = attack(self, began + seconds, held)
            cost.seconds = time.monotonic() - began
            cost.during_ms = self.neighbour.between(began, time.monotonic())
            cost.cpu_seconds = self.memory.seconds() - cpu
            cost.peak = self.memory.peak()
            cost.left_open = self.left_open(open_before, may_stay)
            cost.closed_after = time.monotonic() - began - cost.seconds
        time.sleep(settle)
        cost.rss_after = self.memory.now()
        cost.upstream = self.calls() - calls
        self.costs.append(cost)
        return cost

    def left_open(self, before, may_stay):
        """Connections of an attacker who does nothing more and closes nothing, once those are gone that have to go."""
        end = time.monotonic() + PATIENCE
        while True:
            left = max(0, self.connections() - before)
            if left <= may_stay or time.monotonic() > end:
                return left
            time.sleep(0.1)

    def table(self):
        return "\n".join([HEADING, *(cost.row() for cost in self.costs)])

    def calls(self):
        """Requests that reached the API for anybody but the neighbour."""
        stats = self.sim.control("GET", "stats")
        return stats["requests"] - stats["by_token"][mark_of("neighbour")]["accepted"]
