//! What is noted of a request: who asked, under which tracking id, with which headers but for credentials.

use std::collections::BTreeMap;
use std::time::SystemTime;

use http::{Method, Request, header};

use super::ids::token_mark;
use super::ledger::Entry;
use super::reply::Wrapping;
use super::{Answer, Model, people, route, stamp, world};

impl Model {
    pub(super) fn user<B>(&mut self, request: &Request<B>, now: SystemTime) -> Option<String> {
        people::owner(&mut self.world, request.headers(), now).ok()
    }

    pub(super) fn email(&self, user: Option<&str>) -> String {
        let person = user.and_then(|user| self.world.people.find(user));
        person.map(world::Person::email).unwrap_or_default()
    }

    pub(super) fn tracking_id<B>(&mut self, request: &Request<B>) -> String {
        let sent = request.headers().get("trackingid").and_then(|value| value.to_str().ok());
        match sent {
            Some(sent) => sent.to_owned(),
            None => format!("ROUTER_{}", self.tracking.uuid().to_string().to_uppercase()),
        }
    }

    pub(super) fn wrapping<B>(&self, request: &Request<B>, tracking_id: String, now: SystemTime) -> Wrapping {
        let codings = request.headers().get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
        let accepts =
            codings.is_some_and(|codings| codings.contains("gzip") && !codings.contains("gzip;q=0"));
        let is_head = request.method() == Method::HEAD;
        Wrapping { tracking_id, now, is_head, may_pack: self.settings.gzip && accepts }
    }

    pub(super) fn entry<B>(
        &self,
        request: &Request<B>,
        user: Option<&str>,
        tracking_id: &str,
        now: SystemTime,
    ) -> Entry {
        let headers = request.headers();
        let shown = headers.iter().fold(BTreeMap::new(), |mut all, (name, value)| {
            let is_secret =
                matches!(*name, header::AUTHORIZATION | header::COOKIE | header::PROXY_AUTHORIZATION);
            let value = if is_secret { "(hidden)".into() } else { String::from_utf8_lossy(value.as_bytes()) };
            let line: &mut String = all.entry(name.as_str().to_owned()).or_default();
            if !line.is_empty() {
                line.push_str(", ");
            }
            line.push_str(&value);
            all
        });
        let host = request.uri().authority().map(|authority| authority.to_string());
        let at_ms = stamp::since_epoch(now).as_millis();
        Entry {
            at_ms: u64::try_from(at_ms).unwrap_or(u64::MAX),
            method: request.method().to_string(),
            path: request.uri().path().to_owned(),
            query: request.uri().query().unwrap_or_default().to_owned(),
            host: host.or_else(|| shown.get("host").cloned()).unwrap_or_default(),
            version: format!("{:?}", request.version()),
            user: self.email(user),
            token: people::bearer(headers).map(token_mark).unwrap_or_default(),
            family: route::family(&route::segments(request.uri().path())),
            tracking_id: tracking_id.to_owned(),
            headers: shown,
            ..Entry::default()
        }
    }

    pub(super) fn record(&mut self, entry: Entry, answer: &Answer) {
        let retry_after = answer.response.headers().get(header::RETRY_AFTER);
        self.ledger.add(Entry {
            status: answer.response.status().as_u16(),
            retry_after: retry_after.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()),
            reply_bytes: answer.response.body().len(),
            ..entry
        });
    }
}
