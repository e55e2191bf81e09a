//! Asks the API one thing the way every request goes, and judges the answer.

use std::fmt;
use std::time::{Duration, SystemTime};

use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use tokio::time::timeout;

use super::ADVICE_NAME;
use super::finding::Finding;
use crate::app;
use crate::body::Body;
use crate::cache::{Carries, Lookup};
use crate::config::Config;
use crate::gate::Load;
use crate::route::Kind;
use crate::upstream::{Failed, Transport};
use crate::words::Scheme;

/// One request over the rooms that every request takes; 401 is the good answer to one without a token.
pub(super) async fn ask_api(config: &Config) -> Vec<Finding> {
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
    let Lookup::Fetch(slot) =
        rooms.cache.lookup(&route, &pass, (&head, Carries::Nothing), &|| Duration::ZERO).await
    else {
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

/// The client's own limits come first.
const MARGIN: Duration = Duration::from_secs(5);
/// Dates have whole seconds, and answers take some.
const MAX_APART: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

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
        let mark_of = |finding: &Finding| finding.to_string().split(' ').next().unwrap().to_owned();
        let mark = |at| mark_of(&clock(Some(&date), at));
        for (seconds, expected) in [(0, "ok"), (30, "ok"), (31, "warn")] {
            let apart = Duration::from_secs(seconds);
            assert_eq!([mark(told_at + apart), mark(told_at - apart)], [expected, expected], "{seconds}");
        }
        assert_eq!(mark_of(&clock(None, told_at)), "ok");
    }
}
