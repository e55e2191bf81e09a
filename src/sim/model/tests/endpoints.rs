//! Holds the status of each endpoint for each way to ask it.

use http::Method;
use serde_json::json;

use super::{Sim, body_of, header, status, word};

const NO_TOKEN: &str = "The request requires a valid access token set in the Authorization request header.";

#[test]
fn every_endpoint_answers_with_its_status() {
    let mut sim = Sim::unlimited();
    let room = sim.room();
    let own = sim.made("alice", "/v1/messages", &json!({"roomId": room, "text": "hello"}));
    let message = format!("/v1/messages/{}", word(&own, "id"));
    let membership =
        body_of(&sim.get("alice", &format!("/v1/memberships?roomId={room}")))["items"][1].clone();
    let membership = format!("/v1/memberships/{}", word(&membership, "id"));
    let team = word(&sim.made("alice", "/v1/teams", &json!({"name": "Team"})), "id");
    let hook = json!({"name": "h", "targetUrl": "https://example.com/h", "resource": "messages", "event": "created"});
    let hook = format!("/v1/webhooks/{}", word(&sim.made("alice", "/v1/webhooks", &hook), "id"));
    let edited = json!({"roomId": room, "text": "new"});
    let twice = json!({"roomId": room, "personEmail": "bob@example.com"});
    let carol = json!({"roomId": room, "personEmail": "carol@example.com"});
    let to_bob = json!({"toPersonEmail": "bob@example.com", "text": "hi"});
    let action = json!({"type": "submit", "messageId": own["id"], "inputs": {"a": 1}});
    let large = json!({"roomId": room, "text": "x".repeat(7440)});
    let fits = json!({"roomId": room, "text": "x".repeat(7439)});
    let none = json!({});
    let cases = [
        ("GET", "/v1/people/me".to_owned(), &none, 200),
        ("GET", "/v1/people/me/".to_owned(), &none, 200),
        ("HEAD", "/v1/people/me".to_owned(), &none, 200),
        ("GET", "/v1/people?email=BOB%40example.com".to_owned(), &none, 200),
        ("GET", "/v1/people".to_owned(), &none, 400),
        ("POST", "/v1/people".to_owned(), &none, 403),
        ("PATCH", "/v1/people/me".to_owned(), &none, 405),
        ("GET", "/v1/people/nobody".to_owned(), &none, 404),
        ("GET", "/v1/rooms".to_owned(), &none, 200),
        ("GET", "/v1/rooms?type=odd".to_owned(), &none, 400),
        ("GET", format!("/v1/rooms/{room}"), &none, 200),
        ("PUT", format!("/v1/rooms/{room}"), &json!({"title": "New"}), 200),
        ("POST", "/v1/rooms".to_owned(), &json!({"title": "Another"}), 200),
        ("POST", "/v1/rooms".to_owned(), &none, 400),
        ("GET", "/v1/memberships".to_owned(), &none, 200),
        ("GET", format!("/v1/memberships/?roomId={room}&personEmail=bob@example.com"), &none, 200),
        ("POST", "/v1/memberships".to_owned(), &carol, 200),
        ("POST", "/v1/memberships".to_owned(), &twice, 409),
        ("PUT", membership.clone(), &json!({"isModerator": true}), 200),
        ("GET", membership.clone(), &none, 200),
        ("GET", format!("/v1/messages?roomId={room}"), &none, 200),
        ("GET", "/v1/messages".to_owned(), &none, 400),
        ("GET", format!("/v1/messages?roomId={room}&max=0"), &none, 400),
        ("GET", format!("/v1/messages?roomId={room}&max=99999"), &none, 200),
        ("POST", "/v1/messages".to_owned(), &fits, 200),
        ("POST", "/v1/messages/".to_owned(), &to_bob, 200),
        ("POST", "/v1/messages".to_owned(), &large, 400),
        ("GET", "/v1/messages/direct?personEmail=bob@example.com".to_owned(), &none, 200),
        ("GET", message.clone(), &none, 200),
        ("PUT", message.clone(), &edited, 200),
        ("PATCH", message.clone(), &edited, 405),
        ("POST", "/v1/attachment/actions".to_owned(), &action, 200),
        ("DELETE", message.clone(), &none, 204),
        ("GET", message, &none, 404),
        ("DELETE", membership, &none, 204),
        ("GET", "/v1/teams".to_owned(), &none, 200),
        ("GET", format!("/v1/teams/{team}"), &none, 200),
        ("GET", format!("/v1/team/memberships?teamId={team}"), &none, 200),
        (
            "POST",
            "/v1/team/memberships".to_owned(),
            &json!({"teamId": team, "personEmail": "bob@example.com"}),
            200,
        ),
        (
            "POST",
            "/v1/team/memberships".to_owned(),
            &json!({"teamId": team, "personEmail": "bob@example.com"}),
            409,
        ),
        ("PUT", format!("/v1/teams/{team}"), &json!({"name": "Other"}), 200),
        ("DELETE", format!("/v1/teams/{team}"), &none, 204),
        ("GET", "/v1/webhooks".to_owned(), &none, 200),
        ("PUT", hook.clone(), &json!({"name": "x"}), 200),
        ("DELETE", hook.clone(), &none, 204),
        ("GET", hook, &none, 404),
        ("GET", "/v1/organizations".to_owned(), &none, 200),
        ("GET", "/v1/licenses".to_owned(), &none, 200),
        ("GET", "/v1/roles".to_owned(), &none, 200),
        ("POST", "/v1/xapi/command/Audio.Volume.Set".to_owned(), &json!({"deviceId": "d"}), 200),
        ("GET", "/v1/xapi/status?deviceId=d&name=Audio.Volume".to_owned(), &none, 200),
        ("GET", "/u2c/api/v1/limited/catalog?format=hostmap".to_owned(), &none, 200),
        ("GET", "/v1/nothing".to_owned(), &none, 404),
        ("GET", "/people/me".to_owned(), &none, 404),
        ("DELETE", format!("/v1/rooms/{room}"), &none, 204),
        ("GET", format!("/v1/rooms/{room}"), &none, 404),
    ];
    for (method, path, body, expected) in cases {
        let answer = sim.write("alice", method, &path, body);
        assert_eq!(status(&answer), expected, "{method} {path}: {}", body_of(&answer));
        if expected >= 400 && method != "HEAD" {
            assert_eq!(body_of(&answer)["trackingId"], header(&answer, "trackingid"), "{method} {path}");
            assert_eq!(body_of(&answer)["errors"][0]["description"], body_of(&answer)["message"]);
        }
        if expected == 204 {
            assert!(
                answer.response.body().is_empty() && !answer.response.headers().contains_key("content-type")
            );
        }
    }
}

