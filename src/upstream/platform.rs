//! The certificates that this machine trusts, for clients whose one CA file replaces all of them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Fault;

/// The platform's roots as PEM, one after the other.
///
/// # Errors
/// [`Fault::NoRoots`] if there are none.
pub fn platform_roots() -> Result<String, Fault> {
    let native = rustls_native_certs::load_native_certs();
    if native.certs.is_empty() {
        return Err(Fault::NoRoots(native.errors.iter().map(ToString::to_string).collect()));
    }
    Ok(native.certs.iter().map(|root| pem(root)).collect())
}

/// RFC 7468: lines of 64 characters.
fn pem(der: &[u8]) -> String {
    let lines = der.chunks(48).map(|part| STANDARD.encode(part) + "\n");
    format!("-----BEGIN CERTIFICATE-----\n{}-----END CERTIFICATE-----\n", lines.collect::<String>())
}
