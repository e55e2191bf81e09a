"""What one client sends never changes what another one gets: unkeyed fields, odd paths, errors, half answers."""

import http.server
import json
import threading
import time

import pytest
import requests

from raw import connect, exchange
from world import TIMEOUT, curl, heads_of

UNKEYED = {
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Proto": "gopher",
    "X-Forwarded-For": "192.0.2.66",
    "X-Forwarded-Prefix": "/evil",
    "X-Forwarded-Port": "66",
    "X-Host": "evil.example",
    "X-Real-IP": "192.0.2.66",
    "Forwarded": "host=evil.example",
    "X-Original-URL": "/evil",
    "X-Rewrite-URL": "/evil",
    "X-HTTP-Method-Override": "DELETE",
    "X-HTTP-Method": "DELETE",
    "X-Method-Override": "DELETE",
}
# Of these the origin must say that it goes by them (Vary), or they name the client.
NEGOTIATED = {
    "Origin": "https://evil.example",
    "Accept": "text/evil",
    "Accept-Language": "xx",
    "Accept-Encoding": "gzip, br",
    "User-Agent": "evil",
    "Referer": "https://evil.example",
    "Range": "bytes=0-3",
    "If-None-Match": '"evil"',
    "If-Modified-Since": "Fri, 20 Nov 2037 19:00:00 GMT",
    "Cookie": "session=evil",
    "Pragma": "evil",
    "TE": "trailers",
}


class Mirror(http.server.BaseHTTPRequestHandler):
    """An origin that writes whatever it is sent into its answer, and has it kept."""

    protocol_version = "HTTP/1.1"

    def answer(self):
        self.server.asked.append((self.command, self.path))
        length = int(self.headers.get("Content-Length") or 0)
        sent = self.rfile.read(length)
        fields = {"Cache-Control": "public, max-age=600"} | self.server.fields
        shown = {name: value for name, value in self.headers.items() if name.lower() not in ("via", "traceparent")}
        body = json.dumps({"path": self.path, "fields": shown, "body": sent.decode()}).encode()
        self.send_response(self.server.status)
        for name, value in (fields | {"Content-Length": str(len(body) + self.server.missing)}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        if self.server.missing:
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def shared_mirror(folder):
    from world import Proxy

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mirror) as origin:
        threading.Thread(target=origin.serve_forever, daemon=True).start()
        tables = {"upstream": {"kind": "generic"}, "gate": {"start_rate": 1_000_000}, "replay": {"faults": False}}
        address = f"http://127.0.0.1:{origin.server_port}"
        proxy = Proxy(folder("mirror"), None, None, upstream=address, tables=tables)
        yield origin, proxy
        proxy.stop()
        origin.shutdown()


@pytest.fixture
def mirror(shared_mirror):
    origin, proxy = shared_mirror
    origin.asked, origin.fields, origin.status, origin.missing = [], {}, 200, 0
    return origin, proxy


_names = iter(range(10_000))


@pytest.fixture
def path():
    return f"/page-{next(_names)}"


def fetch(proxy, path, method="GET", data=None, **fields):
    headers = {"User-Agent": None, "Accept": None, "Accept-Encoding": None} | fields
    return requests.request(method, proxy.plain + path, headers=headers, data=data, timeout=TIMEOUT)


@pytest.mark.parametrize("name", UNKEYED)
def test_a_field_that_no_key_names_poisons_nobody(mirror, path, name):
    origin, proxy = mirror
    fetch(proxy, path, **{name: UNKEYED[name]})
    answer = fetch(proxy, path)
    assert answer.status_code == 200
    assert UNKEYED[name] not in answer.text
    assert len(origin.asked) == 2
    assert fetch(proxy, path).headers["Cache-Status"].startswith("Tollgate; hit")


@pytest.mark.parametrize("name", ["Origin", "Accept", "Accept-Language", "Accept-Encoding", "User-Agent", "Cookie"])
def test_what_the_origin_varies_by_is_kept_apart(mirror, path, name):
    origin, proxy = mirror
    origin.fields = {"Vary": name}
    fetch(proxy, path, **{name: NEGOTIATED[name]})
    assert NEGOTIATED[name] not in fetch(proxy, path).text


def test_what_varies_by_everything_is_never_used_again(mirror, path):
    origin, proxy = mirror
    origin.fields = {"Vary": "*"}
    for number in range(3):
        fetch(proxy, path)
        assert len(origin.asked) == number + 1


