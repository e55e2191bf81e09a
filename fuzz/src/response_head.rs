//! Whatever bytes an upstream answers with, the client reads one answer that is what the upstream sent, visibly broken
//! off where that is, or an error of ours; and what is sound by the letter always arrives.
//!
//! Input: one byte that chooses the method; then all that the upstream writes before it closes.

use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tollgate::clock::Clock;
use tollgate::gate::Permit;
use tollgate::rewrite::Outbound;
use tollgate::route::Kind;
use tollgate::server::drain::Drain;
use tollgate::server::{Server, ServerSettings};
use tollgate::upstream::{
    Answer, Client, Codings, Failed, ProxyChoice, Resolve, Transport, UpstreamSettings,
};
use tollgate::words::{Base, Scheme};

use super::rooms::proxy;
use super::wire::{self, Message, Read, Unmarked};

/// Panics where the property does not hold.
pub fn holds(input: &[u8]) {
    let Some((how, sent)) = input.split_first() else { return };
    let method = ["GET", "HEAD", "POST", "DELETE"][usize::from(how % 4)];
    WORLD.with_borrow_mut(|world| {
        let world = world.get_or_insert_with(World::new);
        let told = world.runtime.block_on(converse(&world.listener, method, sent));
        check(method, sent, &told);
    });
}

struct World {
    runtime: Runtime,
    listener: TcpListener,
}

thread_local! {
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
}

impl World {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        Self { runtime, listener }
    }
}

/// One request from a client through everything to an upstream; what the client is told.
async fn converse(listener: &TcpListener, method: &str, sent: &[u8]) -> Vec<u8> {
    let proxy = Arc::new(proxy(Kind::Generic, Api(client(listener.local_addr().unwrap()))));
    let (mut client, socket) = tokio::io::duplex(64 * 1024);
    let (_trigger, drain) = Drain::new();
    let gate = proxy.gate.clone();
    let handle = move |arrival, request| {
        let proxy = Arc::clone(&proxy);
        async move { proxy.answer(arrival, request).await }
    };
    let server = Server::new(ServerSettings::recommended());
    let serve = server.run_one(socket, PEER, handle, drain);
    let talk = async {
        let request = format!("{method} /x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        let mut told = Vec::new();
        client.read_to_end(&mut told).await.unwrap();
        told
    };
    let answer = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while wire::find(&request, b"\r\n\r\n").is_none() {
            assert_ne!(socket.read_buf(&mut request).await.unwrap(), 0, "no request");
        }
        // Who has read enough may close before all is written.
        drop(socket.write_all(sent).await);
        drop(socket.shutdown().await);
    };
    let conversation = async { tokio::join!(serve, talk, answer).1 };
    tokio::select! {
        told = tokio::time::timeout(PATIENCE, conversation) => told.expect("an answer that ended is waited for"),
        () = gate.run() => Vec::new(),
    }
}

fn client(upstream: SocketAddr) -> Client {
    let settings = UpstreamSettings {
        base: Base { scheme: Scheme::Http, authority: upstream.to_string().parse().unwrap() },
        connect: vec![upstream],
        resolve: Resolve::System,
        proxy: ProxyChoice::None,
        extra_ca: None,
        connect_timeout: PATIENCE,
        handshake_timeout: PATIENCE,
        header_timeout: PATIENCE,
        write_timeout: PATIENCE,
        body_idle_timeout: PATIENCE,
        pool_idle_timeout: PATIENCE,
        pool_max_idle: 1,
        max_connections: 1,
        codings: Codings::Chunked,
    };
    Client::new(&settings, Clock::system()).unwrap()
}

/// The client side, which leaves a mark on what it could read.
struct Api(Client);

impl Transport for Api {
    async fn send(&self, permit: Permit, outbound: Outbound) -> Result<Answer, Failed> {
        let mut answer = self.0.send(permit, outbound).await?;
        answer.response.headers_mut().insert(READ, HeaderValue::from_static("1"));
        Ok(answer)
    }
}

