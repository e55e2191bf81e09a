"""What was measured, as ratios against nginx of the same round, beside the targets; as text and as Markdown."""

import dataclasses
import os
import pathlib
import statistics
import subprocess
import sys

import cases
from servers import PROXIES, Bare, Beside, Haproxy, Nginx, Tollgate
from world import ROOT, SERVERS

NAMES = [proxy.name for proxy in (*PROXIES, Bare, Beside)]
IDLE_TARGET = 20 * 1024
# The issue says "flat"; this is what is taken for it.
FLAT = 1.2
# Of nginx, for which all tenants are one.
CONTROL = "tenants-nginx"


@dataclasses.dataclass
class Figure:
    """One run: requests per second, milliseconds, processor microseconds per request, share of its core in use."""

    rate: float
    p50_ms: float | None
    p99_ms: float | None
    cpu_us: float
    busy: float

    def __str__(self):
        times = f"{show(self.p50_ms)} {show(self.p99_ms)}"
        return f"{self.rate:9.1f}/s p50, p99 {times} ms, {self.cpu_us:.1f} us, busy {self.busy:.0%}"


@dataclasses.dataclass
class Void:
    """A run that says nothing, and why."""

    why: str

    def __str__(self):
        return f"void: {self.why}"


class Results:
    """Of all rounds."""

    def __init__(self, wanted, world):
        self.wanted, self.world = wanted, world
        self.runs, self.latency, self.growth, self.idle, self.threads = {}, [], {}, {}, {}
        self.remarks = []

    def add(self, case, proxy, number, seen):
        self.runs.setdefault(case, {}).setdefault(proxy, {})[number] = seen

    def text(self):
        tables = [(title, head, rows) for title, head, rows in self._tables() if rows]
        return "\n\n".join([self._about(), *(f"{title}\n{aligned([head, *rows])}" for title, head, rows in tables),
                            *self._voids()])

    def markdown(self):
        parts = ["\n".join(f"- {line}" for line in self._about().splitlines())]
        for title, head, rows in self._tables():
            if rows:
                lines = [" | ".join(row) for row in (head, ["---"] * len(head), *rows)]
                parts.append(f"### {title}\n\n" + "\n".join(f"| {line} |" for line in lines))
        return "\n\n".join([*parts, *self._voids()]) + "\n"

    def _tables(self):
        yield ("Against the targets (each ratio: median of the rounds, and its spread)",
               ["case", "figure", "target", "seen", "spread", "verdict", "busy"], list(self._targets()))
        yield ("Figures (medians of the rounds)",
               ["case", "server", "req/s", "p50 ms", "p99 ms", "CPU us/req", "busy", "CPU / nginx", "req/s / nginx"],
               list(self._figures()))
        yield ("Latency at one request at a time, 200/s (ms)", ["server", "p50", "p99", "added p50", "added p99"],
               list(self._latencies()))
        yield ("Growth (CPU us/req)", ["what", "few", "many", "ratio", "spread"], list(self._growths()))
        yield ("Memory of one idle TLS connection", ["server", "KiB"],
               [[name, f"{self.idle[name] / 1024:.1f}"] for name in NAMES if name in self.idle])

    def _targets(self):
        for case in self._measured():
            for word, target, over in (("CPU", case.cpu, False), ("req/s", 1.0, True)):
                if target is not None:
                    ratios = self._ratios(case.name, Tollgate.name, "rate" if over else "cpu_us")
                    busy = [run.busy for run in self._seen(case.name, Tollgate.name)]
                    row = verdict(case.title, f"{word} / nginx", target, ratios, over)
                    yield [*row[:-1], f"{median(busy):.0%}" if busy else "-"]
        if self.idle:
            kib = self.idle[Tollgate.name] / 1024
            yield verdict(f"{self.idle['connections']:,} idle TLS connections", "KiB each", IDLE_TARGET / 1024, [kib])
        if self.latency:
            added = [self._added(seen, Tollgate.name, 0) / self._added(seen, Nginx.name, 0) for seen in self.latency]
            yield verdict("latency that a pass-through adds", "p50 / nginx", 1.0, added)
        for name, seen in self._grown():
            if name == CONTROL:
                continue
            yield verdict(self._growing(name, seen), "CPU, many / few", FLAT, growths(seen))

    def _figures(self):
        for case in self._measured():
            for name in [name for name in NAMES if name in self.runs[case.name]]:
                seen = self._seen(case.name, name)
                if not seen:
                    yield [case.name, name, *["-"] * 7]
                    continue
                middle = [median([getattr(run, field) for run in seen])
                          for field in ("rate", "p50_ms", "p99_ms", "cpu_us")]
                ratios = [self._ratios(case.name, name, field) for field in ("cpu_us", "rate")]
                yield [case.name, name, *map(show, middle), f"{median([run.busy for run in seen]):.0%}",
                       *(ratio(found) for found in ratios)]

    def _latencies(self):
        for name in [server for server in ("origin", *NAMES) if self.latency and server in self.latency[0]]:
            p50, p99 = (median([seen[name][at] for seen in self.latency]) for at in (0, 1))
            added = [median([self._added(seen, name, at) for seen in self.latency]) for at in (0, 1)]
            yield [name, f"{p50:.3f}", f"{p99:.3f}", *(["-", "-"] if name == "origin" else map("{:.3f}".format, added))]

    def _growths(self):
        for name, seen in self._grown():
            few, many = seen[0]
            yield [self._growing(name, seen), show(median([one[few] for one in seen])),
                   show(median([one[many] for one in seen])), show(median(growths(seen))), spread(growths(seen))]

    def _grown(self):
        return [(name, seen) for name, seen in self.growth.items() if seen]

    def _measured(self):
        return [case for case in cases.CASES if case.name in self.runs]

    def _seen(self, case, name):
        return [run for run in self.runs[case][name].values() if isinstance(run, Figure)]

    def _ratios(self, case, name, field):
        """Against nginx, of each round in which both have a figure."""
        ours, theirs = self.runs[case][name], self.runs[case][Nginx.name]
        both = [(ours[number], theirs[number]) for number in ours]
        return [getattr(our, field) / getattr(their, field) for our, their in both
                if isinstance(our, Figure) and isinstance(their, Figure)]

    def _voids(self):
        """Each reason once; a case that a server cannot do at all has a dash in the table."""
        yield from self.remarks
        for case, servers in self.runs.items():
            for name, seen in servers.items():
                reasons = [run.why for run in seen.values() if isinstance(run, Void)]
                if reasons:
                    why = " ".join(reasons[0].split())[:300]
                    yield f"{case}, {name}: {len(reasons)} of {len(seen)} rounds void: {why}"

    def _about(self):
        wanted, world = self.wanted, self.world
        threads = ", ".join(f"{name} {count}" for name, count in self.threads.items())
        if world.load_core == world.proxy_core:
            where = "one processor for all: no pinning apart"
        else:
            where = f"proxy on processor {world.proxy_core}, load and origin on {world.load_core}"
        return "\n".join([
            f"command: bash benches/compare/run.sh {' '.join(sys.argv[1:])}",
            f"machine: {machine()}; {where}; load average {os.getloadavg()[0]:.1f} at the end",
            f"rounds: {wanted.rounds} of {wanted.seconds} s",
            f"servers: {'; '.join(versions())}",
            f"threads: {threads} (Tollgate's: the first thread, which serves, and those for files; nginx's: one "
            "worker, and processes that look after it)",
        ])

    @staticmethod
    def _added(seen, name, at):
        return seen[name][at] - seen["origin"][at]

    @staticmethod
    def _growing(name, seen):
        few, many = seen[0]
        return f"{name} {few:,} -> {many:,}"


