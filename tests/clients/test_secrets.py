"""A canary token is pushed through every path, and found nowhere."""

import base64
import concurrent.futures
import contextlib
import pathlib
import re
import signal
import subprocess

import pytest
import requests

from raw import connect, exchange
from world import BINARY, Proxy, curl, wait_until

CANARY = "Zm9yYmlkZGVuLWNhbmFyeS10b2tlbi0xMjM0NTY3ODk"


@pytest.fixture
def canary_pair(pair):
    return pair(tables={"log": {"level": "trace"}, "gate": {"start_rate": 1000}})


def forms_of(secret):
    """The ways in which a secret could be written down."""
    raw = secret.encode()
    return [raw, base64.b64encode(raw)[:-4], raw.hex().encode(), repr(list(raw))[1:-1].encode()]


def push_through_every_path(sim, proxy):
    """The canary wherever a credential can stand, in requests and in answers, in both versions of HTTP."""
    sim.person(CANARY)
    room = sim.room(CANARY)
    path = sim.upload(CANARY, room, "example.png", "image/png", 5000)
    bot = proxy.bot(CANARY)
    for _ in range(2):
        bot.get("/v1/people/me")
        bot.get(path)
        bot.head(path)
    bot.post("/v1/messages", json={"roomId": room, "text": f"t {CANARY}"})
    bot.post("/v1/messages", files={"files": ("a.png", b"x" * 500_000)}, data={"roomId": room})
    bot.post("/v1/messages", files={"files": (CANARY, CANARY * 3000)}, data={"roomId": room})
    bot.post("/v1/access_token", data={"grant_type": "refresh_token", "client_secret": CANARY})
    bot.get("/v1/people", params={"email": CANARY, "access_token": CANARY})
    bot.get("/v1/unheard-of")
    in_paths(bot)
    in_answers(sim, bot)
    in_faults(sim, bot)
    in_other_bytes(proxy)
    over_h2(proxy)


def in_paths(bot):
    for path in [f"/v1/{CANARY}", f"/v1/webhooks/incoming/{CANARY}", f"/v1/people/me;token={CANARY}", f"//{CANARY}/x"]:
        bot.get(path)
        bot.post(path, data=CANARY)
    bot.ask(CANARY, "/v1/people/me")
    given = {"traceparent": CANARY, "tracestate": f"a={CANARY}", "User-Agent": CANARY, "Cookie": f"s={CANARY}"}
    given |= {"Prefer": f"wait={CANARY}", "Priority": CANARY, "If-None-Match": f'"{CANARY}"', "Referer": CANARY}
    bot.get("/v1/people/me", headers=given)


def in_answers(sim, bot):
    """What the API says is nobody's business either."""
    secret = {"Set-Cookie": f"s={CANARY}", "X-Secret": CANARY, "Link": f'<https://x.example/{CANARY}>; rel="next"'}
    for status in [200, 401, 404, 429, 500]:
        told = secret | {"Retry-After": CANARY if status == 429 else "1", "ETag": f'"{CANARY}"', "Location": f"/{CANARY}"}
        sim.force("PUT", "/v1/rooms/x", status, headers=told, body={"message": CANARY})
        bot.ask("PUT", "/v1/rooms/x", json={"title": CANARY}, headers={"Prefer": "wait=0"})


def in_faults(sim, bot):
    for status in [401, 403, 429, 500, 502]:
        sim.force("POST", "/v1/rooms", status, headers={"Retry-After": "1"})
        bot.post("/v1/rooms", json={"title": "t"})
    for order in [{"close": "before"}, {"close": "body"}, {"html": f"<p>{CANARY}</p>", "status": 502}]:
        with contextlib.suppress(AssertionError):
            sim.force("POST", "/v1/rooms", **order)
        with contextlib.suppress(requests.RequestException):
            bot.post("/v1/rooms", json={"title": "t"})
    sim.force("GET", "/v1/teams", 429, headers={"Retry-After": "3600"})
    bot.get("/v1/teams", headers={"Prefer": "wait=0"})
    bot.get("/v1/teams")


