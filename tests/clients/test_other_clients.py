"""Clients as docs/clients.md sets them up: its very lines are what runs here."""

import hashlib
import logging
import os
import subprocess
import sys
import types

import pytest

from alertmanager import Alertmanager
from lines import broken_links, code, environment, put_to, rows
from world import BINARY, wait_until

ME = "/v1/people/me"
OLD = pytest.param(
    "ciscosparkapi",
    marks=pytest.mark.skipif(sys.version_info >= (3, 12), reason="ciscosparkapi does not build on Python 3.12"),
)
# As the table of the page marks them.
TRIED = {
    "webexpythonsdk",
    "webexteamssdk",
    "ciscosparkapi",
    "webex_bot",
    "requests",
    "curl",
    "Node fetch",
    "Alertmanager",
}


@pytest.fixture
def run(proxy, token, monkeypatch):
    """Runs a client's lines of Python and returns the names they leave."""

    def run(title):
        monkeypatch.setenv("NO_PROXY", "*")
        for name, value in environment(title, proxy).items():
            monkeypatch.setenv(name, value)
        names = {"token": token}
        exec(compile(put_to(proxy, code(title, "python")), title, "exec"), names)
        return names

    return run


def shell(proxy, token, arguments, exported=None):
    """Runs a command that knows the token, and returns what it printed."""
    clean = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    clean |= {"NO_PROXY": "*", "TOKEN": token} | (exported or {})
    done = subprocess.run(arguments, env=clean, capture_output=True, timeout=60, text=True)
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout


def throttled_once(sim, method="GET", path=ME):
    sim.force(method, path, 429, headers={"Retry-After": "1"})


def test_the_page_says_of_each_client_whether_it_is_tried():
    told = {client for client, tried in rows() if tried.startswith("in the tests")}
    assert told == TRIED
    allowed = ("in the tests", "by hand; not in the tests", "not tried here", "the way is")
    assert [row for row in rows() if not row[1].startswith(allowed)] == []
    assert len(rows()) == 17


def test_every_link_within_the_page_leads_somewhere():
    assert broken_links() == set()


@pytest.mark.parametrize("client", ["webexpythonsdk", "webexteamssdk", OLD])
def test_a_python_sdk_lists_pages_and_hears_of_no_429(run, sim, token, client, recwarn):
    me = sim.person(token)
    room = sim.room(token)
    sim.messages(room, 250)
    throttled_once(sim)
    throttled_once(sim, path="/v1/messages")
    api = run(client)["api"]
    assert api.people.me().id == me
    assert len({message.id for message in api.messages.list(room, max=100)}) == 250
    assert sim.statuses("GET", "/v1/messages") == [429, 200, 200, 200]
    assert sim.strangers() == []
    assert not [warning for warning in recwarn if "rate" in str(warning.message).lower()]


