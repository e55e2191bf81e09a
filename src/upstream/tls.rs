//! Decides whom the upstream connection trusts: always verified, always against the base's host name.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::body::BoxError;
use crate::machine;

use super::{ExtraCa, Failed, Fault, Phase};

/// Opens TLS to one name.
#[derive(Clone)]
pub(super) struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
    limit: Duration,
}

impl Tls {
    /// Loads the roots once; no switch turns verification off.
    pub(super) fn new(host: &str, extra: Option<&ExtraCa>, limit: Duration) -> Result<Self, Fault> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let name =
            ServerName::try_from(bare.to_owned()).map_err(|_invalid| Fault::HostName(host.to_owned()))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(Fault::Tls)?
            .with_root_certificates(roots(extra)?)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), name, limit })
    }

    /// Shakes hands over a connection that is already open.
    pub(super) async fn handshake(&self, tcp: TcpStream) -> Result<TlsStream<TcpStream>, Failed> {
        match timeout(self.limit, self.connector.connect(self.name.clone(), tcp)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(self.failed(error)),
            Err(_elapsed) => Err(Failed::TimedOut { phase: Phase::Handshake, limit: self.limit }),
        }
    }

    fn failed(&self, error: io::Error) -> Failed {
        let sni = self.name.to_str().into_owned();
        let found = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        let Some(rustls::Error::InvalidCertificate(reason)) = found else {
            return Failed::Handshake { sni, source: error.into() };
        };
        let presented = match reason {
            CertificateError::NotValidForNameContext { presented, .. } => {
                presented.iter().map(|name| plain(name)).collect()
            }
            _ => Vec::new(),
        };
        Failed::Certificate { sni, presented, source: rustls::Error::InvalidCertificate(reason.clone()) }
    }
}

/// webpki shows names as `DnsName("localhost")`.
fn plain(name: &str) -> String {
    name.split('"').nth(1).unwrap_or(name).to_owned()
}

fn roots(extra: Option<&ExtraCa>) -> Result<RootCertStore, Fault> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    // A platform store commonly holds a few certificates that rustls cannot use: they only prove nothing.
    roots.add_parsable_certificates(native.certs);
    if let Some(extra) = extra {
        add_extra(&mut roots, extra)?;
    }
    if roots.is_empty() {
        return Err(Fault::NoRoots(native.errors.iter().map(ToString::to_string).collect()));
    }
    Ok(roots)
}

fn add_extra(roots: &mut RootCertStore, extra: &ExtraCa) -> Result<(), Fault> {
    let (file, pem) = match extra {
        ExtraCa::File(file) => {
            let pem = machine::file::read(file, MAX_PEM_BYTES)
                .map_err(|error| Fault::CaFile { file: file.clone(), source: error.into() })?;
            (file.clone(), pem)
        }
        ExtraCa::Pem(pem) => (PathBuf::from("upstream.ca"), pem.clone().into_bytes()),
    };
    let fault = |source: BoxError| Fault::CaFile { file: file.clone(), source };
    let mut added = 0_usize;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| fault(error.to_string().into()))?;
        roots.add(certificate).map_err(|error| fault(error.into()))?;
        added += 1;
    }
    if added == 0 {
        return Err(fault("no certificate in it".into()));
    }
    Ok(())
}

/// The bundle of a platform has some 250 KiB.
const MAX_PEM_BYTES: usize = 4 * 1024 * 1024;
