//! Decides which written values name a place: addresses, URLs, hosts, files, proxies; and hashes of tokens.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use http::Uri;
use http::uri::Authority;

use crate::words::{Base, Scheme};

use super::fault::{quote, quote_short};
use super::shape::{Shape, Tell};
use super::written::Written;

/// An IP address and a port; port 0 lets the system choose.
pub(super) struct Address;

impl Shape for Address {
    type Value = SocketAddr;

    fn read(&self, written: &Written, tell: &mut Tell<'_>) -> Option<SocketAddr> {
        read_quoted(self, written, tell, |text| text.parse().ok())
    }

    fn show(&self, value: &SocketAddr) -> String {
        quote(&value.to_string())
    }

    fn accepts(&self) -> String {
        "an IP address and a port such as \"127.0.0.1:8443\"".to_owned()
    }
}

/// Scheme and authority; no path, no user.
pub(super) struct Url;

impl Shape for Url {
    type Value = Base;

    fn read(&self, written: &Written, tell: &mut Tell<'_>) -> Option<Base> {
        read_masked(self, written, tell, base)
    }

    fn show(&self, value: &Base) -> String {
        quote(&value.to_string())
    }

    fn accepts(&self) -> String {
        "a URL of scheme and host alone such as \"https://webexapis.com\"".to_owned()
    }
}

/// An authority that is answered, or `*` for all.
pub(super) struct Host;

impl Shape for Host {
    type Value = Authority;

    fn read(&self, written: &Written, tell: &mut Tell<'_>) -> Option<Authority> {
        read_quoted(self, written, tell, |text| {
            let authority = Authority::try_from(text).ok()?;
            let is_plain = !text.contains('@') && (text == "*" || is_host(authority.host()));
            (is_plain && has_good_port(&authority)).then_some(authority)
        })
    }

    fn show(&self, value: &Authority) -> String {
        quote(value.as_str())
    }

    fn accepts(&self) -> String {
        "a host such as \"tollgate.corp.example\", with a port if that one alone is meant, or \"*\""
            .to_owned()
    }
}

/// A name or IP address that a certificate carries.
pub(super) struct CertificateName;

impl Shape for CertificateName {
    type Value = String;

    fn read(&self, written: &Written, tell: &mut Tell<'_>) -> Option<String> {
        read_quoted(self, written, tell, |text| {
            let bare = text.strip_prefix("*.").unwrap_or(text);
            let is_name = is_host(bare) && !bare.starts_with('[');
            (is_name || text.parse::<IpAddr>().is_ok()).then(|| text.to_owned())
        })
    }

    fn show(&self, value: &String) -> String {
        quote(value)
    }

    fn accepts(&self) -> String {
        "a DNS name or an IP address".to_owned()
    }
}

/// The name of a tenant, safe as a label.
pub(super) struct Alias;

impl Shape for Alias {
    type Value = String;

    fn read(&self, written: &Written, tell: &mut Tell<'_>) -> Option<String> {
        read_masked(self, written, tell, |text| {
            let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
            let is_fit = (1..=64).contains(&text.len()) && text.chars().all(is_plain);
            (is_fit && !RESERVED.contains(&text)).then(|| text.to_owned())
        })
    }

    fn show(&self, value: &String) -> String {
        quote(value)
    }

    fn accepts(&self) -> String {
        format!(
            "1 to 64 letters, digits, dots, dashes or underscores, and not one of {}",
            RESERVED.join(", ")
        )
    }
}

/// A file or directory; relative to where the program was started.
pub(super) struct FilePath;

impl Shape for FilePath {
    type Value = PathBuf;

    fn read(&self, written: &Written, tell: &mut Tell<'_>) -> Option<PathBuf> {
        read_masked(self, written, tell, |text| {
            (!text.is_empty() && !text.contains('\0')).then(|| PathBuf::from(text))
        })
    }

