//! Why TLS handshakes fail, sorted by whose fault it is, and how often.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::{AlertDescription, Error};

/// The class of a failed handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandshakeFailure {
    /// The client refused for another reason than our certificate.
    Alert,
    /// The client closed or reset the connection.
    Gone,
    /// No TLS version, cipher or protocol in common.
    Incompatible,
    /// What came was not TLS: often plain HTTP on the TLS port.
    NotTls,
    /// Anything else, a client certificate that does not verify included.
    Other,
    /// The handshake took too long.
    Timeout,
    /// The client does not trust our certificate: it lacks the local CA, or asked for another name.
    Untrusted,
}

impl HandshakeFailure {
    /// Every class, in the order of the counters.
    pub const ALL: [Self; 7] = [
        Self::Alert,
        Self::Gone,
        Self::Incompatible,
        Self::NotTls,
        Self::Other,
        Self::Timeout,
        Self::Untrusted,
    ];

    /// The word as it stands in the metric.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Gone => "gone",
            Self::Incompatible => "incompatible",
            Self::NotTls => "not_tls",
            Self::Other => "other",
            Self::Timeout => "timeout",
            Self::Untrusted => "untrusted",
        }
    }

    pub(super) fn of(error: &io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            None => Self::Gone,
            Some(Error::AlertReceived(alert)) => match alert {
                AlertDescription::UnknownCA
                | AlertDescription::BadCertificate
                | AlertDescription::CertificateUnknown
                | AlertDescription::CertificateExpired
                | AlertDescription::UnsupportedCertificate => Self::Untrusted,
                _ => Self::Alert,
            },
            Some(Error::PeerIncompatible(_) | Error::NoApplicationProtocol) => Self::Incompatible,
            Some(Error::InvalidMessage(_)) => Self::NotTls,
            Some(_) => Self::Other,
        }
    }
}

/// Failed handshakes since the start, by class.
#[derive(Debug, Default)]
pub(super) struct HandshakeFailures([AtomicU64; 7]);

impl HandshakeFailures {
    pub(super) fn count(&self, class: HandshakeFailure) {
        for (counted, counter) in HandshakeFailure::ALL.iter().zip(&self.0) {
            if *counted == class {
                counter.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    pub(super) fn read(&self) -> Vec<(HandshakeFailure, u64)> {
        let counts = self.0.iter().map(|counter| counter.load(Ordering::Relaxed));
        HandshakeFailure::ALL.into_iter().zip(counts).collect()
    }
}
