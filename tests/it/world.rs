//! The language of the tests: a made-up Webex, Tollgate before it, bots, and time that passes when everybody waits.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Version};
use http_body::{Body as HttpBody, Frame};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::time::Instant;
use tollgate::body::{Body, BodyError};
use tollgate::clock::Clock;
use tollgate::gate::{Glance, Level, Permit, Scope};
use tollgate::machine::Guard;
use tollgate::metrics::Gauges;
use tollgate::proxy::Proxy;
use tollgate::rewrite::Outbound;
use tollgate::route::RouteId;
use tollgate::server::Arrival;
use tollgate::sim::{Close, Model, SimSettings};
use tollgate::upstream::{Answer, Failed, Transport};
use tollgate::words::{Scheme, Side};

use crate::rooms::Rooms;

/// A world to be: an unlimited Webex and a gate that is open.
pub(crate) fn world() -> Plan {
    Plan { rooms: Rooms::wide(), webex: SimSettings::unlimited() }
}

/// What the world shall be like.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    rooms: Rooms,
    webex: SimSettings,
}

impl Plan {
    /// A setting of the made-up Webex, as its control plane takes it.
    pub(crate) fn webex(mut self, name: &str, value: &str) -> Self {
        self.webex.set(name, value).unwrap();
        self
    }

    /// Tollgate begins with so many requests a second, one by one.
    pub(crate) fn paced(mut self, per_second: f64) -> Self {
        self.rooms.start_rate = per_second;
        self.rooms.burst = 1;
        self
    }

    /// A refusal stops everybody, whatever the evidence.
    pub(crate) fn egress(mut self) -> Self {
        self.rooms.scope = Scope::Fixed(Level::Egress);
        self
    }

    /// Whom a refusal stops.
    pub(crate) fn scope(mut self, scope: Scope) -> Self {
        self.rooms.scope = scope;
        self
    }

    /// So long may a request wait in line.
    pub(crate) fn max_wait(mut self, max_wait: Duration) -> Self {
        self.rooms.max_wait = max_wait;
        self
    }

    /// The operator has answers of this route kept for so long.
    pub(crate) fn rule(mut self, route: &str, ttl: Duration) -> Self {
        let id = RouteId::all().find(|id| id.as_str() == route).unwrap();
        self.rooms.rules.insert(id, ttl);
        self
    }

    /// The world begins; its time is tokio's.
    pub(crate) fn start(self) -> World {
        // A whole number of windows of any length that the tests use.
        let wall = UNIX_EPOCH + Duration::from_secs(1_700_000_040 / 3600 * 3600);
        let clock = Clock::starting_at(wall);
        let model = Arc::new(Mutex::new(Model::new(self.webex, wall)));
        let webex = ModelTransport { model, clock: clock.clone() };
        let proxy = Arc::new(self.rooms.around(webex.clone(), clock));
        let gate = proxy.gate.clone();
        // Ends with the test's runtime.
        tokio::spawn(async move { gate.run().await });
        World { proxy, webex, wall, started_at: Instant::now() }
    }
}

/// A made-up Webex with Tollgate before it. Cloning shares it.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) proxy: Arc<Proxy<ModelTransport>>,
    webex: ModelTransport,
    wall: SystemTime,
    started_at: Instant,
}

impl World {
    /// The bot that holds this token, at Tollgate's own name.
    pub(crate) fn bot(&self, token: &str) -> Bot {
        Bot {
            world: self.clone(),
            token: token.to_owned(),
            host: "localhost:8443".to_owned(),
            headers: HeaderMap::new(),
        }
    }

    /// A call of the made-up Webex's control plane.
    pub(crate) fn control(&self, call: &str, body: Value) -> Value {
        self.webex.lock().control(&Method::POST, (call, ""), body, self.webex.clock.wall()).unwrap()
    }

    /// Orders the answers to requests to come.
    pub(crate) fn force(&self, order: Value) {
        self.control("force", order);
    }

    /// The path of a content of 44,752 bytes that these people may see.
    pub(crate) fn content(&self, members: &[&str]) -> String {
        path_of(&self.control("content", json!({"members": members})))
    }

    /// What Webex saw, oldest first.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        let log = self.webex.lock().control(&Method::GET, ("log", ""), Value::Null, self.wall).unwrap();
        let began_ms = u64::try_from(self.wall.duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
        let seen = |entry: &Value| Seen {
            at: Duration::from_millis(entry["at_ms"].as_u64().unwrap() - began_ms),
            what: format!("{} {}", entry["method"].as_str().unwrap(), entry["path"].as_str().unwrap()),
            status: u16::try_from(entry["status"].as_u64().unwrap()).unwrap(),
            entry: entry.clone(),
        };
        log["items"].as_array().unwrap().iter().map(seen).collect()
    }

    /// Methods and paths that Webex saw.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.what).collect()
    }

    /// The gauges as they are now.
    pub(crate) fn gauges(&self) -> Gauges {
        gauges(self.proxy.gate.glance())
    }

    /// The metrics as Prometheus would read them now.
    pub(crate) fn page(&self) -> String {
        String::from_utf8(self.proxy.metrics.render(&self.gauges(), &self.proxy.doorman.names())).unwrap()
    }

    /// Time since the world began.
    pub(crate) fn now(&self) -> Duration {
        self.started_at.elapsed()
    }

    /// Lets time pass.
    pub(crate) async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

