"""Every status of the table in WEBEX.md 4, as it reaches a client."""

import json

import pytest

from world import assert_webex_error

AS_IS = [400, 401, 403, 404, 405, 409, 410, 413, 415, 428, 500]
PAGE = "<html><head><title>Bad</title></head><body>世界</body></html>"


@pytest.fixture
def room(sim, token):
    sim.person(token)
    return sim.room(token)


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("status", AS_IS)
def test_an_answer_of_the_api_passes_body_and_all(bot, sim, room, status, method):
    path = "/v1/rooms" if method == "POST" else f"/v1/rooms/{room}"
    body = {"message": f"no {status} 世界", "errors": [{"description": "d"}], "trackingId": "ROUTER_1"}
    sim.force(method, path, status, body=body, headers={"X-Unheard-Of": "kept"})
    options = {"json": {"title": "t"}} if method == "POST" else {}
    answer = bot.ask(method, path, **options)
    assert answer.status_code == status
    assert answer.json() == body
    assert answer.headers["X-Unheard-Of"] == "kept"
    assert sim.statuses(method, path) == [status]


def test_a_delete_answers_204_without_a_body(bot, sim, room):
    answer = bot.ask("DELETE", f"/v1/rooms/{room}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert "Transfer-Encoding" not in answer.headers


def test_a_get_answers_200(bot, room):
    assert bot.get(f"/v1/rooms/{room}").status_code == 200


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_read_that_fails_once_is_asked_again(bot, sim, room, status):
    sim.force("GET", f"/v1/rooms/{room}", status, html=PAGE)
    answer = bot.get(f"/v1/rooms/{room}")
    assert answer.status_code == 200
    assert sim.statuses("GET", f"/v1/rooms/{room}") == [status, 200]


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_write_that_fails_is_never_sent_twice(bot, sim, room, status):
    sim.force("POST", "/v1/messages", status, html=PAGE)
    answer = bot.post("/v1/messages", json={"roomId": room, "text": "once"})
    assert answer.status_code == status
    assert answer.content == PAGE.encode()
    assert answer.headers["Content-Type"].startswith("text/html")
    assert sim.statuses("POST", "/v1/messages") == [status]


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_a_change_that_fails_is_never_sent_twice(bot, sim, room, method):
    sim.force(method, f"/v1/rooms/{room}", 502, html=PAGE)
    options = {"json": {"title": "t"}} if method == "PUT" else {}
    assert bot.ask(method, f"/v1/rooms/{room}", **options).status_code == 502
    assert sim.statuses(method, f"/v1/rooms/{room}") == [502]


def test_a_read_whose_connection_breaks_is_asked_again(bot, sim, room):
    sim.force("GET", f"/v1/rooms/{room}", close="before")
    assert bot.get(f"/v1/rooms/{room}").status_code == 200


def test_a_write_whose_connection_breaks_is_told_and_not_repeated(bot, sim, room):
    sim.force("POST", "/v1/messages", close="before")
    answer = bot.post("/v1/messages", json={"roomId": room, "text": "once"})
    assert answer.status_code == 502
    assert_webex_error(answer)
    assert sim.count("POST", "/v1/messages") == 1


def test_partial_failures_pass_intact_and_are_never_kept(bot, direct, sim, token):
    sim.person(token)
    room = sim.room(token, kms=100)
    paths = ["/v1/rooms", f"/v1/rooms/{room}"]
    for path in paths:
        wanted = direct.get(path).content
        assert b"kms_failure" in wanted
        sim.forget()
        for _ in range(3):
            answer = bot.get(path)
            assert answer.status_code == 200
            assert answer.content == wanted
        assert sim.count("GET", path) == 3


def test_the_list_of_the_seed_passes_byte_for_byte(bot, sim, token):
    sim.person(token)
    listed = json.dumps(
        {
            "items": [
                {
                    "id": "Y2lzY29zcGFyazovL3VzL1JPT00vYmJjZWIxYWQtNDNmMS0zYjU4LTkxNDctZjE0YmIwYzRkMTU0",
                    "title": "Project Unicorn - Sprint 0",
                    "type": "group",
                    "isLocked": True,
                    "teamId": "Y2lzY29zcGFyazovL3VzL1JPT00vNjRlNDVhZTAtYzQ2Yi0xMWU1LTlkZjktMGQ0MWUzNDIxOTcz",
                    "lastActivity": "2016-04-21T19:12:48.920Z",
                    "created": "2016-04-21T19:01:55.966Z",
                },
                {
                    "id": "Y2lzY29zcGFyazovL3VzL1JPT00vNTIxN0EyMzYtNDQzQi00NThELTkzNjAtRDRFOTMyMTBBNUU5",
                    "title": "eyJhbGciOiIiLCJraWQiOiIiLCJlbmMiOiIifQ....",
                    "errors": {
                        "title": {
                            "code": "kms_failure",
                            "reason": "Key management server failed to respond appropriately. For more "
                            "information: https://developer.ciscospark.com/errors.html",
                        }
                    },
                },
            ]
        },
        indent=2,
    )
    sim.force("GET", "/v1/rooms", 200, body=listed, headers={"Cache-Control": "max-age=60"}, n=2)
    for _ in range(2):
        assert bot.get("/v1/rooms").text == listed
    assert sim.count("GET", "/v1/rooms") == 2


def test_a_fresh_id_that_was_not_found_is_asked_again(bot, sim, room):
    sim.force("GET", f"/v1/rooms/{room}", 404)
    assert bot.get(f"/v1/rooms/{room}").status_code == 404
    assert bot.get(f"/v1/rooms/{room}").status_code == 200


def test_the_clients_own_tracking_id_is_kept(bot, sim, room):
    mark = {"TrackingID": "webex-js-sdk_6d1b_7"}
    answer = bot.get(f"/v1/rooms/{room}", headers=mark)
    assert answer.headers["TrackingID"] == mark["TrackingID"]
