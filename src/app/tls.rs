//! What the TLS listener shows and asks for, made from the configuration: at the start, and again at a reload.

use std::sync::Arc;

use crate::config::{Certificate, Config};
use crate::server::ca::{LocalCa, Origin};
use crate::server::tls::{CertificateFiles, Certificates, Tls};

use super::Fault;

/// The listener's certificates and its TLS.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) certificates: Arc<Certificates>,
    pub(super) tls: Tls,
}

impl Shown {
    /// Reads the operator's certificates, or has the local CA issue one; then also says where that CA came from.
    pub(super) fn new(config: &Config) -> Result<(Self, Option<Origin>), Fault> {
        let (certificates, origin) = certificates(config)?;
        let certificates = Arc::new(certificates);
        let tls = Tls::new(Arc::clone(&certificates), config.listen.client_ca_file.as_deref())?;
        Ok((Self { certificates, tls }, origin))
    }

    /// What the new configuration shows. Certificates of the local CA renew themselves and stay as they are.
    pub(super) fn renewed(&self, new: &Config, changed: &[&str]) -> Result<Renewed, Fault> {
        let is_from_files = matches!(new.listen.certificate, Certificate::Files { .. });
        let has_moved =
            ["listen.tls.cert_file", "listen.tls.key_file"].iter().any(|key| changed.contains(key));
        let fresh = (is_from_files || has_moved).then(|| certificates(new)).transpose()?;
        let file = new.listen.client_ca_file.as_deref();
        // Also if unchanged: a file that cannot be read any more is told now, not at the next restart.
        let tls = Tls::new(Arc::clone(&self.certificates), file)?;
        let asks_anew = changed.contains(&"listen.tls.client_ca_file");
        Ok(Renewed { certificates: fresh.map(|(fresh, _)| fresh), tls: asks_anew.then_some(tls) })
    }

    /// Holds from the next handshake on.
    pub(super) fn replace(&self, renewed: &Renewed) {
        if let Some(fresh) = &renewed.certificates {
            self.certificates.replace(fresh);
        }
        if let Some(tls) = &renewed.tls {
            self.tls.replace(tls);
        }
    }
}

/// What takes the place of what is shown.
pub(super) struct Renewed {
    certificates: Option<Certificates>,
    tls: Option<Tls>,
}

fn certificates(config: &Config) -> Result<(Certificates, Option<Origin>), Fault> {
    match &config.listen.certificate {
        Certificate::Files { cert, key } => {
            let files = CertificateFiles { cert_file: cert.clone(), key_file: key.clone() };
            Ok((Certificates::from_files(&files, &[])?, None))
        }
        Certificate::Local { names } => {
            let (ca, origin) = LocalCa::load_or_make(&config.state_dir, names)?;
            let leaf =
                LOCAL_NAMES.iter().map(|name| (*name).to_owned()).chain(names.iter().cloned()).collect();
            Ok((Certificates::from_ca(Arc::new(ca), leaf)?, Some(origin)))
        }
    }
}

/// What every leaf of the local CA is for.
const LOCAL_NAMES: &[&str] = &["localhost", "127.0.0.1", "::1"];
