//! The diagnosis: walks the way that requests will take, says what works and what to do about the rest.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::time::timeout;

use crate::app;
use crate::body::Body;
use crate::cache::Lookup;
use crate::config::{Certificate, Config, Proxy, Resolve};
use crate::gate::Load;
use crate::route::Kind;
use crate::server::tls::{CertificateFiles, Certificates};
use crate::upstream::{Failed, Transport};
use crate::words::Scheme;

/// What one check found. Shown as one line, and a second one with what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    what: &'static str,
    state: State,
    text: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// What to do about it; nothing works without.
    Fault(String),
    /// It works, but something should be done.
    Warning(String),
    Well,
}

impl Finding {
    /// Something that keeps requests from being answered, and what to do.
    pub fn fault(what: &'static str, text: impl fmt::Display, advice: impl Into<String>) -> Self {
        Self { what, state: State::Fault(advice.into()), text: text.to_string() }
    }

    /// Something that works for now.
    pub fn warning(what: &'static str, text: impl fmt::Display, advice: impl Into<String>) -> Self {
        Self { what, state: State::Warning(advice.into()), text: text.to_string() }
    }

    /// Something that works.
    pub fn well(what: &'static str, text: impl fmt::Display) -> Self {
        Self { what, state: State::Well, text: text.to_string() }
    }

    fn is_fault(&self) -> bool {
        matches!(self.state, State::Fault(_))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mark, advice) = match &self.state {
            State::Fault(advice) => ("FAULT", Some(advice)),
            State::Warning(advice) => ("warn", Some(advice)),
            State::Well => ("ok", None),
        };
        write!(f, "{mark:<6} {:<15} {}", self.what, self.text)?;
        advice.map_or(Ok(()), |advice| write!(f, "\n{:23}-> {advice}", ""))
    }
}

/// Checks what a configuration needs to work, and tells each finding as soon as it is there. Returns how many are
/// faults. Leaves nothing behind but one request at the API, without a token.
pub async fn examine(config: &Config, mut tell: impl FnMut(&Finding)) -> usize {
    let mut faults = 0_usize;
    let mut note = |finding: Finding| {
        faults += usize::from(finding.is_fault());
        tell(&finding);
    };
    note(state(config));
    if let Certificate::Files { cert, key } = &config.listen.certificate {
        note(certificate(cert, key));
    }
    for (key, address) in listeners(config) {
        note(listener(config, key, address).await);
    }
    for finding in addresses(config).await {
        note(finding);
    }
    for finding in api(config).await {
        note(finding);
    }
    faults
}

fn state(config: &Config) -> Finding {
    let dir = config.state_dir.display();
    match app::can_keep_state(config) {
        Ok(()) => Finding::well("state_dir", format_args!("{dir} takes files")),
        Err(fault) => {
            Finding::fault("state_dir", fault, format!("let this user write to {dir}, or set state_dir"))
        }
    }
}

fn certificate(cert: &Path, key: &Path) -> Finding {
    let files = CertificateFiles { cert_file: cert.to_owned(), key_file: key.to_owned() };
    match Certificates::from_files(&files, &[]) {
        Ok(_) => Finding::well("listen.tls", format_args!("{} and its key", cert.display())),
        Err(fault) => {
            Finding::fault("listen.tls", fault, "give PEM files that belong together, readable here")
        }
    }
}

fn listeners(config: &Config) -> impl Iterator<Item = (&'static str, SocketAddr)> {
    let all = [
        ("listen.https", config.listen.https),
        ("listen.http", config.listen.http),
        ("admin.listen", Some(config.admin.listen)),
        ("metrics_listen", config.admin.metrics_listen),
    ];
    all.into_iter().filter_map(|(key, address)| Some((key, address?)))
}

async fn listener(config: &Config, key: &'static str, address: SocketAddr) -> Finding {
    match TcpListener::bind(address).await {
        Ok(_) => Finding::well(key, format_args!("{address} is free")),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            let ports = std::fs::read_to_string(config.state_dir.join("ports.json")).unwrap_or_default();
            if ports.contains(&format!("\"{address}\"")) {
                Finding::well(
                    key,
                    format_args!("{address} is taken, by a Tollgate as its state directory says"),
                )
            } else {
                Finding::fault(
                    key,
                    format_args!("{address} is taken"),
                    format!("end what listens there, or change {key}"),
                )
            }
        }
        Err(error) => Finding::fault(
            key,
            format_args!("{address}: {error}"),
            format!("set {key} to an address of this machine and a port that this user may open"),
        ),
    }
}

