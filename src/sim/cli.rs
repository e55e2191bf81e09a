//! The flags of `tollgate sim`, and the simulator as they describe it.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use clap::Args;
use tokio::net::TcpListener;

use super::model::Model;
use super::server::{self, Listeners, SimFault};
use super::settings::SimSettings;
use crate::clock::Clock;
use crate::server::ca::LocalCa;

/// Serves a made-up Webex with limits; its control plane is at /_sim/.
#[derive(Debug, Clone, Args)]
pub struct SimArgs {
    /// Where to listen for TLS; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9443")]
    pub https: SocketAddr,
    /// Where to listen for plain HTTP; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9080")]
    pub http: SocketAddr,
    /// Where to write the certificate of the simulator's CA, as PEM
    #[arg(long, value_name = "FILE")]
    pub ca_out: Option<PathBuf>,
    /// What URLs in Link and files begin with
    #[arg(long, value_name = "URL", default_value = "https://webexapis.com/v1")]
    pub public_base: String,
    /// Decides ids and contents
    #[arg(long, value_name = "N", default_value = "1")]
    pub seed: u64,
    /// A limit: family=rpm, family=rpm:burst or family=off; families also: default, room, egress, all
    #[arg(long, value_name = "LIMIT")]
    pub limit: Vec<String>,
    /// How limits count: fixed-window, token-bucket or sliding-log
    #[arg(long, value_name = "MODE")]
    pub limit_mode: Option<String>,
    /// Form of Retry-After: int, missing, garbage, http-date, zero, decimal or a number
    #[arg(long, value_name = "FORM")]
    pub retry_after: Option<String>,
    /// Body of a 429: json or html
    #[arg(long = "429-body", value_name = "KIND")]
    pub throttle_body: Option<String>,
    /// When a 429 comes: head (before the request body) or end
    #[arg(long, value_name = "POINT")]
    pub throttle_at: Option<String>,
    /// Packs JSON for clients that accept gzip
    #[arg(long)]
    pub gzip: bool,
    /// Answers Range with 206
    #[arg(long)]
    pub ranges: bool,
    /// Adds ETag and Last-Modified to contents
    #[arg(long)]
    pub validators: bool,
    /// Adds filename* to Content-Disposition
    #[arg(long)]
    pub filename_star: bool,
    /// Oddities: drop-filters, max-null, empty-tail-page, loop, no-semicolon, first-prev
    #[arg(long, value_name = "LIST")]
    pub paging: Option<String>,
    /// Shows clients without SNI the *.wbx2.com certificate
    #[arg(long)]
    pub require_sni: bool,
    /// Which certificate is shown: by-name, trap or stranger
    #[arg(long, value_name = "KIND")]
    pub certificate: Option<String>,
    /// ALPN protocols
    #[arg(long, value_name = "LIST")]
    pub alpn: Option<String>,
    /// Closes a connection that is idle for so long
    #[arg(long, value_name = "TIME")]
    pub idle_timeout: Option<String>,
}

impl SimArgs {
    /// The settings that the flags describe.
    ///
    /// # Errors
    /// `Value` if a flag means nothing.
    pub fn settings(&self) -> Result<SimSettings, super::SettingFault> {
        let mut settings = SimSettings::plain();
        settings.seed = self.seed;
        settings.set("public_base", &self.public_base)?;
        for limit in &self.limit {
            settings.set("limit", limit)?;
        }
        for (name, value) in [
            ("alpn", &self.alpn),
            ("certificate", &self.certificate),
            ("idle_timeout", &self.idle_timeout),
            ("limit_mode", &self.limit_mode),
            ("paging", &self.paging),
            ("retry_after", &self.retry_after),
            ("throttle_at", &self.throttle_at),
            ("throttle_body", &self.throttle_body),
        ] {
            if let Some(value) = value {
                settings.set(name, value)?;
            }
        }
        settings.gzip = self.gzip;
        settings.ranges = self.ranges;
        settings.validators = self.validators;
        settings.filename_star = self.filename_star;
        settings.require_sni = self.require_sni;
        Ok(settings)
    }
}

/// Serves until the future is dropped, after one line with the addresses on the standard output.
///
/// # Errors
/// `Bind`, `Output`, `Setting`, `Issue` or `Tls` if it cannot be started.
pub async fn run(args: SimArgs) -> Result<(), SimFault> {
    let clock = Clock::system();
    let model = Arc::new(Mutex::new(Model::new(args.settings()?, clock.wall())));
    let ca = LocalCa::in_memory("Simulated Webex CA").map_err(SimFault::Issue)?;
    let tls = server::config(&ca, &model)?;
    if let Some(file) = &args.ca_out {
        let output = |fault| SimFault::Output(file.display().to_string(), fault);
        std::fs::write(file, ca.certificate_pem()).map_err(output)?;
    }
    let (https, https_at) = bind(args.https).await?;
    let (http, http_at) = bind(args.http).await?;
    announce(https_at, http_at).map_err(|fault| SimFault::Output("the standard output".to_owned(), fault))?;
    server::serve(Listeners { https: Some((https, tls)), http: Some(http) }, model, clock).await;
    Ok(())
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), SimFault> {
    let fault = |fault| SimFault::Bind(address, fault);
    let listener = TcpListener::bind(address).await.map_err(fault)?;
    let bound = listener.local_addr().map_err(fault)?;
    Ok((listener, bound))
}

/// One line that scripts read: where it listens.
fn announce(https: SocketAddr, http: SocketAddr) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "sim listening https={https} http={http}")?;
    out.flush()
}