def in_other_bytes(proxy):
    for request in [
        b"GET /v1/rooms HTTP/1.1\r\nHost: evil.example\r\nAuthorization: Bearer %s\r\nConnection: close\r\n\r\n",
        b"GET /v1/%%2f HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: %s\r\nAuthorization: Bearer b\r\nConnection: close\r\n\r\n",
        b"GET http://u:%s@localhost/v1/rooms HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET /v1/rooms HTTP/1.1\r\nHost: u:%s@localhost\r\nConnection: close\r\n\r\n",
        b"CONNECT %s:443 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"POST /v1/rooms HTTP/1.1\r\nHost: localhost\r\nContent-Length: %s\r\n\r\n",
        b"POST /v1/rooms HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n%s\r\n",
        b"GET /v1/rooms HTTP/1.1\r\nHost: localhost\r\nAuthorization Bearer %s\r\n\r\n",
        b"BAD %s\r\n\r\n",
        b"\x16\x03\x01%s",
    ]:
        exchange(connect(proxy.http_port), request % CANARY.encode())
    exchange(connect(proxy.https_port), b"GET /%s HTTP/1.1\r\n\r\n" % CANARY.encode())
    with contextlib.suppress(requests.RequestException):
        proxy.bot(CANARY).get("/v1/people/me", headers={"X-Odd": "a" * 60_000})


def over_h2(proxy):
    plain = ["--http2", "-H", f"Authorization: Bearer {CANARY}"]
    for more in [
        ["/v1/people/me"],
        [f"/v1/{CANARY}?access_token={CANARY}"],
        ["/v1/messages", "-d", CANARY],
        ["/v1/people/me", "-H", f"Cookie: a={CANARY}", "-H", f"X-Long: {'a' * 9000}"],
        ["/v1/people/me", "-X", CANARY],
    ]:
        curl(*plain, proxy.base + more[0], *more[1:], ca=proxy.ca, code=None)


def assert_absent(seen):
    for place, content in seen.items():
        for form in forms_of(CANARY):
            assert form not in content, (place, content[max(0, content.find(form) - 200) :][:400])


def files_below(*folders):
    return {str(path): path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()}


def admin_pages(proxy):
    paths = ["/", "/status", "/livez", "/readyz", "/readyz?verbose", "/config", f"/{CANARY}", "/metrics"]
    return {path: requests.get(proxy.admin + path, timeout=10).content for path in paths if CANARY not in path}


def test_the_token_is_in_no_log_metric_page_or_file(canary_pair):
    sim, proxy = canary_pair
    push_through_every_path(sim, proxy)
    seen = admin_pages(proxy)
    with requests.get(f"{proxy.admin}/events", stream=True, timeout=10) as stream:
        seen["/events"] = next(stream.iter_lines())
    assert b"deadline" in seen["/events"]
    proxy.stop()
    seen |= files_below(proxy.state)
    seen["stdout"] = "\n".join(proxy.output).encode()
    seen["stderr"] = "\n".join(proxy.errors).encode()
    assert len(requests_in(proxy)) > 40
    assert_absent(seen)


def test_the_token_of_a_named_tenant_is_in_no_output_of_any_command(pair, folder):
    """In its file, which is read at the start and at each reload; also when the file is bad."""
    home = folder("tokens")
    (home / "token").write_text(CANARY)
    config = f'[[tenant]]\nname = "alerts"\ntoken_files = ["{home}/token"]\n'
    sim, proxy = pair(config=config, tables={"log": {"level": "trace"}, "gate": {"admit": "listed"}})
    sim.person(CANARY)
    assert proxy.bot(CANARY).get("/v1/people/me").status_code == 200
    path = proxy.folder / "tollgate.toml"
    good = path.read_text()
    for text in [good, good + f'[gate]\nmax_wait = "{CANARY[:4]}"\n', good.replace(str(home), f"{home}-none")]:
        path.write_text(text)
        proxy.child.send_signal(signal.SIGHUP)
        proxy.wait_for_line("reloaded")
    path.write_text(good)
    seen = admin_pages(proxy)
    ask = ["--config", path, "--state-dir", proxy.state, "--admin", proxy.admin_address]
    for command in ["check", "config", "status", "healthcheck", "ca"]:
        done = subprocess.run([BINARY, command, *ask], capture_output=True, timeout=20)
        seen[command] = done.stdout + done.stderr
    proxy.stop()
    seen |= files_below(proxy.state) | {"stdout": "\n".join(proxy.output).encode(), "stderr": repr(proxy.errors).encode()}
    assert_absent(seen)


