//! Which files a configuration is made of, and whether one of them says something else than before.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;

use crate::config::{Certificate, Config};
use crate::machine;

/// What each file held when it was looked at. Follows symbolic links, as the kubelet exchanges them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::app) struct Seen(BTreeMap<PathBuf, Content>);

/// SHA-256 of what is read of a file; none if it cannot be read.
type Content = Option<[u8; 32]>;

impl Seen {
    /// Looks at every file that a configuration names.
    pub(in crate::app) fn of(config: &Config) -> Self {
        let mut seen = Self::default();
        named_in(config).iter().for_each(|(_, file)| seen.look(file));
        seen
    }

    /// Looks at one file.
    pub(super) fn look(&mut self, file: &Path) {
        self.0.insert(file.to_owned(), content(file));
    }

    /// Whether each file still says the same.
    pub(super) fn is_current(&self) -> bool {
        self.0.iter().all(|(file, seen)| content(file) == *seen)
    }

    /// Whether a file says the same in both.
    pub(super) fn agrees_on(&self, file: &Path, other: &Self) -> bool {
        self.0.get(file) == other.0.get(file)
    }
}

/// The files that a configuration names and that are read again, each with its key.
pub(super) fn named_in(config: &Config) -> Vec<(&'static str, PathBuf)> {
    let mut named = Vec::new();
    if config.listen.https.is_some() {
        if let Certificate::Files { cert, key } = &config.listen.certificate {
            named.push(("listen.tls.cert_file", cert.clone()));
            named.push(("listen.tls.key_file", key.clone()));
        }
        let client_ca = config.listen.client_ca_file.clone();
        named.extend(client_ca.map(|file| ("listen.tls.client_ca_file", file)));
    }
    let tokens = config.tenants.iter().flat_map(|tenant| &tenant.token_files);
    named.extend(tokens.map(|file| ("tenant.token_files", file.clone())));
    named
}

fn content(file: &Path) -> Content {
    let mut context = digest::Context::new(&digest::SHA256);
    // A pipe would be waited for.
    let file = machine::file::open(file).ok()?;
    let mut file = file.take(MAX_BYTES);
    let mut part = [0; 8192];
    loop {
        match file.read(&mut part).ok()? {
            0 => break,
            read => context.update(part.get(..read)?),
        }
    }
    let mut hash = [0; 32];
    hash.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    Some(hash)
}

/// As much as any of them is read: a configuration, a token or a chain of certificates is far smaller.
const MAX_BYTES: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn an_exchanged_link_is_another_content_and_a_touched_file_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (version, text) in [("..1", "one"), ("..2", "one"), ("..3", "two")] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("file"), text).unwrap();
        }
        symlink("..1", at("..data")).unwrap();
        symlink("..data/file", at("file")).unwrap();
        let mut seen = Seen::default();
        seen.look(&at("file"));
        for (version, is_current) in [("..2", true), ("..3", false), ("..1", true)] {
            symlink(version, at("..new")).unwrap();
            fs::rename(at("..new"), at("..data")).unwrap();
            assert_eq!(seen.is_current(), is_current, "{version}");
        }
        fs::remove_file(at("..data")).unwrap();
        assert!(!seen.is_current(), "a file that is gone");
    }
}
