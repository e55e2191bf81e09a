//! The table of keys that change while the process runs.

use super::*;

#[test]
fn every_live_key_is_a_key() {
    let keys: Vec<_> = crate::config::keys().iter().map(|key| key.path).collect();
    for live in LIVE.iter().filter(|live| **live != "tenant") {
        let is_known = match live.strip_suffix('*') {
            Some(section) => keys.iter().any(|key| key.starts_with(section)),
            None => keys.contains(live),
        };
        assert!(is_known, "{live}");
    }
}

#[test]
fn a_section_stands_for_its_keys_alone() {
    for (key, expected) in [
        ("gate.max_wait", true),
        ("tenant", true),
        ("log.level", true),
        ("log.format", false),
        ("limits.tenants", false),
        ("listen.tls.names", false),
        ("upstream.url", false),
    ] {
        assert_eq!(is_live(key), expected, "{key}");
    }
}

#[test]
fn the_documents_name_every_live_key() {
    let page = include_str!("../../../docs/commands.md");
    let is_named = |key: &&&str| page.contains(&format!("`{key}`")) || page.contains(&format!("`[[{key}]]`"));
    let missing: Vec<_> = LIVE.iter().filter(|key| !is_named(key)).collect();
    assert_eq!(missing, Vec::<&&str>::new());
}
