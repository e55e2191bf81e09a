"""Disks that are full, read-only, gone or too small: requests are answered, nothing is lost, and it ends by itself."""

import hashlib
import json
import os
import shutil
import threading

import pytest

from machine import fill, metric, small_disk, together, told
from world import Proxy, assert_webex_error, wait_until

ME = "/v1/people/me"
MESSAGES = "/v1/messages"
FAST = {"start_rate": 1_000_000}


def form(room, size=300_000):
    return {"data": {"roomId": room}, "files": {"files": ("a.bin", os.urandom(size))}}


def check_upload(sim, bot, token, room, size=300_000):
    """An upload arrives whole."""
    body = form(room, size)
    answer = bot.post(MESSAGES, **body)
    assert answer.status_code == 200, answer.text
    [content] = sim.contents_of(answer.json()["id"], token)
    assert content["sha256"] == hashlib.sha256(body["files"]["files"][1]).hexdigest()


@pytest.fixture
def disk(tmp_path):
    (tmp_path / "disk").mkdir()
    with small_disk(tmp_path / "disk", "2m") as folder:
        yield folder


def test_a_full_disk_costs_nobody_an_answer_and_is_used_again_when_there_is_room(pair, token, disk):
    for name in ["spool", "cache", "state"]:
        (disk / name).mkdir()
    tables = {
        "gate": FAST,
        "replay": {"spool_dir": str(disk / "spool")},
        "cache.disk": {"path": str(disk / "cache"), "threshold": "0B"},
    }
    sim, proxy = pair(tables=tables)
    sim.person(token)
    room, bot = sim.room(token), proxy.bot(token)
    paths = [sim.upload(token, room, f"{n}.bin", "application/octet-stream", 200_000) for n in range(4)]
    fill(disk)
    for path in paths[:3]:
        for _ in range(2):
            assert bot.get(path).status_code == 200
            assert len(bot.get(path).content) == 200_000
    check_upload(sim, bot, token, room)
    # A refusal means that the upload, which could be kept nowhere, is refused once and not sent again.
    sim.force("POST", MESSAGES, 429, headers={"Retry-After": "1"})
    assert bot.post(MESSAGES, **form(room)).status_code == 429
    assert metric(proxy, "tollgate_cache_disk_faults_total", '{reason="io"}') > 0
    (disk / "ballast").unlink()
    sim.force("POST", MESSAGES, 429, headers={"Retry-After": "1"})
    check_upload(sim, bot, token, room)
    assert bot.get(paths[3]).status_code == 200
    wait_until(lambda: metric(proxy, "tollgate_cache_disk_entries") > 0, what="a kept attachment")
    assert metric(proxy, "tollgate_spool_bytes") == 0


def test_a_full_state_directory_is_told_once_and_keeps_nobody_from_a_restart(folder, pair, token, disk):
    sim, first = pair()
    first.stop()
    options = {"tables": {"gate": {"retry_after_scope": "egress"}}}
    (disk / "proxy").mkdir()
    proxy = Proxy(disk / "proxy", sim.https_address, sim.ca, **options)
    try:
        sim.person(token)
        fill(disk)
        sim.force("GET", ME, 429, headers={"Retry-After": "1"})
        assert proxy.bot(token).get(ME).status_code == 200
        wait_until(lambda: told(proxy, "learned limits not kept"), what="the line")
        sim.force("GET", ME, 429, headers={"Retry-After": "1"})
        assert proxy.bot(token).get(f"{ME}?again").status_code == 200
        assert proxy.stop() == 0
        assert len(told(proxy, "learned limits not kept")) == 1
        assert not (proxy.state / "gates.json").exists()
        ports = proxy.state / "ports.json"
        assert json.loads(ports.read_text())
        (disk / "ballast").unlink()
        proxy = Proxy(disk / "proxy", sim.https_address, sim.ca, **options)
        sim.force("GET", ME, 429, headers={"Retry-After": "30"})
        assert proxy.bot(token).get(ME, headers={"Prefer": "wait=0"}).status_code == 429
        wait_until((proxy.state / "gates.json").exists, what="the file")
    finally:
        proxy.stop()


