"""What the cache keeps on disk over a restart, what the operator has kept, and what a purge takes away."""

import http.server
import os
import pathlib
import stat
import threading
import time

import pytest
import requests

from world import Proxy, wait_until

PEOPLE = """
[[cache.rule]]
path = "/v1/people/me"
ttl = "60s"
"""


def on_disk(folder, threshold="0B", **more):
    return {"cache": {"proof_ttl": "60s"}, "cache.disk": {"path": str(folder), "size": "8MiB", "threshold": threshold} | more}


def files_in(folder):
    return [path for path in pathlib.Path(folder).iterdir() if path.name.startswith("content-") and not path.name.endswith(".part")]


def attachment(sim, token, size=300_000):
    sim.person(token)
    return sim.upload(token, sim.room(token), "report.pdf", "application/pdf", size)


def test_an_attachment_outlives_a_restart_and_its_proof_does_not(pair, folder, token):
    kept = folder("kept")
    sim, proxy = pair(tables=on_disk(kept))
    path = attachment(sim, token)
    first = proxy.bot(token).get(path)
    wait_until(lambda: "tollgate_cache_disk_entries 1" in proxy.metrics(), what="the file")
    assert proxy.stop() == 0, proxy.said()
    [file] = files_in(kept)
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600 and stat.S_IMODE(os.stat(kept).st_mode) == 0o700
    assert token.encode() not in file.read_bytes() and path.rsplit("/", 1)[1] not in file.name
    proxy = Proxy(proxy.folder, sim.https_address, sim.ca, tables=on_disk(kept))
    try:
        sim.forget()
        again = proxy.bot(token).get(path)
        assert again.content == first.content
        assert "detail=proved" in again.headers["Cache-Status"]
        assert proxy.bot(token).get(path, headers={"Range": "bytes=10-19"}).content == first.content[10:20]
        assert (sim.count("HEAD", path), sim.count("GET", path)) == (1, 0)
        sim.person("stranger-of-" + token)
        assert proxy.bot("stranger-of-" + token).get(path).status_code == 404
    finally:
        proxy.stop()


def test_a_damaged_file_is_downloaded_again(pair, folder, token):
    kept = folder("kept")
    sim, proxy = pair(tables=on_disk(kept))
    path = attachment(sim, token, 100_000)
    whole = proxy.bot(token).get(path).content
    [file] = wait_until(lambda: files_in(kept), what="the file")
    wait_until(lambda: "tollgate_cache_disk_entries 1" in proxy.metrics(), what="the index")
    damaged = bytearray(file.read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    file.write_bytes(damaged)
    sim.forget()
    assert proxy.bot(token).get(path).content == whole
    assert sim.count("GET", path) == 1
    assert 'tollgate_cache_disk_faults_total{reason="io"} 1' in proxy.metrics()


def test_what_has_to_leave_memory_goes_to_the_disk_and_the_disk_has_a_bound(pair, folder, token):
    kept = folder("kept")
    tables = on_disk(kept, threshold="1GiB")
    tables["cache"] |= {"memory": "2MiB", "max_entry": "1MiB"}
    sim, proxy = pair(tables=tables)
    sim.person(token)
    room = sim.room(token)
    paths = [sim.upload(token, room, f"{number}.bin", "application/octet-stream", 700_000 + number) for number in range(20)]
    wholes = [proxy.bot(token).get(path).content for path in paths]
    wait_until(lambda: 'tollgate_cache_evictions_total{reason="disk_size"} 0' not in proxy.metrics(), what="a full disk tier")
    assert sum(file.stat().st_size for file in files_in(kept)) <= 8 * 1024 * 1024
    sim.forget()
    # The last ones first: some from memory, some from files, the first ones anew.
    assert [proxy.bot(token).get(path).content for path in reversed(paths)] == wholes[::-1]
    fetched = sum(sim.count("GET", path) for path in paths)
    assert 2 <= 20 - fetched, "nothing was kept"
    assert fetched >= 5, "more was kept than there is room for"


def test_a_second_process_is_told_that_the_directory_is_taken(pair, folder):
    kept = folder("kept")
    sim, _ = pair(tables=on_disk(kept))
    with pytest.raises(AssertionError, match=f"did not start(.|\\n)*{kept}"):
        Proxy(folder("second"), sim.https_address, sim.ca, tables=on_disk(kept))


def test_a_rule_keeps_answers_until_somebody_writes(pair, token):
    sim, proxy = pair(config=PEOPLE)
    sim.person(token)
    bot = proxy.bot(token)
    answers = [bot.get("/v1/people/me") for _ in range(3)]
    assert sim.count("GET", "/v1/people/me") == 1
    assert answers[0].json() == answers[2].json()
    assert answers[2].headers["Cache-Status"].startswith("Tollgate; hit; ttl=")
    assert bot.get("/v1/people/me", headers={"Cache-Control": "no-cache"}).status_code == 200
    assert sim.count("GET", "/v1/people/me") == 2
    sim.person("other-" + token)
    assert proxy.bot("other-" + token).get("/v1/people/me").json() != answers[0].json()
    # Whatever becomes of it, it may have changed somebody.
    proxy.bot("other-" + token).post("/v1/people", json={})
    bot.get("/v1/people/me")
    assert sim.count("GET", "/v1/people/me") == 4


def test_a_purge_takes_what_is_kept_on_disk_as_well(pair, folder, token):
    kept = folder("kept")
    sim, proxy = pair(tables=on_disk(kept))
    path = attachment(sim, token)
    proxy.bot(token).get(path)
    wait_until(lambda: "tollgate_cache_disk_entries 1" in proxy.metrics(), what="the file")
    secret = (proxy.state / "admin-token").read_text().strip()
    order = {"url": f"{proxy.admin}/-/purge", "headers": {"Authorization": f"Bearer {secret}"}, "timeout": 10}
    assert requests.post(json={"all": True}, **order).json()["purged"] >= 1
    wait_until(lambda: not files_in(kept), what="the directory to be empty")
    sim.forget()
    proxy.bot(token).get(path)
    assert sim.count("GET", path) == 1


class Failing(http.server.BaseHTTPRequestHandler):
    """An origin that answers once, and then says that it is asked too often."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.asked += 1
        fields = {"Cache-Control": "max-age=1, stale-if-error=60"} if self.server.asked == 1 else {"Retry-After": "20"}
        self.send_response(200 if self.server.asked == 1 else 429)
        for name, value in (fields | {"Content-Length": "4"}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(b"kept")

    def log_message(self, *_):
        pass


def test_what_is_kept_is_served_while_the_gate_is_closed(pair):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Failing) as origin:
        origin.asked = 0
        threading.Thread(target=origin.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{origin.server_port}"
        _, proxy = pair(connect=None, upstream_ca=None, upstream=address, tables={"upstream": {"kind": "generic"}})
        ask = {"headers": {"Prefer": "wait=0"}, "timeout": 10}
        assert requests.get(f"{proxy.plain}/x", **ask).text == "kept"
        time.sleep(2.1)
        answers = [requests.get(f"{proxy.plain}/x", **ask) for _ in range(3)]
        origin.shutdown()
    assert [(answer.status_code, answer.text) for answer in answers] == [(200, "kept")] * 3
    told = [answer.headers["Cache-Status"] for answer in answers]
    assert "stale-if-error" in told[0], told
    assert all("stale-while-gated" in status for status in told[1:]), told
    assert origin.asked == 2, "a closed gate was passed"
