"""The operators' listener: what it tells, to whom, and what it does for whoever shows its token."""

import json
import signal
import stat
import threading
import time

import jsonschema
import pytest
import requests

from raw import connect
from traffic import NAMES, Traffic, named, token_of
from world import ROOT, TIMEOUT, wait_until

SCHEMA = json.loads((ROOT / "docs/status.schema.json").read_text())


def token_in(proxy):
    return (proxy.state / "admin-token").read_text().strip()


def post(proxy, path, body=None, token=None, **options):
    headers = options.pop("headers", {})
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    return requests.post(f"{proxy.admin}{path}", json=body, headers=headers, timeout=TIMEOUT, **options)


def order(proxy, path, body=None):
    answer = post(proxy, path, body, token=token_in(proxy))
    assert answer.headers["Content-Type"] == "application/json"
    return answer.status_code, answer.json()


def objects_of(schema, place="$"):
    """Every schema of an object, with its place."""
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield place, schema
        for key, inner in schema.items():
            yield from objects_of(inner, f"{place}.{key}")
    elif isinstance(schema, list):
        for number, inner in enumerate(schema):
            yield from objects_of(inner, f"{place}[{number}]")


def test_the_schema_names_every_key_and_allows_no_other():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    found = list(objects_of(SCHEMA))
    assert len(found) >= 10
    for place, schema in found:
        assert schema["additionalProperties"] is False, place
        assert sorted(schema["required"]) == sorted(schema["properties"]), place
        assert all("$ref" in one or one.get("description") for one in schema["properties"].values()), place


def test_status_and_events_are_as_the_schema_says_in_every_state(pair):
    tables = {"gate": {"ceiling": 50, "start_rate": 20}}
    sim, proxy = pair(config=named(), tables=tables)
    validator = jsonschema.Draft202012Validator(SCHEMA)
    seen = []

    def look():
        status = requests.get(f"{proxy.admin}/status", timeout=TIMEOUT).json()
        faults = [f"{fault.json_path}: {fault.message}" for fault in validator.iter_errors(status)]
        assert faults == []
        seen.append(status)
        return status

    look()
    traffic = Traffic(sim, proxy)
    try:
        sim.force("GET", "/v1/people/me", 429, headers={"Retry-After": "6"})
        for name in ["alerts", "ci"]:
            proxy.bot(token_of(name)).get("/v1/people/me", headers={"Prefer": "wait=1"})
        proxy.bot("a-stranger").get("/v1/nothing/../x")
        wait_until(lambda: (gate := look()["gate"])["closed"] or gate["gates"], what="a closed gate")
        wait_until(lambda: look()["gate"]["lines"], what="a line")
        wait_until(lambda: look()["slowest"], seconds=30, what="slow tenants")
        wait_until(lambda: look()["cache"]["calls_saved"], seconds=30, what="a hit")
        wait_until(lambda: len(look()["history"]["waiting"]) > 2, seconds=30, what="a history")
        with requests.get(f"{proxy.admin}/events", stream=True, timeout=TIMEOUT) as stream:
            assert stream.headers["Content-Type"] == "text/event-stream"
            event = next(line for line in stream.iter_lines() if line.startswith(b"data: "))
            validator.validate(json.loads(event.removeprefix(b"data: ")))
    finally:
        traffic.over.set()
    status = seen[-1]
    assert {refusal["tenant"] for refusal in status["refusals"]} <= {*NAMES, None}
    assert status["requests"]["answered"] > 10


def test_all_pages_share_one_snapshot_and_are_bounded(proxy):
    streams, refused = [], None
    try:
        for _ in range(40):
            stream = requests.get(f"{proxy.admin}/events", stream=True, timeout=TIMEOUT)
            if stream.status_code != 200:
                refused = stream
                break
            streams.append(stream)
        assert 16 <= len(streams) < 40
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "10")
        assert "/status" in refused.json()["error"]
        # Scrapes and probes find a place beside the pages.
        assert requests.get(f"{proxy.admin}/livez", timeout=TIMEOUT).status_code == 200
        heard = [{line for _, line in zip(range(8), stream.iter_lines(), strict=False) if line} for stream in streams[:2]]
        assert heard[0] & heard[1], "two pages hear the same"
    finally:
        for stream in streams:
            stream.close()
    wait_until(
        lambda: requests.get(f"{proxy.admin}/events", stream=True, timeout=TIMEOUT).status_code == 200, what="a free place"
    )


