//! Whatever bytes come over a connection, each request that leaves for the API can be read in one way only, is one that
//! came, and is answered; after a refusal of the connection's bytes nothing more is looked at.
//!
//! Input: one byte that says which API stands behind and in which pieces the rest arrives; then the rest, the stream.

use std::cell::LazyCell;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Response, header};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime};
use tollgate::body::Body;
use tollgate::gate::Permit;
use tollgate::proxy::Proxy;
use tollgate::rewrite::Outbound;
use tollgate::route::Kind;
use tollgate::server::drain::Drain;
use tollgate::server::{Server, ServerSettings};
use tollgate::upstream::{Answer, Failed, Transport};

use super::rooms::{API, proxy};
use super::wire::{self, Message, Read, Unmarked};

/// Panics where the property does not hold.
pub fn holds(input: &[u8]) {
    let Some((how, stream)) = input.split_first() else { return };
    let is_generic = how & 0x40 != 0;
    let piece = match how & 0x3f {
        0 => 64 * 1024,
        bytes => usize::from(bytes),
    };
    WORLD.with(|world| {
        let proxy = if is_generic { &world.generic } else { &world.webex };
        let met = world.runtime.block_on(world.converse(proxy, stream, piece));
        check(stream, &met, is_generic);
    });
}

/// What one connection brought about.
struct Met {
    /// Requests as the handler was given them, bodies as far as the API was sent them.
    handled: Vec<Handled>,
    /// All that was written to the client.
    written: Vec<u8>,
}

#[derive(Debug, Clone, Default)]
struct Handled {
    method: String,
    target: String,
    sent: Option<Message>,
}

struct World {
    runtime: Runtime,
    server: Server,
    generic: Arc<Proxy<Api>>,
    webex: Arc<Proxy<Api>>,
}

thread_local! {
    /// Its time only ever goes on, so one world serves all inputs.
    static WORLD: LazyCell<World> = const { LazyCell::new(World::new) };
}

impl World {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let entered = runtime.enter();
        let [generic, webex] = [Kind::Generic, Kind::Webex].map(|kind| Arc::new(proxy(kind, Api::default())));
        drop(entered);
        Self { runtime, server: Server::new(ServerSettings::recommended()), generic, webex }
    }

    async fn converse(&self, proxy: &Arc<Proxy<Api>>, stream: &[u8], piece: usize) -> Met {
        let (client, socket) = tokio::io::duplex(piece);
        let (mut reading, mut writing) = tokio::io::split(client);
        let handled = Arc::new(Mutex::new(Vec::new()));
        let (log, handler) = (Arc::clone(&handled), Arc::clone(proxy));
        let (_trigger, drain) = Drain::new();
        let handle = move |arrival, request: http::Request<Body>| {
            let (proxy, log) = (Arc::clone(&handler), Arc::clone(&log));
            async move {
                let (method, target) = (request.method().to_string(), request.uri().to_string());
                let number = log.lock().unwrap().len();
                log.lock().unwrap().push(Handled { method, target, sent: None });
                let mut response = Arc::clone(&proxy).answer(arrival, request).await;
                log.lock().unwrap()[number].sent = proxy.transport.0.lock().unwrap().take();
                response.headers_mut().insert(NUMBER, number.into());
                response
            }
        };
        let serve = self.server.run_one(socket, ([127, 0, 0, 1], 50_000).into(), handle, drain);
        let mut written = Vec::new();
        let talk = async {
            // Nobody reads on after a refusal; the client stays until the server ends the connection.
            let (_refused, read) = tokio::join!(writing.write_all(stream), reading.read_to_end(&mut written));
            read.unwrap();
        };
        tokio::select! {
            _ = async { tokio::join!(serve, talk) } => {}
            () = proxy.gate.run() => {}
        }
        let handled = std::mem::take(&mut *handled.lock().unwrap());
        Met { handled, written }
    }
}

/// The API: takes every request and keeps how it would look on a wire.
#[derive(Default)]
struct Api(Mutex<Option<Message>>);

impl Transport for Api {
    async fn send(&self, permit: Permit, outbound: Outbound) -> Result<Answer, Failed> {
        let receipt = permit.spend();
        let (head, body) = outbound.into_request().into_parts();
        let body = body.collect().await.map_err(Failed::Body)?.to_bytes();
        *self.0.lock().unwrap() = Some(as_written(&head, &body));
        Ok(Answer { response: Response::new(Body::whole("ok")), receipt })
    }
}

