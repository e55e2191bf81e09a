//! Decides whose requests are answered: under which hosts, from which pages, with which token.

use std::net::IpAddr;
use std::path::PathBuf;

use aws_lc_rs::{constant_time, digest};
use http::uri::Authority;
use http::{HeaderMap, Uri, header};

/// Why a request of an operator is not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Denied {
    /// A page of another site made the browser send it.
    #[error("a page of another site may not do this")]
    CrossSite,
    /// No token.
    #[error("this needs the admin token, as \"Authorization: Bearer TOKEN\"; it is in {}", .0.display())]
    NoToken(PathBuf),
    /// A name that is not ours: somebody's DNS may point at this address.
    #[error("host {0} is not known here: use an IP address or localhost, or add it to admin.hosts")]
    UnknownHost(String),
    /// A token, but not the one.
    #[error("this is not the admin token; it is in {}", .0.display())]
    WrongToken(PathBuf),
}

/// The operators' token, as its hash: the token itself is not kept.
#[derive(Clone)]
pub struct AdminToken {
    digest: digest::Digest,
    file: PathBuf,
}

impl AdminToken {
    /// The token that `file` holds; the path is told to whoever comes without it.
    pub fn new(text: &str, file: PathBuf) -> Self {
        Self { digest: digest::digest(&digest::SHA256, text.trim().as_bytes()), file }
    }

    /// Takes as long for a token that differs in its first byte as for one that differs in its last.
    fn is(&self, shown: &str) -> bool {
        let shown = digest::digest(&digest::SHA256, shown.trim().as_bytes());
        constant_time::verify_slices_are_equal(self.digest.as_ref(), shown.as_ref()).is_ok()
    }
}

impl std::fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AdminToken({})", self.file.display())
    }
}

/// What stands between strangers and what only operators may see and do.
#[derive(Debug)]
pub(super) struct Guard {
    pub(super) hosts: Vec<Authority>,
    pub(super) token: AdminToken,
}

impl Guard {
    /// Whether the host is one of ours: else a page whose name is made to point here could read and change things.
    pub(super) fn host(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Denied> {
        let shown = host(uri, headers).unwrap_or_default();
        let known = Authority::try_from(shown).is_ok_and(|authority| {
            is_local(authority.host()) || self.hosts.iter().any(|host| is_same(host, &authority))
        });
        let known = known || self.hosts.iter().any(|host| host.as_str() == "*");
        if known { Ok(()) } else { Err(Denied::UnknownHost(shown.escape_default().take(100).collect())) }
    }

    /// Whether no page of another site sent it. Only browsers send these fields, and no page can change them.
    pub(super) fn origin(uri: &Uri, headers: &HeaderMap) -> Result<(), Denied> {
        let field = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
        let is_own_page = field("sec-fetch-site").is_none_or(|site| matches!(site, "same-origin" | "none"));
        let is_own_origin = field("origin").is_none_or(|origin| {
            let own = host(uri, headers);
            origin.split_once("://").is_some_and(|(_, authority)| Some(authority) == own)
        });
        if is_own_page && is_own_origin { Ok(()) } else { Err(Denied::CrossSite) }
    }

    /// Whether it shows the token: on loopback too, where pods and browsers are neighbours.
    pub(super) fn token(&self, headers: &HeaderMap) -> Result<(), Denied> {
        let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let bearer = shown.and_then(|value| value.split_once(' '));
        match bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")) {
            None => Err(Denied::NoToken(self.token.file.clone())),
            Some((_, token)) if self.token.is(token) => Ok(()),
            Some(_) => Err(Denied::WrongToken(self.token.file.clone())),
        }
    }
}

fn host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    let field = || headers.get(header::HOST).and_then(|value| value.to_str().ok());
    uri.authority().map(Authority::as_str).or_else(field)
}

/// A page served under a name of loopback, or under an address itself, is no stranger's page.
fn is_local(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let name = host.to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost") || bare.parse::<IpAddr>().is_ok()
}

fn is_same(known: &Authority, shown: &Authority) -> bool {
    let is_port = known.port_u16().is_none_or(|port| shown.port_u16() == Some(port));
    is_port && known.host().eq_ignore_ascii_case(shown.host())
}
