//! Decides how the configuration becomes sharing, and what is logged and counted of it.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::Config;
use crate::machine::file::{read, read_text};
use crate::metrics::Metrics;
use crate::share::{Address, Event, LEAST_LENGTH, Secret, ShareSettings, Tell, TroubleKind};

use super::{Fault, state};

/// The keys by which tenants and marks are known.
pub(super) struct Keys {
    pub(super) tenants: Vec<u8>,
    /// Other replicas have the same; none while this process is alone.
    pub(super) marks: Option<Vec<u8>>,
}

impl Keys {
    /// Out of the deployment's secret if there is one, so that ids agree (decision 0018); else this process's own.
    pub(super) fn of(config: &Config, share: Option<&ShareSettings>) -> Result<Self, Fault> {
        Ok(match share {
            Some(ShareSettings { secret, .. }) => {
                Self { tenants: secret.tenant_key(), marks: Some(secret.mark_key()) }
            }
            None => Self { tenants: state::tenant_key(&config.state_dir)?, marks: None },
        })
    }

    /// For a look that leaves nothing behind.
    pub(super) fn passing() -> Self {
        Self { tenants: b"diagnosis".to_vec(), marks: None }
    }
}

/// What sharing must know; reads the files of secret, password and CA. None if nothing is shared.
pub(super) fn settings(config: &Config) -> Result<Option<ShareSettings>, Fault> {
    let from = &config.share;
    let (Some(url), Some(secret_file)) = (&from.url, &from.secret_file) else { return Ok(None) };
    let text = |file: &Path| read_text(file, MAX_BYTES).map_err(|source| fault(file, source));
    let secret = Secret::new(&text(secret_file)?).ok_or_else(|| {
        let problem = format!("a secret has at least {LEAST_LENGTH} characters");
        fault(secret_file, io::Error::new(io::ErrorKind::InvalidData, problem))
    })?;
    let password = from.password_file.as_deref().map(text).transpose()?;
    let ca = from.ca_file.as_deref().map(|file| read(file, MAX_BYTES).map_err(|source| fault(file, source)));
    Ok(Some(ShareSettings {
        address: Address {
            tls: url.tls,
            host: url.host.clone(),
            port: url.port,
            database: url.database,
            cluster: from.cluster,
            username: from.username.clone(),
            password: password.map(|password| password.trim().to_owned()),
            ca: ca.transpose()?,
            connect_timeout: from.connect_timeout,
            response_timeout: from.response_timeout,
        },
        prefix: from.prefix.clone(),
        secret,
        expected_replicas: from.expected_replicas,
        horizon: from.horizon,
        member_ttl: from.member_ttl,
    }))
}

fn fault(file: &Path, source: io::Error) -> Fault {
    Fault::File { file: file.to_owned(), source }
}

/// Logs and counts. What strangers can bring about is logged once in a while, and counted each time.
pub(super) fn teller(metrics: Arc<Metrics>) -> Tell {
    let told: Mutex<Vec<(TroubleKind, Instant)>> = Mutex::new(Vec::new());
    Arc::new(move |event| match event {
        Event::Called(answered, took) => metrics.share_called(answered, took),
        Event::Down(trouble) => {
            tracing::warn!(kind = trouble.kind.as_str(), error = %trouble, "share down, local share in force");
        }
        Event::Odd(trouble) => {
            let now = Instant::now();
            let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
            told.retain(|(_, at)| now.saturating_duration_since(*at) < AT_MOST_EVERY);
            if !told.iter().any(|(kind, _)| *kind == trouble.kind) {
                told.push((trouble.kind, now));
                tracing::warn!(kind = trouble.kind.as_str(), error = %trouble, "share disturbed");
            }
        }
        Event::Up(members) => tracing::info!(members, "share up"),
    })
}

/// Far more than a secret or a bundle of CAs has.
const MAX_BYTES: usize = 1 << 20;
const AT_MOST_EVERY: Duration = Duration::from_secs(5);
