//! The model as a client sees it, in virtual time.

mod contents;
mod endpoints;
mod forced;
mod limits;
mod paging;
mod parsers;
mod uploads;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};

use super::{Answer, Model};
use crate::sim::settings::SimSettings;

/// A model and the time it is.
struct Sim {
    model: Model,
    now: SystemTime,
}

impl Sim {
    fn with(settings: SimSettings) -> Self {
        // A whole number of windows of any length that the tests use.
        let now = UNIX_EPOCH + Duration::from_secs(1_700_000_040 / 60 * 60);
        Self { model: Model::new(settings, now), now }
    }

    fn unlimited() -> Self {
        Self::with(SimSettings::unlimited())
    }

    fn advance(&mut self, time: Duration) {
        self.now += time;
    }

    fn control(&mut self, call: &str, body: Value) -> Value {
        self.model.control(&Method::POST, (call, ""), body, self.now).unwrap()
    }

    fn look(&mut self, call: &str) -> Value {
        self.model.control(&Method::GET, (call, ""), Value::Null, self.now).unwrap()
    }

    fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.model.answer(&request.body(body.into()).unwrap(), self.now)
    }

    fn get(&mut self, token: &str, path: &str) -> Answer {
        self.send("GET", path, &[("authorization", &format!("Bearer {token}"))], "")
    }

    fn write(&mut self, token: &str, method: &str, path: &str, body: &Value) -> Answer {
        let bearer = format!("Bearer {token}");
        let headers =
            [("authorization", bearer.as_str()), ("content-type", "application/json; charset=utf-8")];
        self.send(method, path, &headers, body.to_string())
    }

    /// The body of a call that must succeed.
    fn made(&mut self, token: &str, path: &str, body: &Value) -> Value {
        let answer = self.write(token, "POST", path, body);
        assert_eq!(answer.response.status(), 200, "{}", body_of(&answer));
        body_of(&answer)
    }

    /// A room of Alice and Bob.
    fn room(&mut self) -> String {
        let members = ["alice@example.com", "bob@example.com"];
        word(&self.control("rooms", json!({"title": "Test", "members": members})), "id")
    }
}

fn body_of(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.response.body().to_bytes()).unwrap_or(Value::Null)
}

fn word(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

fn status(answer: &Answer) -> u16 {
    StatusCode::as_u16(&answer.response.status())
}
