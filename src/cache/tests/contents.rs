//! Attachments: bytes once for all, for whoever the API said yes to, and never longer than that yes is good.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_second_read_costs_no_call_and_gets_the_same_answer() {
    let world = World::webex();
    let (_, note) = world.fetch("a", "GET", CONTENT, answer(200, "bytes")).await;
    assert_eq!(note, Note::Forwarded(Why::UriMiss, Stored::Yes));
    let (headers, body, note) = world.ready("a", "GET", CONTENT, &[]).await;
    assert_eq!((body.as_str(), note), ("bytes", Note::Hit(SECOND * 60)));
    assert_eq!(headers[header::CACHE_CONTROL], "no-cache");
    assert_eq!(headers[header::AGE], "0");
    let (headers, body, _) = world.ready("a", "HEAD", CONTENT, &[]).await;
    assert_eq!((headers[header::CONTENT_LENGTH].to_str().unwrap(), body.as_str()), ("5", ""));
}

#[tokio::test(start_paused = true)]
async fn another_tenant_gets_the_bytes_after_a_head_of_its_own_and_that_heads_fields() {
    let world = World::webex();
    world.fetch("a", "GET", CONTENT, with(answer(200, "bytes"), &[("trackingid", "a's")])).await;
    let asked = world.ask("b", "GET", CONTENT, &[]).await;
    let told = with(answer(200, "bytes"), &[("trackingid", "b's")]);
    let Proved::Holds(response, Note::Proved) = world.prove(asked, told).await else { panic!("no proof") };
    assert_eq!(response.headers()["trackingid"], "b's");
    assert_eq!(text(response).await, "bytes");
    assert_eq!(world.ready("b", "GET", CONTENT, &[]).await.0["trackingid"], "b's");
    assert_eq!(world.ready("a", "GET", CONTENT, &[]).await.0["trackingid"], "a's");
    assert!(!world.is_hit("c", "GET", CONTENT).await && !world.is_hit("c", "HEAD", CONTENT).await);
}

#[tokio::test(start_paused = true)]
async fn a_head_proves_for_a_later_get() {
    let world = World::webex();
    world.fetch("a", "GET", CONTENT, answer(200, "bytes")).await;
    world.fetch("b", "HEAD", CONTENT, answer(200, "bytes")).await;
    assert_eq!(world.ready("b", "GET", CONTENT, &[]).await.1, "bytes");
}

#[tokio::test(start_paused = true)]
async fn an_old_proof_costs_one_head_and_age_counts_from_it() {
    let world = World::webex();
    world.fetch("a", "GET", CONTENT, answer(200, "bytes")).await;
    pass(SECOND * 60).await;
    let asked = world.ask("a", "GET", CONTENT, &[]).await;
    assert!(matches!(world.prove(asked, answer(200, "bytes")).await, Proved::Holds(_, Note::Proved)));
    pass(SECOND * 7).await;
    let (headers, _, note) = world.ready("a", "GET", CONTENT, &[]).await;
    assert_eq!(headers[header::AGE], "7");
    assert_eq!(note, Note::Hit(SECOND * 53));
}

#[tokio::test(start_paused = true)]
async fn a_client_decides_how_fresh_its_proof_must_be() {
    let world = World::webex();
    world.fetch("a", "GET", CONTENT, answer(200, "bytes")).await;
    pass(SECOND * 10).await;
    for (name, value, expected) in [
        ("cache-control", "No-Cache", "prove"),
        ("cache-control", "x, max-age=0", "prove"),
        ("cache-control", "max-age=9", "prove"),
        ("cache-control", "max-age=10", "ready"),
        ("cache-control", "only-if-cached", "ready"),
        ("cache-control", "only-if-cached, no-cache", "unanswerable"),
        ("pragma", "no-cache", "prove"),
        ("cache-control", "no-store", "fetch"),
    ] {
        let found = world.ask("a", "GET", CONTENT, &[(name, value)]).await.found;
        let found = match found {
            Lookup::Fetch(_) => "fetch",
            Lookup::Prove(_) => "prove",
            Lookup::Ready(..) => "ready",
            Lookup::Stale(..) => "stale",
            Lookup::Unanswerable => "unanswerable",
        };
        assert_eq!(found, expected, "{value}");
    }
}

