//! The table of keys that change while the process runs.

use std::sync::Arc;

use crate::app::App;
use crate::config::{FileText, Overrides, Sources, load};

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

/// A process that reads its configuration from a text.
async fn app(text: &Arc<Mutex<String>>, dir: &std::path::Path) -> App {
    let (text, dir) = (Arc::clone(text), dir.to_owned());
    let read = move || {
        let common = format!(
            "state_dir = {dir:?}\nadmin.listen = \"127.0.0.1:0\"\nlisten.https = \"\"\nlisten.http = \"127.0.0.1:0\"\n"
        );
        let text = common + &text.lock().unwrap();
        let file = Some(FileText { name: "t.toml".to_owned(), text });
        load(&Sources { file, env: vec![], flags: Overrides::none() })
            .map_err(|faults| faults.iter().map(ToString::to_string).collect())
    };
    let config = read().unwrap();
    App::start(&config, None, Some(Source { file: None, read: Box::new(read), logs: None })).await.unwrap()
}

#[tokio::test]
async fn whoever_orders_a_reload_hears_what_came_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let text = Arc::new(Mutex::new(String::new()));
    let reloader = app(&text, dir.path()).await.reloader();
    let applied = |changed: &[&'static str], needs_restart: &[&'static str]| Report::Applied {
        changed: changed.to_vec(),
        needs_restart: needs_restart.to_vec(),
    };
    let token = dir.path().join("token");
    std::fs::write(&token, "secret").unwrap();
    let tenant = format!("[[tenant]]\nname = \"a\"\ntoken_files = [{token:?}]\n");
    for (written, expected) in [
        (String::new(), applied(&[], &[])),
        ("gate.max_wait = \"9s\"\n".to_owned(), applied(&["gate.max_wait"], &[])),
        ("gate.max_wait = \"9s\"\nlog.format = \"json\"\n".to_owned(), applied(&[], &["log.format"])),
        (tenant.clone(), applied(&["gate.max_wait", "tenant", "tenant.token_files"], &[])),
        (tenant.clone(), applied(&[], &[])),
    ] {
        text.lock().unwrap().clone_from(&written);
        assert_eq!(reloader.reload(Trigger::Request).await, expected, "{written}");
    }
    std::fs::write(&token, "another").unwrap();
    assert_eq!(reloader.reload(Trigger::Request).await, applied(&["tenant.token_files"], &[]));
    *text.lock().unwrap() = "gate.max_wait = 3\nnope = 1\n".to_owned();
    let Report::Refused { faults } = reloader.reload(Trigger::Request).await else { panic!("two faults") };
    assert!(faults.len() == 2 && faults[0].contains("t.toml:5:17: gate.max_wait"), "{faults:?}");
    std::fs::remove_file(&token).unwrap();
    *text.lock().unwrap() = tenant;
    let Report::Refused { faults } = reloader.reload(Trigger::Request).await else { panic!("a fault") };
    assert!(faults[0].contains("token: No such file"), "{faults:?}");
}
