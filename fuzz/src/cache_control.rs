//! Whatever fields requests and answers carry, a kept answer is served for a time that only runs out, as old as it says it
//! is, with the bytes that it says; an answer under `no-store` never, and to others only if it says so.
//!
//! Input: a line of two statuses and some waits, one byte each; then one field per line, whose message and name are in its
//! first byte.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use tokio::runtime::Builder;
use tokio::time::{Instant, sleep};
use tollgate::admit::{Admittance, Doorman, Pass};
use tollgate::body::Body;
use tollgate::cache::{Cache, Carries, Lookup, Mode, Note, Settled, Slot};
use tollgate::clock::Clock;
use tollgate::route::{Kind, Route};
use tollgate::words::Scheme;

use super::rooms::{cache, router};
use super::wire;

/// Panics where the property does not hold.
pub fn holds(input: &[u8]) {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(Story::read(input).play());
}

/// What is asked and answered, and when.
#[derive(Default)]
struct Story {
    statuses: [u8; 2],
    waits: Vec<Duration>,
    first_request: HeaderMap,
    later_requests: HeaderMap,
    answers: [HeaderMap; 2],
}

impl Story {
    fn read(input: &[u8]) -> Self {
        let mut lines = input.split(|byte| *byte == b'\n');
        let mut story = Self::default();
        if let [first, second, waits @ ..] = lines.next().unwrap_or_default() {
            story.statuses = [*first, *second];
            // From a second to some eighteen hours.
            story.waits = waits.iter().take(6).map(|wait| Duration::from_secs(1 << (wait % 17))).collect();
        }
        for (which, value) in lines.filter_map(<[u8]>::split_first) {
            let name = usize::from(which & 0x1f);
            let (headers, name) = match which >> 5 {
                2 => (&mut story.answers[0], ANSWER[name % ANSWER.len()]),
                1 => (&mut story.answers[1], ANSWER[name % ANSWER.len()]),
                3 => (&mut story.later_requests, REQUEST[name % REQUEST.len()]),
                _ => (&mut story.first_request, REQUEST[name % REQUEST.len()]),
            };
            if let Ok(value) = HeaderValue::from_bytes(value) {
                headers.append(HeaderName::from_static(name), value);
            }
        }
        story
    }

    async fn play(self) {
        let world = World::new();
        let first = request(self.statuses[0], OWN, &self.first_request);
        let later = request(0, OWN, &self.later_requests);
        let is_true = [0, 1].map(|at| is_true(status(self.statuses[at]), &self.answers[at]));
        let Some(slot) = world.look(&first, &world.own).await.slot else { return };
        world.settle(slot, &first, status(self.statuses[0]), &self.answers[0]).await;
        let mut seen = self.watch(&world, &later, is_true[0]).await;
        for look in &seen {
            assert!(!look.is_kept || !is_unstorable(&self.answers[0]), "no-store was served: {look:?}");
        }
        let strange = request(0, STRANGER, &self.later_requests);
        let stranger = world.look(&strange, &world.stranger).await;
        assert!(!stranger.is_kept || is_shared(&self.answers[0]), "a stranger was served: {stranger:?}");
        if let Some(slot) = seen.pop().and_then(|look| look.slot) {
            world.settle(slot, &later, status(self.statuses[1]), &self.answers[1]).await;
            self.watch(&world, &later, is_true[0] && is_true[1]).await;
        }
    }

    /// Looks again and again while time passes.
    async fn watch(&self, world: &World, head: &Parts, is_true: bool) -> Vec<Look> {
        let mut seen: Vec<Look> = vec![world.look(head, &world.own).await];
        for wait in &self.waits {
            if let Some(slot) = seen.last_mut().and_then(|look| look.slot.take()) {
                world.cache.give_up(slot);
            }
            sleep(*wait).await;
            let mut same = world.look(head, &world.own).await;
            if let Some(slot) = same.slot.take() {
                world.cache.give_up(slot);
            }
            let look = world.look(head, &world.own).await;
            assert_eq!(same.told(), look.told(), "two looks at one moment");
            if let Some(before) = seen.last() {
                look.check_against(before, *wait);
            }
            seen.push(look);
        }
        if is_true {
            seen.iter().for_each(Look::check_bytes);
        }
        seen
    }
}

struct World {
    cache: Cache,
    route: Route,
    own: Pass,
    stranger: Pass,
}

