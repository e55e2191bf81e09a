//! The made-up Webex itself: a request and a time in, an answer out; no clock, no socket.

mod ids;
mod payload;
mod shelf;
mod stamp;
mod query;
mod multipart;
mod world;
mod reply;
mod call;
mod paging;
mod limits;
mod people;
mod memberships;
mod rooms;
mod contents;
mod draft;
mod messages;
mod teams;
mod webhooks;
mod actions;
mod directory;
mod devices;
mod entrance;
mod fixtures;
mod forced;
mod ledger;
mod observe;
mod seeding;
mod control;
mod route;

pub use control::ControlFault;
pub use forced::{Early, Forced};
pub use ids::token_mark;
pub use payload::{Chunks, Payload};

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Request, Response};
use serde_json::{Value, json};

use crate::sim::settings::SimSettings;
use ids::Mint;
use ledger::{Entry, Ledger};
use limits::Limits;
use reply::Reply;
use world::World;

/// The made-up Webex. The same settings, requests and times give the same answers.
#[derive(Debug)]
pub struct Model {
    settings: Arc<SimSettings>,
    world: World,
    limits: Limits,
    orders: forced::Orders,
    ledger: Ledger,
    tracking: Mint,
    wire: Arc<Wire>,
}

/// What is answered, and how.
#[derive(Debug)]
pub struct Answer {
    /// Head and body; a reply to HEAD has the head of the GET and no body.
    pub response: Response<Payload>,
    /// Time to let pass before the first byte.
    pub delay: Duration,
    /// How the connection ends.
    pub close: Close,
    /// A silence in the body: after so many bytes, for so long.
    pub pause: Option<(u64, Duration)>,
}

impl Answer {
    /// An answer that comes at once and whole.
    pub fn plain(response: Response<Payload>) -> Self {
        Self { response, delay: Duration::ZERO, close: Close::Never, pause: None }
    }
}

/// How an answer breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Close {
    /// The connection breaks after the head and so many bytes of the body.
    After(u64),
    /// The connection is closed before any byte.
    Before,
    /// It does not.
    Never,
    /// The connection is reset before any byte.
    Reset,
    /// HTTP/2: only the stream is reset. HTTP/1.1: as `Before`.
    Stream,
}

/// What the sockets count; a model without sockets leaves it at zero.
#[derive(Debug, Default)]
pub struct Wire {
    /// Connections that were opened.
    pub connections: AtomicU64,
    /// TLS handshakes that failed or were given up.
    pub failed_handshakes: AtomicU64,
    /// TLS connections that speak HTTP/2.
    pub h2_connections: AtomicU64,
    /// Connections that are open now.
    pub open_connections: AtomicU64,
    /// Bytes received, TLS included.
    pub received_bytes: AtomicU64,
    /// Bytes sent, TLS included.
    pub sent_bytes: AtomicU64,
    /// Handshakes that were shown the trap.
    pub trapped: AtomicU64,
}

impl Model {
    /// A Webex with the first people and files in it, made at the time `now`.
    pub fn new(settings: SimSettings, now: SystemTime) -> Self {
        let mut world = World::new(settings.seed);
        fixtures::furnish(&mut world, &settings, now);
        Self {
            tracking: Mint::new(!settings.seed),
            world,
            settings: Arc::new(settings),
            limits: Limits::default(),
            orders: forced::Orders::default(),
            ledger: Ledger::default(),
            wire: Arc::default(),
        }
    }

    /// What it is like at the moment.
    pub fn settings(&self) -> &SimSettings {
        &self.settings
    }

    /// The counters of its sockets.
    pub fn wire(&self) -> Arc<Wire> {
        Arc::clone(&self.wire)
    }

    /// Orders an answer for requests to come.
    pub fn force(&mut self, order: Forced) {
        self.orders.add(order);
    }

    /// Requests that were not throttled, and those that were.
    pub fn totals(&self) -> (u64, u64) {
        self.ledger.totals()
    }

    /// What was seen since the last reset, as `GET /_sim/stats` shows it.
    pub fn stats(&self) -> Value {
        let mut stats = self.ledger.stats();
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let wire = json!({
            "connections": read(&self.wire.connections),
            "failed_handshakes": read(&self.wire.failed_handshakes),
            "h2_connections": read(&self.wire.h2_connections),
            "open_connections": read(&self.wire.open_connections),
            "received_bytes": read(&self.wire.received_bytes),
            "sent_bytes": read(&self.wire.sent_bytes),
            "trapped": read(&self.wire.trapped),
        });
        if let Some(stats) = stats.as_object_mut() {
            stats.insert("wire".to_owned(), wire);
        }
        stats
    }