#[test]
fn tokens_that_are_missing_expired_or_unknown_are_refused_with_webexs_words() {
    let mut sim = Sim::unlimited();
    for authorization in
        [None, Some("Bearer expired-1"), Some("Bearer unknown"), Some("Basic x"), Some("Bearer ")]
    {
        let headers: Vec<_> = authorization.map(|value| ("authorization", value)).into_iter().collect();
        let answer = sim.send("GET", "/v1/people/me", &headers, "");
        assert_eq!((status(&answer), word(&body_of(&answer), "message")), (401, NO_TOKEN.to_owned()));
    }
}

#[test]
fn an_unseen_token_is_a_bot_and_several_tokens_may_be_one_person() {
    let mut sim = Sim::unlimited();
    let bot = body_of(&sim.get("never-seen", "/v1/people/me"));
    assert_eq!(
        (word(&bot, "type"), word(&bot, "id")),
        ("bot".to_owned(), word(&body_of(&sim.get("never-seen", "/v1/people/me")), "id"))
    );
    sim.control("people", json!({"email": "eve@example.com", "tokens": ["one", "two"]}));
    let [one, two] = ["one", "two"].map(|token| word(&body_of(&sim.get(token, "/v1/people/me")), "id"));
    assert_eq!(one, two);
    assert_ne!(one, word(&bot, "id"));
}