/// What one look into the cache found.
#[derive(Debug)]
struct Look {
    is_kept: bool,
    /// How long it is still fresh, if it is.
    left: Option<Duration>,
    note: Option<Note>,
    answer: Option<Response<Bytes>>,
    slot: Option<Slot>,
}

impl World {
    fn new() -> Self {
        let clock = Clock::starting_at(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        let doorman = Doorman::new(b"a key for tests", &[], Admittance::Any);
        let pass = |token| {
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_static(token))]);
            doorman.admit(&headers).unwrap()
        };
        let route = router(Kind::Generic).find(Scheme::Https, &request(0, OWN, &HeaderMap::new())).unwrap();
        Self { cache: cache(Mode::On, clock), route, own: pass(OWN), stranger: pass(STRANGER) }
    }

    async fn look(&self, head: &Parts, pass: &Pass) -> Look {
        let asked = (head, Carries::Nothing);
        let (response, note, slot) =
            match self.cache.lookup(&self.route, pass, asked, &|| Duration::ZERO).await {
                Lookup::Fetch(slot) | Lookup::Prove(slot) => (None, None, Some(slot)),
                Lookup::Ready(response, note) => (Some(response), Some(note), None),
                Lookup::Stale(response, note, slot) => (Some(response), Some(note), Some(slot)),
                Lookup::Unanswerable => (None, None, None),
            };
        let left = match note {
            Some(Note::Hit(left)) => Some(left).filter(|left| !left.is_zero()),
            _ => None,
        };
        let is_kept = response.is_some();
        let answer = match response {
            Some(response) => Some(whole(response).await),
            None => None,
        };
        Look { is_kept, left, note, answer, slot }
    }

    async fn settle(&self, slot: Slot, head: &Parts, status: StatusCode, fields: &HeaderMap) {
        let mut slot = slot;
        // An upstream that is asked plainly after a useless answer says the same again.
        for _ in 0..2 {
            let question = self.cache.question(&slot, head).unwrap_or_else(|| head.clone());
            let answer = answer(&question.method, status, fields);
            match self.cache.settle(slot, head, answer, Instant::now()) {
                Settled::Answer(response, _) => {
                    whole(response).await;
                    return;
                }
                Settled::Again(again) => slot = again,
            }
        }
        panic!("asked plainly, and asked again");
    }
}

impl Look {
    fn told(&self) -> impl PartialEq + std::fmt::Debug {
        let answer = self.answer.as_ref();
        (self.note, answer.map(|answer| (answer.status(), answer.headers().clone(), answer.body().clone())))
    }

    /// Time has passed since `before`, and nothing else.
    fn check_against(&self, before: &Self, wait: Duration) {
        assert!(before.is_kept || !self.is_kept, "what was not served is: {before:?} {self:?}");
        // The client's own limit may end it before.
        if !self.is_kept {
            return;
        }
        let left = before.left.and_then(|left| left.checked_sub(wait)).filter(|left| !left.is_zero());
        assert_eq!(self.left, left, "what is left: {before:?} {self:?}");
        if let (Some(before), Some(now)) = (before.age(), self.age()) {
            assert_eq!(now, before + wait.as_secs(), "an age");
        }
    }

    fn age(&self) -> Option<u64> {
        let mut stated = self.answer.as_ref()?.headers().get_all(header::AGE).iter();
        let age = stated.next().map(|age| age.to_str().unwrap().parse().unwrap());
        assert!(age.is_some() && stated.next().is_none(), "one age: {self:?}");
        age
    }

    /// The whole, a part that is where it says it is, or nothing.
    fn check_bytes(&self) {
        let Some(answer) = &self.answer else { return };
        let body = answer.body();
        match answer.status().as_u16() {
            206 => {
                let range =
                    answer.headers().get(header::CONTENT_RANGE).and_then(|range| part(range.as_bytes()));
                // Several parts at once have a form of their own.
                if let Some(range) = range {
                    assert_eq!(body, &WHOLE[range], "{self:?}");
                }
            }
            304 | 412 | 416 => assert!(body.is_empty(), "{self:?}"),
            _ => assert!(body == WHOLE || body.is_empty(), "{self:?}"),
        }
    }
}

async fn whole(response: Response<Body>) -> Response<Bytes> {
    let (head, body) = response.into_parts();
    Response::from_parts(head, body.collect().await.unwrap().to_bytes())
}

