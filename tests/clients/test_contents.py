"""Attachments: HEAD, download, what is kept and for whom, scan states."""

import hashlib

import pytest
import requests

from sim import mark_of
from world import curl, heads_of

TYPES = {
    "doc": "application/msword",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "ppt": "application/vnd.ms-powerpoint",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "pdf": "application/pdf",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "bmp": "image/bmp",
    "gif": "image/gif",
    "png": "image/png",
}

# Fields that a proxy adds or that belong to one answer.
ADDED = {"cache-status", "via", "date", "connection", "keep-alive", "age", "server-timing", "tollgate-attempts"}


def fields_of(answer):
    return {name.lower(): value for name, value in answer.headers.items() if name.lower() not in ADDED}


@pytest.fixture
def room(sim, token):
    sim.person(token)
    return sim.room(token)


@pytest.mark.parametrize("ending", TYPES)
def test_head_tells_of_each_type_what_the_api_tells(bot, direct, sim, room, token, ending):
    path = sim.upload(token, room, f"example.{ending}", TYPES[ending], 1234)
    same = {"TrackingID": "bot_1"}
    wanted = fields_of(direct.head(path, headers=same))
    assert wanted["content-type"] == TYPES[ending]
    assert wanted["content-disposition"] == f'attachment; filename="example.{ending}"'
    for _ in range(3):
        answer = bot.head(path, headers=same)
        assert answer.status_code == 200
        assert fields_of(answer) == wanted
        assert "1.1 linkerd" in answer.headers["Via"]


def test_the_head_request_of_the_seed(proxy, sim, room, token):
    path = sim.upload(token, room, "example.png", "image/png", 44_752)
    answer = curl("-I", "--http1.1", proxy.base + path, "-H", f"Authorization: Bearer {token}", ca=proxy.ca)
    lines = answer.decode().split("\r\n")
    assert lines[0] == "HTTP/1.1 200 OK"
    wanted = {
        "cache-control": ["no-cache"],
        "content-disposition": ['attachment; filename="example.png"'],
        "content-length": ["44752"],
        "content-type": ["image/png"],
    }
    _, fields = heads_of(answer)
    assert {name: fields.get(name) for name in wanted} == wanted


@pytest.mark.parametrize("protocol", ["--http1.1", "--http2"])
def test_curl_saves_the_file_under_its_own_name(proxy, sim, room, token, tmp_path, protocol):
    path = sim.upload(token, room, "example.png", "image/png", 44_752)
    arguments = [protocol, "-OJ", "-w", "%{http_version}", "-H", f"Authorization: Bearer {token}"]
    version = curl(*arguments, proxy.base + path, ca=proxy.ca, folder=tmp_path)
    assert version == (b"2" if protocol == "--http2" else b"1.1")
    assert hashlib.sha256((tmp_path / "example.png").read_bytes()).hexdigest() == sim.digest(path, token)


def test_a_second_read_by_the_same_tenant_costs_no_call(bot, sim, room, token):
    path = sim.upload(token, room, "example.png", "image/png", 44_752)
    first = bot.get(path)
    calls = sim.count("GET", path) + sim.count("HEAD", path)
    second = bot.get(path)
    assert second.content == first.content
    assert len(second.content) == 44_752
    assert second.headers["Cache-Control"] == "no-cache"
    assert second.headers["Content-Disposition"] == first.headers["Content-Disposition"]
    assert "hit" in second.headers["Cache-Status"]
    assert bot.head(path).headers["Content-Length"] == "44752"
    assert sim.count("GET", path) + sim.count("HEAD", path) == calls


def test_no_cache_in_the_request_asks_the_api_again(bot, sim, room, token):
    path = sim.upload(token, room, "example.png", "image/png", 44_752)
    bot.get(path)
    before = sim.count("GET", path) + sim.count("HEAD", path)
    assert bot.get(path, headers={"Cache-Control": "no-cache"}).status_code == 200
    assert sim.count("GET", path) + sim.count("HEAD", path) == before + 1