/// A gate's gauges; what a test without sockets lacks is zero.
pub(crate) fn gauges(gate: Glance) -> Gauges {
    Gauges {
        taken_at: Instant::now(),
        gate,
        spool_bytes: 0.0,
        cache: tollgate::cache::Glance::default(),
        connections: 0.0,
        upstream_connections: 0.0,
        tls_handshake_failures: Vec::new(),
        panics: 0,
        machine: Guard::off().glance(),
        certificate_not_after: None,
        share: None,
    }
}

/// The path in the address of a content.
pub(crate) fn path_of(content: &Value) -> String {
    content["url"].as_str().unwrap().strip_prefix("https://webexapis.com").unwrap().to_owned()
}

/// One request as Webex saw it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// Since the world began.
    pub(crate) at: Duration,
    /// Method and path.
    pub(crate) what: String,
    /// What Webex answered.
    pub(crate) status: u16,
    entry: Value,
}

impl Seen {
    /// A header field, if it came.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.entry["headers"][name].as_str()
    }

    /// The e-mail address of whose token it was.
    pub(crate) fn user(&self) -> &str {
        self.entry["user"].as_str().unwrap()
    }

    /// The query string.
    pub(crate) fn query(&self) -> &str {
        self.entry["query"].as_str().unwrap()
    }
}

/// A bot of one token.
#[derive(Debug, Clone)]
pub(crate) struct Bot {
    world: World,
    token: String,
    host: String,
    headers: HeaderMap,
}

impl Bot {
    /// Calls this host.
    pub(crate) fn at(mut self, host: &str) -> Self {
        self.host = host.to_owned();
        self
    }

    /// Sends this field too.
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.append(name, value.parse().unwrap());
        self
    }

    pub(crate) async fn get(&self, path: &str) -> Told {
        self.ask("GET", path).await
    }

    pub(crate) async fn head(&self, path: &str) -> Told {
        self.ask("HEAD", path).await
    }

    /// Sends a request without a body.
    pub(crate) async fn ask(&self, method: &str, path: &str) -> Told {
        self.send(method, path, Body::empty()).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Told {
        let bot = self.clone().with("content-type", "application/json");
        bot.send("POST", path, Body::whole(body.to_string())).await
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn send(&self, method: &str, path: &str, body: Body) -> Told {
        let mut request = Request::builder().method(method).uri(path).header("host", &self.host);
        request = request.header("authorization", format!("Bearer {}", self.token));
        let mut request = request.body(body).unwrap();
        for (name, value) in &self.headers {
            request.headers_mut().append(name, value.clone());
        }
        let peer = ([127, 0, 0, 1], 50_000).into();
        let arrival = Arrival { scheme: Scheme::Https, peer, version: Version::HTTP_11 };
        let (head, body) = Arc::clone(&self.world.proxy).answer(arrival, request).await.into_parts();
        let body = body.collect().await.map(|body| body.to_bytes());
        Told { status: head.status.as_u16(), headers: head.headers, body, at: self.world.now() }
    }
}

/// What a bot was told.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// All of the body, or why it broke off.
    pub(crate) body: Result<Bytes, BodyError>,
    /// When the last byte came, since the world began.
    pub(crate) at: Duration,
}

impl Told {
    /// A header field as text, its lines joined; empty if there is none.
    pub(crate) fn header(&self, name: &str) -> String {
        let lines = self.headers.get_all(name).iter().map(|line| line.to_str().unwrap());
        lines.collect::<Vec<_>>().join(", ")
    }

    /// The body's bytes.
    pub(crate) fn bytes(&self) -> &Bytes {
        self.body.as_ref().unwrap()
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(self.bytes()).unwrap()
    }

    /// `Retry-After`, which must be a whole number above zero.
    pub(crate) fn retry_after(&self) -> u64 {
        let stated = self.header("retry-after");
        assert!(stated.bytes().all(|digit| digit.is_ascii_digit()), "Retry-After: {stated:?}");
        let seconds = stated.parse().unwrap_or(0);
        assert!(seconds > 0, "Retry-After: {stated:?}");
        seconds
    }
}

/// The made-up Webex as Tollgate reaches it: no socket, time as tokio has it.
#[derive(Clone)]
pub(crate) struct ModelTransport {
    model: Arc<Mutex<Model>>,
    clock: Clock,
}

impl ModelTransport {
    fn lock(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The model is Webex, which knows every token: what is printed here is Tollgate's.
impl fmt::Debug for ModelTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ModelTransport")
    }
}

impl Transport for ModelTransport {
    async fn send(&self, permit: Permit, outbound: Outbound) -> Result<Answer, Failed> {
        tracing::trace!(?permit, ?outbound, "a transport sees");
        let receipt = permit.spend();
        let (head, body) = outbound.into_request().into_parts();
        let body = body.collect().await.map_err(Failed::Body)?.to_bytes();
        let request = Request::from_parts(head, body);
        let answer = self.lock().answer(&request, self.clock.wall());
        tokio::time::sleep(answer.delay).await;
        let left = match answer.close {
            Close::Never => u64::MAX,
            Close::After(bytes) => bytes,
            Close::Before | Close::Reset | Close::Stream => return Err(Failed::Broken("reset".into())),
        };
        let response = answer.response.map(|payload| match answer.close {
            Close::After(_) => Body::stream(Broken { sent: Some(payload.slice(0, left).to_bytes()) }),
            _ => Body::whole(payload.to_bytes()),
        });
        Ok(Answer { response, receipt })
    }
}

/// A body that breaks off.
struct Broken {
    sent: Option<Bytes>,
}

impl HttpBody for Broken {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Ready(Some(match self.sent.take() {
            Some(sent) => Ok(Frame::data(sent)),
            None => Err(BodyError::Broken(Side::Upstream, "reset".into())),
        }))
    }
}
