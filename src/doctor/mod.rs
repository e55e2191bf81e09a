//! The diagnosis: walks the way that requests will take, says what works and what to do about the rest.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::time::timeout;

use crate::app;
use crate::config::{Certificate, Config, Proxy, Resolve};
use crate::server::tls::{CertificateFiles, Certificates};
use crate::share::Check;

mod api;
mod finding;

pub use finding::Finding;

/// Checks what a configuration needs to work, and tells each finding as soon as it is there. Returns how many are
/// faults. Leaves nothing behind but one request at the API, without a token.
pub async fn examine(config: &Config, mut tell: impl FnMut(&Finding)) -> usize {
    let mut faults = 0_usize;
    let mut note = |finding: Finding| {
        faults += usize::from(finding.is_fault());
        tell(&finding);
    };
    note(state(config));
    note(descriptors(config));
    if let Certificate::Files { cert, key } = &config.listen.certificate {
        note(certificate(cert, key));
    }
    for (key, address) in listeners(config) {
        note(listener(config, key, address).await);
    }
    for finding in addresses(config).await {
        note(finding);
    }
    for finding in share(config).await {
        note(finding);
    }
    for finding in api::ask_api(config).await {
        note(finding);
    }
    faults
}

fn state(config: &Config) -> Finding {
    let dir = config.state_dir.display();
    match app::can_keep_state(config) {
        Ok(()) => Finding::well("state_dir", format_args!("{dir} takes files")),
        Err(fault) => {
            Finding::fault("state_dir", fault, format!("let this user write to {dir}, or set state_dir"))
        }
    }
}

fn descriptors(config: &Config) -> Finding {
    let (highest, wanted) = app::descriptors(config);
    if highest >= wanted {
        return Finding::well("descriptors", format_args!("{wanted} of {highest} at most"));
    }
    Finding::warning(
        "descriptors",
        format_args!("{wanted} may be needed, and the hard limit of this user is {highest}"),
        "raise it (ulimit -Hn, LimitNOFILE=), or lower limits.connections; else fewer connections are taken",
    )
}

fn certificate(cert: &Path, key: &Path) -> Finding {
    let files = CertificateFiles { cert_file: cert.to_owned(), key_file: key.to_owned() };
    match Certificates::from_files(&files, &[]) {
        Ok(_) => Finding::well("listen.tls", format_args!("{} and its key", cert.display())),
        Err(fault) => {
            Finding::fault("listen.tls", fault, "give PEM files that belong together, readable here")
        }
    }
}

/// Whether replicas can meet where the configuration says.
async fn share(config: &Config) -> Vec<Finding> {
    let found = match app::examine_share(config).await {
        Ok(found) => found,
        Err(fault) => {
            return vec![Finding::fault("share", fault, "correct the file that it names, readable here")];
        }
    };
    let finding = |check| match check {
        Check::Fault(text, advice) => Finding::fault("share", text, advice),
        Check::Warning(text, advice) => Finding::warning("share", text, advice),
        Check::Well(text) => Finding::well("share", text),
    };
    found.into_iter().map(finding).collect()
}

fn listeners(config: &Config) -> impl Iterator<Item = (&'static str, SocketAddr)> {
    let all = [
        ("listen.https", config.listen.https),
        ("listen.http", config.listen.http),
        ("admin.listen", Some(config.admin.listen)),
        ("metrics_listen", config.admin.metrics_listen),
    ];
    all.into_iter().filter_map(|(key, address)| Some((key, address?)))
}

async fn listener(config: &Config, key: &'static str, address: SocketAddr) -> Finding {
    match TcpListener::bind(address).await {
        Ok(_) => Finding::well(key, format_args!("{address} is free")),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            let ports = std::fs::read_to_string(config.state_dir.join("ports.json")).unwrap_or_default();
            if ports.contains(&format!("\"{address}\"")) {
                Finding::well(
                    key,
                    format_args!("{address} is taken, by a Tollgate as its state directory says"),
                )
            } else {
                Finding::fault(
                    key,
                    format_args!("{address} is taken"),
                    format!("end what listens there, or change {key}"),
                )
            }
        }
        Err(error) => Finding::fault(
            key,
            format_args!("{address}: {error}"),
            format!("set {key} to an address of this machine and a port that this user may open"),
        ),
    }
}

/// Each address of the API by itself, or the name as the machine resolves it.
async fn addresses(config: &Config) -> Vec<Finding> {
    let upstream = &config.upstream;
    let limit = upstream.connect_timeout;
    let host = upstream.url.authority.host();
    let is_behind_proxy = match &upstream.proxy {
        Proxy::Direct => false,
        Proxy::Environment(environment) => environment.https_proxy.is_some(),
        Proxy::Fixed(_) => true,
    };
    match &upstream.resolve {
        _ if is_behind_proxy => {
            vec![Finding::well(
                "name",
                format_args!("{host} may be left to the proxy: the answer below tells"),
            )]
        }
        Resolve::Dns => {
            vec![Finding::well("name", format_args!("{host} is asked by DNS: the answer below tells"))]
        }
        Resolve::Fixed(fixed) => {
            let mut findings = Vec::new();
            for address in fixed {
                findings.push(match within(limit, TcpStream::connect(address)).await {
                    Ok(_) => Finding::well("connect", format_args!("{address} accepts connections")),
                    Err(error) => Finding::fault(
                        "connect",
                        format_args!("{address}: {error}"),
                        "correct upstream.connect, or open the way there",
                    ),
                });
            }
            findings
        }
        Resolve::System => vec![name(host, config, limit).await],
    }
}

async fn name(host: &str, config: &Config, limit: Duration) -> Finding {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let port =
        config.upstream.url.authority.port_u16().unwrap_or_else(|| config.upstream.url.scheme.default_port());
    match within(limit, lookup_host((bare, port))).await {
        Ok(found) => {
            let found: Vec<String> = found.map(|address| address.ip().to_string()).collect();
            Finding::well("name", format_args!("{host} is {}", found.join(", ")))
        }
        Err(error) => Finding::fault("name", format_args!("{host}: {error}"), ADVICE_NAME),
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = std::io::Result<T>>) -> std::io::Result<T> {
    timeout(limit, work).await.unwrap_or_else(|_elapsed| Err(std::io::ErrorKind::TimedOut.into()))
}

const ADVICE_NAME: &str = "mend this machine's name resolution, or set upstream.connect or upstream.proxy";
