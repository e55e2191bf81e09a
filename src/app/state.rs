//! What lies in the state directory: the key of the tenant hashes, the admin token and the addresses in use.

use std::io::{self, Write};
use std::path::Path;

use serde_json::json;

use crate::admin::AdminToken;
use crate::machine::file::{read, read_text};

use super::{Bound, Fault};

/// The key that turns credentials into ids; made on first start, readable by its owner alone.
pub(super) fn tenant_key(dir: &Path) -> Result<Vec<u8>, Fault> {
    let file = dir.join("tenant.key");
    let fault = |source| Fault::File { file: file.clone(), source };
    match read(&file, MAX_FILE_BYTES) {
        Ok(key) if key.len() == KEY_BYTES => return Ok(key),
        Ok(_) => {
            return Err(fault(io::Error::new(
                io::ErrorKind::InvalidData,
                "not a key of 32 bytes: delete it",
            )));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(fault(error)),
    }
    let mut key = vec![0; KEY_BYTES];
    aws_lc_rs::rand::fill(&mut key)
        .map_err(|_| fault(io::Error::other("the system gives no random bytes")))?;
    write(dir, "tenant.key", &key)?;
    Ok(key)
}

/// The token that operators' changes need: out of `configured`, else made on first start, readable by its owner alone.
pub(super) fn admin_token(dir: &Path, configured: Option<&Path>) -> Result<AdminToken, Fault> {
    let file = configured.map_or_else(|| dir.join(TOKEN_FILE), Path::to_owned);
    let fault = |source| Fault::File { file: file.clone(), source };
    let text = match read_text(&file, MAX_FILE_BYTES) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && configured.is_none() => {
            let mut token = [0; TOKEN_BYTES];
            aws_lc_rs::rand::fill(&mut token)
                .map_err(|_| fault(io::Error::other("the system gives no random bytes")))?;
            let text: String = token.iter().map(|byte| format!("{byte:02x}")).collect();
            write(dir, TOKEN_FILE, format!("{text}\n").as_bytes())?;
            text
        }
        read => read.map_err(fault)?,
    };
    if text.trim().len() < LEAST_TOKEN_LENGTH {
        let problem = format!("an admin token has at least {LEAST_TOKEN_LENGTH} characters");
        return Err(fault(io::Error::new(io::ErrorKind::InvalidData, problem)));
    }
    Ok(AdminToken::new(&text, file))
}

/// Where the process listens, for scripts that asked for port 0.
pub(super) fn ports(dir: &Path, bound: &Bound) -> Result<(), Fault> {
    let text =
        json!({ "https": bound.https, "http": bound.http, "admin": bound.admin, "metrics": bound.metrics });
    write(dir, "ports.json", format!("{text}\n").as_bytes())
}

/// Makes the directory, for its owner alone.
pub(super) fn make(dir: &Path) -> Result<(), Fault> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|source| Fault::File { file: dir.into(), source })
}

/// Writes a file without a name where [`make`] and [`write`] would write.
pub(super) fn probe(dir: &Path) -> Result<(), Fault> {
    let mut made = dir;
    while !made.exists() {
        made = match made.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
    }
    let written = tempfile::NamedTempFile::new_in(made).and_then(|mut file| file.write_all(b"probe"));
    written.map_err(|source| Fault::File { file: made.into(), source })
}

/// All or nothing: a reader never sees half a file. Temporary files are 0600, and so is what they become.
pub(super) fn write(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), Fault> {
    let written = tempfile::NamedTempFile::new_in(dir).and_then(|mut file| {
        file.write_all(bytes)?;
        file.persist(dir.join(name)).map(drop).map_err(|error| error.error)
    });
    written.map_err(|source| Fault::File { file: dir.join(name), source })
}

/// Far more than a key or a token has.
const MAX_FILE_BYTES: usize = 64 * 1024;
const KEY_BYTES: usize = 32;
const TOKEN_FILE: &str = "admin-token";
const TOKEN_BYTES: usize = 32;
/// What somebody chose must not be guessed either: 16 characters of a password manager have some 90 bits.
const LEAST_TOKEN_LENGTH: usize = 16;
