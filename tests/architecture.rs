//! Holds the borders that no compiler holds: order of the rooms, homes of dependencies, shape of files.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};

/// The most lines of code a file may have, tests apart (STYLE 2, SIZE).
const MAX_LINES: usize = 300;

/// Dependencies with few homes: the rooms that may name them outside tests.
const HOMES: &[(&str, &[&str])] = &[
    ("arc_swap", &["admin", "admit", "app", "server"]),
    ("clap", &["cli", "sim"]),
    ("clap_complete", &["cli"]),
    ("clap_mangen", &["cli"]),
    ("crc32fast", &["cache"]),
    ("flate2", &["cache", "rewrite", "sim"]),
    ("futures_util", &["server", "upstream"]),
    ("governor", &["gate"]),
    ("h2", &["upstream"]),
    ("humantime", &["app"]),
    ("hickory_resolver", &["upstream"]),
    ("hyper", &["admin", "body", "console", "demo", "doctor", "server", "sim", "upstream"]),
    ("hyper_util", &["admin", "console", "demo", "doctor", "server", "sim", "upstream"]),
    ("itoa", &["app"]),
    ("moka", &["cache"]),
    ("prometheus", &["metrics"]),
    ("rcgen", &["server", "sim"]),
    ("redis", &["share"]),
    ("rustix", &["cli", "machine", "upstream"]),
    ("rustls", &["app", "config", "demo", "doctor", "server", "sim", "upstream"]),
    ("rustls_native_certs", &["upstream"]),
    ("sfv", &["cache"]),
    ("strsim", &["config"]),
    ("tempfile", &["app", "demo", "server", "upstream"]),
    ("tikv_jemallocator", &["main"]),
    ("tokio_rustls", &["demo", "doctor", "server", "sim", "upstream"]),
    ("toml", &["config"]),
    ("tracing", &["app", "cli", "demo", "trail"]),
    ("tracing_subscriber", &["app"]),
];

/// Rooms that may set the status of an answer. Besides `reply`: `admin` and `sim` are APIs of their own, `cache` says
/// the 206 and 304 that HTTP asks of a cache, `server` what is wrong before there is a request.
const STATUS_WRITERS: &[&str] = &["admin", "cache", "reply", "server", "sim"];

/// Calls that read the surroundings: what a user set is read where settings are made, nowhere deeper.
const ENVIRONMENT_READERS: &[&str] = &["cli", "config"];

struct Source {
    path: PathBuf,
    room: String,
    text: String,
    /// Without comments; tests cut off.
    code: String,
}

impl Source {
    fn is_test(&self) -> bool {
        self.path.iter().any(|part| part == "tests.rs" || part == "tests")
    }

