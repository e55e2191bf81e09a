//! What a tenant may have when its proof ages, falls or was never there, and what no other tenant may have of its answers.

use super::*;

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};
use tokio::task::yield_now;

use crate::body::BodyError;

const PAGE: &str = "/page";

/// One piece, then trailers.
struct Trailed(u8);

impl HttpBody for Trailed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.0 += 1;
        Poll::Ready(match self.0 {
            1 => Some(Ok(Frame::data(Bytes::from_static(b"bytes")))),
            2 => Some(Ok(Frame::trailers([(header::ETAG, "a's".parse().unwrap())].into_iter().collect()))),
            _ => None,
        })
    }
}

/// `b` has a proof and waits for what `a` fetches, while `meanwhile` happens.
async fn waits(meanwhile: impl AsyncFnOnce(&World)) -> Lookup {
    let world = Arc::new(World::webex());
    world.fetch("b", "HEAD", CONTENT, answer(200, "bytes")).await;
    pass(SECOND * 50).await;
    let leader = world.ask("a", "GET", CONTENT, &[]).await;
    let asking = Arc::clone(&world);
    let follower = tokio::spawn(async move { asking.ask("b", "GET", CONTENT, &[]).await });
    yield_now().await;
    meanwhile(&world).await;
    let _leading = world.settle(leader, answer(200, "bytes"));
    follower.await.unwrap().found
}