#[test]
fn the_media_type_of_a_write_must_be_told_and_known() {
    let mut sim = Sim::unlimited();
    let room = sim.room();
    let body = json!({"roomId": room, "text": "x"}).to_string();
    for (media_type, expected) in [(None, 415), (Some("text/plain"), 415), (Some("APPLICATION/JSON"), 200)] {
        let mut headers = vec![("authorization", "Bearer alice")];
        headers.extend(media_type.map(|value| ("content-type", value)));
        assert_eq!(
            status(&sim.send("POST", "/v1/messages", &headers, body.clone())),
            expected,
            "{media_type:?}"
        );
    }
    let headers = [("authorization", "Bearer alice"), ("accept", "application/xml")];
    assert_eq!(status(&sim.send("GET", "/v1/people/me", &headers, "")), 404);
}

#[test]
fn every_answer_has_the_fixed_headers() {
    let mut sim = Sim::unlimited();
    sim.control("force", json!({"path": "/v1/rooms", "status": 503}));
    for (path, class) in [("/v1/people/me", "1.0"), ("/v1/nothing", "1.0"), ("/v1/rooms", "0.0")] {
        let headers = [("authorization", "Bearer alice"), ("trackingid", "go-spark_76")];
        let answer = sim.send("GET", path, &headers, "");
        for (name, value) in [
            ("cache-control", "no-cache"),
            ("content-type", "application/json;charset=UTF-8"),
            ("date", "Tue, 14 Nov 2023 22:14:00 GMT"),
            ("l5d-success-class", class),
            ("server", "Redacted"),
            ("strict-transport-security", "max-age=63072000; includeSubDomains; preload"),
            ("trackingid", "go-spark_76"),
            ("via", "1.1 linkerd"),
        ] {
            assert_eq!(header(&answer, name), value, "{path} {name}");
        }
    }
    let own = sim.get("alice", "/v1/people/me");
    assert!(header(&own, "trackingid").starts_with("ROUTER_"));
}

#[test]
fn texts_come_back_byte_for_byte() {
    let mut sim = Sim::unlimited();
    let room = sim.room();
    for text in [
        "Line 1  \nLine 2",
        "fmt.Println(\"Hello, 世界\")",
        "> I don't care what it costs. Let's book The Chainsmokers to headline Cisco Live.",
        "Hi <@personEmail:bob@example.com|Bobby>, your order has been processed.",
        "<@all>, see https://webexapis.com/v1/contents/x",
    ] {
        let made = sim.made("alice", "/v1/messages", &json!({"roomId": room, "markdown": text}));
        let path = format!("/v1/messages/{}", word(&made, "id"));
        assert_eq!(word(&body_of(&sim.get("bob", &path)), "markdown"), text);
    }
}

#[test]
fn a_bot_lists_a_group_room_only_by_its_mentions() {
    let mut sim = Sim::unlimited();
    let room = sim.room();
    let bot = body_of(&sim.get("helper", "/v1/people/me"));
    sim.control("memberships", json!({"roomId": room, "email": "helper"}));
    sim.made("alice", "/v1/messages", &json!({"roomId": room, "text": "not you"}));
    let mention = format!("<@personId:{}|Helper> come", word(&bot, "id"));
    sim.made("alice", "/v1/messages", &json!({"roomId": room, "markdown": mention}));
    assert_eq!(status(&sim.get("helper", &format!("/v1/messages?roomId={room}"))), 403);
    let list = body_of(&sim.get("helper", &format!("/v1/messages?roomId={room}&mentionedPeople=me")));
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
}

#[test]
fn the_eleventh_edit_and_the_edit_of_a_message_with_a_file_are_refused() {
    let mut sim = Sim::unlimited();
    let room = sim.room();
    let made = sim.made("alice", "/v1/messages", &json!({"roomId": room, "text": "0"}));
    let path = format!("/v1/messages/{}", word(&made, "id"));
    let body = json!({"roomId": room, "text": "again"});
    assert_eq!(status(&sim.write("bob", "PUT", &path, &body)), 403);
    let statuses: Vec<u16> = (0..11).map(|_| status(&sim.write("alice", "PUT", &path, &body))).collect();
    assert_eq!(statuses, [[200; 10].as_slice(), &[400]].concat());
    let file = json!({"roomId": room, "files": ["http://www.example.com/images/media.png"]});
    let path = format!("/v1/messages/{}", word(&sim.made("alice", "/v1/messages", &file), "id"));
    assert_eq!(status(&sim.write("alice", "PUT", &path, &body)), 400);
}