/// Writes the request as an HTTP/1.1 client must, and reads it back by the letter.
fn as_written(head: &http::request::Parts, body: &Bytes) -> Message {
    let uri = &head.uri;
    assert_eq!((uri.scheme_str(), uri.authority().map(|host| host.as_str())), (Some("https"), Some(API)));
    let target = uri.path_and_query().unwrap().as_str();
    assert!(target.starts_with('/') || (target == "*" && head.method == "OPTIONS"), "target {target:?}");
    assert!(target.bytes().all(|byte| byte > b' ' && byte != 0x7f), "target {target:?}");
    let mut text = format!("{} {target} HTTP/1.1\r\nHost: {API}\r\n", head.method).into_bytes();
    for (name, value) in &head.headers {
        assert!(!FRAMING.contains(&name.as_str()), "{name} leaves for the API");
        text.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    if !head.headers.contains_key(header::CONTENT_LENGTH) {
        assert!(body.is_empty(), "a whole body leaves without its length");
    }
    text.extend_from_slice(b"\r\n");
    text.extend_from_slice(body);
    let Read::Whole(message, taken) = wire::read(&text, Unmarked::Empty, true) else {
        panic!("two readers may differ over {}", text.escape_ascii());
    };
    assert_eq!(taken, text.len(), "more than one request in {}", text.escape_ascii());
    for name in ["authorization", "content-length", "cookie", "host", "te"] {
        assert!(message.all(name).count() <= 1, "{name} twice in {}", text.escape_ascii());
    }
    assert!(message.all("te").all(|value| value == b"trailers"));
    message
}

fn check(stream: &[u8], met: &Met, is_generic: bool) {
    let answers = answers(met);
    let numbers: Vec<_> = answers.iter().map(number).collect();
    for (place, number) in numbers.iter().enumerate() {
        match number {
            Some(number) => assert_eq!(*number, place, "answers in order: {numbers:?}"),
            // hyper's own: it looks at nothing more.
            None => assert_eq!(place + 1, numbers.len(), "an answer after a refusal: {numbers:?}"),
        }
    }
    let answered = numbers.iter().flatten().count();
    assert_eq!(met.handled.len(), answered, "handled, but not answered: {}", met.written.escape_ascii());
    for (came, handled) in plain(stream).iter().zip(&met.handled) {
        let (method, target) = came.first.trim_end_matches(" HTTP/1.1").split_once(' ').unwrap();
        assert_eq!((handled.method.as_str(), handled.target.as_str()), (method, target));
        let Some(sent) = &handled.sent else { continue };
        assert_eq!(sent.body.len(), came.body.len(), "the length of a body");
        if is_generic {
            assert_eq!(sent.body, came.body, "a body");
        }
        assert!(sent.all("authorization").eq(came.all("authorization")), "the credential");
    }
}

/// The requests at the stream's beginning that everybody reads alike.
fn plain(mut stream: &[u8]) -> Vec<Message> {
    let mut found = Vec::new();
    while let Read::Whole(message, taken) = wire::read(stream, Unmarked::Empty, true)
        && let [method, target, "HTTP/1.1"] = message.first.split(' ').collect::<Vec<_>>()[..]
        && method.bytes().all(wire::is_token)
        && target.starts_with('/')
        // A fragment is for the client alone, and cut off.
        && !target.contains('#')
    {
        stream = &stream[taken..];
        found.push(message);
    }
    found
}

/// All that the client was told, read by the letter; what breaks off at its end does so visibly.
fn answers(met: &Met) -> Vec<Message> {
    let (mut found, mut rest): (Vec<Message>, _) = (Vec::new(), met.written.as_slice());
    while !rest.is_empty() {
        let is_head = met.handled.get(found.len()).is_some_and(|handled| handled.method == "HEAD");
        match wire::read(rest, Unmarked::Empty, !is_head) {
            Read::Whole(answer, taken) => {
                rest = &rest[taken..];
                if answer.status() >= 200 {
                    found.push(answer);
                }
            }
            Read::Cut | Read::Odd => panic!("the client cannot read {}", rest.escape_ascii()),
        }
    }
    found
}

fn number(answer: &Message) -> Option<usize> {
    answer.all(NUMBER).next().map(|value| wire::decimal(value).unwrap())
}

/// Which request is answered.
const NUMBER: &str = "x-number";

/// What concerns one connection only.
const FRAMING: [&str; 10] = [
    "connection",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