def test_a_stranger_never_gets_what_another_tenant_read(bot, proxy, sim, room, token):
    path = sim.upload(token, room, "example.png", "image/png", 44_752)
    assert bot.get(path).status_code == 200
    sim.person(f"{token}-stranger")
    for method in ["GET", "HEAD", "GET"]:
        assert proxy.bot(f"{token}-stranger").ask(method, path).status_code in (403, 404)
    assert proxy.bot(None).get(path).status_code == 401
    assert bot.get(path).status_code == 200


def test_a_deleted_message_takes_its_file_along_at_the_next_proof(bot, sim, room, token):
    path = sim.upload(token, room, "example.png", "image/png", 44_752)
    assert bot.get(path).status_code == 200
    message = bot.get("/v1/messages", params={"roomId": room}).json()["items"][0]
    assert bot.ask("DELETE", f"/v1/messages/{message['id']}").status_code == 204
    assert bot.get(path, headers={"Cache-Control": "no-cache"}).status_code == 404


def test_a_scan_that_ends_in_time_is_waited_for(bot, sim, room, token):
    path = sim.upload(token, room, "example.png", "image/png", 1000, state="scanning:2")
    assert bot.get(path).status_code == 200
    assert sim.statuses("GET", path) == [423, 423, 200]


def test_a_scan_that_takes_too_long_is_told_with_whole_seconds(bot, sim, room, token):
    path = sim.upload(token, room, "example.png", "image/png", 1000, state="scanning:1000")
    sim.set(scan_retry_after=600)
    answer = bot.get(path)
    assert answer.status_code == 423
    assert int(answer.headers["Retry-After"]) > 0


@pytest.mark.parametrize("state, status", [("infected", 410), ("unscannable", 428)])
def test_what_a_scan_found_is_passed_on_and_not_kept(bot, direct, sim, room, token, state, status):
    path = sim.upload(token, room, "example.png", "image/png", 1000, state=state)
    same = {"TrackingID": "bot_1"}
    wanted = direct.get(path, headers=same)
    assert wanted.status_code == status
    sim.forget()
    for _ in range(2):
        answer = bot.get(path, headers=same)
        assert answer.status_code == status
        assert answer.content == wanted.content
    assert sim.statuses("GET", path) == [status, status]


def test_an_unscannable_file_is_read_on_demand_and_not_kept(bot, sim, room, token):
    path = sim.upload(token, room, "example.png", "image/png", 1000, state="unscannable")
    for _ in range(2):
        assert bot.get(f"{path}?allow=unscannable").status_code == 200
    assert sim.count("GET", path) == 2
    assert bot.get(path).status_code == 428


def test_a_signal_to_the_scanner_is_sent_each_time(bot, sim, room, token):
    path = sim.upload(token, room, "example.png", "image/png", 1000, state="dlp")
    for _ in range(2):
        assert bot.head(f"{path}?allow=dlpEvaluating,dlpUnchecked").status_code == 200
    assert sim.count("HEAD", path) == 2
    assert bot.ask("PUT", f"{path}?result=approve").status_code == 200
    assert sim.statuses("PUT", path) == [200]
    assert bot.get(path).status_code == 200


def test_a_name_beyond_ascii_passes_as_the_api_wrote_it(bot, direct, sim, room, token):
    sim.set(filename_star=True)
    path = sim.upload(token, room, "größe 世界.pdf", "application/pdf", 100)
    wanted = direct.get(path)
    assert bot.get(path).headers["Content-Disposition"] == wanted.headers["Content-Disposition"]


def test_a_plain_requests_script_gets_its_file(proxy, sim, room, token):
    path = sim.upload(token, room, "example.png", "image/png", 44_752)
    headers = {"Authorization": f"Bearer {token}"}
    answer = requests.get(proxy.plain + path, headers=headers, timeout=30)
    assert len(answer.content) == 44_752
    listed = requests.get(f"{proxy.plain}/v1/messages", params={"roomId": room}, headers=headers, timeout=30)
    assert listed.json()["items"][0]["files"] == [proxy.plain + path]


def test_two_tokens_of_one_room_each_ask_for_themselves(bot, proxy, sim, room, token):
    path = sim.upload(token, room, "example.png", "image/png", 44_752)
    other = f"{token}-other"
    sim.person(other, room=room)
    assert bot.get(path).content == proxy.bot(other).get(path).content
    assert sim.askers(path) == {mark_of(token), mark_of(other)}
