//! Holds whom the cache answers, when it asks for a proof, and what it never keeps.

use super::*;

use http::{Request, header};
use http_body_util::BodyExt;

use crate::admit::Doorman;
use crate::route::{Hosts, Kind, Router, RouterSettings};
use crate::words::{Base, Scheme};

const SECOND: Duration = Duration::from_secs(1);
const CONTENT: &str = "/v1/contents/Y2lzY29zcGFyazovL3VzL0NPTlRFTlQvMQ";

/// One cache, asked in virtual time by any number of tokens.
struct World {
    cache: Cache,
    now: Instant,
}

fn head(method: &str, path: &str, fields: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn route(head: &Parts) -> Route {
    let router = Router::new(RouterSettings {
        upstream: Base { scheme: Scheme::Https, authority: "webexapis.com".parse().unwrap() },
        aliases: Vec::new(),
        kind: Kind::Webex,
        hosts: Hosts::Any,
        public_base: None,
        via: "tollgate-1".into(),
        max_uri_bytes: 8192,
        max_fields: 64,
    });
    router.find(Scheme::Https, head).unwrap()
}

fn answer(status: u16, body: &'static str) -> Response<Body> {
    Response::builder()
        .status(status)
        .header(header::CACHE_CONTROL, "no-cache")
        .header(header::CONTENT_TYPE, "image/png")
        .header(header::CONTENT_LENGTH, body.len())
        .body(Body::whole(body))
        .unwrap()
}

impl World {
    fn new() -> Self {
        let settings =
            CacheSettings { mode: Mode::On, memory: 1 << 20, max_entry: 1 << 16, proof_ttl: SECOND * 60 };
        Self { cache: Cache::new(settings), now: Instant::now() }
    }

    fn ask(&self, token: &str, method: &str, path: &str, fields: &[(&str, &str)]) -> Lookup {
        let mut head = head(method, path, fields);
        head.headers.insert(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
        let pass = Doorman::new(b"key", &[], crate::admit::Admittance::Any).admit(&head.headers).unwrap();
        self.cache.lookup(&route(&head), &pass, &head, self.now)
    }

    /// Fetches if need be and reads the answer to its end.
    async fn fetch(&self, token: &str, method: &str, upstream: Response<Body>) -> Note {
        let Lookup::Fetch(slot) = self.ask(token, method, CONTENT, &[]) else { panic!("not a fetch") };
        let (response, note) = self.cache.settle(slot, upstream, self.now);
        response.into_body().collect().await.unwrap();
        note
    }

    fn is_hit(&self, token: &str, method: &str) -> bool {
        matches!(self.ask(token, method, CONTENT, &[]), Lookup::Ready(..))
    }
}

#[tokio::test]
async fn a_second_read_costs_no_call_and_gets_the_same_answer() {
    let world = World::new();
    let note = world.fetch("a", "GET", answer(200, "bytes")).await;
    assert_eq!(note, Note::Forwarded(Why::UriMiss, Stored::Yes));
    let Lookup::Ready(response, Note::Hit(left)) = world.ask("a", "GET", CONTENT, &[]) else {
        panic!("no hit")
    };
    assert_eq!(left, SECOND * 60);
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-cache");
    assert_eq!(response.headers()[header::AGE], "0");
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "bytes");
    assert!(world.is_hit("a", "HEAD"));
}

#[tokio::test]
async fn another_tenant_gets_nothing_of_it() {
    let world = World::new();
    world.fetch("a", "GET", answer(200, "bytes")).await;
    assert!(!world.is_hit("b", "GET") && !world.is_hit("b", "HEAD"));
}

#[tokio::test]
async fn an_old_proof_costs_one_head() {
    let mut world = World::new();
    world.fetch("a", "GET", answer(200, "bytes")).await;
    world.now += SECOND * 60;
    let Lookup::Prove(slot) = world.ask("a", "GET", CONTENT, &[]) else { panic!("not a proof") };
    assert!(matches!(
        world.cache.prove(slot, &answer(200, "bytes"), world.now),
        Proof::Holds(_, Note::Proved)
    ));
    assert!(world.is_hit("a", "GET"));
}

#[tokio::test]
async fn a_client_that_says_no_cache_gets_a_proof() {
    let world = World::new();
    world.fetch("a", "GET", answer(200, "bytes")).await;
    for fields in [("cache-control", "No-Cache"), ("cache-control", "x, max-age=0"), ("pragma", "no-cache")] {
        assert!(matches!(world.ask("a", "GET", CONTENT, &[fields]), Lookup::Prove(_)), "{fields:?}");
    }
    assert!(matches!(world.ask("a", "GET", CONTENT, &[("cache-control", "no-store")]), Lookup::Fetch(_)));
}

#[tokio::test]
async fn a_failed_proof_drops_what_it_denies() {
    for (status, survives) in
        [(401, false), (403, false), (404, false), (410, false), (423, false), (429, true), (502, true)]
    {
        let world = World::new();
        world.fetch("a", "GET", answer(200, "bytes")).await;
        let ask = world.ask("a", "GET", CONTENT, &[("cache-control", "no-cache")]);
        let Lookup::Prove(slot) = ask else { panic!("not a proof") };
        assert!(matches!(world.cache.prove(slot, &answer(status, ""), world.now), Proof::Failed(_)));
        assert_eq!(world.is_hit("a", "GET"), survives, "{status}");
    }
}

#[tokio::test]
async fn other_metadata_is_no_proof() {
    let mut world = World::new();
    world.fetch("a", "GET", answer(200, "bytes")).await;
    world.now += SECOND * 61;
    let Lookup::Prove(slot) = world.ask("a", "GET", CONTENT, &[]) else { panic!("not a proof") };
    assert!(matches!(world.cache.prove(slot, &answer(200, "longer bytes"), world.now), Proof::Failed(_)));
}

#[tokio::test]
async fn only_complete_plain_answers_are_kept() {
    for status in [203, 204, 206, 403, 404, 410, 423, 428, 429, 500, 503] {
        let world = World::new();
        world.fetch("a", "GET", answer(status, "x")).await;
        assert!(!world.is_hit("a", "GET"), "{status}");
    }
    let world = World::new();
    let mut encoded = answer(200, "x");
    encoded.headers_mut().insert(header::CONTENT_ENCODING, "gzip".parse().unwrap());
    world.fetch("a", "GET", encoded).await;
    assert!(!world.is_hit("a", "GET"));
}

#[tokio::test]
async fn a_body_that_breaks_off_or_is_left_is_not_kept() {
    let world = World::new();
    let Lookup::Fetch(slot) = world.ask("a", "GET", CONTENT, &[]) else { panic!("not a fetch") };
    drop(world.cache.settle(slot, answer(200, "bytes"), world.now));
    assert!(!world.is_hit("a", "GET"));
}

#[tokio::test]
async fn a_body_above_the_bound_streams_past() {
    let world = World::new();
    let large = Response::builder().body(Body::whole(vec![0; (1 << 16) + 1])).unwrap();
    world.fetch("a", "GET", large).await;
    assert!(!world.is_hit("a", "GET"));
}

#[tokio::test]
async fn a_head_is_kept_but_never_answers_a_get() {
    let world = World::new();
    world.fetch("a", "HEAD", answer(200, "")).await;
    assert!(world.is_hit("a", "HEAD"));
    assert!(!world.is_hit("a", "GET"));
}

#[tokio::test]
async fn queries_writes_and_other_routes_are_never_kept() {
    let world = World::new();
    for (method, path, why) in [
        ("GET", "/v1/contents/Y2lz?allow=dlpUnchecked", Why::Bypass),
        ("PUT", CONTENT, Why::Method),
        ("GET", "/v1/rooms", Why::Bypass),
        ("POST", "/v1/access_token", Why::Method),
    ] {
        let Lookup::Fetch(slot) = world.ask("a", method, path, &[]) else { panic!("not a fetch") };
        let (response, note) = world.cache.settle(slot, answer(200, "x"), world.now);
        response.into_body().collect().await.unwrap();
        assert_eq!(note, Note::Forwarded(why, Stored::No), "{path}");
        assert!(matches!(world.ask("a", "GET", path, &[]), Lookup::Fetch(_)), "{path}");
    }
}

#[tokio::test]
async fn an_operator_forgets_by_name_and_nothing_else() {
    let digits = |token: &str| {
        let mut headers = http::HeaderMap::new();
        headers.insert(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
        Doorman::new(b"key", &[], crate::admit::Admittance::Any).admit(&headers).unwrap().tenant()
    };
    let id = CONTENT.strip_prefix("/v1/contents/").unwrap();
    for (purge, purged, left) in [
        (Purge::All, 2, [false, false]),
        (Purge::Content(id.to_owned()), 2, [false, false]),
        (Purge::Content(id[1..].to_owned()), 0, [true, true]),
        (Purge::Prefix("/v1/contents/".to_owned()), 2, [false, false]),
        (Purge::Prefix("/v1/people".to_owned()), 0, [true, true]),
        (Purge::Tenant(digits("a")), 1, [false, true]),
        (Purge::Tenant(digits("c")), 0, [true, true]),
    ] {
        let world = World::new();
        for token in ["a", "b"] {
            world.fetch(token, "GET", answer(200, "bytes")).await;
        }
        assert_eq!(world.cache.purge(&purge), purged, "{purge:?}");
        assert_eq!(["a", "b"].map(|token| world.is_hit(token, "GET")), left, "{purge:?}");
    }
}
