//! Decides which tenants have names: each has a token, and none has another's name or token.

use std::collections::HashSet;
use std::path::PathBuf;

use super::keys::TenantKeys;
use super::layers::Layers;
use super::rows::{Rows, TENANT};
use super::settings::Tenant;
use super::shape_net::TokenHash;

/// The tenants as written, in their order.
pub(super) fn take(rows: &mut Rows) -> Vec<Tenant> {
    let mut seen = Seen { names: HashSet::new(), files: HashSet::new(), hashes: HashSet::new() };
    rows.take(&TENANT, |layers| tenant(TenantKeys::take(layers)?, layers, &mut seen))
}

struct Seen {
    names: HashSet<String>,
    files: HashSet<PathBuf>,
    hashes: HashSet<TokenHash>,
}

fn tenant(keys: TenantKeys, layers: &mut Layers, seen: &mut Seen) -> Option<Tenant> {
    match &keys.name {
        None => layers.missing(&["tenant.name"], "a tenant needs a name".to_owned()),
        Some(name) if !seen.names.insert(name.clone()) => {
            layers.conflict(&["tenant.name"], format!("another tenant is called \"{name}\" too"));
        }
        Some(_unique) => {}
    }
    if keys.token_files.is_empty() && keys.token_sha256.is_empty() {
        let problem = "a tenant needs a token: give this or tenant.token_sha256";
        layers.missing(&["tenant.token_files", "tenant.token_sha256"], problem.to_owned());
    }
    let is_file_new = keys.token_files.iter().map(|file| seen.files.insert(file.clone()));
    if is_file_new.fold(false, |found, is_new| found | !is_new) {
        layers.conflict(
            &["tenant.token_files"],
            "a file is listed twice, here or at another tenant".to_owned(),
        );
    }
    let is_hash_new = keys.token_sha256.iter().map(|hash| seen.hashes.insert(*hash));
    if is_hash_new.fold(false, |found, is_new| found | !is_new) {
        layers.conflict(
            &["tenant.token_sha256"],
            "a hash is listed twice, here or at another tenant".to_owned(),
        );
    }
    Some(Tenant {
        name: keys.name?,
        token_files: keys.token_files,
        token_sha256: keys.token_sha256,
        weight: keys.weight,
        ceiling: keys.rate.map(|rate| (rate, keys.burst)),
        max_wait: keys.max_wait,
        bypass: keys.bypass,
    })
}
