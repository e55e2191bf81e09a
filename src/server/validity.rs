//! From and until when a certificate is good, and whether an issuer's certificate vouches for another one.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, Error, RootCertStore};

/// The end of a certificate's validity, UTC.
///
/// The verifier is asked about the end of time: it names the date on which the certificate expired before it
/// looks at anything else, so no second X.509 parser is needed.
///
/// # Errors
/// What the verifier says of a certificate that is none.
pub(super) fn expires_at(certificate: &CertificateDer<'_>) -> Result<SystemTime, Error> {
    match verdict_at(certificate, u64::MAX) {
        Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(not_after.as_secs()))
        }
        Err(error) => Err(error),
        Ok(_) => Err(Error::General("the certificate never expires".into())),
    }
}

/// The begin of a certificate's validity, UTC; the verifier is asked about the begin of time. None if it was
/// valid even then.
pub(super) fn begins_at(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    match verdict_at(certificate, 0) {
        Err(Error::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. })) => {
            Some(SystemTime::UNIX_EPOCH + Duration::from_secs(not_before.as_secs()))
        }
        _ => None,
    }
}

fn verdict_at(certificate: &CertificateDer<'_>, seconds: u64) -> Result<(), Error> {
    let at = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    let name = ServerName::try_from("localhost").map_err(|_| Error::General("no name to ask for".into()))?;
    verifier(certificate)?.verify_server_cert(certificate, &[], &name, &[], at).map(|_| ())
}

/// Whether a client that trusts `root` alone accepts `leaf` as `name` now: signature, dates, constraints, usage.
///
/// # Errors
/// The reason why such a client would not.
pub(super) fn vouches(
    root: &CertificateDer<'_>,
    leaf: &CertificateDer<'_>,
    name: &str,
    now: SystemTime,
) -> Result<(), Error> {
    let name = ServerName::try_from(name.to_owned()).map_err(|_| Error::General("not a host name".into()))?;
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = UnixTime::since_unix_epoch(since);
    verifier(root)?.verify_server_cert(leaf, &[], &name, &[], now).map(|_| ())
}

fn verifier(root: &CertificateDer<'_>) -> Result<Arc<WebPkiServerVerifier>, Error> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone().into_owned())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| Error::General(error.to_string()))
}