fn check(method: &str, sent: &[u8], told: &[u8]) {
    let sound = sound(method, sent);
    let answer = match wire::read(told, Unmarked::Empty, method != "HEAD") {
        Read::Whole(answer, taken) => {
            assert_eq!(taken, told.len(), "more than one answer: {}", told.escape_ascii());
            answer
        }
        Read::Cut => {
            assert!(!told.starts_with(b"HTTP/1.1 205 "), "no content breaks off: {}", told.escape_ascii());
            assert!(
                sound.is_none(),
                "{} was sound, the client got {}",
                sent.escape_ascii(),
                told.escape_ascii()
            );
            return;
        }
        Read::Odd => panic!("the client cannot read {}", told.escape_ascii()),
    };
    for name in ["upgrade", "keep-alive", "proxy-authenticate", "proxy-connection", "te"] {
        assert_eq!(answer.all(name).count(), 0, "{name} crossed in {}", told.escape_ascii());
    }
    let is_bare = matches!(answer.status(), 204 | 205);
    assert!(!is_bare || answer.body.is_empty(), "content that may not be: {}", told.escape_ascii());
    let is_ours = answer.all(READ).next().is_none();
    if let Some(sound) = sound {
        assert!(!is_ours, "{} was sound, the client got {}", sent.escape_ascii(), told.escape_ascii());
        assert_eq!((answer.status(), &answer.body), (sound.status(), &sound.body), "{}", sent.escape_ascii());
    } else if is_ours {
        assert_eq!(answer.status(), 502, "{}", told.escape_ascii());
    } else {
        assert!(is_justified(method, sent, &answer), "{} as {}", sent.escape_ascii(), told.escape_ascii());
    }
}

/// The answer that these bytes are, if everybody reads it alike.
fn sound(method: &str, mut sent: &[u8]) -> Option<Message> {
    while let Read::Whole(answer, taken) = wire::read(sent, Unmarked::Close, method != "HEAD") {
        let is_plain =
            answer.first.starts_with("HTTP/1.1 ") && answer.first.as_bytes().get(12) == Some(&b' ');
        let fits = answer.fields.len() <= 60 && !answer.fields.iter().any(|(name, _)| name == "upgrade");
        match answer.status() {
            _ if !is_plain || !fits => return None,
            100 | 102..200 => sent = &sent[taken..],
            // Framed like others, but whoever passes it on must not generate content (RFC 9110 §15.3.6).
            205 => return Some(Message { body: Vec::new(), ..answer }),
            200..600 => return Some(answer),
            _ => return None,
        }
    }
    None
}

/// Whether some reading of the bytes holds this answer, its body whole: every end of a head is tried.
fn is_justified(method: &str, sent: &[u8], answer: &Message) -> bool {
    // Whatever follows such a head belongs to no answer.
    let is_bare = method == "HEAD" || matches!(answer.status(), 204 | 205 | 304);
    let is_end = |at: &usize| sent[..*at].ends_with(b"\n\n") || sent[..*at].ends_with(b"\n\r\n");
    let ends: Vec<_> = (0..=sent.len()).filter(is_end).collect();
    let begins = std::iter::once(0).chain(ends.iter().copied());
    begins.zip(&ends).any(|(begin, end)| {
        let (head, rest) = (sent[begin..*end].to_ascii_lowercase(), &sent[*end..]);
        let status = head.trim_ascii_start().get(9..12).and_then(|digits| std::str::from_utf8(digits).ok());
        status.and_then(|digits| digits.parse().ok()) == Some(answer.status())
            && (is_bare || frames(&head, rest, &answer.body))
    })
}

fn frames(head: &[u8], rest: &[u8], body: &[u8]) -> bool {
    let fields = |name: &'static [u8]| {
        head.split(|byte| *byte == b'\n')
            .filter_map(move |line| line.strip_prefix(name))
            .map(<[u8]>::trim_ascii)
    };
    let is_chunked = fields(b"transfer-encoding:").any(|coding| coding.ends_with(b"chunked"));
    let lengths: Vec<_> = fields(b"content-length:").map(wire::decimal).collect();
    if is_chunked {
        return unchunked(rest).is_some_and(|found| found == body);
    }
    match lengths.first() {
        Some(length) => *length == Some(body.len()) && rest.starts_with(body),
        None => rest == body,
    }
}

/// The content of chunks up to and with the last one, in the most lenient reading.
fn unchunked(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = rest.iter().position(|byte| *byte == b'\n')?;
        let digits: Vec<_> = rest[..line].iter().copied().take_while(u8::is_ascii_hexdigit).collect();
        let size = usize::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?;
        rest = &rest[line + 1..];
        if size == 0 {
            // The last chunk's line is not the end: the trailers' empty line is.
            let is_over = rest.starts_with(b"\r\n") || wire::find(rest, b"\r\n\r\n").is_some();
            return is_over.then_some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size..)?.strip_prefix(b"\r\n")?;
    }
}

const READ: &str = "x-read";
const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 50_000);
/// Nothing here has to be waited for.
const PATIENCE: Duration = Duration::from_secs(5);