def test_open_pages_do_not_hold_up_the_end(pair):
    _, proxy = pair()
    with requests.get(f"{proxy.admin}/events", stream=True, timeout=TIMEOUT) as stream:
        next(stream.iter_content(1))
        began = time.monotonic()
        proxy.child.send_signal(signal.SIGTERM)
        with pytest.raises(StopIteration):
            lines = stream.iter_lines()
            while True:
                next(lines)
        assert proxy.child.wait(timeout=10) == 0
        assert time.monotonic() - began < 8


def test_the_token_is_made_once_for_its_owner_alone(pair, folder):
    _, proxy = pair()
    file = proxy.state / "admin-token"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    token = token_in(proxy)
    assert len(token) == 64 and int(token, 16)
    assert post(proxy, "/-/purge", {"all": True}, token=token).status_code == 200


def test_a_token_of_ones_own(pair, folder):
    path = folder("token") / "own"
    path.write_text("correct horse battery staple\n")
    _, proxy = pair(tables={"admin": {"token_file": str(path)}})
    assert not (proxy.state / "admin-token").exists()
    told = post(proxy, "/-/purge", {"all": True}, token="x" * 64)
    assert (told.status_code, str(path) in told.json()["error"]) == (403, True)
    assert post(proxy, "/-/purge", {"all": True}, token="correct horse battery staple").status_code == 200


@pytest.mark.parametrize("text", [None, "", "short\n"])
def test_a_token_that_is_none_is_told_at_the_start(pair, folder, text):
    path = folder("token") / "own"
    if text is not None:
        path.write_text(text)
    with pytest.raises(AssertionError, match="own: "):
        pair(tables={"admin": {"token_file": str(path)}})


@pytest.mark.parametrize("path", ["/-/purge", "/-/log-level", "/-/reload"])
def test_nothing_is_changed_without_the_token_or_from_elsewhere(proxy, path):
    token = token_in(proxy)
    for given, headers, status in [
        (None, {}, 401),
        ("", {}, 401),
        (token[:-1], {}, 403),
        (token, {"Origin": "http://evil.example"}, 403),
        (token, {"Origin": "null"}, 403),
        (token, {"Sec-Fetch-Site": "cross-site"}, 403),
        (token, {"Host": "evil.example"}, 421),
    ]:
        answer = post(proxy, path, {}, token=given, headers=dict(headers))
        assert answer.status_code == status, (given, headers)
        assert answer.json()["error"]
        assert token not in answer.text
    assert "admin-token" in post(proxy, path).json()["error"]
    assert requests.get(proxy.admin + path, timeout=TIMEOUT).headers["Allow"] == "POST"


def test_there_is_no_way_to_end_the_process(proxy):
    for path in ["/-/quit", "/-/shutdown", "/-/drain", "/quitquitquit"]:
        assert post(proxy, path, token=token_in(proxy)).status_code == 404
    assert proxy.child.poll() is None


def test_a_purge_forgets_what_it_names(proxy, sim, bot, token):
    sim.person(token)
    room = sim.room(token)
    paths = [sim.upload(token, room, f"{number}.png", "image/png", 5000) for number in range(2)]
    content = paths[0].rsplit("/", 1)[1]

    def hits():
        return ["; hit" in bot.get(path).headers["Cache-Status"] for path in paths]

    hits()
    for body, left in [
        ({"id": content}, [False, True]),
        ({"prefix": "/v1/contents/"}, [False, False]),
        ({"prefix": "/v1/people"}, [True, True]),
        ({"all": True}, [False, False]),
    ]:
        status, told = order(proxy, "/-/purge", body)
        # Bytes and a tenant's proof of access are entries of their own.
        assert (status, told["purged"] >= left.count(False), told["purged"] > 0) == (200, True, not all(left)), body
        assert hits() == left, body
    assert order(proxy, "/-/purge", {"tenant": "nobody"})[0] == 404