def test_a_flood_of_variants_costs_the_oldest_alone(mirror, path):
    origin, proxy = mirror
    origin.fields = {"Vary": "X-Form"}
    for number in range(40):
        fetch(proxy, path, **{"X-Form": f"form-{number}"})
    asked = len(origin.asked)
    for number in range(24, 40):
        answer = fetch(proxy, path, **{"X-Form": f"form-{number}"})
        assert f"form-{number}" in answer.text
    assert len(origin.asked) == asked, "sixteen are kept"
    assert "form-0" in fetch(proxy, path, **{"X-Form": "form-0"}).text
    assert len(origin.asked) == asked + 1, "older ones are not"


def test_a_cookie_that_is_set_reaches_no_other_tenant(mirror, path):
    origin, proxy = mirror
    origin.fields = {"Set-Cookie": "session=of-a"}
    fetch(proxy, path, Authorization="Bearer a")
    origin.fields = {}
    assert "Set-Cookie" not in fetch(proxy, path, Authorization="Bearer b").headers
    assert "Set-Cookie" not in fetch(proxy, path).headers


def test_an_answer_to_a_cookie_reaches_no_other_cookie(mirror, path):
    origin, proxy = mirror
    origin.fields = {"Cache-Control": "max-age=600"}
    assert "session=a" in fetch(proxy, path, Cookie="session=a").text
    for other in [{"Cookie": "session=b"}, {}, {"Authorization": "Bearer c"}]:
        assert "session=a" not in fetch(proxy, path, **other).text
    assert fetch(proxy, path, Cookie="session=a").headers["Cache-Status"].startswith("Tollgate; hit")


@pytest.mark.parametrize("status", [400, 403, 405, 413, 414, 431, 501])
def test_an_error_that_one_tenant_provokes_stays_with_it(mirror, path, status):
    origin, proxy = mirror
    origin.status = status
    assert fetch(proxy, path, Authorization="Bearer a", **{"X-Oversized": "x" * 4000}).status_code == status
    origin.status = 200
    assert fetch(proxy, path, Authorization="Bearer b").status_code == 200
    assert fetch(proxy, path).status_code == 200


def test_a_body_of_a_get_is_neither_kept_nor_shared(mirror, path):
    origin, proxy = mirror
    assert "poison" in fetch(proxy, path, data="poison").text
    assert "poison" not in fetch(proxy, path).text
    assert len(origin.asked) == 2


def test_a_body_of_a_get_that_no_field_announces_is_not_kept_either(mirror, path):
    origin, proxy = mirror
    arguments = ["--http2", "-X", "GET", "-H", "Content-Type:", "-T", "-", "-H", "Expect:"]
    assert b"poison" in curl(*arguments, proxy.base + path, ca=proxy.ca, data=b"poison")
    assert "poison" not in fetch(proxy, path).text


def test_an_answer_to_a_post_is_for_its_sender(mirror, path):
    origin, proxy = mirror
    origin.fields = {"Content-Location": path}
    fetch(proxy, path, "POST", data="poison", Authorization="Bearer a")
    assert "poison" not in fetch(proxy, path, Authorization="Bearer b").text
    assert "poison" not in fetch(proxy, path).text


def test_a_head_does_not_answer_a_get(mirror, path):
    _, proxy = mirror
    fetch(proxy, path, "HEAD")
    assert json.loads(fetch(proxy, path).text)["path"] == path


def test_half_an_answer_is_not_kept(mirror, path):
    origin, proxy = mirror
    origin.missing = 1000
    with pytest.raises(requests.exceptions.RequestException):
        fetch(proxy, path)
    origin.missing = 0
    assert json.loads(fetch(proxy, path).text)["path"] == path
    assert len(origin.asked) == 2


TRICKS = [
    "/%2e%2e{path}", "{path}%2f", "{path}%5c", "{path};x=.css", "{path}.css", "/.{path}", "/a/..{path}", "/{path}",
    "{path}/", "{path}%00", "{path}%c0%af", "{path}.", "{path}%20", "{path}?x", "{path}?", "{path}+", "{path}%23a",
]  # fmt: skip


@pytest.mark.parametrize("trick", TRICKS)
def test_every_spelling_of_a_path_is_a_resource_of_its_own(mirror, path, trick):
    _, proxy = mirror
    odd = trick.format(path=path)
    request = f"GET {odd} HTTP/1.1\r\nHost: localhost\r\nX-A: odd\r\nConnection: close\r\n\r\n"
    exchange(connect(proxy.http_port), request.encode())
    assert json.loads(fetch(proxy, path).text)["path"] == path
    assert json.loads(fetch(proxy, path.upper()).text)["path"] == path.upper()