@pytest.mark.parametrize("trouble", ["gone", "a file", "limited"])
def test_a_spool_that_takes_nothing_means_that_uploads_are_sent_once(pair, token, tmp_path, trouble):
    spool = tmp_path / "spool"
    spool.mkdir()
    # 4 blocks of 512 bytes in dash, of 1024 in bash: no file of the spool fits.
    within = ["sh", "-c", 'ulimit -f 4 && exec "$@"', "sh"] if trouble == "limited" else ()
    sim, proxy = pair(tables={"gate": FAST, "replay": {"spool_dir": str(spool)}}, within=within)
    sim.person(token)
    room, bot = sim.room(token), proxy.bot(token)
    if trouble != "limited":
        check_upload(sim, bot, token, room)
        shutil.rmtree(spool)
    if trouble == "a file":
        spool.write_text("")
    check_upload(sim, bot, token, room)
    sim.force("POST", MESSAGES, 429, headers={"Retry-After": "1"})
    answer = bot.post(MESSAGES, **form(room))
    assert answer.status_code == 429 and answer.headers["Retry-After"] in ("1", "2")
    if trouble == "limited":
        assert proxy.child.poll() is None
        return
    if trouble == "a file":
        spool.unlink()
    spool.mkdir()
    sim.force("POST", MESSAGES, 429, headers={"Retry-After": "1"})
    check_upload(sim, bot, token, room)


def test_uploads_beyond_the_spool_stream_once_it_is_full(pair, token):
    sim, proxy = pair(tables={"gate": FAST, "replay": {"spool_size": "1MiB"}, "limits": {"body_bytes": "10MB"}})
    sim.person(token)
    room = sim.room(token)
    sim.force("GET", ME, 429, headers={"Retry-After": "2"})
    closer = threading.Thread(target=lambda: proxy.bot(token).get(ME))
    closer.start()
    wait_until(lambda: sim.count("GET", ME) == 1, what="the refusal")
    outcomes = together(8, lambda _: check_upload(sim, proxy.bot(token), token, room, 400_000))
    closer.join(timeout=10)
    assert outcomes == [None] * 8
    assert len(sim.statuses("POST", MESSAGES)) == 8
    wait_until(lambda: metric(proxy, "tollgate_spool_bytes") == 0, what="an empty spool")
    answer = proxy.bot(token).post(MESSAGES, **form(room, 11_000_000))
    assert answer.status_code == 413
    assert_webex_error(answer)


def test_kept_attachments_that_vanish_are_fetched_again(pair, token, tmp_path):
    kept = tmp_path / "kept"
    tables = {"gate": FAST, "cache": {"memory": "1MiB", "max_entry": "400KiB"}}
    tables["cache.disk"] = {"path": str(kept), "threshold": "0B"}
    sim, proxy = pair(tables=tables)
    sim.person(token)
    room, bot = sim.room(token), proxy.bot(token)
    paths = [sim.upload(token, room, f"{n}.bin", "application/octet-stream", 300_000) for n in range(6)]
    digests = [sim.digest(path, token) for path in paths]
    for path in paths:
        bot.get(path)
    wait_until(lambda: metric(proxy, "tollgate_cache_disk_entries") > 0, what="a kept attachment")
    shutil.rmtree(kept)
    for _ in range(2):
        for path, digest in zip(paths, digests):
            assert hashlib.sha256(bot.get(path).content).hexdigest() == digest
    assert proxy.child.poll() is None
    kept.mkdir(mode=0o700)
    for path in paths:
        bot.get(path)
    wait_until(lambda: metric(proxy, "tollgate_cache_disk_entries") > 0, what="a kept attachment")
