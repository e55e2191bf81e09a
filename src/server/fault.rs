//! What can be wrong with certificates, keys and the local CA: the operator's faults, each naming its file.

use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use crate::body::BoxError;

/// Why no TLS identity could be built. Keeps an old identity in place when a reload fails.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The certificate's time is over, so no client would accept it.
    #[error("{} expired on {}", file.display(), httpdate::fmt_http_date(*at))]
    Expired {
        /// The certificate file.
        file: PathBuf,
        /// The end of its validity, UTC.
        at: SystemTime,
    },
    /// A certificate could not be made or signed.
    #[error("cannot issue a certificate: {0}")]
    Issue(#[source] BoxError),
    /// The key is not the one the certificate was made for.
    #[error("the key in {} does not belong to the certificate in {}", key.display(), certificate.display())]
    KeyMismatch {
        /// The certificate file.
        certificate: PathBuf,
        /// The key file.
        key: PathBuf,
    },
    /// The certificate's bytes are not a certificate that can serve.
    #[error("{} holds a certificate that cannot be used: {source}", file.display())]
    Malformed {
        /// The certificate file.
        file: PathBuf,
        /// What is wrong with it.
        source: rustls::Error,
    },
    /// A PEM file without a certificate in it.
    #[error("{} holds no certificate (no BEGIN CERTIFICATE block)", .0.display())]
    NoCertificate(PathBuf),
    /// A PEM file without a private key in it.
    #[error("{} holds no private key (no BEGIN PRIVATE KEY block)", .0.display())]
    NoKey(PathBuf),
    /// The certificate's time has not begun, so no client would accept it.
    #[error("{} is not valid before {}", file.display(), httpdate::fmt_http_date(*from))]
    NotYetValid {
        /// The certificate file.
        file: PathBuf,
        /// The begin of its validity, UTC.
        from: SystemTime,
    },
    /// The file is not PEM.
    #[error("{} is not PEM: {reason}", file.display())]
    NotPem {
        /// The file.
        file: PathBuf,
        /// Where reading stopped; never holds the file's content.
        reason: &'static str,
    },
    /// The file could not be read.
    #[error("cannot read {}: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// The operating system's word.
        source: io::Error,
    },
    /// The TLS library refuses the combination of settings.
    #[error("cannot set up TLS: {0}")]
    Tls(#[source] BoxError),
    /// The file could not be written.
    #[error("cannot write {}: {source}", file.display())]
    Write {
        /// The file or directory.
        file: PathBuf,
        /// The operating system's word.
        source: io::Error,
    },
}