    /// Starts anew: `counters` forgets what was seen, what limits counted and what was ordered; anything else also
    /// what the world became.
    pub fn reset(&mut self, only: Option<&str>, now: SystemTime) {
        self.ledger = Ledger::default();
        self.limits.clear();
        self.orders.clear();
        if only != Some("counters") {
            self.world = World::new(self.settings.seed);
            fixtures::furnish(&mut self.world, &self.settings, now);
        }
    }

    /// The whole answer to a whole request.
    pub fn answer(&mut self, request: &Request<Bytes>, now: SystemTime) -> Answer {
        match self.early(request, now) {
            Some(early) => early.answer,
            None => self.finish(request, now),
        }
    }

    /// The answer that comes before the request body ended, if there is one: ordered, or a 429 at the head.
    pub fn early<B>(&mut self, request: &Request<B>, now: SystemTime) -> Option<Early> {
        if request.uri().path().starts_with("/_sim/") {
            return None;
        }
        let user = self.user(request, now);
        let order = self.orders.take(request, &self.email(user.as_deref()), false);
        let throttled = match (&order, &user) {
            (None, Some(user)) => self.refused_at_head(request, user, now),
            _ => None,
        };
        if order.is_none() && throttled.is_none() {
            return None;
        }
        let tracking_id = self.tracking_id(request);
        let mut entry = self.entry(request, user.as_deref(), &tracking_id, now);
        entry.is_forced = order.is_some();
        entry.throttled_by = throttled.as_ref().map(|throttled| throttled.by.clone());
        let ordered = order.as_ref().and_then(|order| order.reply(&tracking_id));
        let throttled = throttled.map(|throttled| throttled.reply(&self.settings, now, &tracking_id));
        let reply = ordered.or(throttled).unwrap_or_else(Reply::no_content);
        let wrapping = self.wrapping(request, tracking_id, now);
        let mut answer = Answer::plain(reply.wrap(&wrapping));
        let mut after_bytes = 0;
        if let Some(order) = order {
            order.shape(&mut answer);
            after_bytes = order.after_bytes(request);
        }
        self.record(entry, &answer);
        Some(Early { answer, after_bytes })
    }

    /// The answer to a whole request for which [`Model::early`] had none.
    pub fn finish(&mut self, request: &Request<Bytes>, now: SystemTime) -> Answer {
        if let Some(call) = request.uri().path().strip_prefix("/_sim/") {
            return self.controlled(request, call, now);
        }
        let user = self.user(request, now);
        let tracking_id = self.tracking_id(request);
        let mut entry = self.entry(request, user.as_deref(), &tracking_id, now);
        entry.complete = true;
        if !request.body().is_empty() {
            entry.body_bytes = payload::size(request.body());
            entry.sha256 = Some(ids::sha256(std::iter::once(request.body().clone())));
            let boundary = multipart::boundary(request.headers());
            entry.multipart_closed = boundary.map(|boundary| multipart::is_closed(request.body(), &boundary));
        }
        let order = self.orders.take(request, &entry.user, true);
        entry.is_forced = order.is_some();
        let ordered = order.as_ref().and_then(|order| order.reply(&tracking_id));
        let reply = match ordered {
            Some(reply) => reply,
            None => self.dispatch(request, (&tracking_id, now), &mut entry),
        };
        let wrapping = self.wrapping(request, tracking_id, now);
        let mut answer = Answer::plain(reply.wrap(&wrapping));
        if let Some(order) = order {
            order.shape(&mut answer);
        }
        self.record(entry, &answer);
        answer
    }

    /// Records a request whose body broke off after `received` bytes.
    pub fn broken<B>(&mut self, request: &Request<B>, received: u64, now: SystemTime) {
        let user = self.user(request, now);
        let tracking_id = self.tracking_id(request);
        let entry = self.entry(request, user.as_deref(), &tracking_id, now);
        self.ledger.add(Entry { body_bytes: received, ..entry });
    }

    fn controlled(&mut self, request: &Request<Bytes>, call: &str, now: SystemTime) -> Answer {
        let query = request.uri().query().unwrap_or_default();
        let body = match request.body() {
            body if body.is_empty() => Ok(Value::Null),
            body => serde_json::from_slice(body).map_err(|error| ControlFault::Body(error.to_string())),
        };
        let done = body.and_then(|body| self.control(request.method(), (call, query), body, now));
        let reply = match done {
            Ok(value) => Reply::json(&value),
            Err(fault) => {
                Reply { status: fault.status(), ..Reply::json(&json!({"message": fault.to_string()})) }
            }
        };
        let wrapping = self.wrapping(request, String::new(), now);
        Answer::plain(reply.wrap(&wrapping))
    }
}

#[cfg(test)]
mod tests;
