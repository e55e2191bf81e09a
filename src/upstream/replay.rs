//! Decides which requests may be sent again after what happened (GATE.md 8).

use http::Method;

use crate::route::Route;

/// What happened to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReplayEvent {
    /// 502, 503, 504, a reset or a timeout after sending; each replay also needs the retry budget.
    Fault,
    /// The head of an answer went to the client.
    HeadersSent,
    /// 423 with Retry-After: the attachment is still being scanned.
    Locked,
    /// No byte reached the API, or it said that it ignored the request.
    NeverSent,
    /// 429.
    Throttled,
}

/// Whether the request may be sent again, as far as the API's state is concerned; body, budget and deadline have
/// their own say.
pub fn may_replay(event: ReplayEvent, method: &Method, route: &Route) -> bool {
    let effect = effect(method);
    match event {
        ReplayEvent::NeverSent => true,
        ReplayEvent::HeadersSent => false,
        ReplayEvent::Throttled => effect != Effect::Unknown && !is_once_only(route),
        ReplayEvent::Locked => effect == Effect::Safe && route.id().as_str() == CONTENTS,
        ReplayEvent::Fault => effect == Effect::Safe && !has_side_effect(route),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    Safe,
    /// PUT and DELETE repeat badly too: a repeated DELETE answers 404, an edit burns one of ten.
    Writes,
    Unknown,
}

fn effect(method: &Method) -> Effect {
    match *method {
        Method::GET | Method::HEAD | Method::OPTIONS => Effect::Safe,
        Method::DELETE | Method::PATCH | Method::POST | Method::PUT => Effect::Writes,
        _ => Effect::Unknown,
    }
}

/// A code is good for one use, and a device must not act late.
fn is_once_only(route: &Route) -> bool {
    matches!(route.id().as_str(), "/v1/access_token" | "/v1/xapi/command/{id}")
        || route.target().path().starts_with("/v1/xapi/command/")
}

/// `allow=` changes what the API lets through. An encoded key could be that word.
fn has_side_effect(route: &Route) -> bool {
    let query = route.target().query().unwrap_or_default();
    query
        .split('&')
        .map(|pair| pair.split('=').next().unwrap_or_default())
        .any(|key| key.eq_ignore_ascii_case("allow") || key.contains('%'))
}

const CONTENTS: &str = "/v1/contents/{id}";

#[cfg(test)]
mod tests {
    use http::Request;
    use http::uri::Authority;

    use super::*;
    use crate::route::{Hosts, Kind, Router, RouterSettings};
    use crate::words::{Base, Scheme};

    fn route(method: &Method, path: &str) -> Route {
        let router = Router::new(RouterSettings {
            upstream: Base { scheme: Scheme::Https, authority: Authority::from_static("webexapis.com") },
            aliases: Vec::new(),
            kind: Kind::Webex,
            hosts: Hosts::Any,
            public_base: None,
            via: "tollgate-test".into(),
            max_uri_bytes: 8192,
            max_fields: 64,
        });
        let request =
            Request::builder().method(method).uri(path).header("host", "localhost").body(()).unwrap();
        router.find(Scheme::Https, &request.into_parts().0).unwrap()
    }

    fn check(event: ReplayEvent, methods: &str, path: &str, expected: bool) {
        for name in methods.split(' ') {
            let method = Method::from_bytes(name.as_bytes()).unwrap();
            let found = may_replay(event, &method, &route(&method, path));
            assert_eq!(found, expected, "{event:?} {name} {path}");
        }
    }

    #[test]
    fn each_row_of_the_table_is_kept() {
        use ReplayEvent::{Fault, HeadersSent, Locked, NeverSent, Throttled};
        const SAFE: &str = "GET HEAD OPTIONS";
        const WRITES: &str = "PUT DELETE POST PATCH";
        for (event, methods, path, expected) in [
            (NeverSent, SAFE, "/v1/messages", true),
            (NeverSent, WRITES, "/v1/messages", true),
            (NeverSent, "PROPFIND", "/v1/messages", true),
            (NeverSent, "POST", "/v1/access_token", true),
            (Throttled, SAFE, "/v1/messages", true),
            (Throttled, WRITES, "/v1/messages", true),
            (Throttled, "PROPFIND", "/v1/messages", false),
            (Throttled, "POST", "/v1/access_token", false),
            (Throttled, "POST", "/v1/xapi/command/Dial", false),
            (Throttled, "POST", "/v1/xapi/command/a/b", false),
            (Throttled, "GET", "/v1/xapi/status", true),
            (Locked, SAFE, "/v1/contents/abc", true),
            (Locked, SAFE, "/v1/contents/abc?allow=dirty", true),
            (Locked, WRITES, "/v1/contents/abc", false),
            (Locked, SAFE, "/v1/messages", false),
            (Fault, SAFE, "/v1/messages?max=10", true),
            (Fault, WRITES, "/v1/messages", false),
            (Fault, "PROPFIND", "/v1/messages", false),
            (Fault, SAFE, "/v1/contents/abc?allow=dirty", false),
            (Fault, SAFE, "/v1/contents/abc?x=1&ALLOW=dirty", false),
            (Fault, SAFE, "/v1/contents/abc?%61llow=dirty", false),
            (HeadersSent, SAFE, "/v1/messages", false),
            (HeadersSent, WRITES, "/v1/messages", false),
        ] {
            check(event, methods, path, expected);
        }
    }
}
