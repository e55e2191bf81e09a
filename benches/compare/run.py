"""Runs the comparison: rounds of all cases, each proxy in turn; then the table."""

import argparse
import os
import pathlib
import sys
import time

import cases
import load
import special
import table
from checks import Checks, Unfit
from servers import PROXIES, Bare, Beside, Origin, Tollgate
from world import World

GROWING = {"tenants": special.tenants, "tenants-nginx": special.control, "entries": special.entries}
SPECIAL = [*GROWING, "latency", "idle"]


def main():
    wanted = arguments()
    if wanted.list:
        print("\n".join([case.name for case in cases.CASES] + SPECIAL))
        return
    if not wanted.binary.is_file():
        raise SystemExit(f"no binary at {wanted.binary}")
    Tollgate.binary, Bare.binary = wanted.binary.resolve(), os.environ.get("COMPARE_BARE")
    makers = [*PROXIES, *([Bare] if wanted.bare else [])]
    if wanted.beside:
        Beside.binary = wanted.beside.resolve()
        makers.append(Beside)
    world = World()
    servers = [Origin(world)]
    results = table.Results(wanted, world)
    try:
        for make in makers:
            servers.append(make(world, servers[0]))
        origin, *proxies = servers
        rounds(wanted, world, origin, proxies, results)
        results.threads = {proxy.name: proxy.threads() for proxy in proxies}
        if is_wanted(wanted, "idle"):
            results.idle = attempt(results, "idle", lambda: special.idle(world, origin)) or {}
    finally:
        for server in reversed(servers):
            server.stop()
    print(results.text())
    if wanted.markdown:
        wanted.markdown.write_text(results.markdown())


def rounds(wanted, world, origin, proxies, results):
    chosen = [case for case in cases.CASES if is_wanted(wanted, case.name)]
    for number in range(wanted.rounds):
        for case in chosen:
            # Whoever goes first meets another machine than who goes last: each is first in its turn.
            turn = number % len(proxies)
            for proxy in proxies[turn:] + proxies[:turn]:
                seen = measure(world, origin, proxy, case, wanted.seconds)
                results.add(case.name, proxy.name, number, seen)
                tell(f"round {number + 1} {case.name:12} {proxy.name:9} {seen}")
        if is_wanted(wanted, "latency"):
            seen = attempt(results, "latency", lambda: special.latency(world, origin, proxies, wanted.seconds))
            results.latency += [seen] if seen else []
        for name, growing in GROWING.items():
            if is_wanted(wanted, name):
                seen = attempt(results, name, lambda growing=growing: growing(world, origin, wanted.seconds))
                results.growth.setdefault(name, []).extend([seen] if seen else [])


def attempt(results, name, special_case):
    """What it measured; nothing, and a remark, if it could not."""
    try:
        seen = special_case()
    except (Unfit, OSError) as why:
        results.remarks.append(f"{name}: void: {' '.join(str(why).split())[:300]}")
        seen = None
    tell(f"{name}: {seen or results.remarks[-1]}")
    return seen


def measure(world, origin, proxy, case, seconds):
    """One case through one proxy: a figure, or why there is none."""
    try:
        Checks(world, origin, proxy).before(case)
        return measured(world, origin, proxy, case, seconds)
    except Unfit as why:
        return table.Void(str(why))


def measured(world, origin, proxy, case, seconds):
    asked, before, begun = origin.requests(), proxy.cpu(), time.perf_counter()
    seen = case.drive(world, proxy.port, seconds)
    lasted = time.perf_counter() - begun
    cpu = proxy.cpu().since(before)
    moved = origin.requests() - asked - 1
    if seen.fault or not seen.requests:
        raise Unfit(seen.fault or "no answer")
    if case.kept and moved:
        raise Unfit(f"the cache asked the origin {moved} times")
    if case.path and not case.kept and moved < seen.requests:
        raise Unfit(f"of {seen.requests} requests {moved} reached the origin")
    if not case.path:
        times = load.handshake_times(world, proxy.port, 50 * seconds)
        seen.p50_ms, seen.p99_ms = load.percentile(times, 50), load.percentile(times, 99)
    return table.Figure(seen.requests / seen.seconds, seen.p50_ms, seen.p99_ms, cpu / seen.requests, cpu / lasted / 1e6)


def is_wanted(wanted, name):
    return not wanted.case or name in wanted.case


def arguments():
    parser = argparse.ArgumentParser(prog="bash benches/compare/run.sh", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="times that every case is run (5)")
    parser.add_argument("--seconds", type=int, default=5, help="length of one run, at least 2 (5)")
    parser.add_argument("--case", nargs="+", action="extend", help="only these; --list names them")
    parser.add_argument("--binary", type=pathlib.Path, help="else the release is built")
    parser.add_argument("--bare", action="store_true", help="and hyper and rustls without Tollgate (bare.rs)")
    parser.add_argument("--beside", type=pathlib.Path, help="and another binary of Tollgate")
    parser.add_argument("--markdown", type=pathlib.Path, help="file for the table as Markdown")
    parser.add_argument("--list", action="store_true", help="names of the cases")
    wanted = parser.parse_args()
    known = {case.name for case in cases.CASES} | set(SPECIAL)
    if unknown := set(wanted.case or ()) - known:
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    if wanted.rounds < 1 or wanted.seconds < 2:
        parser.error("at least one round, of at least 2 seconds")
    return wanted


def tell(text):
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    os.environ["LC_ALL"] = "C"
    main()