def verdict(what, figure, target, seen, over=False):
    """One row: reached or missed by the median."""
    bound = f"{'>=' if over else '<='} {target:g}"
    if not seen:
        return [what, figure, bound, "-", "-", "not measured", "-"]
    reached = median(seen) >= target if over else median(seen) <= target
    return [what, figure, bound, f"{median(seen):.2f}", spread(seen),
            "reached" if reached else "missed", "-"]


def growths(seen):
    return [max(one.items())[1] / min(one.items())[1] for one in seen]


def median(figures):
    known = [figure for figure in figures if figure is not None]
    return statistics.median(known) if known else None


def ratio(found):
    return f"{median(found):.2f} ({spread(found)})" if found else "-"


def spread(found):
    return f"{min(found):.2f} - {max(found):.2f}" if len(found) > 1 else "-"


def show(figure):
    if figure is None:
        return "-"
    return f"{figure:,.0f}" if figure >= 1000 else f"{figure:.1f}" if figure >= 10 else f"{figure:.2f}"


def aligned(rows):
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)


def machine():
    model = next((line.split(":")[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), "unknown processor")
    return f"{model}, {os.cpu_count()} processors, Linux {os.uname().release}"


def versions():
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)
    yield f"{Tollgate.name} {commit.stdout.strip() or 'of unknown commit'}"
    for command in ([SERVERS / "usr/sbin" / Nginx.name, "-v"], [SERVERS / "usr/sbin" / Haproxy.name, "-v"],
                    ["wrk", "-v"], ["h2load", "--version"], ["openssl", "version"]):
        done = subprocess.run(command, capture_output=True, text=True)
        first = (done.stdout or done.stderr).splitlines()[0]
        yield first.split(" - ")[0].split("Copyright")[0].strip()
