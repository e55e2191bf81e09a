//! Decides how the site's CONNECT proxy is named, and that its password is never shown.

use std::ffi::{OsStr, OsString};
use std::fmt;

use http::Uri;

use super::fault::quote;
use super::shape::{Shape, Tell};
use super::shape_net::{has_good_port, read_masked};
use super::written::Written;

/// How the upstream is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proxy {
    /// `proxy = "none"`: directly, whatever the environment says.
    Direct,
    /// `proxy = ""`: as `HTTPS_PROXY` and `NO_PROXY` say.
    Environment(ProxyEnvironment),
    /// Always through this one.
    Fixed(ProxyUrl),
}

/// A proxy's URL, exactly as written; may carry a user and a password, which `Debug` masks.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyUrl(String);

impl ProxyUrl {
    /// The URL with its credentials: for the connector alone.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&mask(&self.0))
    }
}

/// What the environment says about proxies, unparsed. Lower case wins over upper case, as curl has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyEnvironment {
    /// `https_proxy` or `HTTPS_PROXY`.
    pub https_proxy: Option<ProxyUrl>,
    /// `no_proxy` or `NO_PROXY`: hosts reached directly, separated by commas.
    pub no_proxy: Option<String>,
}

impl ProxyEnvironment {
    /// Picks the variables out; empty ones, and ones that are not UTF-8, count as unset.
    pub(super) fn find(env: &[(OsString, OsString)]) -> Self {
        let find = |name: &str| {
            let found = env.iter().find(|(key, value)| key == OsStr::new(name) && !value.is_empty());
            found.and_then(|(_, value)| value.to_str()).map(str::to_owned)
        };
        Self {
            https_proxy: find("https_proxy").or_else(|| find("HTTPS_PROXY")).map(ProxyUrl),
            no_proxy: find("no_proxy").or_else(|| find("NO_PROXY")),
        }
    }
}

/// What was written: none means the environment decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ProxyChoice {
    Direct,
    Fixed(ProxyUrl),
}

/// A proxy's URL or `none`.
pub(super) struct ProxyShape;

impl Shape for ProxyShape {
    type Value = ProxyChoice;

    fn read(&self, written: &Written, tell: &mut Tell<'_>) -> Option<ProxyChoice> {
        read_masked(self, written, tell, |text| {
            if text == "none" {
                return Some(ProxyChoice::Direct);
            }
            let uri: Uri = text.parse().ok()?;
            let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
            let has_host = uri.authority().is_some_and(|at| !at.host().is_empty() && has_good_port(at));
            let is_whole = uri.path() == "/" && uri.query().is_none();
            (is_http && has_host && is_whole).then(|| ProxyChoice::Fixed(ProxyUrl(text.to_owned())))
        })
    }

    fn show(&self, value: &ProxyChoice) -> String {
        match value {
            ProxyChoice::Direct => quote("none"),
            ProxyChoice::Fixed(url) => quote(&mask(&url.0)),
        }
    }

    fn accepts(&self) -> String {
        "a proxy's URL such as \"http://proxy.corp.example:3128\", or \"none\"".to_owned()
    }
}

/// Everything between the scheme and the last `@` may be a credential: a password can hold any sign.
fn mask(url: &str) -> String {
    let Some((before, host)) = url.rsplit_once('@') else { return url.to_owned() };
    let scheme = ["http://", "https://"].into_iter().find(|scheme| before.starts_with(scheme));
    format!("{}***@{host}", scheme.unwrap_or_default())
}
