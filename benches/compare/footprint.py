"""Counts the code that a request runs through, in cache lines and pages of memory, as callgrind sees the real binary.

What runs at least once for every second request counts: handshakes and what is done now and then do not.
"""

import argparse
import collections
import os
import pathlib
import re
import subprocess

import cases
from servers import Bare, Origin, Tollgate
from world import World

LINE, PAGE = 64, 4096
WARM_UP, SECONDS = 3, 15
# Few, so that their handshakes are lost in the count.
CONNECTIONS = 2


def main():
    parser = argparse.ArgumentParser(prog="bash benches/compare/run.sh footprint", description=__doc__)
    known = [case.name for case in cases.CASES]
    parser.add_argument("--case", nargs="+", choices=known, default=["head-h2", "get-h1", "pass-h1", "pass-h2"])
    parser.add_argument("--binary", type=pathlib.Path, help="else the release is built")
    parser.add_argument("--bare", action="store_true", help="and hyper and rustls without Tollgate (bare.rs)")
    wanted = parser.parse_args()
    Tollgate.binary, Bare.binary = wanted.binary.resolve(), os.environ.get("COMPARE_BARE")
    cases.CONNECTIONS = cases.H2_CONNECTIONS = CONNECTIONS
    world = World()
    print("case      server     instructions  lines   KiB  pages  instructions a line")
    for case in [case for case in cases.CASES if case.name in wanted.case]:
        for server in (Tollgate, Bare) if wanted.bare else (Tollgate,):
            print(f"{case.name:9} {server.name:9} {footprint(*counted(world, server, case))}", flush=True)


def footprint(profile, requests):
    """The figures of one row."""
    always = {place: times / requests for place, times in executed(profile).items() if times >= requests / 2}
    lines, pages = ({(code, at // size) for code, at in always} for size in (LINE, PAGE))
    instructions = sum(always.values())
    kib = len(lines) * LINE / 1024
    return f"{instructions:13,.0f} {len(lines):6,} {kib:5.0f} {len(pages):6} {instructions / len(lines):20.0f}"


def counted(world, server, case):
    """The profile of one run, and its requests."""
    profile = world.folder / f"callgrind-{server.name}-{case.name}"
    server.within = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--dump-instr=yes",
                     f"--callgrind-out-file={profile}"]
    origin = Origin(world)
    try:
        proxy = server(world, origin)
        try:
            case.drive(world, proxy.port, WARM_UP)
            switch(proxy, "on")
            requests = case.drive(world, proxy.port, SECONDS).requests
            switch(proxy, "off")
        finally:
            proxy.stop()
    finally:
        origin.stop()
    return profile, requests


def switch(proxy, whether):
    subprocess.run(["callgrind_control", "-i", whether, str(proxy.child.pid)], check=True, capture_output=True)


def executed(profile):
    """How often each instruction ran, by object and address (callgrind's format, as of valgrind 3.19)."""
    often, names = collections.Counter(), {}
    code, at, is_call = None, 0, False
    for line in profile.read_text(errors="replace").splitlines():
        if named := re.match(r"(c?)ob=\((\d+)\)(?: (.*))?", line):
            called, number, name = named.groups()
            names.setdefault(number, name)
            code = code if called else names[number]
        elif line.startswith("calls="):
            is_call = True
        elif line[:1] in "0123456789+-*" and line:
            words = line.split()
            at = address(words[0], at)
            # The line behind a call says what it cost in all, not what ran here.
            if not is_call and len(words) > 2:
                often[code, at] += int(words[2])
            is_call = False
    return often


def address(word, before):
    """Absolute, or relative to the one before."""
    if word == "*":
        return before
    return before + int(word) if word[0] in "+-" else int(word, 16)


if __name__ == "__main__":
    os.environ["LC_ALL"] = "C"
    main()
