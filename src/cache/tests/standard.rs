//! Everything else: HTTP's own rules for each credential, the operator's where there is one.

use super::*;

use std::io::Write as _;

const ME: &str = "/v1/people/me";
const LIST: &str = "/v1/rooms?max=10";

fn fresh(body: &'static str) -> Response<Body> {
    with(plain(200, body), &[("cache-control", "max-age=60")])
}

fn route_id(path: &str) -> RouteId {
    RouteId::all().find(|id| id.as_str() == path).unwrap()
}

fn ruled(path: &str) -> World {
    let rules = HashMap::from([(route_id(path), SECOND * 30)]);
    World::new(CacheSettings { rules, ..settings() }, Kind::Webex)
}

#[tokio::test(start_paused = true)]
async fn what_the_api_lets_be_kept_is_kept_for_that_credential_alone() {
    let world = World::webex();
    for allows in ["max-age=60", "public, max-age=60", "s-maxage=60, must-revalidate"] {
        let path = format!("/v1/rooms?{}", allows.len());
        world.fetch("a", "GET", &path, with(plain(200, "{}"), &[("cache-control", allows)])).await;
        assert!(world.is_hit("a", "GET", &path).await, "{allows}");
        assert!(!world.is_hit("b", "GET", &path).await, "{allows}");
    }
}

#[tokio::test(start_paused = true)]
async fn with_a_generic_origin_public_answers_are_for_everybody() {
    let world = World::new(settings(), Kind::Generic);
    for (path, allows, is_shared) in
        [("/1", "public, max-age=60", true), ("/2", "max-age=60", false), ("/3", "s-maxage=60", true)]
    {
        world.fetch("a", "GET", path, with(plain(200, "x"), &[("cache-control", allows)])).await;
        assert!(world.is_hit("a", "GET", path).await, "{allows}");
        assert_eq!(world.is_hit("b", "GET", path).await, is_shared, "{allows}");
    }
}

