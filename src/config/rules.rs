//! Decides which values go together: turns what was written into what the program needs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::route::{Hosts, Kind};
use crate::words::{Base, Scheme};

use super::choice::ResolveBy;
use super::fault::{Place, quote};
use super::keys::{Admin, Cache, ListenKeys, Memory, TlsKeys, UpstreamKeys};
use super::layers::Layers;
use super::proxy::{Proxy, ProxyChoice, ProxyEnvironment};
use super::settings::{Certificate, Listen, Resolve, RouteTtl, Upstream};
use super::units::show_size;

/// The listeners of the data path.
pub(super) fn listen(keys: ListenKeys, tls: TlsKeys, layers: &mut Layers) -> Listen {
    if keys.https.is_none() && keys.http.is_none() {
        let problem = "no listener is open: give an address to this or to listen.http".to_owned();
        layers.conflict(&["listen.https", "listen.http"], problem);
    }
    if keys.http.is_some_and(|address| !address.ip().is_loopback()) && !keys.insecure_http {
        let problem = "a plain listener beyond loopback sends tokens unencrypted: \
                       use a loopback address, or set listen.insecure_http = true";
        layers.conflict(&["listen.http", "listen.insecure_http"], problem.to_owned());
    }
    let is_any = keys.hosts.iter().any(|host| host.as_str() == "*");
    if is_any && keys.hosts.len() > 1 {
        layers.conflict(&["listen.hosts"], "\"*\" answers any host: it stands alone".to_owned());
    }
    Listen {
        https: keys.https,
        http: keys.http,
        hosts: if is_any { Hosts::Any } else { Hosts::Listed(keys.hosts) },
        public_base: keys.public_base,
        client_ca_file: tls.client_ca_file.clone(),
        certificate: certificate(tls, layers),
    }
}

fn certificate(tls: TlsKeys, layers: &mut Layers) -> Certificate {
    let files = ["listen.tls.cert_file", "listen.tls.key_file"];
    match (tls.cert_file, tls.key_file) {
        (Some(cert), Some(key)) => {
            if !tls.names.is_empty() {
                let problem =
                    "names extend the local CA's certificate, but listen.tls.cert_file gives another";
                layers.conflict(&["listen.tls.names", "listen.tls.cert_file"], problem.to_owned());
            }
            Certificate::Files { cert, key }
        }
        (cert, key) => {
            if cert.is_some() {
                layers.conflict(&files, "needs listen.tls.key_file beside it".to_owned());
            }
            if key.is_some() {
                let [cert_file, key_file] = files;
                layers.conflict(&[key_file, cert_file], "needs listen.tls.cert_file beside it".to_owned());
            }
            Certificate::Local { names: tls.names }
        }
    }
}

/// The API and the way to it.
pub(super) fn upstream(keys: UpstreamKeys, environment: ProxyEnvironment, layers: &mut Layers) -> Upstream {
    if keys.url.scheme == Scheme::Http && !is_loopback(&keys.url) {
        let problem = "plain http sends tokens unencrypted: only a loopback host may be reached so";
        layers.conflict(&["upstream.url"], problem.to_owned());
    }
    if !keys.connect.is_empty() && keys.resolve == ResolveBy::Dns {
        let problem = "with upstream.connect nothing is resolved: drop one of the two".to_owned();
        layers.conflict(&["upstream.resolve", "upstream.connect"], problem);
    }
    // The default names Webex's legacy host, which is no other name of any origin.
    let is_webex_alias = layers.place("upstream.aliases") == Place::Default && keys.kind == Kind::Generic;
    if is_webex_alias {
        layers.show_instead("upstream.aliases", "[]".to_owned());
    }
    Upstream {
        aliases: if is_webex_alias { vec![] } else { keys.aliases },
        resolve: match keys.resolve {
            _fixed if !keys.connect.is_empty() => Resolve::Fixed(keys.connect),
            ResolveBy::Dns => Resolve::Dns,
            ResolveBy::System => Resolve::System,
        },
        proxy: match keys.proxy {
            Some(ProxyChoice::Direct) => Proxy::Direct,
            Some(ProxyChoice::Fixed(url)) => Proxy::Fixed(url),
            None => Proxy::Environment(environment),
        },
        url: keys.url,
        kind: keys.kind,
        ca_file: keys.ca_file,
        connect_timeout: keys.connect_timeout,
        handshake_timeout: keys.handshake_timeout,
        header_timeout: keys.header_timeout,
        idle_timeout: keys.idle_timeout,
        pool_idle_timeout: keys.pool_idle_timeout,
    }
}

