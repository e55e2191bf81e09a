"""Twenty seconds of the soak; `tests/soak.sh` runs its ten minutes against the release binary."""

import json
import os
import ssl

import pytest

from soak import DEADLINE, Soak
from verdict import MIB, QUIET, leaks, told, unserved, unsound
from world import wait_until

SECONDS = int(os.environ.get("SOAK_SECONDS", "20"))


def run_of(rss):
    return [{"at": at, "rss": rss(at), "fds": 60 + at % 7, "threads": 8} for at in range(600)]


@pytest.mark.parametrize(
    ("rss", "verdict"),
    [
        (lambda at: (60 + at % 9) * MIB, 0),
        (lambda at: (60 + min(at, 100) / 4 + at % 9) * MIB, 0),
        (lambda at: (60 + at / 6) * MIB, 2),
        (lambda at: (60 + max(0, at - 400) / 4) * MIB, 2),
    ],
    ids=["flat", "warming up", "100 MiB in ten minutes", "a late climb"],
)
def test_the_verdict_tells_a_leak_from_noise(rss, verdict):
    assert len(leaks(run_of(rss))) == verdict, leaks(run_of(rss))


def test_the_verdict_finds_writes_that_are_lost_doubled_or_undead():
    said = {"acknowledged": ["a", "b"], "deleted": ["d", "e"]}
    assert unsound(said, {"a": 1, "d": 1, "x": 2}) == {"lost": ["b"], "doubled": ["x"], "undead": ["d"]}


@pytest.mark.timeout(SECONDS + DEADLINE + 150)
def test_under_load_faults_and_reloads_nothing_is_lost_doubled_or_kept(pair, folder, capsys):
    soak = Soak(pair, folder, SECONDS)

    def tell(text):
        with capsys.disabled():
            print(f"  {text}")

    tell("")
    said = soak.run(tell)
    after = soak.settle()
    counts = soak.written()
    for line in told(soak, said, after):
        tell(line)
    assert said["wrong"] == [], json.dumps(said["wrong"], indent=1)
    assert unsound(said, counts) == {"lost": [], "doubled": [], "undead": []}
    # What a client saw fail or break was ordered, or rode along with what was.
    assert unserved(said) <= soak.faults
    assert [name for name in QUIET if after[name]] == []
    assert after["fds"] <= soak.before["fds"] + 8
    assert after["panics"] == 0
    assert leaks(soak.samples) == []
    soak.reload(0)
    newest = ssl.PEM_cert_to_DER_cert(soak.certificates.certificate.read_text())
    wait_until(lambda: soak.shown() == newest, what="the newest certificate")
    assert not [line for line in soak.proxy.output if '"level":"ERROR"' in line]
    assert not [line for line in soak.proxy.errors if "panicked" in line], soak.proxy.errors[-20:]
    assert soak.proxy.stop() == 0
