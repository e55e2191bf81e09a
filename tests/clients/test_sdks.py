"""Both Python SDKs, unchanged, with nothing but their base URL set."""

import hashlib
import time

import pytest
import requests
import webexpythonsdk
import webexteamssdk

SDKS = {"webexpythonsdk": webexpythonsdk.WebexAPI, "webexteamssdk": webexteamssdk.WebexTeamsAPI}


@pytest.fixture(params=SDKS)
def sdk(request, proxy, token, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(proxy.ca))
    monkeypatch.setenv("NO_PROXY", "*")
    return SDKS[request.param](token, base_url=f"{proxy.base}/v1/")


def test_a_thousand_messages_are_listed_and_every_page_comes_through_the_proxy(sdk, sim, token):
    sim.person(token)
    room = sim.room(token)
    sim.messages(room, 1000)
    found = list(sdk.messages.list(room, max=100))
    assert len({message.id for message in found}) == len(found) == 1000
    seen = [entry for entry in sim.log() if entry["path"].startswith("/v1/messages")]
    assert len(seen) == 10
    assert sim.strangers() == []


def test_a_base_url_without_its_slash_still_works(proxy, sim, token, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(proxy.ca))
    me = sim.person(token)
    api = webexpythonsdk.WebexAPI(token, base_url=f"{proxy.base}/v1")
    assert api.people.me().id == me
    assert sim.log()[-1]["path"] == "/v1/people/me"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uploads")
    made = {}
    for name, size in {"small": 300_000, "large": 60_000_000}.items():
        block = hashlib.sha256(name.encode()).digest() * 3125
        path = folder / f"{name}.png"
        path.write_bytes((block * (size // len(block) + 1))[:size])
        made[name] = path
    return made


@pytest.mark.parametrize("size", ["small", "large"])
@pytest.mark.parametrize("refused_at", ["head", "half", "end"])
def test_a_refused_upload_is_sent_again_whole(sdk, sim, token, files, size, refused_at):
    sim.person(token)
    room = sim.room(token)
    path = files[size]
    sim.force("POST", "/v1/messages", 429, headers={"Retry-After": "1"}, when=refused_at)
    started = time.monotonic()
    message = sdk.messages.create(room, text="example attached", files=[str(path)])
    took = time.monotonic() - started
    assert took < 20, f"{took:.1f} s"
    assert sim.statuses("POST", "/v1/messages") == [429, 200]
    content = sim.contents_of(message.id, token)[0]
    assert content["bytes"] == path.stat().st_size
    assert content["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert content["name"] == path.name
    assert message.text == "example attached"


def test_a_file_of_a_message_is_read_from_where_the_message_says(sdk, sim, proxy, token, files):
    sim.person(token)
    room = sim.room(token)
    message = sdk.messages.create(room, files=[str(files["small"])])
    url = sdk.messages.get(message.id).files[0]
    assert url.startswith(f"{proxy.base}/v1/contents/")
    answer = requests.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=30)
    assert answer.status_code == 200
    assert answer.content == files["small"].read_bytes()
    assert sim.strangers() == []


def test_what_an_sdk_does_in_a_day_works(sdk, sim, token):
    sim.person(token)
    friend = sim.person(f"{token}-friend", email="harold@example.com")
    room = sdk.rooms.create("Project Unicorn - Sprint 0")
    assert sdk.rooms.update(room.id, title="Sprint 1").title == "Sprint 1"
    membership = sdk.memberships.create(room.id, personId=friend)
    assert membership.personId == friend
    assert [person.id for person in sdk.people.list(email="harold@example.com")] == [friend]
    message = sdk.messages.create(room.id, markdown="**hi**")
    assert sdk.messages.get(message.id).id == message.id
    assert sdk.messages.delete(message.id) is None
    assert sdk.memberships.delete(membership.id) is None
    assert [found.id for found in sdk.rooms.list()] == [room.id]
    assert sdk.rooms.delete(room.id) is None


def test_an_sdk_sees_the_apis_own_error(sdk, sim, token):
    sim.person(token)
    errors = (webexpythonsdk.ApiError, webexteamssdk.ApiError)
    with pytest.raises(errors) as caught:
        sdk.rooms.get("Y2lzY29zcGFyazovL3VzL1JPT00vbm9uZQ")
    assert caught.value.status_code == 404


def test_an_sdk_never_hears_of_a_429_that_can_be_waited_out(sdk, sim, token, recwarn):
    me = sim.person(token)
    sim.force("GET", "/v1/people/me", 429, headers={"Retry-After": "1"})
    assert sdk.people.me().id == me
    assert sim.statuses("GET", "/v1/people/me") == [429, 200]
    assert not [warning for warning in recwarn if "rate" in str(warning.message).lower()]
