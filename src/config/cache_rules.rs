//! Decides which routes have answers that are kept whatever the API says: each has one lifetime.

use std::collections::HashSet;

use crate::route::RouteId;

use super::keys::CacheRuleKeys;
use super::layers::Layers;
use super::rows::{CACHE_RULE, Rows};
use super::settings::RouteTtl;

/// The rules as written, in their order.
pub(super) fn take(rows: &mut Rows) -> Vec<RouteTtl> {
    let mut seen = HashSet::new();
    rows.take(&CACHE_RULE, |layers| rule(&CacheRuleKeys::take(layers)?, layers, &mut seen))
}

fn rule(keys: &CacheRuleKeys, layers: &mut Layers, seen: &mut HashSet<RouteId>) -> Option<RouteTtl> {
    match keys.path {
        None => layers.missing(&["cache.rule.path"], "a rule needs a path".to_owned()),
        Some(route) if !seen.insert(route) => {
            let problem = format!("another rule is for \"{}\" too", route.as_str());
            layers.conflict(&["cache.rule.path"], problem);
        }
        Some(_unique) => {}
    }
    if keys.ttl.is_none() {
        layers.missing(&["cache.rule.ttl"], "a rule needs a time to live".to_owned());
    }
    Some(RouteTtl { route: keys.path?, ttl: keys.ttl? })
}
