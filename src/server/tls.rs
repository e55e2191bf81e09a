//! TLS towards clients: which certificate a name gets, which versions and protocols are spoken.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::ServerName;
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};

use super::ca::LocalCa;
use super::fault::Fault;
use super::pem;
use super::validity::{begins_at, expires_at};
use crate::clock::Clock;

/// The certificates a listener shows, chosen by SNI; the first is for clients without SNI or with an unknown name.
///
/// Can be exchanged while connections are served: handshakes under way keep what they have.
#[derive(Debug)]
pub struct Certificates {
    loaded: ArcSwap<Loaded>,
    clock: Clock,
}

/// A certificate file and its key, both PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate, followed by its intermediates.
    pub cert_file: PathBuf,
    /// The private key (PKCS#8, PKCS#1 or SEC1).
    pub key_file: PathBuf,
}

/// What a listener needs to speak TLS. Cheap to clone; clones share it.
#[derive(Debug, Clone)]
pub struct Tls {
    config: Arc<ArcSwap<ServerConfig>>,
}

#[derive(Debug)]
struct Loaded {
    default: Identity,
    others: Vec<Identity>,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Files,
    Issued { ca: Arc<LocalCa>, names: Vec<String>, renew_at: SystemTime },
}

#[derive(Debug)]
struct Identity {
    key: Arc<CertifiedKey>,
    expires_at: SystemTime,
}

impl Certificates {
    /// Reads the operator's certificates; the first is the default.
    ///
    /// # Errors
    /// Names the file and what is wrong with it: unreadable, not PEM, empty, expired, not
    /// yet valid, not the certificate's key.
    pub fn from_files(first: &CertificateFiles, others: &[CertificateFiles]) -> Result<Self, Fault> {
        let clock = Clock::system();
        let default = Identity::read(first, clock.wall())?;
        let others =
            others.iter().map(|files| Identity::read(files, clock.wall())).collect::<Result<_, _>>()?;
        let loaded = Loaded { default, others, source: Source::Files };
        Ok(Self { loaded: ArcSwap::from_pointee(loaded), clock })
    }

    /// One certificate for `names`, issued by `ca` and again before it expires.
    ///
    /// # Errors
    /// `Issue` if the CA cannot sign for a name.
    pub fn from_ca(ca: Arc<LocalCa>, names: Vec<String>) -> Result<Self, Fault> {
        let clock = Clock::system();
        let loaded = Loaded::issue(ca, names, clock.wall())?;
        Ok(Self { loaded: ArcSwap::from_pointee(loaded), clock })
    }

    /// Shows `fresh`'s certificates from the next handshake on.
    pub fn replace(&self, fresh: &Self) {
        self.loaded.store(fresh.loaded.load_full());
    }

    /// The instant at which the first of the certificates ceases to be accepted, UTC.
    pub fn not_after(&self) -> SystemTime {
        let loaded = self.loaded.load();
        let others = loaded.others.iter().map(|identity| identity.expires_at);
        others.fold(loaded.default.expires_at, SystemTime::min)
    }

    #[cfg(test)]
    pub(super) fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    pub(super) fn choose(&self, name: Option<&str>) -> Arc<CertifiedKey> {
        self.renew();
        let loaded = self.loaded.load();
        let asked = name.and_then(|name| ServerName::try_from(name).ok());
        let found = asked.and_then(|asked| loaded.identities().find(|identity| identity.covers(&asked)));
        found.unwrap_or(&loaded.default).key.clone()
    }

    /// Issues anew when less than a third of the life is left. Two handshakes at once may both do so: no harm.
    fn renew(&self) {
        let loaded = self.loaded.load();
        let Source::Issued { ca, names, renew_at } = &loaded.source else { return };
        let now = self.clock.wall();
        if now < *renew_at {
            return;
        }
        if let Ok(fresh) = Loaded::issue(ca.clone(), names.clone(), now) {
            self.loaded.compare_and_swap(&loaded, Arc::new(fresh));
        }
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.choose(hello.server_name()))
    }
}

