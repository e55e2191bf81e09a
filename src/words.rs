//! The plain words of the domain, said the same way in code, log, metric and header.

use std::fmt;

use http::uri::Authority;

/// The protocol a party speaks to: decides the scheme of every URL written for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS.
    Https,
}

impl Scheme {
    /// The scheme as it stands in a URL, without `://`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port a URL of this scheme means when it names none.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// Scheme and authority: the part of a URL that Tollgate rewrites. Shape: `https://localhost:8443`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Base {
    /// `http` or `https`.
    pub scheme: Scheme,
    /// Host and, where it was written, port; exactly as written.
    pub authority: Authority,
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.authority)
    }
}

/// Who is at fault for a broken body: decides whose error budget it burns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The bot that called us.
    Client,
    /// The API behind us.
    Upstream,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Upstream => "upstream",
        })
    }
}

/// The first 12 hexadecimal digits of a keyed hash.
#[derive(Debug, Clone, Copy)]
pub struct Digits([u8; 12]);

impl Digits {
    fn of(hash: &[u8; 16]) -> Self {
        let mut digits = [0; 12];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(hash) {
            pair.iter_mut().zip([byte >> 4, byte & 15]).for_each(|(digit, half)| {
                *digit = if half < 10 { b'0' + half } else { b'a' - 10 + half };
            });
        }
        Self(digits)
    }

    /// The digits themselves.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// 16 bytes of HMAC-SHA-256; shown as 12 hexadecimal digits.
macro_rules! keyed_hash {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; 16]);

        impl $name {
            /// Takes the first half of a keyed hash.
            pub const fn new(digest: [u8; 16]) -> Self {
                Self(digest)
            }

            /// All of it: to be hashed again.
            pub const fn bytes(self) -> [u8; 16] {
                self.0
            }

            /// As much of it as is shown.
            pub fn digits(self) -> Digits {
                Digits::of(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.digits().as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

keyed_hash! {
    /// One credential, as the keyed hash of its bytes: the credential itself is never kept.
    CredentialId
}

keyed_hash! {
    /// A tenant: one credential, or all tokens that the operator gave one name.
    TenantId
}

impl TenantId {
    /// All of it, 32 hexadecimal digits: for the state file, which must find it again.
    pub fn hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Reads what [`TenantId::hex`] wrote; none if it is anything else.
    pub fn from_hex(text: &str) -> Option<Self> {
        let is_plain = text.len() == 32 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        let number = is_plain.then(|| u128::from_str_radix(text, 16).ok())??;
        Some(Self(number.to_be_bytes()))
    }
}

/// How a request was answered: one vocabulary for log, metric and `Cache-Status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Sent upstream because the cache has no say in it.
    Bypass,
    /// Answered from an answer that another request was already fetching.
    Coalesced,
    /// Answered from the cache without a call.
    Hit,
    /// Sent upstream because the cache did not have it.
    Miss,
    /// Answered by Tollgate itself with an error.
    Refused,
    /// Answered from the cache after the upstream confirmed it.
    Revalidated,
    /// Answered from the cache though no longer fresh.
    Stale,
}

impl Outcome {
    /// All.
    pub const ALL: [Self; 7] =
        [Self::Bypass, Self::Coalesced, Self::Hit, Self::Miss, Self::Refused, Self::Revalidated, Self::Stale];

    /// The word as it stands in log and metric.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Coalesced => "coalesced",
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Refused => "refused",
            Self::Revalidated => "revalidated",
            Self::Stale => "stale",
        }
    }

    /// Whether the API was spared a call.
    pub fn saves_call(self) -> bool {
        match self {
            Self::Coalesced | Self::Hit | Self::Stale => true,
            Self::Bypass | Self::Miss | Self::Refused | Self::Revalidated => false,
        }
    }

    /// Whether the cache had a say.
    pub fn is_cacheable(self) -> bool {
        !matches!(self, Self::Bypass | Self::Refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_is_found_again_from_its_digits_and_from_nothing_else() {
        let tenant = TenantId::new(*b"\x00\x01sixteen bytes!");
        assert_eq!(TenantId::from_hex(&tenant.hex()), Some(tenant));
        assert_eq!(tenant.hex().get(..12), Some(tenant.digits().as_str()));
        let long = format!("{}0", tenant.hex());
        for text in ["", "00", "+0017369787465656e20627974657300", "zz017369787465656e206279746573", &long] {
            assert_eq!(TenantId::from_hex(text), None, "{text}");
        }
    }
}
