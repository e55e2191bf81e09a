//! The common settings as flags, and the configuration that they lead to.

use std::path::PathBuf;

use clap::Args;

use tollgate::config::{self, Config, FileText, Overrides, Sources};

use super::{FAULT, Failure};

/// The common settings as flags; the file knows them all.
#[derive(Debug, Clone, Args)]
pub(super) struct RunArgs {
    /// Configuration file, TOML; without it the built-in defaults hold
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address of the TLS listener [listen.https]
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Address of the plain listener [listen.http]
    #[arg(long, value_name = "ADDR")]
    listen_http: Option<String>,
    /// Scheme and host of the API [upstream.url]
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// PEM file of CAs trusted besides the platform's [upstream.ca_file]
    #[arg(long, value_name = "FILE")]
    upstream_ca: Option<String>,
    /// Address of the operators' listener [admin.listen]
    #[arg(long, value_name = "ADDR")]
    admin: Option<String>,
    /// Directory of what outlives a restart [state_dir]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<String>,
}

impl RunArgs {
    /// The configuration file, if one is named.
    pub(super) fn file(&self) -> Option<PathBuf> {
        self.config.clone().or_else(|| config::config_path(&environment()))
    }

    /// Everything that the configuration is made of, read.
    pub(super) fn sources(&self) -> Result<Sources, Failure> {
        let (env, path) = (environment(), self.file());
        let file = path.map(|path| FileText::read(&path)).transpose().map_err(fault)?;
        let flags = Overrides {
            listen: self.listen.clone(),
            listen_http: self.listen_http.clone(),
            upstream: self.upstream.clone(),
            upstream_ca: self.upstream_ca.clone(),
            admin: self.admin.clone(),
            state_dir: self.state_dir.clone(),
        };
        Ok(Sources { file, env, flags })
    }

    /// The configuration, checked.
    pub(super) fn load(&self) -> Result<Config, Failure> {
        config::load(&self.sources()?).map_err(fault)
    }
}

/// A fault of the configuration, in the form of a failed command.
pub(super) fn fault(fault: impl std::fmt::Display) -> Failure {
    (FAULT, fault.to_string())
}

fn environment() -> Vec<(std::ffi::OsString, std::ffi::OsString)> {
    std::env::vars_os().collect()
}
