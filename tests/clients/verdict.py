"""What a soak's samples and its clients' words amount to: rows to print, and what is not as it should be."""

import statistics

MIB = 1024 * 1024

# What must be zero when nobody asks any more.
QUIET = ["connections", "in_flight", "waiting", "upstream", "spool"]

HEADINGS = "    s   req/s   RSS MiB   fds  threads  conns  in flight  waiting  upstream  cache MiB  disk MiB  spool MiB"


def row_of(now):
    return (
        f"{now['at']:5.0f} {now['requests'] / max(1, now['at']):7.0f} {now['rss'] / MIB:9.1f} {now['fds']:5} {now['threads']:8}"
        f" {now['connections']:6.0f} {now['in_flight']:10.0f} {now['waiting']:8.0f} {now['upstream']:9.0f}"
        f" {now['cache'] / MIB:10.1f} {now['disk'] / MIB:9.1f} {now['spool'] / MIB:10.1f}"
    )


def middle(samples, name, start, end):
    """The median over a part of the run, both ends as shares of it."""
    part = samples[int(len(samples) * start) : max(int(len(samples) * end), int(len(samples) * start) + 1)]
    return statistics.median(one[name] for one in part)


def growth(samples, name):
    """By how much a line through the second half rises from its first to its last sample (least squares)."""
    half = samples[len(samples) // 2 :]
    if len(half) < 3:
        return 0.0
    line = statistics.linear_regression([one["at"] for one in half], [one[name] for one in half])
    return line.slope * (half[-1]["at"] - half[0]["at"])


def leaks(samples):
    """What is not flat: in the second half, and at the end beside the level after warming up (a fifth of the run)."""
    found = []
    # Caches, buffers and the allocator need some minutes to fill; a run that is hardly longer has seen no level yet.
    slack = 8 * MIB if samples[-1]["at"] > 240 else 48 * MIB
    for name, share, slack in [("rss", 0.1, slack), ("fds", 0.15, 12), ("threads", 0.25, 6)]:
        level, last = middle(samples, name, 0.2, 0.4), middle(samples, name, 0.85, 1)
        allowed = level * share + slack
        if growth(samples, name) > allowed:
            found.append(f"{name} grows by {growth(samples, name):.0f} in the second half, allowed {allowed:.0f}")
        if last > level + allowed:
            found.append(f"{name} is {last:.0f} at the end, {level:.0f} after warming up, allowed {allowed:.0f} more")
    return found


def unsound(said, counts):
    """Writes that the clients and the simulator do not agree on."""
    lost = [mark for mark in said["acknowledged"] if mark not in counts]
    doubled = [text for text, count in counts.items() if count > 1]
    undead = [mark for mark in said["deleted"] if mark in counts]
    return {"lost": lost, "doubled": doubled, "undead": undead}


def unserved(said):
    """Answers that failed or broke off; refusals for want of a turn are no failures."""
    return sum(kind.get(outcome, 0) for kind in said["counts"].values() for outcome in ["cut", "failed"])


def told(soak, said, after):
    """The end of the report: one line for each kind of request, then sums."""
    yield row_of({"at": soak.samples[-1]["at"] + 1} | after) + "  afterwards"
    for kind in sorted(said["counts"]):
        outcomes = ", ".join(f"{name} {count}" for name, count in sorted(said["counts"][kind].items()))
        yield f"{kind:14} longest {said['longest_ms'][kind] / 1000:5.1f} s  {outcomes}"
    stats = soak.sim.control("GET", "stats")
    yield (
        f"{len(said['acknowledged'])} writes acknowledged, {len(said['deleted'])} uploads compared and deleted, "
        f"{len(said['open'])} without an answer; {soak.faults} faults ordered, {stats['forced']} met, "
        f"{stats['throttled']} refused by limits, {soak.reloads} reloads, {soak.renewed} certificates"
    )
    for name, unit in [("rss", MIB), ("fds", 1), ("threads", 1)]:
        yield (
            f"{name}: {soak.before[name] / unit:.1f} before, {middle(soak.samples, name, 0.2, 0.4) / unit:.1f} after warming up, "
            f"{middle(soak.samples, name, 0.85, 1) / unit:.1f} at the end, {growth(soak.samples, name) / unit:+.1f} in the second "
            f"half, {max(one[name] for one in soak.samples) / unit:.1f} at most, {after[name] / unit:.1f} afterwards"
        )
