"""A canary token is pushed through every path, and found nowhere."""

import base64
import contextlib

import pytest
import requests

from raw import connect, exchange
from world import Proxy, wait_until

CANARY = "Zm9yYmlkZGVuLWNhbmFyeS10b2tlbi0xMjM0NTY3ODk"


@pytest.fixture
def canary_pair(pair):
    return pair(tables={"log": {"level": "trace"}, "gate": {"start_rate": 1000}})


def forms_of(secret):
    """The ways in which a secret could be written down."""
    raw = secret.encode()
    return [raw, base64.b64encode(raw)[:-4], raw.hex().encode(), repr(list(raw))[1:-1].encode()]


def push_through_every_path(sim, proxy):
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
    bot.post("/v1/access_token", data={"grant_type": "refresh_token", "client_secret": CANARY})
    bot.get("/v1/people", params={"email": CANARY, "access_token": CANARY})
    bot.get("/v1/unheard-of")
    for status in [401, 403, 429, 500, 502]:
        sim.force("POST", "/v1/rooms", status, headers={"Retry-After": "1"})
        bot.post("/v1/rooms", json={"title": "t"})
    sim.force("POST", "/v1/rooms", close="before")
    bot.post("/v1/rooms", json={"title": "t"})
    sim.force("GET", "/v1/teams", 429, headers={"Retry-After": "3600"})
    bot.get("/v1/teams", headers={"Prefer": "wait=0"})
    bot.get("/v1/teams")
    for request in [
        b"GET /v1/rooms HTTP/1.1\r\nHost: evil.example\r\nAuthorization: Bearer %s\r\nConnection: close\r\n\r\n",
        b"GET /v1/%%2f HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: %s\r\nAuthorization: Bearer b\r\nConnection: close\r\n\r\n",
        b"BAD %s\r\n\r\n",
    ]:
        exchange(connect(proxy.http_port), request % CANARY.encode())
    with contextlib.suppress(requests.RequestException):
        bot.get("/v1/people/me", headers={"X-Odd": "a" * 60_000})


def test_the_token_is_in_no_log_metric_page_or_file(canary_pair):
    sim, proxy = canary_pair
    push_through_every_path(sim, proxy)
    seen = {"metrics": proxy.metrics().encode()}
    for path in ["/", "/status", "/livez", "/readyz", "/readyz?verbose", "/config"]:
        seen[path] = requests.get(proxy.admin + path, timeout=10).content
    with requests.get(f"{proxy.admin}/events", stream=True, timeout=10) as stream:
        seen["/events"] = next(stream.iter_lines())
    assert b"deadline" in seen["/events"]
    for path in proxy.state.rglob("*"):
        if path.is_file():
            seen[str(path)] = path.read_bytes()
    proxy.stop()
    seen["stdout"] = "\n".join(proxy.output).encode()
    seen["stderr"] = "\n".join(proxy.errors).encode()
    assert len(seen["stdout"]) > 1000
    for place, content in seen.items():
        for form in forms_of(CANARY):
            assert form not in content, (place, content[max(0, content.find(form) - 200) :][:400])


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
