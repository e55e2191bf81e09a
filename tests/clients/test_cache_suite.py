"""The public conformance suite for HTTP caches (http-cache-tests) against the real binary, and the floor it must hold."""

import collections
import json
import pathlib
import subprocess
import tomllib

import pytest

from world import ROOT, Process, Proxy

HERE = pathlib.Path(__file__).parent / "cache_tests"
SUITE = ROOT / "target/clients-node/node_modules/http-cache-tests"
RESULTS = ROOT / "target/cache-tests.json"
FLOOR = tomllib.loads((HERE / "floor.toml").read_text())
KINDS = ("required", "optimal", "check")
# The whole suite takes about 15 s, most of it pauses of its own.
LIMIT = 120


def ask(base, names=()):
    """The suite's results against a cache, by the test's name."""
    command = ["node", "--no-warnings", HERE / "client.mjs", SUITE, base, *names]
    done = subprocess.run(command, capture_output=True, timeout=LIMIT, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return {test["id"]: test for test in json.loads(done.stdout)}


def judge(results):
    """Adds to each test whether it holds: it passed, and so did all that it depends on, as the suite's site judges it."""

    def holds(test):
        return test["passed"] and all(holds(results[name]) for name in test["depends_on"])

    for test in results.values():
        test["holds"] = holds(test)
    return results


def table(results):
    counts = collections.defaultdict(collections.Counter)
    for test in results.values():
        for group in (test["group"], "all"):
            counts[group][test["kind"]] += 1
            counts[group][test["kind"], "held"] += test["holds"]
    lines = [f"  {'group':24}{'required':>10}{'optimal':>10}{'yes':>10}"]
    for group in [*(name for name in counts if name != "all"), "all"]:
        found = counts[group]
        cells = [f"{found[kind, 'held']}/{found[kind]}" if found[kind] else "-" for kind in KINDS]
        lines.append(f"  {group:24}" + "".join(f"{cell:>10}" for cell in cells))
    return lines


def told(names, results):
    """The names that do not hold, each with the suite's own words."""
    failed = []
    for name in names:
        test = results[name]
        if not test["holds"]:
            broken = [other for other in test["depends_on"] if not results[other]["holds"]]
            failed.append(f"{name}: {test['reason'] or 'depends on ' + ', '.join(broken)}")
    return failed


@pytest.fixture(scope="module")
def outcome(folder):
    """One run of the suite; what did not come out as it must has a second run, in case the machine was too busy."""
    origin = Process(["node", HERE / "origin.mjs", SUITE], folder("origin"))
    upstream = f"http://127.0.0.1:{origin.wait_for_line('listening on').rsplit(' ', 1)[1]}"
    tables = {
        "upstream": {"kind": "generic"},
        "listen": {"hosts": ["*"]},
        "gate": {"enabled": False},
        "replay": {"faults": False},
    }
    proxy = Proxy(folder("proxy"), None, None, upstream=upstream, tables=tables)
    try:
        results = judge(ask(proxy.plain))
        again = wrong(results)
        if again:
            wanted = {name for test in again for name in [test, *dependencies(test, results)]}
            results = judge(results | ask(proxy.plain, sorted(wanted)))
    finally:
        proxy.stop()
        origin.stop()
    RESULTS.write_text(json.dumps(list(results.values()), indent=1))
    lines = table(results)
    if again:
        healed = sorted(set(again) - set(wrong(results)))
        lines.append(f"  run twice: {len(again)}, of which came right: {', '.join(healed) or 'none'}")
    return results, lines


def dependencies(name, results):
    found = results[name]["depends_on"]
    return [*found, *(deeper for other in found for deeper in dependencies(other, results))]


def wrong(results):
    """Names of tests that are not as the floor wants them."""
    failed = [name for name in must_pass() if not results[name]["holds"]]
    return failed + [name for name, reason in turned_round().items() if not is_opposite(name, reason, results)]


def is_opposite(name, reason, results):
    """Whether a test fails as it must, and not because of something that it depends on."""
    test = results[name]
    return test["reason"] == reason and all(results[other]["holds"] for other in test["depends_on"])


def must_pass():
    return [name for names in FLOOR["must_pass"].values() for name in names]


def turned_round():
    return {name: entry["reason"] for entry in FLOOR["turned_round"] for name in entry["names"]}


@pytest.mark.timeout(3 * LIMIT)
def test_tollgate_passes_what_both_editions_of_the_suite_require(outcome, capsys):
    results, lines = outcome
    with capsys.disabled():
        print("\n" + "\n".join(lines))
    failed = told(must_pass(), results)
    assert not failed, f"{len(failed)} of {len(must_pass())} fail:\n" + "\n".join(failed)


@pytest.mark.timeout(3 * LIMIT)
def test_what_the_suite_calls_optimal_does_not_sink(outcome):
    results, _ = outcome
    optimal = [name for name, test in results.items() if test["kind"] == "optimal"]
    failed = told(optimal, results)
    assert len(optimal) - len(failed) >= FLOOR["optimal_at_least"], "\n".join(failed)


@pytest.mark.timeout(3 * LIMIT)
def test_where_the_newest_edition_requires_the_opposite_tollgate_does_the_opposite(outcome):
    results, _ = outcome
    failed = [name for name, reason in turned_round().items() if not is_opposite(name, reason, results)]
    assert not failed, "\n".join(f"{name}: {results[name]['reason'] or 'passes'}" for name in failed)


@pytest.mark.timeout(3 * LIMIT)
def test_every_required_test_of_the_package_is_in_the_floor_or_left_out_for_a_reason(outcome):
    results, _ = outcome
    left_out = [name for entry in FLOOR["left_out"] for name in entry["names"]]
    placed = must_pass() + list(turned_round()) + left_out
    required = {name for name, test in results.items() if test["kind"] == "required"}
    assert not [name for name, times in collections.Counter(placed).items() if times > 1]
    assert required - set(placed) == set()
    assert set(placed) - set(results) == set()