def test_what_waits_on_disk_has_no_name(pair, folder, token):
    """An upload that waits for its turn: its file is there, but in no directory."""
    spool = folder("spool")
    sim, proxy = pair(tables={"replay": {"spool_dir": str(spool)}, "gate": {"max_wait": "60s"}})
    sim.person(CANARY)
    room = sim.room(CANARY)
    sim.force("POST", "/v1/messages", 429, headers={"Retry-After": "3"})
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        upload = {"files": {"files": (CANARY, CANARY * 20_000)}, "data": {"roomId": room}}
        posted = pool.submit(proxy.bot(CANARY).post, "/v1/messages", **upload)
        held = wait_until(lambda: re.search(r"^tollgate_spool_bytes [1-9]", proxy.metrics(), re.M), what="the spool")
        assert held and sim.count("POST", "/v1/messages") <= 1
        assert list(spool.iterdir()) == []
        assert_absent(files_below(proxy.state, proxy.folder))
        assert posted.result().status_code == 200


# Not SIGQUIT: shells start what runs in the background with that one ignored, and children inherit it.
@pytest.mark.parametrize("crash", [signal.SIGABRT, signal.SIGTRAP])
def test_a_crash_leaves_no_memory_behind(pair, crash):
    sim, proxy = pair(tables={"log": {"level": "trace"}})
    sim.person(CANARY)
    assert proxy.bot(CANARY).get("/v1/people/me").status_code == 200
    limits = pathlib.Path(f"/proc/{proxy.child.pid}/limits").read_text()
    assert re.search(r"^Max core file size\s+0\s+0\s", limits, re.M), limits
    proxy.child.send_signal(crash)
    assert proxy.stop() == -crash
    seen = files_below(proxy.folder) | {"stdout": repr(proxy.output).encode(), "stderr": repr(proxy.errors).encode()}
    assert not [path for path in seen if "core" in pathlib.Path(path).name]
    assert_absent(seen)


TRACE = "0af7651916cd43dd8448eb211c80319c"


def test_a_trace_passes_and_is_in_the_log(pair, token):
    sim, proxy = pair()
    sim.person(token)
    bot = proxy.bot(token)
    good = f"00-{TRACE}-b7ad6b7169203331-01"
    for number, given in enumerate([{"traceparent": good, "tracestate": "a=1"}, {"traceparent": "00-x", "tracestate": "a=1"}, {}]):
        sim.forget()
        bot.get("/v1/people/me", headers=given | {"TrackingID": f"bot_{number}"})
        [entry] = sim.log()
        left = entry["headers"]["traceparent"]
        logged = wait_until(lambda: [line for line in requests_in(proxy) if line["request_id"] == f"bot_{number}"], what="line")
        assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]", left)
        assert logged[0]["trace_id"] == left.split("-")[1]
        assert (left == good) == (number == 0)
        assert entry["headers"].get("tracestate") == ("a=1" if number == 0 else None)
        assert entry["headers"]["trackingid"] == logged[0]["webex_tracking_id"] == f"bot_{number}"
        assert logged[0]["upstream"] == "webexapis.com"


def test_a_replayed_request_stays_in_its_trace(pair, token):
    sim, proxy = pair()
    sim.person(token)
    sim.force("GET", "/v1/people/me", 429, headers={"Retry-After": "1"})
    proxy.bot(token).get("/v1/people/me")
    first, second = sim.log()
    assert first["headers"]["traceparent"] == second["headers"]["traceparent"]
    [line] = wait_until(lambda: requests_in(proxy), what="the line")
    assert line["attempts"] == 2 and line["trace_id"] in first["headers"]["traceparent"]