/// Each address of the API by itself, or the name as the machine resolves it.
async fn addresses(config: &Config) -> Vec<Finding> {
    let upstream = &config.upstream;
    let limit = upstream.connect_timeout;
    let host = upstream.url.authority.host();
    let is_behind_proxy = match &upstream.proxy {
        Proxy::Direct => false,
        Proxy::Environment(environment) => environment.https_proxy.is_some(),
        Proxy::Fixed(_) => true,
    };
    match &upstream.resolve {
        _ if is_behind_proxy => {
            vec![Finding::well(
                "name",
                format_args!("{host} may be left to the proxy: the answer below tells"),
            )]
        }
        Resolve::Dns => {
            vec![Finding::well("name", format_args!("{host} is asked by DNS: the answer below tells"))]
        }
        Resolve::Fixed(fixed) => {
            let mut findings = Vec::new();
            for address in fixed {
                findings.push(match within(limit, TcpStream::connect(address)).await {
                    Ok(_) => Finding::well("connect", format_args!("{address} accepts connections")),
                    Err(error) => Finding::fault(
                        "connect",
                        format_args!("{address}: {error}"),
                        "correct upstream.connect, or open the way there",
                    ),
                });
            }
            findings
        }
        Resolve::System => vec![name(host, config, limit).await],
    }
}

async fn name(host: &str, config: &Config, limit: Duration) -> Finding {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let port =
        config.upstream.url.authority.port_u16().unwrap_or_else(|| config.upstream.url.scheme.default_port());
    match within(limit, lookup_host((bare, port))).await {
        Ok(found) => {
            let found: Vec<String> = found.map(|address| address.ip().to_string()).collect();
            Finding::well("name", format_args!("{host} is {}", found.join(", ")))
        }
        Err(error) => Finding::fault("name", format_args!("{host}: {error}"), ADVICE_NAME),
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = std::io::Result<T>>) -> std::io::Result<T> {
    timeout(limit, work).await.unwrap_or_else(|_elapsed| Err(std::io::ErrorKind::TimedOut.into()))
}

/// One request over the rooms that every request takes; 401 is the good answer to one without a token.
async fn api(config: &Config) -> Vec<Finding> {
    let upstream = &config.upstream;
    let limit = (upstream.connect_timeout + upstream.handshake_timeout) * 2 + upstream.header_timeout;
    let asked = timeout(limit + MARGIN, ask(config)).await;
    let asked = asked.unwrap_or_else(|_elapsed| Err(unasked("no answer in time")));
    match asked {
        Ok((response, received_at)) => {
            let tls = tls(config, &response);
            let date = response.headers().get(header::DATE).cloned();
            vec![tls, answered(upstream.kind, response.status()), clock(date.as_ref(), received_at)]
        }
        Err(finding) => vec![finding],
    }
}

async fn ask(config: &Config) -> Result<(Response<Body>, SystemTime), Finding> {
    let rooms = app::rooms(config).map_err(|fault| {
        Finding::fault("upstream", fault, "correct the setting or the file that it names")
    })?;
    let request = Request::get("/v1/people/me").header(header::HOST, "localhost").body(());
    let (head, ()) = request.map_err(unasked)?.into_parts();
    let route = rooms.router.find(Scheme::Https, &head).map_err(unasked)?;
    let pass = rooms.doorman.admit(&head.headers).map_err(unasked)?;
    let Lookup::Fetch(slot) = rooms.cache.lookup(&route, &pass, &head, rooms.clock.now()) else {
        return Err(unasked("answered without a call"));
    };
    let mut ticket = rooms.gate.ticket(&slot, &route, &head, Load { length: Some(0), bytes: None });
    let permit = rooms.gate.acquire(&mut ticket).await.map_err(unasked)?;
    let outbound = rooms.rewriter.outbound(&route, &head, Body::empty(), None);
    match rooms.transport.send(permit, outbound).await {
        Ok(answer) => Ok((answer.response, rooms.clock.wall())),
        Err(failed) => Err(Finding::fault("upstream", &failed, advice(&failed))),
    }
}

fn unasked(reason: impl fmt::Display) -> Finding {
    Finding::fault("upstream", format_args!("could not be asked: {reason}"), "run tollgate check")
}

fn advice(failed: &Failed) -> &'static str {
    match failed {
        Failed::Certificate { .. } => {
            "if your site inspects TLS, give its CA as upstream.ca_file; else correct upstream.connect or upstream.url"
        }
        Failed::Connect { .. } => "open the way through the firewall, or set upstream.proxy",
        Failed::Handshake { .. } => "no TLS is spoken there: correct upstream.connect or upstream.url",
        Failed::ProxyBroken { .. } => "correct upstream.proxy or HTTPS_PROXY: it must be an HTTP proxy",
        Failed::ProxyRefused { .. } => {
            "have the proxy's owner allow it, or correct the credentials in its URL"
        }
        Failed::Resolve { .. } => ADVICE_NAME,
        Failed::TimedOut { .. } => "open the way through the firewall, set upstream.proxy, or try again",
        Failed::Body(_) | Failed::Broken(_) | Failed::Unexpected(_) | Failed::Untaken(_) => {
            "something on the way is not the API: correct upstream.url or upstream.connect"
        }
    }
}