/// One answer may not push out the whole cache.
pub(super) fn cache(cache: &mut Cache, layers: &mut Layers) {
    match cache.fill {
        // Room for the largest answer that may be kept.
        None => {
            cache.fill = Some(cache.memory / 2);
            layers.show_instead("cache.fill", quote(&show_size(cache.memory / 2)));
        }
        Some(fill) if cache.enabled && cache.max_entry > fill => {
            let problem =
                "cache.max_entry is more than cache.fill: the largest answers would find no room".to_owned();
            layers.conflict(&["cache.fill", "cache.max_entry"], problem);
        }
        Some(_) => {}
    }
    if cache.enabled && cache.max_entry > cache.memory / 2 {
        let problem = "cache.max_entry is more than half of cache.memory".to_owned();
        layers.conflict(&["cache.max_entry", "cache.memory"], problem);
    }
}

/// Uploads go first.
pub(super) fn memory(memory: &Memory, layers: &mut Layers) {
    if memory.uploads_percent > memory.requests_percent {
        let problem =
            "memory.uploads_percent is more than memory.requests_percent: uploads are refused first";
        layers.conflict(&["memory.uploads_percent", "memory.requests_percent"], problem.to_owned());
    }
}

/// The paths that rules of the cache may name are Webex's.
pub(super) fn cache_rules(rules: &[RouteTtl], kind: Kind, layers: &mut Layers) {
    if kind == Kind::Generic && !rules.is_empty() {
        let problem = "[[cache.rule]] names paths of the Webex API: drop the rules, or use \"webex\"";
        layers.conflict(&["upstream.kind"], problem.to_owned());
    }
}

/// No two listeners at one address: above all, none for operators where bots connect.
pub(super) fn addresses(listen: &Listen, admin: &Admin, layers: &mut Layers) {
    let mut open = [
        ("admin.listen", Some(admin.listen)),
        ("admin.metrics_listen", admin.metrics_listen),
        ("listen.http", listen.http),
        ("listen.https", listen.https),
    ]
    .into_iter()
    .filter_map(|(key, address)| Some((key, address?)));
    while let Some((key, address)) = open.next() {
        for (other, taken) in open.clone() {
            if overlap(address, taken) {
                layers.conflict(&[key, other], format!("{key} and {other} share an address"));
            }
        }
    }
}

/// The upstream is not this proxy: what arrives would be sent here again. Names other than localhost are not resolved.
pub(super) fn loops(listen: &Listen, upstream: &Upstream, layers: &mut Layers) {
    let (key, targets) = match &upstream.resolve {
        Resolve::Fixed(addresses) => ("upstream.connect", addresses.clone()),
        Resolve::Dns | Resolve::System => ("upstream.url", literal_addresses(&upstream.url)),
    };
    let listeners = [("listen.https", listen.https), ("listen.http", listen.http)];
    for (own, address) in listeners.into_iter().filter_map(|(own, address)| Some((own, address?))) {
        if targets.iter().any(|target| overlap(*target, address)) {
            layers.conflict(&[key, own], format!("{key} leads back to {own}"));
        }
    }
}

fn literal_addresses(base: &Base) -> Vec<SocketAddr> {
    let port = base.authority.port_u16().unwrap_or_else(|| base.scheme.default_port());
    let host = base.authority.host().trim_start_matches('[').trim_end_matches(']');
    let ips = match host.parse() {
        Ok(ip) => vec![ip],
        Err(_name) if is_loopback(base) => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
        Err(_name) => vec![],
    };
    ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect()
}

fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    // Port 0 is any free port, thus never one that is taken.
    a.port() == b.port() && a.port() != 0 && (covers(a.ip(), b.ip()) || covers(b.ip(), a.ip()))
}

/// Whether a socket bound to `wide` hears what is sent to `narrow`. `[::]` hears IPv4 too where the system lets it.
fn covers(wide: IpAddr, narrow: IpAddr) -> bool {
    match wide {
        IpAddr::V4(wide) if wide.is_unspecified() => narrow.is_ipv4(),
        IpAddr::V6(wide) if wide.is_unspecified() => true,
        exact => exact == narrow,
    }
}

fn is_loopback(base: &Base) -> bool {
    let host = base.authority.host();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host.to_ascii_lowercase().ends_with(".localhost")
        || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