def test_the_log_for_people_says_the_same(pair, token):
    sim, proxy = pair(tables={"log": {"format": "text"}})
    sim.person(token)
    proxy.bot(token).get("/v1/people/me?x=query-canary", headers={"TrackingID": "bot_77"})
    line = proxy.wait_for_line("http.path=/v1/people/me")
    for part in ["INFO", "request_id=bot_77", 'route="/v1/people/me"', 'http.method="GET"', "http.status=200", "attempts=1"]:
        assert part in line, line
    assert "query-canary" not in line and token not in line and "trace_id=" in line


def test_each_request_leaves_one_line(pair, token):
    sim, proxy = pair()
    sim.person(token)
    room = sim.room(token)
    bot = proxy.bot(token)
    bot.get("/v1/people/me?x=query-canary", headers={"TrackingID": "bot_77"})
    bot.get(f"/v1/rooms/{room}")
    bot.get("/v1/rooms/none")
    lines = wait_until(lambda: (found := requests_in(proxy)) and len(found) >= 3 and found, what="three lines")
    assert [line["http.status"] for line in lines] == [200, 200, 404]
    assert [line["route"] for line in lines] == ["/v1/people/me", "/v1/rooms/{id}", "/v1/rooms/{id}"]
    for line in lines:
        assert line["http.method"] == "GET"
        assert {"outcome", "tenant", "wait_ms", "upstream_ms", "total_ms", "bytes"} <= line.keys(), line
    assert lines[0]["http.path"] == "/v1/people/me"
    assert "query-canary" not in "\n".join(proxy.output)


def requests_in(proxy):
    """The request lines; their fields may stand beside the others or in a table of their own."""
    flat = [entry | entry.get("fields", {}) for entry in proxy.log()]
    return [entry for entry in flat if "http.status" in entry]


def test_metrics_count_what_happened(pair, token):
    sim, proxy = pair()
    sim.person(token)
    room = sim.room(token)
    path = sim.upload(token, room, "example.png", "image/png", 5000)
    bot = proxy.bot(token)
    for _ in range(3):
        bot.get(path)
    sim.force("GET", "/v1/people/me", 429, headers={"Retry-After": "1"})
    bot.get("/v1/people/me")
    metrics = proxy.metrics()
    values = {}
    for line in metrics.splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            values[name] = float(value)

    def total(name, **labels):
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        found = [value for key, value in values.items() if key.split("{")[0] == name and all(w in key for w in wanted)]
        return sum(found)

    contents = {"route": "/v1/contents/{id}"}
    assert total("tollgate_requests_total", **contents, outcome="hit") == 2
    assert total("tollgate_requests_total", **contents, outcome="miss") == 1
    assert total("tollgate_requests_total") == 4
    assert total("tollgate_upstream_requests_total") == 3
    assert total("tollgate_upstream_throttled_total") == 1
    assert total("tollgate_request_duration_seconds_count") == 4
    assert total("tollgate_queue_wait_seconds_count") >= 2
    assert total("tollgate_build_info") == 1
    helped = {line.split()[2] for line in metrics.splitlines() if line.startswith("# HELP")}
    typed = {line.split()[2] for line in metrics.splitlines() if line.startswith("# TYPE")}
    assert helped == typed
    assert all(name.startswith(("tollgate_", "process_")) for name in helped), helped


def test_probes_answer_on_the_admin_listener_alone(proxy, sim, bot):
    for path in ["/livez", "/readyz"]:
        assert requests.get(proxy.admin + path, timeout=10).status_code == 200
    for path in ["/metrics", "/livez", "/readyz", "/status"]:
        answer = bot.get(path)
        assert answer.status_code in (401, 404)
        assert "tollgate_" not in answer.text


def test_a_stopped_proxy_ends_well(folder, shared_sim):
    proxy = Proxy(folder("stop"), shared_sim.https_address, shared_sim.ca)
    assert proxy.stop() == 0
