//! The table of keys is the source of `config/tollgate.toml` and `docs/configuration.md`.
//!
//! Write both anew with `BLESS=1 cargo test --lib config::tests::reference`.

use std::fmt::Write as _;
use std::path::Path;

use super::super::rows::{CACHE_RULE, TENANT, TableArray};
use super::*;

#[test]
fn the_default_file_says_what_the_table_of_keys_says() {
    check_written("config/tollgate.toml", &default_file());
}

#[test]
fn the_manual_page_says_what_the_table_of_keys_says() {
    check_written("docs/configuration.md", &manual_page());
}

#[test]
fn the_default_file_sets_every_key_to_its_default() {
    let with_file = describe(&file(DEFAULT_FILE)).unwrap();
    let without = describe(&Sources { file: None, ..file("") }).unwrap();
    let values = |shown: &str| -> Vec<String> {
        shown.lines().map(|line| line.split("  # ").next().unwrap().trim().to_owned()).collect()
    };
    assert_eq!(values(&with_file), values(&without));
    let unset: Vec<_> = with_file.lines().filter(|line| line.ends_with("# default")).collect();
    assert_eq!(unset, Vec::<&str>::new());
}

#[test]
fn every_array_of_tables_is_explained_and_has_keys() {
    let arrays: Vec<_> = keys().iter().filter_map(|key| TableArray::of_key(key.path)).collect();
    for (array, note) in ARRAYS {
        assert!(arrays.contains(&array), "{}", array.path);
        assert!(note.contains(&format!("at most {}", array.most)), "{note}");
    }
    for array in arrays {
        assert!(ARRAYS.iter().any(|(explained, _note)| explained == array), "{}", array.path);
    }
}

#[test]
fn the_rule_in_the_default_file_is_one() {
    let (_, rest) = DEFAULT_FILE.split_once("\n# [[cache.rule]]\n").unwrap();
    let (rule, _) = rest.split_once("\n\n").unwrap();
    let text = format!("[[cache.rule]]\n{}", rule.replace("\n#", "\n"));
    assert_eq!(load(&file(&text)).unwrap().cache_rules.len(), 1, "{text}");
}

#[test]
fn every_flag_sets_a_key_of_the_table() {
    let keys = keys();
    for (flag, path, _) in Overrides::none().all() {
        assert!(keys.iter().any(|key| key.path == path), "{flag}");
    }
}

#[track_caller]
fn check_written(name: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, expected).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap();
    assert_eq!(written, expected, "{name} is out of date: write it anew with BLESS=1");
}

fn default_file() -> String {
    let mut text = String::from(FILE_HEAD);
    let mut section = "";
    for key in keys().iter().filter(|key| key.variable().is_some()) {
        let (table, name) = key.path.rsplit_once('.').unwrap_or(("", key.path));
        if table != section {
            write!(text, "\n[{table}]\n").unwrap();
            section = table;
        } else if !text.ends_with("\n\n") {
            text.push('\n');
        }
        for line in wrap(&key.about) {
            writeln!(text, "# {line}").unwrap();
        }
        // What a path, a switch or a word takes is plain from the default and the lines above.
        if ["a whole", "a number", "a duration", "a size", "an array"]
            .iter()
            .any(|kind| key.accepts.starts_with(kind))
        {
            wrap(&format!("Takes {}.", key.accepts))
                .iter()
                .for_each(|line| writeln!(text, "# {line}").unwrap());
        }
        writeln!(text, "{name} = {}", key.default).unwrap();
    }
    for (array, note) in ARRAYS {
        text.push('\n');
        wrap(note).iter().for_each(|line| writeln!(text, "# {line}").unwrap());
        write!(text, "#\n# [[{}]]\n", array.path).unwrap();
        for key in keys().iter().filter(|key| TableArray::of_key(key.path) == Some(array)) {
            text.push_str("#\n");
            for line in wrap(&key.about) {
                writeln!(text, "#   # {line}").unwrap();
            }
            let name = key.path.rsplit('.').next().unwrap();
            writeln!(text, "#   {name} = {}", example(key)).unwrap();
        }
    }
    text
}

/// A value that shows how to write a key: its default, but where a row without one says nothing.
fn example(key: &Key) -> &str {
    match key.path {
        "cache.rule.path" => r#""/v1/people/{id}""#,
        "cache.rule.ttl" => r#""30s""#,
        _rest => &key.default,
    }
}