impl Tls {
    /// TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1 by ALPN, session tickets, no early data (it can be replayed).
    ///
    /// With `client_ca_file` every client must show a certificate of that CA.
    ///
    /// # Errors
    /// Names the CA file and what is wrong with it; `Tls` if the library refuses the settings.
    pub fn new(certificates: Arc<Certificates>, client_ca_file: Option<&Path>) -> Result<Self, Fault> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(refused)?;
        let builder = match client_ca_file {
            None => builder.with_no_client_auth(),
            Some(file) => {
                let roots = Arc::new(roots(file)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                builder.with_client_cert_verifier(verifier.build().map_err(refused)?)
            }
        };
        let mut config = builder.with_cert_resolver(certificates);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.max_early_data_size = 0;
        config.ticketer = aws_lc_rs::Ticketer::new().map_err(refused)?;
        Ok(Self { config: Arc::new(ArcSwap::from_pointee(config)) })
    }

    /// Asks clients for what `fresh` asks for, from the next handshake on; tickets given before are worth nothing then.
    pub fn replace(&self, fresh: &Self) {
        self.config.store(fresh.config.load_full());
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        self.config.load_full()
    }
}

impl Loaded {
    fn issue(ca: Arc<LocalCa>, names: Vec<String>, now: SystemTime) -> Result<Self, Fault> {
        let key = ca.issue(&names)?;
        let expires_at = key.end_entity_cert().and_then(expires_at).map_err(refused)?;
        let renew_at = expires_at - expires_at.duration_since(now).unwrap_or_default() / 3;
        let default = Identity { key, expires_at };
        Ok(Self { default, others: Vec::new(), source: Source::Issued { ca, names, renew_at } })
    }

    fn identities(&self) -> impl Iterator<Item = &Identity> {
        std::iter::once(&self.default).chain(&self.others)
    }
}

impl Identity {
    fn read(files: &CertificateFiles, now: SystemTime) -> Result<Self, Fault> {
        let CertificateFiles { cert_file, key_file } = files;
        let chain = pem::certificates(cert_file)?;
        let key = pem::private_key(key_file)?;
        let malformed = |source| Fault::Malformed { file: cert_file.clone(), source };
        let provider: CryptoProvider = aws_lc_rs::default_provider();
        let key = match CertifiedKey::from_der(chain, key, &provider) {
            Err(rustls::Error::InconsistentKeys(_)) => {
                return Err(Fault::KeyMismatch { certificate: cert_file.clone(), key: key_file.clone() });
            }
            other => other.map_err(malformed)?,
        };
        let expires_at = key.end_entity_cert().and_then(expires_at).map_err(malformed)?;
        if expires_at <= now {
            return Err(Fault::Expired { file: cert_file.clone(), at: expires_at });
        }
        let begins_at = key.end_entity_cert().map(|leaf| begins_at(leaf)).map_err(malformed)?;
        if let Some(from) = begins_at.filter(|from| *from > now) {
            return Err(Fault::NotYetValid { file: cert_file.clone(), from });
        }
        Ok(Self { key: Arc::new(key), expires_at })
    }

    fn covers(&self, name: &ServerName<'_>) -> bool {
        let parsed = self.key.end_entity_cert().and_then(ParsedCertificate::try_from);
        parsed.is_ok_and(|parsed| verify_server_name(&parsed, name).is_ok())
    }
}

fn roots(file: &Path) -> Result<RootCertStore, Fault> {
    let mut roots = RootCertStore::empty();
    for certificate in pem::certificates(file)? {
        roots.add(certificate).map_err(|source| Fault::Malformed { file: file.to_owned(), source })?;
    }
    Ok(roots)
}

fn refused(error: impl std::error::Error + Send + Sync + 'static) -> Fault {
    Fault::Tls(Box::new(error))
}