    /// Whether `word` stands in the code as a whole identifier followed by `after`.
    fn uses(&self, word: &str, after: &str) -> bool {
        let wanted = format!("{word}{after}");
        self.code.match_indices(&wanted).any(|(at, _)| {
            let before = self.code.get(..at).and_then(|text| text.chars().next_back());
            !before.is_some_and(|sign| sign.is_alphanumeric() || sign == '_' || sign == ':')
        })
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files_below(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_below(&path, ending));
        } else if path.extension().is_some_and(|extension| extension == ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn sources() -> Vec<Source> {
    let folder = root().join("src");
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let first = path.strip_prefix(&folder).unwrap().iter().next().unwrap();
        let room = first.to_str().unwrap().trim_end_matches(".rs").to_owned();
        Source { code: code_of(&text), path, room, text }
    };
    files_below(&folder, "rs").into_iter().map(read).collect()
}

/// Comments go, and everything from an inline test module on: tests stand last in a file (STYLE 2, ORDER).
fn code_of(text: &str) -> String {
    let production = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    production
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .map(|line| line.split(" // ").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
}

fn rooms_in_walking_order() -> Vec<String> {
    let library = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let declared = library.lines().filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod "));
    declared.map(|line| line.trim_end_matches(';').to_owned()).collect()
}

/// Rooms named after `crate::`, in a path or at the top of a group.
fn rooms_named(code: &str) -> Vec<String> {
    let word = |text: &str| {
        text.trim_start()
            .chars()
            .take_while(|sign| sign.is_alphanumeric() || *sign == '_')
            .collect::<String>()
    };
    let mut named = Vec::new();
    for (at, start) in code.match_indices("crate::") {
        let rest = code.get(at + start.len()..).unwrap_or_default();
        let Some(group) = rest.strip_prefix('{') else {
            named.push(word(rest));
            continue;
        };
        let mut depth = 0_usize;
        let mut members = String::new();
        for sign in group.chars() {
            match sign {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                _ if depth == 0 => members.push(sign),
                _ => {}
            }
        }
        named.extend(members.split(',').map(word));
    }
    named
}

fn assert_none(faults: &[String], rule: &str) {
    assert!(faults.is_empty(), "{rule}:\n  {}", faults.join("\n  "));
}

#[test]
fn imports_point_up() {
    let order = rooms_in_walking_order();
    let place = |room: &str| order.iter().position(|known| known == room);
    let mut faults = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test()) {
        let Some(own) = place(&source.room) else { continue };
        for named in rooms_named(&source.code) {
            if place(&named).is_some_and(|other| other > own) {
                faults.push(format!("{} imports {named}", source.path.display()));
            }
        }
    }
    assert_none(&faults, "a module imports only from modules declared above it in lib.rs");
}

#[test]
fn every_room_is_declared_in_the_walking_order() {
    let order = rooms_in_walking_order();
    // The command line belongs to the binary, which stands in front of the library.
    let is_known = |room: &String| ["cli", "lib", "main"].contains(&room.as_str()) || order.contains(room);
    let strangers: Vec<_> =
        sources().into_iter().filter(|source| !is_known(&source.room)).map(|source| source.room).collect();
    assert_none(&strangers, "lib.rs declares every room");
}

#[test]
fn dependencies_stay_home() {
    let mut faults = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test()) {
        for (dependency, homes) in HOMES {
            if source.uses(dependency, "::") && !homes.contains(&source.room.as_str()) {
                faults.push(format!("{} names {dependency}, at home in {homes:?}", source.path.display()));
            }
        }
    }
    assert_none(&faults, "a big dependency has one home");
}

#[test]
fn only_reply_sets_the_status_of_a_refusal() {
    let mut faults = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test()) {
        let writes = ["status_mut()", ".status(StatusCode", ".status(http::StatusCode"]
            .iter()
            .any(|call| source.code.contains(call));
        if writes && !STATUS_WRITERS.contains(&source.room.as_str()) {
            faults.push(source.path.display().to_string());
        }
    }
    assert_none(&faults, "errors become statuses in reply.rs alone");
}

#[test]
fn the_environment_is_read_where_settings_are_made() {
    let readers = |source: &&Source| {
        !ENVIRONMENT_READERS.contains(&source.room.as_str())
            && ["env::var(", "env::var_os(", "env::vars("].iter().any(|call| source.code.contains(call))
    };
    let faults: Vec<_> = sources().iter().filter(readers).map(|s| s.path.display().to_string()).collect();
    assert_none(&faults, "only config and main read the environment");
}

#[test]
fn no_code_can_switch_certificate_verification_off() {
    let words = ["dangerous()", "ServerCertVerifier for", "accept_invalid"];
    let weakens = |source: &&Source| words.iter().any(|word| source.text.contains(word));
    let faults: Vec<_> = sources().iter().filter(weakens).map(|s| s.path.display().to_string()).collect();
    assert_none(&faults, "the upstream's certificate is always verified");
}

#[test]
fn every_file_opens_with_what_it_decides() {
    let mut opened = sources();
    opened.retain(|source| !source.is_test());
    let faults: Vec<_> = opened
        .iter()
        .filter(|source| !source.text.starts_with("//! "))
        .map(|source| source.path.display().to_string())
        .collect();
    assert_none(&faults, "every file opens with //!");
}

#[test]
fn files_stay_short() {
    let mut faults = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test()) {
        let lines = source.code.lines().filter(|line| !line.trim().is_empty()).count();
        if lines > MAX_LINES {
            faults.push(format!("{} has {lines} lines of code", source.path.display()));
        }
    }
    assert_none(&faults, "a file has at most 300 lines of code, tests apart");
}