    fn show(&self, value: &PathBuf) -> String {
        quote(&value.to_string_lossy())
    }

    fn accepts(&self) -> String {
        "a path".to_owned()
    }
}

/// The SHA-256 of a token, as `tollgate hash-token` prints it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The digest: 32 bytes, to be compared in constant time.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Shows the first eight digits: enough to find the line, too few to look a weak token up.
impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "{a:02x}{b:02x}{c:02x}{d:02x}***")
    }
}

/// 64 hexadecimal digits.
pub(super) struct Sha256;

impl Shape for Sha256 {
    type Value = TokenHash;

    fn read(&self, written: &Written, tell: &mut Tell<'_>) -> Option<TokenHash> {
        read_masked(self, written, tell, |text| {
            let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(16)).collect();
            let digits = digits.filter(|digits| digits.len() == 64)?;
            let (pairs, _none_left) = digits.as_chunks::<2>();
            let bytes: Option<Vec<u8>> =
                pairs.iter().map(|[high, low]| u8::try_from(high << 4 | low).ok()).collect();
            Some(TokenHash(bytes?.try_into().ok()?))
        })
    }

    fn show(&self, value: &TokenHash) -> String {
        quote(&format!("{value:?}"))
    }

    fn accepts(&self) -> String {
        "64 hexadecimal digits as `tollgate hash-token` prints them".to_owned()
    }
}

fn base(text: &str) -> Option<Base> {
    let uri: Uri = text.parse().ok()?;
    let scheme = match uri.scheme_str() {
        Some("http") => Scheme::Http,
        Some("https") => Scheme::Https,
        _other => return None,
    };
    let authority = uri.authority().cloned()?;
    let is_whole = uri.path() == "/" && uri.query().is_none() && !text.contains(['@', '#']);
    (is_whole && has_good_port(&authority) && is_host(authority.host())).then_some(Base { scheme, authority })
}

/// No port or a whole one: `http` takes what is no port for none.
pub(super) fn has_good_port(authority: &Authority) -> bool {
    let after_user = authority.as_str().rsplit('@').next().unwrap_or_default();
    let rest = after_user.strip_prefix(authority.host()).unwrap_or(":");
    let is_number =
        |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    rest.is_empty() || rest.strip_prefix(':').is_some_and(is_number)
}

/// A DNS name, an IPv4 address, or an IPv6 address in brackets.
pub(super) fn is_host(host: &str) -> bool {
    if let Some(inner) = host.strip_prefix('[') {
        return inner.strip_suffix(']').is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok());
    }
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
    let is_label = |label: &str| (1..=63).contains(&label.len()) && label.chars().all(is_plain);
    host.len() <= 253 && host.split('.').all(is_label)
}

/// Reads text whose wrong form may be quoted.
fn read_quoted<S: Shape>(
    shape: &S,
    written: &Written,
    tell: &mut Tell<'_>,
    parse: impl Fn(&str) -> Option<S::Value>,
) -> Option<S::Value> {
    let Some(text) = written.text() else {
        shape.mismatch(written, tell);
        return None;
    };
    let value = parse(text);
    if value.is_none() {
        tell.fault(written, format!("expected {}, found {}", shape.accepts(), quote_short(text)));
    }
    value
}

/// Reads text whose wrong form may be a credential, or carry one, in the wrong place.
pub(super) fn read_masked<S: Shape>(
    shape: &S,
    written: &Written,
    tell: &mut Tell<'_>,
    parse: impl Fn(&str) -> Option<S::Value>,
) -> Option<S::Value> {
    let value = written.text().and_then(parse);
    if value.is_none() {
        let found = if written.text().is_some() { "other text" } else { written.found() };
        tell.fault(written, format!("expected {}, found {found}", shape.accepts()));
    }
    value
}

/// What metrics call tenants that have no name of their own.
const RESERVED: [&str; 3] = ["anonymous", "other", "unlisted"];