#[test]
fn the_key_server_fails_for_as_many_reads_as_ordered() {
    let mut sim = Sim::unlimited();
    let made = sim.control("rooms", json!({"title": "Locked away", "members": ["alice"], "kms": 2}));
    let room = word(&made, "id");
    let list = body_of(&sim.get("alice", "/v1/rooms"));
    let failed = list["items"].as_array().unwrap().iter().find(|item| item["id"] == room.as_str()).unwrap();
    assert_eq!(failed["title"], "eyJhbGciOiIiLCJraWQiOiIiLCJlbmMiOiIifQ....");
    assert_eq!(failed["errors"]["title"]["code"], "kms_failure");
    let single = sim.get("alice", &format!("/v1/rooms/{room}"));
    assert_eq!(
        (status(&single), word(&body_of(&single)["errors"]["title"], "code")),
        (200, "kms_failure".to_owned())
    );
    assert_eq!(word(&body_of(&sim.get("alice", &format!("/v1/rooms/{room}"))), "title"), "Locked away");
}

#[test]
fn who_is_not_in_a_room_does_not_learn_of_it() {
    let mut sim = Sim::unlimited();
    let room = sim.room();
    let message = word(&sim.made("alice", "/v1/messages", &json!({"roomId": room, "text": "x"})), "id");
    for path in [
        format!("/v1/rooms/{room}"),
        format!("/v1/memberships?roomId={room}"),
        format!("/v1/messages?roomId={room}"),
        format!("/v1/messages/{message}"),
    ] {
        assert_eq!(status(&sim.get("stranger", &path)), 404, "{path}");
    }
}

#[test]
fn the_same_seed_gives_the_same_ids() {
    let ids = |seed| {
        let mut settings = crate::sim::SimSettings::unlimited();
        settings.seed = seed;
        let mut sim = Sim::with(settings);
        (sim.room(), word(&body_of(&sim.get("bot", "/v1/people/me")), "id"))
    };
    assert_eq!(ids(7), ids(7));
    assert_ne!(ids(7), ids(8));
}

#[test]
fn a_token_grant_needs_no_token() {
    let mut sim = Sim::unlimited();
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    let granted = sim.send("POST", "/v1/access_token", &headers, "grant_type=refresh_token&refresh_token=x");
    assert_eq!((status(&granted), body_of(&granted)["expires_in"].as_u64()), (200, Some(1_209_599)));
    assert_eq!(body_of(&sim.send("POST", "/v1/access_token", &headers, "a=b"))["error"], "invalid_request");
}

#[test]
fn the_log_shows_no_token() {
    let mut sim = Sim::unlimited();
    sim.get("a-very-secret-token", "/v1/people/me");
    let seen = [sim.look("log"), sim.look("stats")].map(|value| value.to_string()).concat();
    assert!(!seen.contains("a-very-secret-token"));
    assert!(seen.contains(&crate::sim::model::token_mark("a-very-secret-token")));
}

#[test]
fn a_control_call_that_means_nothing_is_refused() {
    let mut sim = Sim::unlimited();
    for (call, body, expected) in [
        ("settings", json!({"nonsense": 1}), 400),
        ("settings", json!({"limit": "people"}), 400),
        ("force", json!({"stat": 500}), 400),
        ("rooms", json!({"members": []}), 404),
        ("nothing", json!({}), 404),
    ] {
        let answer = sim.send("POST", &format!("/_sim/{call}"), &[], body.to_string());
        assert_eq!(status(&answer), expected, "{call} {body}");
    }
    assert!(sim.model.control(&Method::PUT, ("stats", ""), json!({}), sim.now).is_err());
}