#[tokio::test(start_paused = true)]
async fn a_proof_that_is_taken_back_or_ages_while_its_tenant_waits_is_none() {
    assert!(matches!(waits(async |_| ()).await, Lookup::Ready(..)));
    let aged = waits(async |_| pass(SECOND * 11).await).await;
    assert!(matches!(aged, Lookup::Prove(_)), "{aged:?}");
    let revoked =
        waits(async |world| drop(world.fetch("b", "GET", "/v1/rooms", answer(401, "")).await)).await;
    assert!(matches!(revoked, Lookup::Prove(_)), "{revoked:?}");
    let removed =
        waits(async |world| drop(world.fetch("b", "GET", "/v1/rooms", answer(404, "")).await)).await;
    assert!(matches!(removed, Lookup::Ready(..)), "a no to something else says nothing: {removed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_yes_that_was_asked_for_before_a_no_does_not_outlive_it() {
    for status in [403, 404, 423] {
        let world = World::webex();
        let slow = world.ask("a", "HEAD", CONTENT, &[("cache-control", "no-cache")]).await;
        world.fetch("a", "GET", CONTENT, answer(status, "")).await;
        world.settle(slow, answer(200, "bytes"));
        assert!(!world.is_hit("a", "HEAD", CONTENT).await, "{status}");
        world.fetch("a", "HEAD", CONTENT, answer(200, "bytes")).await;
        assert!(world.is_hit("a", "HEAD", CONTENT).await, "{status}: a later yes counts");
    }
}

#[tokio::test(start_paused = true)]
async fn a_proof_counts_from_its_question() {
    let world = World::webex();
    let asked = world.ask("a", "HEAD", CONTENT, &[]).await;
    let Lookup::Fetch(slot) = asked.found else { panic!("not a fetch") };
    let asked_at = Instant::now();
    pass(SECOND * 40).await;
    let _ = world.cache.settle(slot, &asked.head, answer(200, "bytes"), asked_at);
    pass(SECOND * 19).await;
    assert!(world.is_hit("a", "HEAD", CONTENT).await);
    pass(SECOND).await;
    assert!(!world.is_hit("a", "HEAD", CONTENT).await);
}

#[tokio::test(start_paused = true)]
async fn bytes_that_nothing_tells_apart_are_kept_for_nobody() {
    let world = World::webex();
    let bare = || Response::new(Body::whole("bytes"));
    world.fetch("a", "GET", CONTENT, bare()).await;
    assert!(matches!(world.ask("a", "GET", CONTENT, &[]).await.found, Lookup::Fetch(_)));
    assert!(matches!(world.ask("b", "GET", CONTENT, &[]).await.found, Lookup::Fetch(_)));
}

#[tokio::test(start_paused = true)]
async fn trailers_of_an_attachment_reach_nobody() {
    let world = World::webex();
    let asked = world.ask("a", "GET", CONTENT, &[]).await;
    let upstream = with(Response::new(Body::stream(Trailed(0))), &[("content-length", "5")]);
    let collected = world.settle(asked, upstream).0.into_body().collect().await.unwrap();
    assert!(collected.trailers().is_none());
    assert_eq!(collected.to_bytes(), "bytes");
}

#[tokio::test(start_paused = true)]
async fn a_stranger_reads_nothing_about_others_in_what_the_cache_did() {
    let world = World::webex();
    let cold = world.ask("b", "GET", CONTENT, &[]).await;
    let cold = world.settle(cold, answer(404, "")).1;
    world.fetch("a", "GET", CONTENT, answer(200, "bytes")).await;
    let asked = world.ask("b", "GET", CONTENT, &[]).await;
    let Proved::Said(_, hot) = world.prove(asked, answer(404, "")).await else { panic!("no answer") };
    assert_eq!(cold, hot);
}

/// Whether what `first` was answered is answered to `then` as well, by a cache of any origin.
async fn is_shared(
    first: &[(&str, &str)],
    then: &[(&str, &str)],
    status: u16,
    fields: &[(&'static str, &str)],
) -> bool {
    let world = World::new(settings(), Kind::Generic);
    let ask = async |fields: &[(&str, &str)]| {
        let head = head("GET", PAGE, fields);
        let pass = Doorman::new(b"key", &[], crate::admit::Admittance::Any).admit(&head.headers).unwrap();
        let route = world.route(&head);
        let found = world.cache.lookup(&route, &pass, (&head, Carries::Nothing), &|| SECOND).await;
        Asked { route, head, found }
    };
    let asked = ask(first).await;
    drop(text(world.settle(asked, with(plain(status, "page"), fields)).0).await);
    matches!(ask(then).await.found, Lookup::Ready(..))
}

#[tokio::test(start_paused = true)]
async fn what_is_public_is_shared_unless_it_is_somebodys() {
    const PUBLIC: (&str, &str) = ("cache-control", "public, max-age=60");
    const FRESH: (&str, &str) = ("cache-control", "max-age=60");
    const A: (&str, &str) = ("authorization", "Bearer a");
    const B: (&str, &str) = ("authorization", "Bearer b");
    const COOKIE: (&str, &str) = ("cookie", "s=a");
    const HOST: (&str, &str) = ("x-forwarded-host", "evil.example");
    for (first, then, status, fields, expected) in [
        (&[A][..], &[B][..], 200, &[PUBLIC][..], true),
        (&[A], &[], 200, &[PUBLIC], true),
        (&[A], &[B], 200, &[FRESH], false),
        (&[A], &[B], 200, &[PUBLIC, ("set-cookie", "s=a")], false),
        (&[A], &[A], 200, &[PUBLIC, ("set-cookie", "s=a")], true),
        (&[COOKIE], &[], 200, &[FRESH], false),
        (&[COOKIE], &[("cookie", "s=b")], 200, &[FRESH], false),
        (&[COOKIE], &[COOKIE], 200, &[FRESH], true),
        (&[COOKIE], &[], 200, &[PUBLIC], true),
        (&[A], &[B], 400, &[PUBLIC], false),
        (&[A], &[A], 400, &[PUBLIC], true),
        (&[HOST], &[], 200, &[PUBLIC], false),
        (&[], &[HOST], 200, &[PUBLIC], false),
        (&[HOST], &[HOST], 200, &[PUBLIC], true),
        (&[HOST], &[("x-forwarded-host", "other.example")], 200, &[PUBLIC], false),
    ] {
        assert_eq!(
            is_shared(first, then, status, fields).await,
            expected,
            "{first:?} {then:?} {status} {fields:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_no_field_announces_is_in_no_key() {
    for kind in [Kind::Generic, Kind::Webex] {
        let world = World::new(settings(), kind);
        let head = head("GET", CONTENT, &[]);
        let pass = Pass::for_tests(1);
        let found = world.cache.lookup(&world.route(&head), &pass, (&head, Carries::Body), &|| SECOND).await;
        let Lookup::Fetch(slot) = found else { panic!("{found:?}") };
        assert_eq!(slot.note(), Note::Forwarded(Why::Bypass, Stored::No));
    }
}
