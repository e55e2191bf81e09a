//! Holds whom the cache answers, when it asks for a proof, what it never keeps, and who shares a fetch.

use super::*;

use http::{HeaderMap, Request, header};
use http_body_util::BodyExt;

use crate::admit::Doorman;
use crate::route::{Hosts, Router, RouterSettings};
use crate::words::{Base, Scheme};

mod contents;
mod flights;
mod isolation;
mod standard;

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const CONTENT: &str = "/v1/contents/Y2lzY29zcGFyazovL3VzL0NPTlRFTlQvMQ";

/// One cache, asked in virtual time by any number of tokens.
pub(super) struct World {
    pub(super) cache: Cache,
    kind: Kind,
}

/// A request of one token, as the path carries it from room to room.
pub(super) struct Asked {
    pub(super) route: Route,
    pub(super) head: Parts,
    pub(super) found: Lookup,
}

pub(super) fn head(method: &str, path: &str, fields: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

pub(super) fn answer(status: u16, body: &'static str) -> Response<Body> {
    let mut answer = plain(status, body);
    answer.headers_mut().insert(header::CACHE_CONTROL, "no-cache".parse().unwrap());
    answer.headers_mut().insert(header::CONTENT_TYPE, "image/png".parse().unwrap());
    answer
}

pub(super) fn plain(status: u16, body: &'static str) -> Response<Body> {
    Response::builder()
        .status(status)
        .header(header::CONTENT_LENGTH, body.len())
        .body(Body::whole(body))
        .unwrap()
}

pub(super) fn with(mut answer: Response<Body>, fields: &[(&'static str, &str)]) -> Response<Body> {
    for (name, value) in fields {
        answer.headers_mut().append(*name, value.parse().unwrap());
    }
    answer
}

pub(super) fn settings() -> CacheSettings {
    CacheSettings {
        mode: Mode::On,
        memory: 1 << 20,
        max_entry: 1 << 16,
        fill: 1 << 17,
        finish_percent: 50,
        proof_ttl: SECOND * 60,
        rules: HashMap::new(),
        disk_from: u64::MAX,
    }
}

pub(super) async fn text(response: Response<Body>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

impl World {
    pub(super) fn webex() -> Self {
        Self::new(settings(), Kind::Webex)
    }

    pub(super) fn new(settings: CacheSettings, kind: Kind) -> Self {
        Self { cache: Cache::new(settings, None, Clock::system()), kind }
    }

    pub(super) fn route(&self, head: &Parts) -> Route {
        let router = Router::new(RouterSettings {
            upstream: Base { scheme: Scheme::Https, authority: "webexapis.com".parse().unwrap() },
            aliases: Vec::new(),
            kind: self.kind,
            hosts: Hosts::Any,
            public_base: None,
            via: "tollgate-1".into(),
            max_uri_bytes: 8192,
            max_fields: 64,
        });
        router.find(Scheme::Https, head).unwrap()
    }

    pub(super) async fn ask(&self, token: &str, method: &str, path: &str, fields: &[(&str, &str)]) -> Asked {
        let mut head = head(method, path, fields);
        head.headers.insert(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
        let pass = Doorman::new(b"key", &[], crate::admit::Admittance::Any).admit(&head.headers).unwrap();
        let route = self.route(&head);
        let found = self.cache.lookup(&route, &pass, (&head, Carries::Nothing), &|| SECOND * 25).await;
        Asked { route, head, found }
    }

    /// Hands the upstream's answer to a request that had to go there.
    pub(super) fn settle(&self, asked: Asked, upstream: Response<Body>) -> (Response<Body>, Note) {
        let Lookup::Fetch(slot) = asked.found else { panic!("not a fetch: {:?}", asked.found) };
        let now = self.cache.shared.clock.now();
        match self.cache.settle(slot, &asked.head, upstream, now) {
            Settled::Answer(response, note) => (response, note),
            Settled::Again(_) => panic!("asked in vain"),
        }
    }

    /// Hands the upstream's answer to a HEAD to a request that needs a proof.
    pub(super) async fn prove(&self, asked: Asked, upstream: Response<Body>) -> Proved {
        let Lookup::Prove(slot) = asked.found else { panic!("not a proof: {:?}", asked.found) };
        let answered = (upstream, self.cache.shared.clock.now());
        self.cache.prove(slot, (&asked.route, &asked.head), answered, SECOND * 25).await
    }

    /// Fetches and reads the answer to its end.
    pub(super) async fn fetch(
        &self,
        token: &str,
        method: &str,
        path: &str,
        upstream: Response<Body>,
    ) -> (String, Note) {
        let asked = self.ask(token, method, path, &[]).await;
        let (response, note) = self.settle(asked, upstream);
        (text(response).await, note)
    }

    /// The answer that needs no call.
    pub(super) async fn ready(
        &self,
        token: &str,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
    ) -> (HeaderMap, String, Note) {
        match self.ask(token, method, path, fields).await.found {
            Lookup::Ready(response, note) => {
                let headers = response.headers().clone();
                (headers, text(response).await, note)
            }
            other => panic!("a call is needed: {other:?}"),
        }
    }

    pub(super) async fn is_hit(&self, token: &str, method: &str, path: &str) -> bool {
        matches!(self.ask(token, method, path, &[]).await.found, Lookup::Ready(..))
    }
}

pub(super) async fn pass(time: Duration) {
    tokio::time::advance(time).await;
}
