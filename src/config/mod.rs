//! Decides what the program needs from what the user wrote; all faults are told at once (decision 0007).

use std::ffi::OsString;

mod cache_rules;
mod choice;
mod describe;
mod env;
mod fault;
mod file;
mod flags;
mod keys;
mod keys_share;
mod layers;
mod proxy;
mod report;
mod rows;
mod rules;
mod section;
mod settings;
mod shape;
mod shape_net;
mod shape_of;
mod shape_route;
mod tenants;
mod units;
mod written;

pub use choice::{GateMode, LogFormat, LogLevel};
pub use env::{CONFIG_VARIABLE, config_path};
pub use fault::{Fault, Faults, Place};
pub use file::{FileText, MAX_FILE_BYTES};
pub use flags::Overrides;
pub use keys::{Admin, Cache, CacheDisk, Gate, Limits, Log, Memory, Reload, Replay, Rewrite, Shutdown, keys};
pub use keys_share::{Share, ShareUrl};
pub use proxy::{Proxy, ProxyEnvironment, ProxyUrl};
pub use report::Report;
pub use section::Key;
pub use settings::{Certificate, Config, Listen, Resolve, RouteTtl, Tenant, Upstream};
pub use shape_net::TokenHash;
pub use units::{duration, show_duration, show_size, size};

use fault::quote;
use layers::Layers;
use rows::Rows;
use settings::AsWritten;

/// Everything a configuration is made of. Precedence: flags, environment, file, built-in default.
#[derive(Debug, Clone)]
pub struct Sources {
    /// The file that `--config` or [`CONFIG_VARIABLE`] names; none: the defaults alone.
    pub file: Option<FileText>,
    /// The process's environment, whole: `TOLLGATE_*`, the proxy variables, `HOME` and `XDG_STATE_HOME` are read.
    pub env: Vec<(OsString, OsString)>,
    /// The flags.
    pub flags: Overrides,
}

/// The configuration. Pure: opens nothing that the sources name.
///
/// # Errors
/// Every fault of every source, or the one syntax error of the file and the faults of the others.
pub fn load(sources: &Sources) -> Result<Config, Faults> {
    resolve(sources).map(|(config, _shown)| config)
}

/// The configuration in effect as TOML, each value with its origin as a comment; credentials masked.
///
/// # Errors
/// As [`load`].
pub fn describe(sources: &Sources) -> Result<String, Faults> {
    let (config, shown) = resolve(sources)?;
    let mut text = shown;
    if let Proxy::Environment(ProxyEnvironment { https_proxy: Some(url), .. }) = &config.upstream.proxy {
        text.push_str(&format!("\n# HTTPS_PROXY is in effect: {}\n", quote(&format!("{url:?}"))));
    }
    Ok(text)
}

/// Every key with its default and unit, as a file to start from; loads to the built-in default.
pub const DEFAULT_FILE: &str = include_str!("../../config/tollgate.toml");

fn resolve(sources: &Sources) -> Result<(Config, String), Faults> {
    let mut faults = vec![];
    let keys = keys();
    let known: Vec<_> = keys.iter().map(|key| key.path).collect();
    let document = sources.file.as_ref().map(|file| file::read(file, &known, &mut faults));
    let (values, rows) = document.map_or((vec![], vec![]), |document| (document.values, document.rows));
    let mut rows = Rows::new(rows);

    let mut layers = Layers::new(Place::Default);
    values.into_iter().for_each(|(key, written)| layers.add(key, written));
    env::read(&sources.env, &keys, &mut faults)
        .into_iter()
        .for_each(|(key, written)| layers.add(key, written));
    for (flag, key, value) in sources.flags.all() {
        if let Some(value) = value {
            layers.add(key, written::Written::bare(value, Place::Flag(flag)));
        }
    }

    let config = build(&mut layers, &mut rows, sources);
    layers.drain_faults(&mut faults);
    rows.drain_faults(&mut faults);
    match config {
        Some(config) if faults.is_empty() => {
            Ok((config, describe::describe(&layers.into_taken(), &rows.into_taken())))
        }
        _faulty => Err(Faults::new(faults)),
    }
}

fn build(layers: &mut Layers, rows: &mut Rows, sources: &Sources) -> Option<Config> {
    let mut written = AsWritten::take(layers)?;
    let (listen, tls, upstream) = (written.listen.clone(), written.tls.clone(), written.upstream.clone());
    let state_dir = written.root.state_dir.take().unwrap_or_else(|| env::default_state_dir(&sources.env));
    written.root.state_dir = Some(state_dir.clone());
    let mut config = Config {
        gate: Gate::take(layers)?,
        replay: Replay::take(layers)?,
        cache: Cache::take(layers)?,
        cache_disk: CacheDisk::take(layers)?,
        rewrite: Rewrite::take(layers)?,
        admin: Admin::take(layers)?,
        log: Log::take(layers)?,
        reload: Reload::take(layers)?,
        shutdown: Shutdown::take(layers)?,
        limits: Limits::take(layers)?,
        memory: Memory::take(layers)?,
        share: Share::take(layers)?,
        written,
        state_dir,
        listen: rules::listen(listen, tls, layers),
        upstream: rules::upstream(upstream, ProxyEnvironment::find(&sources.env), layers),
        cache_rules: cache_rules::take(rows),
        tenants: tenants::take(rows),
    };
    // Their default depends on the kind.
    config.written.upstream.aliases = config.upstream.aliases.clone();
    rules::cache(&mut config.cache, layers);
    rules::cache_rules(&config.cache_rules, config.upstream.kind, layers);
    rules::memory(&config.memory, layers);
    keys_share::check(&config.share, layers);
    rules::addresses(&config.listen, &config.admin, layers);
    rules::loops(&config.listen, &config.upstream, layers);
    layers.show_instead("state_dir", quote(&config.state_dir.to_string_lossy()));
    Some(config)
}

#[cfg(test)]
mod tests;
