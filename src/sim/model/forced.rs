//! Answers that the control plane ordered, and the one that a request gets.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use http::header::{HeaderName, HeaderValue};
use http::{Request, StatusCode, header};
use serde::Deserialize;
use serde_json::Value;

use super::payload::Payload;
use super::reply::{JSON, Refusal, Reply, text};
use super::{Answer, Close};

/// Orders kept at most.
const MAX_ORDERS: usize = 10_000;

/// One order; what is not said is as the model would answer.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forced {
    /// The path, exactly, or its beginning and `*`. Absent: any but the control plane's.
    path: Option<String>,
    /// What the query string must contain.
    query: Option<String>,
    method: Option<String>,
    /// The e-mail address of the user.
    user: Option<String>,
    status: Option<u16>,
    /// How many requests it answers.
    #[serde(default = "one")]
    n: u32,
    /// How many matching requests pass first.
    #[serde(default)]
    skip: u32,
    /// `null` takes a header away; a list repeats it.
    #[serde(default)]
    headers: BTreeMap<String, Value>,
    /// Text as it is, anything else as JSON.
    body: Option<Value>,
    /// The gateway's page instead of the error shape.
    #[serde(default)]
    html: bool,
    #[serde(default)]
    close: CloseWord,
    /// Bytes of the body before the connection breaks.
    truncate: Option<u64>,
    #[serde(default)]
    delay_ms: u64,
    /// Silence in the answer's body, after `pause_after` bytes of it.
    #[serde(default)]
    pause_ms: u64,
    #[serde(default)]
    pause_after: u64,
    #[serde(default)]
    when: When,
    /// With `when: half`: bytes of the request body read before the answer. Absent: half of `Content-Length`.
    after_bytes: Option<u64>,
}

/// How the connection ends, in the words of the control plane.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum CloseWord {
    Before,
    Headers,
    #[default]
    None,
    Reset,
    Stream,
}

/// At which point of the request body the answer comes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum When {
    #[default]
    End,
    Half,
    Head,
}

/// An answer that does not wait for the whole request body.
#[derive(Debug)]
pub struct Early {
    /// What is answered.
    pub answer: Answer,
    /// How many bytes of the body are read before.
    pub after_bytes: u64,
}

/// The orders in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Orders(VecDeque<Forced>);

impl Orders {
    /// Adds an order; the oldest goes if there are too many.
    pub(super) fn add(&mut self, order: Forced) {
        if self.0.len() >= MAX_ORDERS {
            self.0.pop_front();
        }
        self.0.push_back(order);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The order for this request, one use of it spent.
    pub(super) fn take<B>(&mut self, request: &Request<B>, email: &str, is_end: bool) -> Option<Forced> {
        let at = self.0.iter_mut().position(|order| {
            let matches = (order.when == When::End) == is_end && order.matches(request, email);
            let is_due = matches && order.skip == 0;
            if matches {
                order.skip = order.skip.saturating_sub(1);
            }
            is_due
        })?;
        let order = self.0.get_mut(at)?;
        order.n = order.n.saturating_sub(1);
        let taken = order.clone();
        if order.n == 0 {
            self.0.remove(at);
        }
        Some(taken)
    }
}

impl Forced {
    fn matches<B>(&self, request: &Request<B>, email: &str) -> bool {
        let path = request.uri().path();
        let query = request.uri().query().unwrap_or_default();
        self.path.as_ref().is_none_or(|wanted| match wanted.strip_suffix('*') {
            Some(beginning) => path.starts_with(beginning),
            None => path == wanted,
        }) && self.query.as_ref().is_none_or(|part| query.contains(part.as_str()))
            && self
                .method
                .as_ref()
                .is_none_or(|method| method.eq_ignore_ascii_case(request.method().as_str()))
            && self.user.as_ref().is_none_or(|user| user.eq_ignore_ascii_case(email))
    }

    /// The ordered answer; `None` if the model's own answer is to be used.
    pub(super) fn reply(&self, tracking_id: &str) -> Option<Reply> {
        let status = self.status.and_then(|status| StatusCode::from_u16(status).ok());
        if status.is_none() && self.body.is_none() && !self.html {
            return None;
        }
        let status = status.unwrap_or(StatusCode::OK);
        let reply = match &self.body {
            Some(body) => {
                let (media_type, bytes) = match body {
                    Value::String(text) if self.html => ("text/html", text.clone()),
                    Value::String(text) => (JSON, text.clone()),
                    other => (JSON, other.to_string()),
                };
                Reply::content(media_type, Payload::Whole(bytes.into()))
            }
            None if self.html => Reply::html(status),
            None if status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED => {
                Reply::no_content()
            }
            None => {
                let reason = status.canonical_reason().unwrap_or("Error");
                Refusal::new(status, reason).into_reply(tracking_id)
            }
        };
        Some(Reply { status, ..reply })
    }

    /// Puts the ordered headers, delay and break on an answer.
    pub(super) fn shape(&self, answer: &mut Answer) {
        let headers = answer.response.headers_mut();
        for (name, value) in &self.headers {
            let Ok(name) = HeaderName::try_from(name.as_str()) else { continue };
            let values: Vec<HeaderValue> = match value {
                Value::Null => Vec::new(),
                Value::String(value) => vec![text(value)],
                Value::Array(values) => values.iter().filter_map(Value::as_str).map(text).collect(),
                other => vec![text(&other.to_string())],
            };
            headers.remove(&name);
            for value in values {
                headers.append(&name, value);
            }
        }
        answer.delay = Duration::from_millis(self.delay_ms);
        answer.pause = (self.pause_ms > 0).then(|| (self.pause_after, Duration::from_millis(self.pause_ms)));
        answer.close = match (self.close, self.truncate) {
            (CloseWord::None, Some(bytes)) => Close::After(bytes),
            (CloseWord::None, None) => Close::Never,
            (CloseWord::Before, _) => Close::Before,
            (CloseWord::Headers, _) => Close::After(0),
            (CloseWord::Reset, _) => Close::Reset,
            (CloseWord::Stream, _) => Close::Stream,
        };
    }

    /// How much of the request body is read before this answer.
    pub(super) fn after_bytes<B>(&self, request: &Request<B>) -> u64 {
        let length = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        let half = length.and_then(|value| value.parse::<u64>().ok()).unwrap_or(0) / 2;
        if self.when == When::Half { self.after_bytes.unwrap_or(half) } else { 0 }
    }
}

fn one() -> u32 {
    1
}