/// What becomes of a tenant's own proof, and of the bytes that others read as well.
#[tokio::test(start_paused = true)]
async fn a_no_takes_back_as_much_as_it_denies() {
    for (status, own, bytes) in [
        (401, false, true),
        (403, false, true),
        (404, false, false),
        (410, false, false),
        (423, false, true),
        (428, true, true),
        (429, true, true),
        (500, true, true),
        (502, true, true),
        (504, true, true),
    ] {
        let world = World::webex();
        world.fetch("a", "GET", CONTENT, answer(200, "bytes")).await;
        world.fetch("b", "HEAD", CONTENT, answer(200, "bytes")).await;
        let asked = world.ask("a", "GET", CONTENT, &[("cache-control", "no-cache")]).await;
        let Proved::Said(told, _) = world.prove(asked, answer(status, "")).await else { panic!("{status}") };
        assert_eq!(told.status(), status);
        assert_eq!(world.is_hit("a", "GET", CONTENT).await, own, "{status}");
        assert_eq!(world.is_hit("b", "GET", CONTENT).await, bytes, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_strangers_404_says_nothing_about_the_bytes_but_a_410_does() {
    for (status, survives) in [(404, true), (410, false)] {
        let world = World::webex();
        world.fetch("a", "GET", CONTENT, answer(200, "bytes")).await;
        let asked = world.ask("stranger", "GET", CONTENT, &[]).await;
        assert!(matches!(world.prove(asked, answer(status, "")).await, Proved::Said(..)));
        assert_eq!(world.is_hit("a", "GET", CONTENT).await, survives, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_401_anywhere_takes_back_every_proof_of_that_credential() {
    let world = World::webex();
    for token in ["a", "b"] {
        world.fetch(token, "HEAD", CONTENT, answer(200, "bytes")).await;
    }
    world.fetch("a", "GET", "/v1/webhooks", answer(401, "{}")).await;
    assert!(!world.is_hit("a", "HEAD", CONTENT).await);
    assert!(world.is_hit("b", "HEAD", CONTENT).await);
}

#[tokio::test(start_paused = true)]
async fn an_api_that_knows_no_head_is_asked_with_the_request_itself() {
    for status in [405, 501] {
        let world = World::webex();
        world.fetch("a", "GET", CONTENT, answer(200, "bytes")).await;
        let asked = world.ask("b", "GET", CONTENT, &[]).await;
        assert!(matches!(world.prove(asked, answer(status, "")).await, Proved::Fetch(_)), "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_proof_of_other_bytes_fetches_them_anew() {
    for (name, value) in
        [("content-type", "text/plain"), ("content-disposition", "attachment"), ("etag", "\"2\"")]
    {
        let world = World::webex();
        world.fetch("a", "GET", CONTENT, plain(200, "bytes")).await;
        let asked = world.ask("b", "GET", CONTENT, &[]).await;
        let told = with(plain(200, "bytes"), &[(name, value)]);
        assert!(matches!(world.prove(asked, told).await, Proved::Fetch(_)), "{name}");
        assert!(!world.is_hit("a", "GET", CONTENT).await, "{name}: the old bytes are gone");
    }
}

#[tokio::test(start_paused = true)]
async fn only_complete_plain_answers_are_kept() {
    for status in [203, 204, 206, 403, 404, 410, 423, 428, 429, 500, 503] {
        let world = World::webex();
        world.fetch("a", "GET", CONTENT, answer(status, "x")).await;
        assert!(!world.is_hit("a", "GET", CONTENT).await, "{status}");
    }
    for field in
        [("content-encoding", "gzip"), ("content-range", "bytes 0-0/9"), ("cache-control", "no-store")]
    {
        let world = World::webex();
        world.fetch("a", "GET", CONTENT, with(plain(200, "x"), &[field])).await;
        assert!(!world.is_hit("a", "GET", CONTENT).await, "{field:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_part_and_a_condition_are_answered_from_the_whole() {
    let world = World::webex();
    world.fetch("a", "GET", CONTENT, with(answer(200, "0123456789"), &[("etag", "\"1\"")])).await;
    for (field, status, body) in [
        (("range", "bytes=2-4"), 206, "234"),
        (("range", "bytes=-3"), 206, "789"),
        (("range", "bytes=20-"), 416, ""),
        (("range", "bytes=0-1,4-5"), 200, "0123456789"),
        (("if-none-match", "\"1\""), 304, ""),
        (("if-none-match", "\"2\""), 200, "0123456789"),
        (("if-match", "\"2\""), 412, ""),
    ] {
        let Lookup::Ready(response, _) = world.ask("a", "GET", CONTENT, &[field]).await.found else {
            panic!("{field:?}")
        };
        assert_eq!(response.status(), status, "{field:?}");
        assert_eq!(text(response).await, body, "{field:?}");
    }
    let asked = world.ask("b", "GET", CONTENT, &[("range", "bytes=2-4")]).await;
    let told = with(answer(200, "0123456789"), &[("etag", "\"1\"")]);
    let Proved::Holds(response, _) = world.prove(asked, told).await else { panic!("not proved") };
    assert_eq!((response.status().as_u16(), text(response).await.as_str()), (206, "234"));
}

#[tokio::test(start_paused = true)]
async fn a_part_of_what_is_not_kept_is_the_upstreams_business() {
    let world = World::webex();
    let asked = world.ask("a", "GET", CONTENT, &[("range", "bytes=2-4")]).await;
    let told = with(answer(206, "234"), &[("content-range", "bytes 2-4/10")]);
    let (response, note) = world.settle(asked, told);
    assert_eq!((text(response).await.as_str(), note), ("234", Note::Forwarded(Why::UriMiss, Stored::No)));
    assert!(!world.is_hit("a", "GET", CONTENT).await);
}

#[tokio::test(start_paused = true)]
async fn a_head_is_kept_but_never_answers_a_get() {
    let world = World::webex();
    world.fetch("a", "HEAD", CONTENT, answer(200, "")).await;
    assert!(world.is_hit("a", "HEAD", CONTENT).await);
    assert!(!world.is_hit("a", "GET", CONTENT).await);
}

#[tokio::test(start_paused = true)]
async fn a_query_on_a_content_is_never_kept_nor_shared() {
    let world = World::webex();
    let path = "/v1/contents/Y2lz?allow=dlpUnchecked";
    let first = world.ask("a", "GET", path, &[]).await;
    let second = world.ask("a", "GET", path, &[]).await;
    for asked in [first, second] {
        let (response, note) = world.settle(asked, answer(200, "x"));
        assert_eq!((text(response).await.as_str(), note), ("x", Note::Forwarded(Why::Bypass, Stored::No)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_verdict_on_a_content_takes_back_every_proof() {
    let world = World::webex();
    world.fetch("a", "GET", CONTENT, answer(200, "bytes")).await;
    let path = format!("{CONTENT}?result=reject");
    world.fetch("dlp", "PUT", &path, plain(200, "")).await;
    assert!(matches!(world.ask("a", "GET", CONTENT, &[]).await.found, Lookup::Prove(_)));
}

#[tokio::test(start_paused = true)]
async fn a_deleted_message_takes_back_every_proof_of_its_attachments() {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let id = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let path =
        |message: &str| format!("/v1/contents/{}", id(&format!("ciscospark://us/CONTENT/{message}/0")));
    let world = World::webex();
    for message in ["one", "other"] {
        world.fetch("a", "GET", &path(message), answer(200, "bytes")).await;
    }
    let message = format!("/v1/messages/{}", id("ciscospark://us/MESSAGE/one"));
    world.fetch("b", "DELETE", &message, plain(204, "")).await;
    assert!(!world.is_hit("a", "GET", &path("one")).await);
    assert!(world.is_hit("a", "GET", &path("other")).await);
}

#[tokio::test(start_paused = true)]
async fn what_is_purged_is_gone_for_everybody_it_belongs_to() {
    let tenant = |token: &str| {
        let head = head("GET", "/", &[("authorization", &format!("Bearer {token}"))]);
        Doorman::new(b"key", &[], crate::admit::Admittance::Any).admit(&head.headers).unwrap().tenant()
    };
    let id = CONTENT.trim_start_matches("/v1/contents/").to_owned();
    for (purge, a_hits, b_hits, removed) in [
        (Purge::All, false, false, 3),
        (Purge::Content(id), false, false, 3),
        (Purge::Content("other".into()), true, true, 0),
        (Purge::Prefix("/v1/contents/".into()), false, false, 3),
        (Purge::Prefix("/v1/people".into()), true, true, 0),
        (Purge::Tenant(tenant("a")), false, true, 1),
    ] {
        let world = World::webex();
        world.fetch("a", "GET", CONTENT, answer(200, "bytes")).await;
        world.fetch("b", "HEAD", CONTENT, answer(200, "bytes")).await;
        assert_eq!(world.cache.purge(&purge), removed, "{purge:?}");
        assert_eq!(world.is_hit("a", "GET", CONTENT).await, a_hits, "{purge:?}");
        assert_eq!(world.is_hit("b", "GET", CONTENT).await, b_hits, "{purge:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_on_its_way_when_it_is_purged_is_not_kept() {
    let id = CONTENT.trim_start_matches("/v1/contents/").to_owned();
    for purge in [Purge::All, Purge::Content(id), Purge::Prefix("/v1".into())] {
        let world = World::webex();
        let asked = world.ask("a", "GET", CONTENT, &[]).await;
        world.cache.purge(&purge);
        let (response, _) = world.settle(asked, answer(200, "bytes"));
        assert_eq!(text(response).await, "bytes");
        assert!(!world.is_hit("a", "GET", CONTENT).await, "{purge:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_is_off_keeps_nothing() {
    let world = World::new(CacheSettings { mode: Mode::Off, ..settings() }, Kind::Webex);
    world.fetch("a", "GET", CONTENT, answer(200, "bytes")).await;
    assert!(!world.is_hit("a", "GET", CONTENT).await);
}
