//! A cache of one URI in front of a scripted origin, as the store will build it from the rules; time is a number.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::request::Parts;
use http::response::Parts as Answer;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use tokio::time::Instant;

use super::super::*;

pub(super) struct World {
    start: Instant,
    wall: SystemTime,
    elapsed: Duration,
    pub(super) kept: Vec<(Arc<Stored>, Audience, Vec<u8>)>,
    asked: usize,
}

/// What the client saw.
pub(super) struct Seen {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    /// What the origin was asked, if it was.
    pub(super) asked: Option<Parts>,
}

/// What the origin does.
#[derive(Clone)]
pub(super) enum Origin {
    Breaks,
    Says(u16, String, Vec<u8>),
    /// Answers conditions that name its tag or date with a 304.
    Validates(String, Vec<u8>),
}

impl Seen {
    pub(super) fn is_cached(&self) -> bool {
        self.asked.is_none()
    }

    pub(super) fn field(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000),
            elapsed: Duration::ZERO,
            kept: Vec::new(),
            asked: 0,
        }
    }

    pub(super) fn wait(&mut self, seconds: u64) -> &mut Self {
        self.elapsed += Duration::from_secs(seconds);
        self
    }

    pub(super) fn now(&self) -> Instant {
        self.start + self.elapsed
    }

    pub(super) fn timing(&self) -> Timing {
        Timing { asked_at: self.now(), received_at: self.now(), received_wall: self.wall + self.elapsed }
    }

    /// Fields, one per line; `@N` is the date N seconds from now.
    pub(super) fn fields(&self, text: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').unwrap();
            let value = value.trim();
            let value = match value.strip_prefix('@') {
                Some(offset) => {
                    let at = 1_800_000_000
                        + i64::try_from(self.elapsed.as_secs()).unwrap()
                        + offset.parse::<i64>().unwrap();
                    httpdate::fmt_http_date(
                        SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(at).unwrap()),
                    )
                }
                None => value.to_owned(),
            };
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        headers
    }

    pub(super) fn request(&self, method: &str, text: &str) -> Parts {
        let (mut parts, ()) =
            Request::builder().method(method).uri("http://origin.test/test/1").body(()).unwrap().into_parts();
        parts.headers = self.fields(text);
        parts
    }

    pub(super) fn response(&self, status: u16, text: &str) -> Answer {
        let (mut parts, ()) = Response::builder().status(status).body(()).unwrap().into_parts();
        parts.headers = self.fields(text);
        parts
    }

    pub(super) fn get(&mut self, request: &str, origin: &Origin) -> Seen {
        self.ask("GET", request, origin)
    }

    pub(super) fn ask(&mut self, method: &str, request: &str, origin: &Origin) -> Seen {
        let request = self.request(method, request);
        let visible: Vec<_> = (0..self.kept.len())
            .filter(|at| {
                self.kept[*at].1 == Audience::Shared || request.headers.contains_key(header::AUTHORIZATION)
            })
            .collect();
        let list: Vec<_> = visible.iter().map(|at| Arc::clone(&self.kept[*at].0)).collect();
        match judge(&list, &request, self.now()) {
            Verdict::Serve(index) => self.serve(visible[index], &request, None),
            Verdict::ServeAndRefresh(index) => {
                let seen = self.serve(visible[index], &request, None);
                self.fetch(&request, question(&list[index], &request), Some(visible[index]), origin);
                seen
            }
            Verdict::Validate(index, _) => {
                self.fetch(&request, question(&list[index], &request), Some(visible[index]), origin)
            }
            Verdict::Complete(index) => {
                self.fetch(&request, continuation(&list[index], &request), Some(visible[index]), origin)
            }
            Verdict::Miss(Why::VaryMiss) => {
                self.fetch(&request, question_of_variants(&list, &request), None, origin)
            }
            Verdict::Miss(_) => self.fetch(&request, request.clone(), None, origin),
            Verdict::Unanswerable => Seen {
                status: StatusCode::GATEWAY_TIMEOUT,
                headers: HeaderMap::new(),
                body: Vec::new(),
                asked: None,
            },
        }
    }

    fn serve(&self, at: usize, request: &Parts, asked: Option<Parts>) -> Seen {
        let (stored, _, body) = &self.kept[at];
        let reply = answer(stored, request, self.now());
        let body = match reply.content {
            Content::Nothing => Vec::new(),
            Content::Slice(range) => {
                body[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()].to_vec()
            }
            Content::Whole => body.clone(),
        };
        Seen { status: reply.status, headers: reply.headers, body, asked }
    }

    fn fetch(&mut self, request: &Parts, asked: Parts, about: Option<usize>, origin: &Origin) -> Seen {
        let Some((response, body)) = self.originate(&asked, origin) else {
            return self.fall_back(request, asked, about, Trouble::Disconnected);
        };
        let timing = self.timing();
        let may_fall_back = about.is_some_and(|at| {
            may_serve_stale(&self.kept[at].0, request, self.now(), Trouble::Status(response.status))
        });
        if may_fall_back {
            return self.fall_back(request, asked, about, Trouble::Status(response.status));
        }
        if let Some(at) = about {
            let stored = Arc::clone(&self.kept[at].0);
            let confirmed = match response.status {
                StatusCode::NOT_MODIFIED => merge(&stored, request, &response, &timing),
                StatusCode::OK if request.method == Method::HEAD => {
                    update_head(&stored, request, &response, &timing)
                }
                _ => None,
            };
            if let Some(confirmed) = confirmed {
                let body = self.kept[at].2.clone();
                let audience = confirmed.audience.unwrap_or(Audience::Tenant);
                self.kept[at] = (Arc::new(confirmed.stored), audience, body);
                let seen = self.serve(at, request, Some(asked));
                if confirmed.audience.is_none() {
                    self.kept.remove(at);
                }
                return seen;
            }
            if let Joined::Rest(joined, audience) = combine(&stored, request, &response, &timing) {
                let mut whole = self.kept[at].2.clone();
                whole.extend(&body);
                self.insert(request, *joined, audience, &whole);
                return self.serve(self.kept.len() - 1, request, Some(asked));
            }
        }
        if let Some(at) = about.filter(|at| refutes(&self.kept[*at].0, &response)) {
            self.kept.remove(at);
        }
        if invalidates(&request.method, response.status) {
            self.kept.clear();
        }
        if let Some((stored, audience)) = keep(request, &response, &timing) {
            self.insert(request, stored, Some(audience), &body);
        }
        Seen { status: response.status, headers: response.headers, body, asked: Some(asked) }
    }

    fn insert(&mut self, request: &Parts, stored: Stored, audience: Option<Audience>, body: &[u8]) {
        let bytes = u64::try_from(body.len()).unwrap();
        if let (Some(stored), Some(audience)) = (stored.finished(bytes), audience) {
            self.kept.retain(|(old, ..)| !old.is_replaced_by(&stored, request));
            self.kept.push((Arc::new(stored), audience, body.to_vec()));
        }
    }

    fn fall_back(&self, request: &Parts, asked: Parts, about: Option<usize>, trouble: Trouble) -> Seen {
        match about.filter(|at| may_serve_stale(&self.kept[*at].0, request, self.now(), trouble)) {
            Some(at) => self.serve(at, request, None),
            None => Seen {
                status: StatusCode::BAD_GATEWAY,
                headers: HeaderMap::new(),
                body: Vec::new(),
                asked: Some(asked),
            },
        }
    }

    fn originate(&mut self, asked: &Parts, origin: &Origin) -> Option<(Answer, Vec<u8>)> {
        self.asked += 1;
        let (mut answer, mut body) = match origin {
            Origin::Breaks => return None,
            Origin::Says(status, fields, body) => (self.response(*status, fields), body.clone()),
            Origin::Validates(fields, body) => {
                let fresh = self.response(200, fields);
                let is = |condition: HeaderName, kept| {
                    asked.headers.get(condition).is_some_and(|asked| Some(asked) == fresh.headers.get(kept))
                };
                let holds = is(header::IF_NONE_MATCH, header::ETAG)
                    || is(header::IF_MODIFIED_SINCE, header::LAST_MODIFIED);
                if holds { (self.response(304, fields), Vec::new()) } else { (fresh, body.clone()) }
            }
        };
        if asked.method == Method::HEAD {
            body.clear();
        } else if answer.status != StatusCode::NOT_MODIFIED
            && !answer.headers.contains_key(header::CONTENT_LENGTH)
        {
            answer.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        answer.headers.insert("n", HeaderValue::from(self.asked));
        Some((answer, body))
    }
}

pub(super) fn says(fields: &str) -> Origin {
    Origin::Says(200, fields.to_owned(), b"0123456789A".to_vec())
}

pub(super) fn with_status(status: u16, fields: &str) -> Origin {
    Origin::Says(status, fields.to_owned(), b"0123456789A".to_vec())
}

pub(super) fn validates(fields: &str) -> Origin {
    Origin::Validates(fields.to_owned(), b"0123456789A".to_vec())
}

/// Asks, waits, asks again without anything special.
pub(super) fn second(response: &Origin, pause: u64) -> Seen {
    let mut world = World::new();
    world.get("", response);
    world.wait(pause).get("", response)
}