#[tokio::test(start_paused = true)]
async fn webexs_errors_are_never_kept_whatever_they_allow() {
    for status in [203, 301, 404, 410, 429, 500] {
        let world = World::webex();
        world.fetch("a", "GET", ME, with(plain(status, "{}"), &[("cache-control", "max-age=60")])).await;
        assert!(!world.is_hit("a", "GET", ME).await, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_with_errors_in_it_is_never_kept() {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(br#"{"items":[{"errors":{"title":{"code":"kms_failure"}}}]}"#).unwrap();
    let packed = Response::builder()
        .header("cache-control", "max-age=60")
        .header("content-encoding", "gzip")
        .body(Body::whole(packed.finish().unwrap()))
        .unwrap();
    for sealed in [fresh(r#"{"errors":{"title":{}}}"#), packed] {
        let world = World::webex();
        let asked = world.ask("a", "GET", LIST, &[]).await;
        world.settle(asked, sealed).0.into_body().collect().await.unwrap();
        assert!(!world.is_hit("a", "GET", LIST).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_rule_keeps_what_the_api_would_not_for_its_time_and_its_credential() {
    let world = ruled(ME);
    world.fetch("a", "GET", ME, answer(200, "{}")).await;
    pass(SECOND * 29).await;
    assert!(world.is_hit("a", "GET", ME).await);
    assert!(!world.is_hit("b", "GET", ME).await);
    assert!(!matches!(
        world.ask("a", "GET", ME, &[("cache-control", "no-cache")]).await.found,
        Lookup::Ready(..)
    ));
    pass(SECOND).await;
    assert!(!world.is_hit("a", "GET", ME).await);
}

#[tokio::test(start_paused = true)]
async fn a_write_of_anybody_voids_what_a_rule_keeps_of_the_families_it_touches() {
    for (rule, path, method, write, survives) in [
        ("/v1/rooms/{id}", "/v1/rooms/x", "PUT", "/v1/rooms/x", false),
        ("/v1/rooms/{id}", "/v1/rooms/x", "POST", "/v1/messages", false),
        ("/v1/rooms/{id}", "/v1/rooms/x", "DELETE", "/v1/memberships/y", false),
        ("/v1/rooms/{id}", "/v1/rooms/x", "POST", "/v1/team/memberships", false),
        ("/v1/rooms/{id}", "/v1/rooms/x", "PUT", "/v1/people/y", true),
        ("/v1/rooms/{id}", "/v1/rooms/x", "POST", "/v1/webhooks", true),
        ("/v1/memberships", "/v1/memberships?roomId=x", "POST", "/v1/memberships", false),
        ("/v1/memberships", "/v1/memberships?roomId=x", "POST", "/v1/messages", true),
        ("/v1/people/{id}", "/v1/people/x", "PUT", "/v1/people/x", false),
        ("/v1/people/{id}", "/v1/people/x", "POST", "/v1/somethingNew", false),
    ] {
        for status in [200, 404, 500] {
            let world = ruled(rule);
            world.fetch("a", "GET", path, answer(200, "{}")).await;
            assert!(world.is_hit("a", "GET", path).await, "{path}");
            world.fetch("b", method, write, answer(status, "{}")).await;
            assert_eq!(world.is_hit("a", "GET", path).await, survives, "{method} {write}: {status}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_tenant_reads_its_own_writes() {
    let world = World::webex();
    world.fetch("a", "GET", LIST, fresh("{}")).await;
    world.fetch("b", "GET", LIST, fresh("{}")).await;
    world.fetch("a", "POST", "/v1/rooms", plain(500, "")).await;
    assert!(!world.is_hit("a", "GET", LIST).await, "it may have happened all the same");
    assert!(world.is_hit("b", "GET", LIST).await, "the API has allowed b to keep it");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_asked_for_before_a_write_ended_is_not_served_after_it() {
    let world = World::webex();
    let read = world.ask("a", "GET", LIST, &[]).await;
    world.fetch("a", "POST", "/v1/rooms", plain(200, "{}")).await;
    assert_eq!(text(world.settle(read, fresh("old")).0).await, "old");
    assert!(!world.is_hit("a", "GET", LIST).await);
}

#[tokio::test(start_paused = true)]
async fn a_write_without_an_answer_voids_the_resource() {
    let world = World::new(settings(), Kind::Generic);
    world.fetch("a", "GET", "/x", fresh("old")).await;
    drop(world.ask("b", "PUT", "/x", &[]).await);
    assert!(!world.is_hit("a", "GET", "/x").await);
}

#[tokio::test(start_paused = true)]
async fn a_304_makes_what_is_kept_fresh_again() {
    let world = World::webex();
    let tagged = |fields| with(with(plain(200, "{}"), &[("etag", "\"1\"")]), fields);
    world.fetch("a", "GET", ME, tagged(&[("cache-control", "max-age=10")])).await;
    pass(SECOND * 10).await;
    let asked = world.ask("a", "GET", ME, &[("if-none-match", "\"client's\"")]).await;
    let Lookup::Fetch(slot) = &asked.found else { panic!("still fresh") };
    let question = world.cache.question(slot, &asked.head).unwrap();
    assert_eq!(question.headers[header::IF_NONE_MATCH], "\"1\"");
    let told = with(plain(304, ""), &[("etag", "\"1\""), ("cache-control", "max-age=20")]);
    let (response, note) = world.settle(asked, told);
    assert_eq!((response.status().as_u16(), note), (200, Note::Revalidated));
    assert_eq!(text(response).await, "{}");
    pass(SECOND * 19).await;
    assert!(world.is_hit("a", "GET", ME).await);
}

#[tokio::test(start_paused = true)]
async fn a_304_about_something_else_is_asked_again_plainly() {
    let world = World::webex();
    world
        .fetch("a", "GET", ME, with(plain(200, "{}"), &[("etag", "\"1\""), ("cache-control", "max-age=1")]))
        .await;
    pass(SECOND * 2).await;
    let asked = world.ask("a", "GET", ME, &[]).await;
    let Lookup::Fetch(slot) = asked.found else { panic!("still fresh") };
    let now = world.cache.shared.clock.now();
    let told = with(plain(304, ""), &[("etag", "\"2\"")]);
    let Settled::Again(slot) = world.cache.settle(slot, &asked.head, told, now) else { panic!("believed") };
    assert!(world.cache.question(&slot, &asked.head).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_stale_answer_covers_for_trouble_where_it_may() {
    for (allows, trouble, covers) in [
        ("max-age=1", Trouble::Disconnected, true),
        ("max-age=1", Trouble::GateClosed, false),
        ("max-age=1, stale-if-error=60", Trouble::GateClosed, true),
        ("max-age=1, must-revalidate", Trouble::Disconnected, false),
        ("max-age=1, must-revalidate, stale-if-error=60", Trouble::Disconnected, false),
    ] {
        let world = World::webex();
        world.fetch("a", "GET", ME, with(plain(200, "{}"), &[("cache-control", allows)])).await;
        pass(SECOND * 2).await;
        let asked = world.ask("a", "GET", ME, &[]).await;
        let Lookup::Fetch(slot) = &asked.found else { panic!("still fresh") };
        let covered = world.cache.fall_back(slot, &asked.head, trouble);
        assert_eq!(covered.is_some(), covers, "{allows} {trouble:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failing_upstream_is_covered_for_where_the_answer_allows_it() {
    for (status, covers) in [(500, true), (502, true), (503, true), (504, true), (429, true), (404, false)] {
        let world = World::webex();
        let allows = "max-age=1, stale-if-error=60";
        world.fetch("a", "GET", ME, with(plain(200, "kept"), &[("cache-control", allows)])).await;
        pass(SECOND * 2).await;
        let asked = world.ask("a", "GET", ME, &[]).await;
        let (response, note) = world.settle(asked, plain(status, "theirs"));
        let expected = if covers { (200, "kept") } else { (status, "theirs") };
        assert_eq!(note == Note::Stale(Excuse::Failed), covers, "{status}");
        assert_eq!((response.status().as_u16(), text(response).await.as_str()), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn one_request_refreshes_what_all_are_served_meanwhile() {
    let world = World::webex();
    let allows = "max-age=1, stale-while-revalidate=60";
    world.fetch("a", "GET", ME, with(plain(200, "old"), &[("cache-control", allows)])).await;
    pass(SECOND * 2).await;
    let first = world.ask("a", "GET", ME, &[]).await;
    let Lookup::Stale(response, Note::Stale(Excuse::Revalidating), slot) = first.found else {
        panic!("not refreshed")
    };
    assert_eq!(text(response).await, "old");
    assert_eq!(world.ready("a", "GET", ME, &[]).await.2, Note::Stale(Excuse::Revalidating));
    let asked = Asked { found: Lookup::Fetch(slot), ..first };
    text(world.settle(asked, with(plain(200, "new"), &[("cache-control", allows)])).0).await;
    assert_eq!(world.ready("a", "GET", ME, &[]).await.1, "new");
}

#[tokio::test(start_paused = true)]
async fn nobody_gets_an_answer_that_was_made_for_other_fields() {
    let world = World::webex();
    let varied = |body| with(fresh(body), &[("vary", "Accept-Language")]);
    for language in ["de", "fr"] {
        let asked = world.ask("a", "GET", ME, &[("accept-language", language)]).await;
        text(world.settle(asked, varied(if language == "de" { "Wer" } else { "Qui" })).0).await;
    }
    assert_eq!(world.ready("a", "GET", ME, &[("accept-language", "de")]).await.1, "Wer");
    assert_eq!(world.ready("a", "GET", ME, &[("accept-language", "fr")]).await.1, "Qui");
    assert!(!world.is_hit("a", "GET", ME).await);
}

#[tokio::test(start_paused = true)]
async fn forms_of_one_resource_have_a_bound() {
    let world = World::webex();
    let languages: Vec<_> = (0..40).map(|number| format!("l{number}")).collect();
    for language in &languages {
        let asked = world.ask("a", "GET", ME, &[("accept-language", language)]).await;
        text(world.settle(asked, with(fresh("{}"), &[("vary", "accept-language")])).0).await;
    }
    let mut hits = 0;
    for language in &languages {
        let found = world.ask("a", "GET", ME, &[("accept-language", language)]).await.found;
        hits += usize::from(matches!(found, Lookup::Ready(..)));
    }
    assert_eq!(hits, 16);
}

#[tokio::test(start_paused = true)]
async fn routes_that_may_never_be_kept_are_not() {
    let world = World::webex();
    for path in
        ["/v1/webhooks", "/v1/devices/x", "/v1/xapi/status?deviceId=x", "/v1/events", "/v1/guests/token"]
    {
        world.fetch("a", "GET", path, fresh("{}")).await;
        assert!(!world.is_hit("a", "GET", path).await, "{path}");
    }
}