fn request(how: u8, token: &'static str, fields: &HeaderMap) -> Parts {
    let method = if how & 0x80 == 0 { Method::GET } else { Method::HEAD };
    let mut head = Request::builder()
        .method(method)
        .uri("/x")
        .header("host", "localhost")
        .body(())
        .unwrap()
        .into_parts()
        .0;
    head.headers.extend(fields.clone());
    head.headers.insert(header::AUTHORIZATION, HeaderValue::from_static(token));
    head
}

fn status(byte: u8) -> StatusCode {
    StatusCode::from_u16(STATUSES[usize::from(byte & 0x7f) % STATUSES.len()]).unwrap()
}

/// What the upstream sends: the same ten bytes, whatever it says about them.
fn answer(asked: &Method, status: StatusCode, fields: &HeaderMap) -> Response<Body> {
    let range = fields.get(header::CONTENT_RANGE).and_then(|range| part(range.as_bytes()));
    let body = match (status, range) {
        (StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED, _) => &[][..],
        (StatusCode::PARTIAL_CONTENT, Some(range)) => &WHOLE[range],
        _ => WHOLE,
    };
    let mut response = Response::new(Body::whole(if asked == Method::HEAD { &[] } else { body }));
    *response.status_mut() = status;
    *response.headers_mut() = fields.clone();
    response.headers_mut().insert(header::CONTENT_LENGTH, body.len().into());
    response
}

/// Whether such an answer says of its bytes what is true.
fn is_true(status: StatusCode, fields: &HeaderMap) -> bool {
    let mut ranges = fields.get_all(header::CONTENT_RANGE).iter();
    let is_part =
        ranges.next().is_some_and(|range| part(range.as_bytes()).is_some()) && ranges.next().is_none();
    status != StatusCode::PARTIAL_CONTENT || is_part
}

/// `bytes 2-4/10` as a range of the whole.
fn part(text: &[u8]) -> Option<std::ops::RangeInclusive<usize>> {
    let (first, last) =
        std::str::from_utf8(text).ok()?.strip_prefix("bytes ")?.strip_suffix("/10")?.split_once('-')?;
    let (first, last) = (wire::decimal(first.as_bytes())?, wire::decimal(last.as_bytes())?);
    (first <= last && last < WHOLE.len()).then_some(first..=last)
}

/// Whether nobody can read the answer as one that may be kept.
fn is_unstorable(answer: &HeaderMap) -> bool {
    let lines: Vec<_> = answer.get_all(header::CACHE_CONTROL).iter().map(HeaderValue::as_bytes).collect();
    let all = lines.join(&b","[..]).to_ascii_lowercase();
    let is_plain = !all.contains(&b'"') && wire::find(&all, b"must-understand").is_none();
    is_plain
        && !answer.contains_key("cdn-cache-control")
        && all.split(|byte| *byte == b',').any(|member| member.trim_ascii() == b"no-store")
}

/// Whether the answer says anything that makes it everybody's (RFC 9111 §3.5).
fn is_shared(answer: &HeaderMap) -> bool {
    let lines = ["cache-control", "cdn-cache-control"].into_iter().flat_map(|name| answer.get_all(name));
    let said = |line: &HeaderValue| {
        let line = line.as_bytes().to_ascii_lowercase();
        [&b"public"[..], b"s-maxage", b"must-revalidate"].iter().any(|word| wire::find(&line, word).is_some())
    };
    lines.into_iter().any(said)
}

const OWN: &str = "Bearer a";
const STRANGER: &str = "Bearer b";
const WHOLE: &[u8] = b"0123456789";

const STATUSES: [u16; 12] = [200, 206, 304, 404, 203, 204, 301, 302, 410, 416, 500, 503];

const ANSWER: [&str; 16] = [
    "cache-control",
    "cdn-cache-control",
    "expires",
    "age",
    "date",
    "vary",
    "content-range",
    "etag",
    "last-modified",
    "pragma",
    "content-location",
    "content-language",
    "content-type",
    "connection",
    "set-cookie",
    "accept-ranges",
];

const REQUEST: [&str; 11] = [
    "cache-control",
    "range",
    "if-none-match",
    "if-modified-since",
    "if-range",
    "if-match",
    "if-unmodified-since",
    "accept-language",
    "accept-encoding",
    "pragma",
    "accept",
];