fn wrap(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        if lines.last().unwrap().len() + word.len() > 98 {
            lines.push(String::new());
        }
        let line = lines.last_mut().unwrap();
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines
}

fn manual_page() -> String {
    let mut text = String::from(PAGE_HEAD);
    for (flag, path, _) in Overrides::none().all() {
        writeln!(text, "| `{flag}` | `{path}` |").unwrap();
    }
    let mut section = None;
    for key in keys() {
        let table = key.path.rsplit_once('.').map_or("", |(table, _)| table);
        if section != Some(table) {
            let array = ARRAYS.iter().find(|(array, _note)| array.path == table);
            let (header, note) = match (table, array) {
                (_, Some((array, note))) => {
                    let header = format!("`[[{table}]]`, once per {}; no variables", array.row);
                    let name = format!("[[{table}]]");
                    let note = wrap(&note.replace(&name, &format!("`{name}`")));
                    (header, format!("\n{}\n", note.join("\n")))
                }
                ("", None) => ("Outside any section".to_owned(), String::new()),
                (table, None) => (format!("`[{table}]`"), String::new()),
            };
            write!(text, "\n## {header}\n{note}\n| key | default | decides | takes |\n|---|---|---|---|\n")
                .unwrap();
            section = Some(table);
        }
        let name = key.path.rsplit('.').next().unwrap();
        writeln!(text, "| `{name}` | `{}` | {} | {} |", key.default, key.about, key.accepts).unwrap();
    }
    text
}

const FILE_HEAD: &str = r#"# Tollgate's configuration: every key, at its default. Delete what you do not change.
#
# Durations carry a unit: "500ms", "25s", "5m", "1h". Sizes too: "110MB" (powers of 1,000) or
# "64MiB" (powers of 1,024). "" stands for none. Paths are relative to where tollgate is started.
# `tollgate check` tells every fault of a file, `tollgate config` what is in effect and why.
#
# Made from the table of keys (src/config/keys.rs):
# BLESS=1 cargo test --lib config::tests::reference

"#;

/// What stands before the keys of each array of tables.
const ARRAYS: &[(TableArray, &str)] = &[
    (
        CACHE_RULE,
        "One [[cache.rule]] for each path whose answers are kept for a while whatever the API says of them, at \
         most 32; there is none by default. Beware: bots decide about access by these answers. For as long as \
         the rule says, a bot may still see a member who has been removed, or miss one who has been added. A \
         write through this proxy ends that for the paths that begin with the same word after /v1; of changes \
         made anywhere else the proxy hears nothing.",
    ),
    (
        TENANT,
        "One [[tenant]] for each bot or person with a name in logs and metrics, at most 200; the others are \
         told apart by a hash of their token. A tenant may own several tokens.",
    ),
];

const PAGE_HEAD: &str = r#"# Configuration

Tollgate needs no configuration. What differs from the defaults stands in a TOML file, named by `--config FILE` or
`TOLLGATE_CONFIG`; [`config/tollgate.toml`](../config/tollgate.toml) shows every key at its default.

- **Precedence**: flag, then environment variable, then file, then default. `tollgate config` prints what is in effect
  and where each value comes from.
- **Variables**: `TOLLGATE_`, then the key's path in upper case with `__` for each dot: `listen.tls.cert_file` is
  `TOLLGATE_LISTEN__TLS__CERT_FILE`. A list is a TOML array or separated by commas. A `TOLLGATE_` variable that is no
  key is a fault, but for those in which Kubernetes describes a Service (`TOLLGATE_SERVICE_HOST` and its like).
- **Durations** are strings with a unit: `"500ms"`, `"25s"`, `"5m"`, `"1h"`. **Sizes** too: `"110MB"` counts in powers
  of 1,000, `"64MiB"` in powers of 1,024. `""` stands for none. Paths are relative to where tollgate is started.
- **Faults** are told all at once by `tollgate check`, each with file, line, column and the nearest valid key.
- The site's proxy is taken from `HTTPS_PROXY` and `NO_PROXY` (lower case first) unless `upstream.proxy` says otherwise.

This page is made from the table of keys in `src/config/keys.rs`; a test compares the two. Write it anew with
`BLESS=1 cargo test --lib config::tests::reference`.

| flag | key |
|---|---|
"#;
