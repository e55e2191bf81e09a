//! Decides where replicas meet, and with what they know each other.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use http::uri::Authority;

use super::fault::quote;
use super::keys::row;
use super::layers::Layers;
use super::section::{Key, Section, section};
use super::shape::{Lasting, Number, Shape, Switch, Tell};
use super::shape_net::{FilePath, has_good_port, is_host, read_masked};
use super::shape_of::Optional;
use super::written::Written;

section! {
    /// What replicas share, and through which Redis or Valkey.
    pub struct Share in "share." {
        /// Redis (6 or later) or Valkey (7 or later) through which replicas share gates, learned rates and what has to
        /// leave the cache: `redis://host:6379`, or `rediss://` for TLS; a number after a slash chooses the database.
        /// "": this process is alone.
        url: Option<ShareUrl> = Optional(ShareUrlShape), "";
        /// Whether `share.url` is a node of a Redis Cluster: the others are found through it.
        cluster: bool = Switch, "false";
        /// ACL user; "": the default user.
        username: Option<String> = Optional(UserName), "";
        /// File of the password; "": none is asked for.
        password_file: Option<PathBuf> = Optional(FilePath), "";
        /// PEM file of the CAs that sign its certificate, instead of the platform's.
        ca_file: Option<PathBuf> = Optional(FilePath), "";
        /// First part of the names of all keys and channels; deployments that share a Redis need one each.
        prefix: String = Prefix, "tg";
        /// File of the deployment's secret, the same for all replicas, at least 16 characters. It signs what they tell
        /// each other and takes the place of the tenant-hash key in `state_dir`. Needed with `share.url`.
        secret_file: Option<PathBuf> = Optional(FilePath), "";
        /// Replicas that there are, for a start without Redis: each then takes its part of the rate.
        expected_replicas: u32 = Number(1, 1_000), "1";
        /// Longest time for connection, TLS and login.
        connect_timeout: Duration = Lasting(MILLI, MINUTE), "200ms";
        /// Longest time for one call; whoever gets no answer goes on with its part of the rate.
        response_timeout: Duration = Lasting(MILLI, MINUTE), "50ms";
        /// How far ahead turns are booked: what is lost at most when a replica dies. Shorter means more calls.
        horizon: Duration = Lasting(TEN_MILLIS, TEN_SECONDS), "200ms";
        /// A replica that was not heard of for so long no longer counts.
        member_ttl: Duration = Lasting(SECOND, MINUTE), "3s";
    }
}

/// Where a Redis listens. Carries no credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareUrl {
    /// Whether TLS is spoken.
    pub tls: bool,
    /// Host name or address, an IPv6 address without its brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The number of the database.
    pub database: u16,
}

impl fmt::Display for ShareUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "rediss" } else { "redis" };
        let Self { host, port, database, .. } = self;
        match host.contains(':') {
            true => write!(f, "{scheme}://[{host}]:{port}")?,
            false => write!(f, "{scheme}://{host}:{port}")?,
        }
        if *database > 0 { write!(f, "/{database}") } else { Ok(()) }
    }
}

/// Which of the keys go together.
pub(super) fn check(share: &Share, layers: &mut Layers) {
    let Some(url) = &share.url else { return };
    if share.secret_file.is_none() {
        let problem = "needs share.secret_file: without a secret anybody there could close gates";
        layers.conflict(&["share.url", "share.secret_file"], problem.to_owned());
    }
    if share.username.is_some() && share.password_file.is_none() {
        let problem = "needs share.password_file beside it".to_owned();
        layers.conflict(&["share.username", "share.password_file"], problem);
    }
    if share.ca_file.is_some() && !url.tls {
        let problem = "no certificate is shown without TLS: write rediss:// in share.url".to_owned();
        layers.conflict(&["share.ca_file", "share.url"], problem);
    }
    if share.cluster && url.database > 0 {
        let problem = "a cluster has database 0 alone".to_owned();
        layers.conflict(&["share.url", "share.cluster"], problem);
    }
    if share.horizon >= share.member_ttl {
        let problem = "share.horizon is as long as share.member_ttl: turns would outlive their replica";
        layers.conflict(&["share.horizon", "share.member_ttl"], problem.to_owned());
    }
}

struct ShareUrlShape;

impl Shape for ShareUrlShape {
    type Value = ShareUrl;

    fn read(&self, written: &Written, tell: &mut Tell<'_>) -> Option<ShareUrl> {
        read_masked(self, written, tell, parse)
    }

    fn show(&self, value: &ShareUrl) -> String {
        quote(&value.to_string())
    }

    fn accepts(&self) -> String {
        "a URL such as \"redis://redis.example:6379\" or \"rediss://redis.example:6379/0\", user and password apart"
            .to_owned()
    }
}

fn parse(text: &str) -> Option<ShareUrl> {
    let uri: Uri = text.parse().ok()?;
    let tls = match uri.scheme_str() {
        Some("redis") => false,
        Some("rediss") => true,
        _other => return None,
    };
    let authority: &Authority = uri.authority()?;
    let is_plain = uri.query().is_none() && !text.contains(['@', '#', '?']);
    if !is_plain || !has_good_port(authority) || !is_host(authority.host()) {
        return None;
    }
    let database = match uri.path().strip_prefix('/').unwrap_or_default() {
        "" => 0,
        number => number.parse().ok()?,
    };
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    Some(ShareUrl { tls, host, port: authority.port_u16().unwrap_or(PORT), database })
}

/// The name of an ACL user.
struct UserName;

impl Shape for UserName {
    type Value = String;

    fn read(&self, written: &Written, tell: &mut Tell<'_>) -> Option<String> {
        read_masked(self, written, tell, |text| {
            let is_fit = (1..=128).contains(&text.len()) && text.chars().all(|sign| sign.is_ascii_graphic());
            is_fit.then(|| text.to_owned())
        })
    }

    fn show(&self, value: &String) -> String {
        quote(value)
    }

    fn accepts(&self) -> String {
        "a user name of 1 to 128 visible ASCII characters".to_owned()
    }
}

/// The first part of all names: free of what means something to Redis.
struct Prefix;

impl Shape for Prefix {
    type Value = String;

    fn read(&self, written: &Written, tell: &mut Tell<'_>) -> Option<String> {
        read_masked(self, written, tell, |text| {
            let is_plain = |sign: char| sign.is_ascii_alphanumeric() || "._-".contains(sign);
            ((1..=32).contains(&text.len()) && text.chars().all(is_plain)).then(|| text.to_owned())
        })
    }

    fn show(&self, value: &String) -> String {
        quote(value)
    }

    fn accepts(&self) -> String {
        "1 to 32 letters, digits, dots, dashes or underscores".to_owned()
    }
}

/// Redis's own.
const PORT: u16 = 6379;
const MILLI: Duration = Duration::from_millis(1);
const TEN_MILLIS: Duration = Duration::from_millis(10);
const SECOND: Duration = Duration::from_secs(1);
const TEN_SECONDS: Duration = Duration::from_secs(10);
const MINUTE: Duration = Duration::from_secs(60);
