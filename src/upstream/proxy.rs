//! Decides whether a connection goes through the site's CONNECT proxy, and asks it for a tunnel.

use std::io;

use http::{HeaderValue, StatusCode, Uri};
use hyper_util::client::proxy::matcher::Matcher;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::words::Base;

use super::{Failed, Fault, ProxyChoice};

/// The proxy on the way to one upstream.
#[derive(Clone)]
pub(super) struct Proxy {
    host: String,
    port: u16,
    authorization: Option<HeaderValue>,
}

impl Proxy {
    /// The proxy that `choice` means for `base`, if any.
    pub(super) fn choose(choice: &ProxyChoice, base: &Base) -> Result<Option<Self>, Fault> {
        let (url, no_proxy) = match choice {
            ProxyChoice::None => return Ok(None),
            ProxyChoice::Environment { https_proxy, .. } if https_proxy.is_empty() => return Ok(None),
            // As other programs have it: a machine's own services are never behind its site's proxy.
            ProxyChoice::Environment { .. } if is_loopback(base.authority.host()) => return Ok(None),
            ProxyChoice::Environment { https_proxy, no_proxy } => (https_proxy, no_proxy.as_str()),
            ProxyChoice::Url(url) => (url, ""),
        };
        let target: Uri = format!("https://{}/", base.authority).parse().map_err(|_invalid| Fault::Proxy)?;
        // An URL that cannot be used must be a fault, not a direct connection past the proxy.
        let always = Matcher::builder().https(url.as_str()).build().intercept(&target).ok_or(Fault::Proxy)?;
        if always.uri().scheme_str() != Some("http") {
            return Err(Fault::Proxy);
        }
        if Matcher::builder().https(url.as_str()).no(no_proxy).build().intercept(&target).is_none() {
            return Ok(None);
        }
        Ok(Some(Self {
            host: always.uri().host().ok_or(Fault::Proxy)?.to_owned(),
            port: always.uri().port_u16().unwrap_or(80),
            authorization: always.basic_auth().cloned(),
        }))
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Asks for a tunnel to `authority`. The caller sets the time limit.
    pub(super) async fn tunnel(&self, tcp: &mut TcpStream, authority: &str) -> Result<(), Failed> {
        let broken = |source| Failed::ProxyBroken { authority: authority.to_owned(), source };
        let mut request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n").into_bytes();
        if let Some(value) = &self.authorization {
            request.extend_from_slice(b"Proxy-Authorization: ");
            request.extend_from_slice(value.as_bytes());
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        tcp.write_all(&request).await.map_err(broken)?;
        let head = read_head(tcp).await.map_err(broken)?;
        let status = status(&head).ok_or_else(|| broken(io::ErrorKind::InvalidData.into()))?;
        if status.is_success() {
            return Ok(());
        }
        Err(Failed::ProxyRefused { authority: authority.to_owned(), status })
    }
}

/// Reads byte by byte: what follows the head belongs to the tunnel.
async fn read_head(tcp: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(256);
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= MAX_HEAD_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the head of its answer is too long"));
        }
        head.push(tcp.read_u8().await?);
    }
    Ok(head)
}

fn status(head: &[u8]) -> Option<StatusCode> {
    let mut words = head.split(|byte| *byte == b' ' || *byte == b'\r');
    let version = words.next()?;
    let code = words.next()?;
    version.starts_with(b"HTTP/1.").then(|| StatusCode::from_bytes(code).ok())?
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

const MAX_HEAD_BYTES: usize = 8 * 1024;