@pytest.fixture
def content(sim, token):
    sim.person(token)
    room = sim.room(token)
    return sim.upload(token, room, "a.png", "image/png", 3000)


@pytest.fixture
def other(sim, proxy, token, content):
    """Another tenant that may read it as well."""
    room = sim.control("GET", f"content/{content.rsplit('/', 1)[1]}")["roomId"]
    sim.person(f"{token}-b", room=room)
    return proxy.bot(f"{token}-b")


@pytest.mark.parametrize("name", UNKEYED | NEGOTIATED)
def test_no_field_poisons_an_attachment(sim, bot, other, content, token, name):
    bot.get(content, headers={name: (UNKEYED | NEGOTIATED)[name]})
    answer = other.get(content)
    assert answer.status_code == 200
    assert len(answer.content) == 3000
    assert answer.content == sim.ask(f"{token}-b", "GET", content).content
    told = [entry["headers"] for entry in sim.log() if entry["path"] == content]
    assert not any(field.lower() in headers for headers in told for field in UNKEYED)


@pytest.mark.parametrize("trick", TRICKS)
def test_no_spelling_of_an_attachment_reaches_a_stranger(sim, proxy, bot, content, token, trick):
    assert bot.get(content).status_code == 200
    sim.person(f"{token}-stranger")
    for asker, read_first in [(token, True), (f"{token}-stranger", False)]:
        odd = trick.format(path=content)
        request = f"GET {odd} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {asker}\r\nConnection: close\r\n\r\n"
        answer = exchange(connect(proxy.http_port), request.encode())
        assert read_first or not answer.startswith(b"HTTP/1.1 2"), (odd, answer[:200])
    assert len(bot.get(content).content) == 3000


@pytest.mark.parametrize("status", [206, 301, 400, 403, 404, 405, 410, 413, 423, 428, 431, 500, 503])
def test_no_refusal_of_an_attachment_is_kept(sim, bot, content, status):
    sim.force("GET", content, status, n=1, headers={"Cache-Control": "public, max-age=600"})
    bot.get(content, headers={"Prefer": "wait=5"})
    answer = bot.get(content)
    assert (answer.status_code, len(answer.content)) == (200, 3000)


def test_half_an_attachment_is_not_kept(sim, bot, other, content):
    sim.force("GET", content, n=1, truncate=100)
    with pytest.raises(requests.exceptions.RequestException):
        bot.get(content)
    assert len(other.get(content).content) == 3000
    assert len(bot.get(content).content) == 3000


def test_a_host_of_one_client_is_not_told_to_another(sim, proxy, token):
    sim.person(token)
    sim.messages(sim.room(token), 3)
    hosts = [f"localhost:{proxy.http_port}", "evil.localhost", "127.0.0.1:66"]
    for host in hosts:
        fields = {"Authorization": f"Bearer {token}", "Host": host}
        answer = requests.get(f"{proxy.plain}/v1/rooms", headers=fields, timeout=TIMEOUT)
        assert answer.status_code == 200
        assert not any(f"//{strange}/" in answer.text for strange in hosts if strange != host)


def test_only_what_is_kept_is_told_where_no_call_is_wanted(sim, bot, content):
    only = {"Cache-Control": "only-if-cached"}
    assert bot.get(content, headers=only).status_code == 504
    assert sim.count("GET", content) + sim.count("HEAD", content) == 0
    assert bot.get(content).status_code == 200
    kept = bot.get(content, headers=only)
    assert (kept.status_code, len(kept.content)) == (200, 3000)
    assert sim.count("GET", content) + sim.count("HEAD", content) == 1


@pytest.mark.parametrize("all_of_it", [True, False])
def test_what_is_purged_on_its_way_is_not_kept(sim, proxy, bot, content, all_of_it):
    sim.force("GET", content, n=1, pause_ms=1500, pause_after=100)
    answers = []
    reader = threading.Thread(target=lambda: answers.append(bot.get(content)))
    reader.start()
    time.sleep(0.5)
    secret = (proxy.state / "admin-token").read_text().strip()
    order = {"all": True} if all_of_it else {"id": content.rsplit("/", 1)[1]}
    told = requests.post(
        f"{proxy.admin}/-/purge", json=order, headers={"Authorization": f"Bearer {secret}"}, timeout=TIMEOUT
    )
    assert told.status_code == 200, told.text
    reader.join()
    assert (answers[0].status_code, len(answers[0].content)) == (200, 3000), "its reader is not disturbed"
    assert len(bot.get(content).content) == 3000
    assert sim.count("GET", content) == 2
