//! Which certificate a TLS client is shown, by the name it asks for.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

use super::SimFault;
use crate::server::ca::LocalCa;
use crate::sim::model::Model;
use crate::sim::settings::Certificate;

/// Names of the good certificate.
const GOOD_NAMES: &[&str] = &["webexapis.com", "api.ciscospark.com", "localhost", "127.0.0.1", "::1"];

/// Names of the certificate that a client without SNI gets, from the seed.
const TRAP_NAMES: &[&str] = &["*.wbx2.com", "wbx2.com"];

/// TLS for the simulator, its certificates signed by `ca`.
///
/// # Errors
/// `Issue` if a certificate cannot be made; `Tls` if rustls refuses the configuration.
pub fn config(ca: &LocalCa, model: &Arc<Mutex<Model>>) -> Result<Arc<ServerConfig>, SimFault> {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let stranger = LocalCa::in_memory("A CA that nobody knows").map_err(SimFault::Issue)?;
    let resolver = Resolver {
        good: ca.issue(&names(GOOD_NAMES)).map_err(SimFault::Issue)?,
        trap: ca.issue(&names(TRAP_NAMES)).map_err(SimFault::Issue)?,
        stranger: stranger.issue(&names(GOOD_NAMES)).map_err(SimFault::Issue)?,
        model: Arc::clone(model),
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(SimFault::Tls)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(resolver));
    let alpn = model.lock().unwrap_or_else(PoisonError::into_inner).settings().alpn.clone();
    config.alpn_protocols = alpn.into_iter().map(String::into_bytes).collect();
    Ok(Arc::new(config))
}

/// Takes a connection under `config`, with the ALPN protocols that are set now.
pub(super) fn acceptor(config: &Arc<ServerConfig>, alpn: &[String]) -> TlsAcceptor {
    if config.alpn_protocols.iter().map(Vec::as_slice).eq(alpn.iter().map(String::as_bytes)) {
        return TlsAcceptor::from(Arc::clone(config));
    }
    let mut changed = ServerConfig::clone(config);
    changed.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    TlsAcceptor::from(Arc::new(changed))
}

/// Reads the settings at each handshake, so that the control plane can change them.
#[derive(Debug)]
struct Resolver {
    good: Arc<CertifiedKey>,
    trap: Arc<CertifiedKey>,
    stranger: Arc<CertifiedKey>,
    model: Arc<Mutex<Model>>,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let model = self.model.lock().unwrap_or_else(PoisonError::into_inner);
        let settings = model.settings();
        let is_known = match hello.server_name() {
            Some(name) => GOOD_NAMES.contains(&name),
            None => !settings.require_sni,
        };
        let shown = match settings.certificate {
            Certificate::ByName if is_known => &self.good,
            Certificate::ByName | Certificate::Trap => {
                model.wire().trapped.fetch_add(1, Ordering::Relaxed);
                &self.trap
            }
            Certificate::Stranger => &self.stranger,
        };
        Some(Arc::clone(shown))
    }
}
