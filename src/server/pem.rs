//! Reads certificates and keys from PEM files, and says which file is wrong in which way.

use std::path::Path;

use rustls::pki_types::pem::{Error, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::fault::Fault;
use crate::machine;

/// The certificates in `file`, in their order; at least one.
pub(super) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let text = read(file)?;
    let found = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| not_pem(file, &error))?;
    if found.is_empty() { Err(Fault::NoCertificate(file.to_owned())) } else { Ok(found) }
}

/// The first private key in `file`.
pub(super) fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, Fault> {
    PrivateKeyDer::from_pem_slice(&read(file)?).map_err(|error| match error {
        Error::NoItemsFound => Fault::NoKey(file.to_owned()),
        error => not_pem(file, &error),
    })
}

fn read(file: &Path) -> Result<Vec<u8>, Fault> {
    let failed = |source| Fault::Read { file: file.to_owned(), source };
    let bytes = machine::file::read(file, MAX_PEM_BYTES).map_err(failed)?;
    if memchr::memmem::find(&bytes, b"-----BEGIN ").is_none() {
        return Err(Fault::NotPem { file: file.to_owned(), reason: "it holds no BEGIN line" });
    }
    Ok(bytes)
}

/// The parser's own words may quote the file, which may be a key, so they are not passed on.
fn not_pem(file: &Path, error: &Error) -> Fault {
    let reason = match error {
        Error::MissingSectionEnd { .. } => "a block has no END line",
        Error::IllegalSectionStart { .. } => "a BEGIN line is malformed",
        Error::Base64Decode(_) => "a block is not base64",
        _ => "it cannot be read as PEM",
    };
    Fault::NotPem { file: file.to_owned(), reason }
}

/// More than any chain needs; a wrong path must not fill the memory.
const MAX_PEM_BYTES: usize = 1024 * 1024;