#[test]
fn words_that_promise_later_work_are_absent() {
    let words = ["TODO", "FIXME", "XXX", "HACK", "unimplemented!", "todo!(", "#[ignore", "#[should_panic"];
    let mut faults = Vec::new();
    let tests = files_below(&root().join("tests"), "rs");
    for path in files_below(&root().join("src"), "rs").into_iter().chain(tests) {
        if path.ends_with("tests/architecture.rs") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        faults.extend(
            words
                .iter()
                .filter(|word| text.contains(**word))
                .map(|word| format!("{} says {word}", path.display())),
        );
    }
    assert_none(&faults, "work is done or has an issue");
}

#[test]
fn no_file_is_named_after_nothing() {
    let empty = ["common", "helpers", "manager", "types", "util", "utils"];
    let is_empty =
        |path: &PathBuf| path.file_stem().is_some_and(|stem| empty.iter().any(|word| stem == *word));
    let faults: Vec<_> = files_below(&root().join("src"), "rs")
        .into_iter()
        .filter(is_empty)
        .map(|path| path.display().to_string())
        .collect();
    assert_none(&faults, "a file is named after what it decides");
}

#[test]
fn the_architecture_page_names_every_room() {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let missing: Vec<_> =
        rooms_in_walking_order().into_iter().filter(|room| !page.contains(&format!("`{room}`"))).collect();
    assert_none(&missing, "ARCHITECTURE.md's code map is whole");
}

#[test]
fn no_code_of_ours_is_unsafe() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(manifest.contains("unsafe_code = \"forbid\""), "the compiler forbids it in every target");
    let words = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "#[unsafe(", "allow(unsafe_code"];
    let mut faults = Vec::new();
    // The fuzz targets are a package of their own, for which the lints of this one do not hold.
    for folder in ["src", "tests", "benches", "fuzz"] {
        for path in files_below(&root().join(folder), "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let is_unsafe = words.iter().any(|word| text.contains(word));
            if is_unsafe && !path.ends_with("tests/architecture.rs") {
                faults.push(path.display().to_string());
            }
        }
    }
    assert_none(&faults, "no code of ours is unsafe");
}

/// What stands between backticks on a page.
fn quoted(page: &str) -> impl Iterator<Item = &str> {
    page.split('`').skip(1).step_by(2)
}

/// Why a test that a page names is none; `test_tls.py` stands in tests/clients, other paths begin at the root.
fn missing(named: &str) -> Option<String> {
    let (file, name) = named.split_once("::").map_or((named, None), |(file, name)| (file, Some(name)));
    let path = match file.starts_with("test_") {
        true => root().join("tests/clients").join(file),
        false => root().join(file),
    };
    let Some(name) = name else {
        return (!path.exists()).then(|| format!("{file} does not exist"));
    };
    let text = fs::read_to_string(&path).unwrap_or_default();
    let is_there = [format!("fn {name}("), format!("def {name}(")].iter().any(|head| text.contains(head));
    (!is_there).then(|| format!("{file} has no {name}"))
}

#[test]
fn every_test_that_the_security_page_names_exists() {
    let page = fs::read_to_string(root().join("docs/security.md")).unwrap();
    let places = ["deny.toml", "fuzz/", "src/", "test_", "tests/"];
    let is_named = |word: &&str| places.iter().any(|place| word.starts_with(place));
    let named: Vec<_> = quoted(&page).filter(is_named).filter_map(|word| word.split(' ').next()).collect();
    assert!(named.len() > 40, "{} are named: the page is read wrongly", named.len());
    let faults: Vec<_> = named.into_iter().filter_map(missing).collect();
    assert_none(&faults, "docs/security.md names tests that exist");
}

#[test]
fn the_limits_on_the_security_page_are_the_defaults() {
    let page = fs::read_to_string(root().join("docs/security.md")).unwrap();
    let config = fs::read_to_string(root().join("config/tollgate.toml")).unwrap();
    let config: toml::Table = toml::from_str(&config).unwrap();
    let (_, rows) = page.split_once("\n## Limits\n").unwrap();
    let (rows, _) = rows.split_once("\n## ").unwrap();
    let mut compared = 0;
    for row in rows.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let (section, key) = cells[1].trim_matches('`').split_once('.').unwrap();
        let value = match &config[section][key] {
            toml::Value::Float(number) => format!("{number:?}"),
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::String(text) => text.clone(),
            other => panic!("{section}.{key} is {other:?}"),
        };
        assert_eq!(cells[2], value, "{section}.{key}");
        compared += 1;
    }
    assert!(compared > 15, "{compared} rows: the page is read wrongly");
}
