//! One fetch for many readers: who joins, who must not, and what becomes of them when it fails.

use super::*;

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, yield_now};

use crate::body::BodyError;
use crate::words::Side;

const ME: &str = "/v1/people/me";

/// A body whose frames the test sends one by one.
struct Hose(mpsc::Sender<Result<Frame<Bytes>, BodyError>>);

struct Hosed(mpsc::Receiver<Result<Frame<Bytes>, BodyError>>);

impl HttpBody for Hosed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.0.poll_recv(cx)
    }
}

impl Hose {
    fn answer(fields: &[(&'static str, &str)]) -> (Self, Response<Body>) {
        let (sender, receiver) = mpsc::channel(64);
        (Self(sender), with(Response::new(Body::stream(Hosed(receiver))), fields))
    }

    async fn send(&self, bytes: &'static str) {
        self.0.send(Ok(Frame::data(Bytes::from_static(bytes.as_bytes())))).await.unwrap();
        yield_now().await;
    }

    async fn fail(self) {
        self.0.send(Err(BodyError::Broken(Side::Upstream, "reset".into()))).await.unwrap();
    }

    fn is_wanted(&self) -> bool {
        !self.0.is_closed()
    }
}

/// A request that may have to wait for another one.
fn asks(world: &Arc<World>, token: &'static str, path: &'static str) -> JoinHandle<Asked> {
    let world = Arc::clone(world);
    tokio::spawn(async move { world.ask(token, "GET", path, &[]).await })
}

fn body(asked: Asked) -> Body {
    match asked.found {
        Lookup::Ready(response, Note::Collapsed(_)) => response.into_body(),
        other => panic!("read nothing along: {other:?}"),
    }
}

async fn next(body: &mut Body) -> String {
    let bytes = body.frame().await.unwrap().unwrap().into_data().unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn followers_read_while_the_leader_fetches() {
    for path in [CONTENT, ME] {
        let world = Arc::new(World::webex());
        let leader = world.ask("a", "GET", path, &[]).await;
        let followers = [asks(&world, "a", path), asks(&world, "a", path)];
        yield_now().await;
        let (hose, upstream) = Hose::answer(&[]);
        let mut leading = world.settle(leader, upstream).0.into_body();
        hose.send("one").await;
        let mut bodies = Vec::new();
        for follower in followers {
            bodies.push(body(follower.await.unwrap()));
        }
        for body in bodies.iter_mut().chain([&mut leading]) {
            assert_eq!(next(body).await, "one", "{path}: nobody waits for the last byte");
        }
        hose.send("two").await;
        drop(hose);
        for mut body in bodies {
            assert_eq!(next(&mut body).await, "two");
            assert!(body.frame().await.is_none());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_reader_of_an_attachment_begins_at_its_first_byte() {
    let world = Arc::new(World::webex());
    let leader = world.ask("a", "GET", CONTENT, &[]).await;
    let (hose, upstream) = Hose::answer(&[]);
    let _leading = world.settle(leader, upstream);
    hose.send("one").await;
    let mut late = body(asks(&world, "a", CONTENT).await.unwrap());
    assert_eq!(next(&mut late).await, "one");
}

#[tokio::test(start_paused = true)]
async fn another_tenant_joins_with_a_proof_of_its_own() {
    let world = Arc::new(World::webex());
    let leader = world.ask("a", "GET", CONTENT, &[]).await;
    let stranger = world.ask("b", "GET", CONTENT, &[]).await;
    let (hose, upstream) = Hose::answer(&[("content-length", "6")]);
    let _leading = world.settle(leader, upstream);
    hose.send("one").await;
    let told = with(Response::new(Body::empty()), &[("content-length", "6"), ("trackingid", "b's")]);
    let Proved::Holds(response, Note::Collapsed(_)) = world.prove(stranger, told).await else {
        panic!("alone")
    };
    assert_eq!(response.headers()["trackingid"], "b's");
    let mut body = response.into_body();
    assert_eq!(next(&mut body).await, "one");
    hose.send("two").await;
    assert_eq!(next(&mut body).await, "two");
}

#[tokio::test(start_paused = true)]
async fn when_the_leader_leaves_before_an_answer_somebody_else_leads() {
    for path in [CONTENT, ME] {
        let world = Arc::new(World::webex());
        let leader = world.ask("a", "GET", path, &[]).await;
        let followers = [asks(&world, "a", path), asks(&world, "a", path)];
        yield_now().await;
        drop(leader);
        yield_now().await;
        let (mut led, mut waiting): (Vec<_>, Vec<_>) =
            followers.into_iter().partition(JoinHandle::is_finished);
        let (Some(first), Some(second)) = (led.pop(), waiting.pop()) else { panic!("{path}: none or both") };
        let (_, upstream) = Hose::answer(&[]);
        let _leading = world.settle(first.await.unwrap(), upstream);
        body(second.await.unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn when_the_leader_fails_or_has_nothing_to_share_everyone_goes_on_alone() {
    for status in [None, Some(404), Some(429), Some(502)] {
        for path in [CONTENT, ME] {
            let world = Arc::new(World::webex());
            let leader = world.ask("a", "GET", path, &[]).await;
            let followers = [asks(&world, "a", path), asks(&world, "a", path)];
            yield_now().await;
            match (status, leader) {
                (None, Asked { found: Lookup::Fetch(slot), .. }) => world.cache.give_up(slot),
                (Some(status), leader) => drop(world.settle(leader, plain(status, "no"))),
                (None, _) => panic!("not a fetch"),
            }
            for follower in followers {
                assert!(matches!(follower.await.unwrap().found, Lookup::Fetch(_)), "{path}: {status:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_follower_waits_no_longer_than_it_may_and_that_time_counts() {
    let world = Arc::new(World::webex());
    let _leader = world.ask("a", "GET", CONTENT, &[]).await;
    let follower = asks(&world, "a", CONTENT).await.unwrap();
    let Lookup::Fetch(slot) = follower.found else { panic!("not alone") };
    assert_eq!(slot.spent(), SECOND * 25);
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_proof_counts_as_well() {
    let world = World::webex();
    let _leader = world.ask("a", "GET", CONTENT, &[]).await;
    let asked = world.ask("b", "GET", CONTENT, &[]).await;
    let Lookup::Prove(slot) = asked.found else { panic!("not a proof") };
    let slot = slot.after(SECOND * 10);
    let head = (&asked.route, &asked.head);
    let Proved::Fetch(slot) =
        world.cache.prove(slot, head, (answer(200, "bytes"), Instant::now()), SECOND * 15).await
    else {
        panic!("nobody has an answer yet")
    };
    assert_eq!(slot.spent(), SECOND * 25);
}

#[tokio::test(start_paused = true)]
async fn a_break_reaches_every_reader_keeps_nothing_and_the_next_request_begins_anew() {
    for path in [CONTENT, ME] {
        let world = Arc::new(World::webex());
        let leader = world.ask("a", "GET", path, &[]).await;
        let follower = asks(&world, "a", path);
        yield_now().await;
        let (hose, upstream) = Hose::answer(&[("cache-control", "max-age=60")]);
        let mut leading = world.settle(leader, upstream).0.into_body();
        let mut following = body(follower.await.unwrap());
        hose.send("one").await;
        hose.fail().await;
        for body in [&mut leading, &mut following] {
            assert_eq!(next(body).await, "one");
            assert!(body.frame().await.unwrap().is_err(), "{path}: never a short answer as whole");
        }
        assert!(matches!(world.ask("a", "GET", path, &[]).await.found, Lookup::Fetch(_)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_shorter_or_longer_than_announced_is_not_kept() {
    for (announced, sent) in [("7", "abcdef"), ("5", "abcdef")] {
        let world = World::webex();
        let leader = world.ask("a", "GET", CONTENT, &[]).await;
        let (hose, upstream) = Hose::answer(&[("content-length", announced)]);
        let mut leading = world.settle(leader, upstream).0.into_body();
        hose.send(sent).await;
        drop(hose);
        assert_eq!(next(&mut leading).await, sent);
        assert!(leading.frame().await.unwrap().is_err());
        assert!(!world.is_hit("a", "GET", CONTENT).await, "{announced}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_fill_goes_on_for_its_readers_and_without_them_if_half_is_there() {
    for (read, sent, survives) in [(true, "abc", true), (false, "abc", false), (false, "abcde", true)] {
        let world = Arc::new(World::webex());
        let leader = world.ask("a", "GET", CONTENT, &[]).await;
        let (hose, upstream) = Hose::answer(&[("content-length", "10")]);
        let leading = world.settle(leader, upstream);
        let follower = if read { Some(body(asks(&world, "a", CONTENT).await.unwrap())) } else { None };
        hose.send(sent).await;
        drop(leading);
        yield_now().await;
        assert_eq!(hose.is_wanted(), survives, "{read} {sent}");
        drop(follower);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_left_early_is_not_kept() {
    let world = World::webex();
    let leader = world.ask("a", "GET", CONTENT, &[]).await;
    let (hose, upstream) = Hose::answer(&[("content-length", "10")]);
    drop(world.settle(leader, upstream));
    yield_now().await;
    assert!(!hose.is_wanted());
    assert!(!world.is_hit("a", "GET", CONTENT).await);
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_to_keep_streams_past_each_for_himself() {
    let world = Arc::new(World::webex());
    let leader = world.ask("a", "GET", CONTENT, &[]).await;
    let follower = asks(&world, "a", CONTENT);
    yield_now().await;
    let (hose, upstream) = Hose::answer(&[("content-length", "65537")]);
    let (response, note) = world.settle(leader, upstream);
    assert_eq!(note, Note::Forwarded(Why::UriMiss, Stored::No));
    assert!(matches!(follower.await.unwrap().found, Lookup::Fetch(_)));
    hose.send("x").await;
    assert_eq!(next(&mut response.into_body()).await, "x");
}

#[tokio::test(start_paused = true)]
async fn what_turns_out_too_large_reaches_its_readers_and_is_not_kept() {
    static CHUNK: [u8; 1 << 14] = [b'x'; 1 << 14];
    let world = World::webex();
    let leader = world.ask("a", "GET", CONTENT, &[]).await;
    let (hose, upstream) = Hose::answer(&[]);
    let reading = tokio::spawn(text(world.settle(leader, upstream).0));
    for _ in 0..6 {
        hose.send(std::str::from_utf8(&CHUNK).unwrap()).await;
    }
    drop(hose);
    assert_eq!(reading.await.unwrap().len(), 6 << 14);
    assert!(!world.is_hit("a", "GET", CONTENT).await);
}

/// `memory` and `fill` together are 18 such bodies.
#[tokio::test(start_paused = true)]
async fn bodies_share_a_budget_until_their_last_reader_has_gone() {
    static BODY: [u8; 1 << 16] = [b'x'; 1 << 16];
    let world = World::webex();
    let path = |number: usize| format!("/v1/contents/Y2lz{number}");
    let mut unread = Vec::new();
    for number in 0..18 {
        let leader = world.ask("a", "GET", &path(number), &[]).await;
        let whole = with(Response::new(Body::whole(&BODY[..])), &[("content-length", "65536")]);
        let (response, note) = world.settle(leader, whole);
        assert_eq!(note, Note::Forwarded(Why::UriMiss, Stored::Yes), "{number}");
        yield_now().await;
        unread.push(response);
    }
    let leader = world.ask("a", "GET", &path(99), &[]).await;
    let (_hose, upstream) = Hose::answer(&[("content-length", "65536")]);
    assert_eq!(world.settle(leader, upstream).1, Note::Forwarded(Why::UriMiss, Stored::No), "no room");
    unread.clear();
    let leader = world.ask("a", "GET", &path(100), &[]).await;
    let (_hose, upstream) = Hose::answer(&[("content-length", "65536")]);
    assert_eq!(world.settle(leader, upstream).1, Note::Forwarded(Why::UriMiss, Stored::Yes));
}

#[tokio::test(start_paused = true)]
async fn nobody_joins_a_flight_that_is_older_than_his_own_write_to_that_family() {
    let world = Arc::new(World::webex());
    let _leader = world.ask("a", "GET", ME, &[]).await;
    world.fetch("a", "POST", "/v1/rooms", plain(200, "")).await;
    assert!(!matches!(asks(&world, "a", ME).await.unwrap().found, Lookup::Ready(..)));
    let world = Arc::new(World::webex());
    let _leader = world.ask("a", "GET", ME, &[]).await;
    world.fetch("a", "PUT", ME, plain(500, "")).await;
    assert!(matches!(asks(&world, "a", ME).await.unwrap().found, Lookup::Fetch(_)));
}

#[tokio::test(start_paused = true)]
async fn a_write_that_ends_while_a_flight_is_under_way_keeps_its_tenant_from_joining() {
    let world = Arc::new(World::webex());
    let write = world.ask("a", "PUT", ME, &[]).await;
    let _leader = world.ask("a", "GET", ME, &[]).await;
    world.settle(write, plain(200, "{}"));
    assert!(matches!(asks(&world, "a", ME).await.unwrap().found, Lookup::Fetch(_)));
}

#[tokio::test(start_paused = true)]
async fn only_equal_requests_of_one_credential_share_an_answer() {
    for (token, method, path, field) in [
        ("b", "GET", ME, ("accept", "*/*")),
        ("a", "HEAD", ME, ("accept", "*/*")),
        ("a", "GET", "/v1/people/me?x", ("accept", "*/*")),
        ("a", "GET", ME, ("accept", "text/plain")),
        ("a", "GET", ME, ("accept-encoding", "gzip")),
        ("a", "GET", ME, ("cookie", "x=y")),
        ("a", "GET", ME, ("range", "bytes=0-1")),
        ("a", "GET", ME, ("if-none-match", "\"x\"")),
        ("a", "GET", ME, ("cache-control", "no-cache")),
        ("a", "GET", ME, ("cache-control", "no-store")),
    ] {
        let world = World::webex();
        let _leader = world.ask("a", "GET", ME, &[("accept", "*/*"), ("user-agent", "one")]).await;
        let found = world.ask(token, method, path, &[field]).await.found;
        assert!(matches!(found, Lookup::Fetch(_)), "{token} {method} {path} {field:?}");
    }
    let world = Arc::new(World::webex());
    let leader = world.ask("a", "GET", ME, &[("user-agent", "one"), ("trackingid", "1")]).await;
    let follower = asks(&world, "a", ME);
    yield_now().await;
    text(world.settle(leader, plain(200, "{}")).0).await;
    body(follower.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_varies_by_what_was_not_compared_is_not_shared() {
    for vary in ["*", "Accept, User-Agent", "authorization"] {
        let world = Arc::new(World::webex());
        let leader = world.ask("a", "GET", ME, &[]).await;
        let follower = asks(&world, "a", ME);
        yield_now().await;
        world.settle(leader, with(plain(200, "{}"), &[("vary", vary)]));
        assert!(matches!(follower.await.unwrap().found, Lookup::Fetch(_)), "{vary}");
    }
}

#[tokio::test(start_paused = true)]
async fn many_that_validate_together_ask_once() {
    let world = Arc::new(World::webex());
    let kept = with(plain(200, "kept"), &[("etag", "\"1\""), ("cache-control", "no-cache")]);
    world.fetch("a", "GET", ME, kept).await;
    let leader = world.ask("a", "GET", ME, &[]).await;
    let followers = [asks(&world, "a", ME), asks(&world, "a", ME)];
    yield_now().await;
    let (response, note) = world.settle(leader, with(plain(304, ""), &[("etag", "\"1\"")]));
    assert_eq!((text(response).await.as_str(), note), ("kept", Note::Revalidated));
    for follower in followers {
        assert_eq!(next(&mut body(follower.await.unwrap())).await, "kept");
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_panics_with_its_slot_leaves_nobody_waiting_and_no_lock_behind() {
    let world = Arc::new(World::webex());
    let first = world.ask("a", "GET", ME, &[]).await;
    let Lookup::Fetch(slot) = first.found else { panic!("nothing is kept") };
    let follower = asks(&world, "a", ME);
    yield_now().await;
    let leader = tokio::spawn(async move {
        let _slot = slot;
        panic!("as asked");
    });
    assert!(leader.await.unwrap_err().is_panic());
    let Lookup::Fetch(_) = follower.await.unwrap().found else { panic!("the follower leads now") };
    world.cache.glance();
}