@pytest.mark.parametrize("client", [OLD])
def test_an_upload_that_is_refused_arrives_whole(run, sim, token, client, tmp_path):
    sim.person(token)
    room = sim.room(token)
    path = tmp_path / "up.png"
    path.write_bytes(b"0123456789" * 30_000)
    throttled_once(sim, "POST", "/v1/messages")
    message = run(client)["api"].messages.create(room, text="example attached", files=[str(path)])
    [content] = sim.contents_of(message.id, token)
    assert content["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert sim.statuses("POST", "/v1/messages") == [429, 200]


@pytest.fixture
def events(sim, monkeypatch):
    """Hands webex_bot events as its websocket would; the simulator is its catalogue and conversation."""
    import webex_bot.websockets.webex_websocket_client as client

    async def send(_):
        pass

    def hand(bot, message):
        target = {"url": f"{sim.http}/v1/conversations/1", "id": "1", "tags": []}
        activity = {"id": message, "verb": "post", "target": target, "actor": {"type": "PERSON"}}
        bot.websocket = types.SimpleNamespace(send=send)
        data = {"eventType": "conversation.activity", "activity": activity}
        bot._process_incoming_websocket_message({"data": data})

    monkeypatch.setattr(client, "WebexAPI", client.WebexAPI)
    monkeypatch.setattr(client, "DEFAULT_U2C_URL", f"{sim.http}/u2c/api/v1/catalog")
    # The bot sets up logging for its whole process, which is ours.
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield hand
    root.handlers[:] = handlers
    root.setLevel(level)


def answering(keyword, reply):
    """A command of webex_bot's that answers one word."""
    from webex_bot.models.command import Command

    class Answer(Command):
        def execute(self, message, attachment_actions, activity):
            return reply

    return Answer(command_keyword=keyword, help_message="")


def test_webex_bot_starts_reads_and_replies_through_the_proxy(run, events, sim, token):
    sim.person(token)
    room = sim.room(token)
    sim.messages(room, 1)
    [said] = sim.ask(token, "GET", f"/v1/messages?roomId={room}").json()["items"]
    throttled_once(sim)
    throttled_once(sim, "POST", "/v1/messages")
    bot = run("webex_bot")["bot"]
    bot.add_command(answering("message", "heard"))
    events(bot, said["id"])
    assert sim.statuses("GET", ME) == [429, 200]
    assert sim.statuses("POST", "/v1/messages") == [429, 200]
    past = [entry["path"] for entry in sim.strangers()]
    assert past == ["/u2c/api/v1/catalog", f"/v1/messages/{said['id']}"], "only what the stand-ins are for"
    assert sim.count("GET", f"/v1/messages/{said['id']}") == 2
    found = sim.ask(token, "GET", f"/v1/messages?roomId={room}").json()["items"]
    assert [message.get("markdown") for message in found] == ["heard", None]


def test_a_script_with_requests_waits_as_long_as_it_says(run, sim, token):
    me = sim.person(token)
    throttled_once(sim)
    assert run("requests")["me"]["id"] == me
    assert sim.statuses("GET", ME) == [429, 200]
    assert sim.strangers() == []


def test_curl_reads_through_the_proxy(proxy, sim, token):
    me = sim.person(token)
    throttled_once(sim)
    assert me in shell(proxy, token, ["bash", "-c", put_to(proxy, code("curl", "sh"))])
    assert sim.statuses("GET", ME) == [429, 200]


def test_nodes_fetch_reads_through_the_proxy(proxy, sim, token):
    me = sim.person(token)
    throttled_once(sim)
    script = put_to(proxy, code("Node fetch", "js"))
    printed = shell(proxy, token, ["node", "--input-type=module", "-e", script], environment("Node fetch", proxy))
    assert printed.strip() == me
    assert sim.statuses("GET", ME) == [429, 200]


@pytest.fixture
def alertmanager(proxy, sim, token, tmp_path):
    """Starts Alertmanager with the page's configuration, or with one that asks another base; it writes to the room."""
    sim.person(token)
    room = sim.room(token)
    (tmp_path / "token").write_text(token)
    started = []

    def start(base=proxy.base):
        config = put_to(proxy, code("Alertmanager", "yaml")).replace(proxy.base, base).replace("ROOM", room)
        # It notifies at once instead of waiting half a minute for more alerts.
        config = config.replace("receiver: webex}", "receiver: webex, group_wait: 0s}")
        started.append(Alertmanager(tmp_path, config))
        return started[-1], room

    yield start
    for process in started:
        process.stop()


def test_alertmanager_loses_no_alert_to_a_429(alertmanager, sim, token):
    alertmanager, room = alertmanager()
    throttled_once(sim, "POST", "/v1/messages")
    alertmanager.alert("DiskFull", summary="the disk of web-1 is full")
    wait_until(lambda: alertmanager.requests_sent() == 1, seconds=20, what="the notification")
    assert sim.statuses("POST", "/v1/messages") == [429, 200]
    assert sim.strangers() == []
    [message] = sim.ask(token, "GET", f"/v1/messages?roomId={room}").json()["items"]
    assert "the disk of web-1 is full" in message["markdown"]
    assert alertmanager.alerts_lost() == 0


def test_alertmanager_alone_loses_it_as_the_page_says(alertmanager, sim):
    alertmanager, _ = alertmanager(base=sim.http)
    throttled_once(sim, "POST", "/v1/messages")
    alertmanager.alert("DiskFull", summary="the disk of web-1 is full")
    wait_until(lambda: alertmanager.alerts_lost() == 1, seconds=20, what="the loss")
    assert sim.statuses("POST", "/v1/messages") == [429]


def test_the_settings_for_clients_that_cannot_be_told_are_valid(tmp_path):
    path = tmp_path / "tollgate.toml"
    path.write_text(code("Clients that cannot be told", "toml"))
    done = subprocess.run([BINARY, "check", "--config", path], capture_output=True, timeout=30, text=True)
    assert done.returncode == 0, (done.stdout, done.stderr)
