"""What the binary says of a configuration, and what follows for whoever runs it."""

import subprocess
import tomllib

from world import BINARY, TIMEOUT

# Code, threads, TLS and the allocator's slack, and what a connection may hold (SECURITY 3).
HEADROOM = 96 << 20
CONNECTION = 32 << 10
# From where a body no longer waits in memory but in a file (GATE 8).
SPOOLED_FROM = 64 << 10


def tollgate(*arguments, environment=None):
    done = subprocess.run([BINARY, *arguments], capture_output=True, text=True, timeout=TIMEOUT, env=environment)
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout


def settings(file):
    """All keys with the values in effect, defaults included."""
    return tomllib.loads(tollgate("config", "--config", file, environment={}))


def memory_needed(wanted):
    """The most bytes of memory that these settings allow."""
    cache, gate, limits = (wanted[section] for section in ("cache", "gate", "limits"))
    kept = size(cache["memory"]) + size(cache["fill"]) + size(gate["max_waiting_bytes"])
    return kept + limits["connections"] * CONNECTION + HEADROOM


def files_needed(wanted):
    """The most descriptors: connections, requests to the API, uploads in the spool."""
    uploads = size(wanted["replay"]["spool_size"]) // SPOOLED_FROM
    return wanted["limits"]["connections"] + wanted["gate"]["max_in_flight"] + uploads


def drained_in(wanted):
    """Seconds from the signal to the end."""
    return seconds(wanted["shutdown"]["delay"]) + seconds(wanted["shutdown"]["drain"])


def size(text):
    """Of a configuration or a manifest, in bytes."""
    units = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "KB": 10**3, "MB": 10**6, "GB": 10**9, "B": 1}
    units |= {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}
    unit = next(unit for unit in units if text.endswith(unit))
    return int(text.removesuffix(unit)) * units[unit]


def seconds(text):
    units = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
    unit = next(unit for unit in units if text.endswith(unit))
    return int(text.removesuffix(unit)) * units[unit]