def test_a_named_tenants_answers_are_forgotten_alone(pair):
    sim, proxy = pair(config=named(["ci", "alerts"]))
    for name in ["ci", "alerts"]:
        sim.person(token_of(name))
    room = sim.room(token_of("ci"))
    sim.control("POST", "memberships", json={"roomId": room, "personEmail": "token-alerts@example.com"})
    path = sim.upload(token_of("ci"), room, "a.png", "image/png", 5000)
    bots = [proxy.bot(token_of(name)) for name in ["ci", "alerts"]]
    for bot in bots:
        assert bot.get(path).status_code == 200
    assert order(proxy, "/-/purge", {"tenant": "ci"})[0] == 200
    assert "; hit" in bots[1].get(path).headers["Cache-Status"]
    assert "; hit" not in bots[0].get(path).headers["Cache-Status"].replace("fwd=stale", "")


def test_the_log_says_more_and_less_at_once(pair, token):
    sim, proxy = pair()
    sim.person(token)
    bot = proxy.bot(token)

    def lines():
        return sum("http.status" in (entry | entry.get("fields", {})) for entry in proxy.log())

    bot.get("/v1/people/me")
    wait_until(lambda: lines() == 1, what="a line")
    assert order(proxy, "/-/log-level", {"level": "error"}) == (200, {"old": "info", "new": "error"})
    bot.get("/v1/people/me")
    assert order(proxy, "/-/log-level", {"level": "debug"}) == (200, {"old": "error", "new": "debug"})
    bot.get("/v1/people/me")
    wait_until(lambda: lines() == 2, what="another line")
    status, told = order(proxy, "/-/log-level", {"level": "loud"})
    assert (status, "error, warn, info, debug, trace" in told["error"]) == (400, True)


def test_a_reload_says_what_changed_what_waits_and_what_is_wrong(pair):
    _, proxy = pair(tables={"gate": {"max_wait": "20s"}, "reload": {"poll": ""}})
    path = proxy.folder / "tollgate.toml"
    good = path.read_text()
    assert order(proxy, "/-/reload") == (200, {"changed": [], "needs_restart": []})
    path.write_text(good.replace('"20s"', '"10s"') + "\n[limits]\nconnections = 77\n")
    assert order(proxy, "/-/reload") == (200, {"changed": ["gate.max_wait"], "needs_restart": ["limits.connections"]})
    path.write_text(good.replace('"20s"', '"20"') + "\n[gat]\n")
    status, told = order(proxy, "/-/reload")
    assert status == 422
    assert len(told["faults"]) == 2 and "gate.max_wait" in "".join(told["faults"]), told
    assert "tollgate_config_last_reload_successful 0" in proxy.metrics()
    path.write_text(good)
    assert order(proxy, "/-/reload") == (200, {"changed": ["gate.max_wait"], "needs_restart": []})
    assert "tollgate_config_last_reload_successful 1" in proxy.metrics()


def test_orders_at_once_are_each_answered(proxy):
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(order(proxy, "/-/reload")[0])) for _ in range(10)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 10 and set(answers) <= {200, 503} and 200 in answers


def test_an_order_without_an_end_is_given_up(proxy):
    with connect(int(proxy.admin_address.rsplit(":", 1)[1])) as socket:
        head = f"POST /-/purge HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token_in(proxy)}\r\n"
        socket.sendall(head.encode() + b"Content-Length: 100\r\n\r\n{")
        socket.settimeout(15)
        assert socket.recv(1000).startswith(b"HTTP/1.1 408 ")


def test_a_new_host_is_known_once_it_is_configured(pair):
    _, proxy = pair(tables={"admin": {"hosts": ["ops.example"]}})
    for host, status in [("ops.example", 200), ("ops.example:9900", 200), ("evil.example", 421)]:
        for path in ["/", "/status"]:
            answer = requests.get(proxy.admin + path, headers={"Host": host}, timeout=TIMEOUT)
            assert answer.status_code == status, (host, path)
        for path in ["/metrics", "/livez", "/readyz"]:
            assert requests.get(proxy.admin + path, headers={"Host": host}, timeout=TIMEOUT).status_code == 200