fn tls(config: &Config, response: &Response<Body>) -> Finding {
    let version = if response.version() == Version::HTTP_2 { "HTTP/2" } else { "HTTP/1.1" };
    let url = &config.upstream.url;
    match url.scheme {
        Scheme::Http => Finding::well("tls", format_args!("none, {url} is plain {version}")),
        Scheme::Https => {
            let host = url.authority.host();
            Finding::well(
                "tls",
                format_args!("the certificate shown for SNI {host} is good, {version} agreed"),
            )
        }
    }
}

fn answered(kind: Kind, status: StatusCode) -> Finding {
    match (kind, status) {
        (_, StatusCode::LOOP_DETECTED) => Finding::fault(
            "answer",
            "508: requests come back to Tollgate",
            "upstream.url or upstream.connect lead to Tollgate itself: set upstream.resolve = \"dns\" if the hosts \
             file does, else correct them",
        ),
        (_, StatusCode::TOO_MANY_REQUESTS) => Finding::well("answer", "429: the API is there, and limits"),
        (Kind::Webex, StatusCode::UNAUTHORIZED) => {
            Finding::well("answer", "401, as it should without a token")
        }
        (Kind::Generic, status) if !status.is_server_error() => Finding::well("answer", status),
        (_, status) if status.is_server_error() => {
            Finding::fault("answer", status, "the API or what stands before it has trouble: try again later")
        }
        (Kind::Webex, status) => Finding::fault(
            "answer",
            format_args!("{status}, where Webex says 401"),
            "something else answers: correct upstream.url or upstream.connect, or set upstream.kind = \"generic\"",
        ),
        (Kind::Generic, status) => Finding::well("answer", status),
    }
}

fn clock(date: Option<&HeaderValue>, received_at: SystemTime) -> Finding {
    let date = date.and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
    let Some(date) = date else { return Finding::well("clock", "the API tells no time to compare with") };
    let (apart, word) = match received_at.duration_since(date) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(behind) => (behind.duration(), "behind"),
    };
    let text = format!("{} s {word} the API's", apart.as_secs());
    if apart > MAX_APART {
        Finding::warning(
            "clock",
            text,
            "set this machine's clock: certificates and Retry-After dates need it",
        )
    } else {
        Finding::well("clock", text)
    }
}

const ADVICE_NAME: &str = "mend this machine's name resolution, or set upstream.connect or upstream.proxy";
/// The client's own limits come first.
const MARGIN: Duration = Duration::from_secs(5);
/// Dates have whole seconds, and answers take some.
const MAX_APART: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_says_what_to_do() {
        let fault = Finding::fault("answer", "508", "stop it");
        assert_eq!(fault.to_string(), "FAULT  answer          508\n                       -> stop it");
        assert_eq!(Finding::well("answer", "401").to_string(), "ok     answer          401");
        assert!(fault.is_fault());
    }

    #[test]
    fn a_request_without_a_token_should_be_refused_by_webex() {
        let check = |kind, status: u16, is_fault: bool| {
            let finding = answered(kind, StatusCode::from_u16(status).unwrap());
            assert_eq!(finding.is_fault(), is_fault, "{finding}");
        };
        for (status, webex, generic) in
            [(401, false, false), (429, false, false), (200, true, false), (404, true, false)]
        {
            check(Kind::Webex, status, webex);
            check(Kind::Generic, status, generic);
        }
        for status in [500, 502, 508] {
            check(Kind::Webex, status, true);
            check(Kind::Generic, status, true);
        }
    }

    #[test]
    fn a_clock_half_a_minute_off_is_worth_a_warning() {
        let date = HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT");
        let told_at = httpdate::parse_http_date(date.to_str().unwrap()).unwrap();
        let mark = |at| clock(Some(&date), at).to_string().split(' ').next().unwrap().to_owned();
        for (seconds, expected) in [(0, "ok"), (30, "ok"), (31, "warn")] {
            let apart = Duration::from_secs(seconds);
            assert_eq!([mark(told_at + apart), mark(told_at - apart)], [expected, expected], "{seconds}");
        }
        assert!(matches!(clock(None, told_at).state, State::Well));
    }
}
