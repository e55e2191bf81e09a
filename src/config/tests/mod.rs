//! The configuration as its users meet it: sources in, a configuration or lines of faults out.

mod faults;
mod precedence;
mod reference;
mod strangers;
mod values;

use std::ffi::OsString;

use super::*;

/// A file of this text, no environment, no flags.
fn file(text: &str) -> Sources {
    let file = FileText { name: "tollgate.toml".to_owned(), text: text.to_owned() };
    Sources { file: Some(file), env: vec![], flags: Overrides::none() }
}

/// No file, these variables, no flags.
fn env(pairs: &[(&str, &str)]) -> Sources {
    let env = pairs.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect();
    Sources { file: None, env, flags: Overrides::none() }
}

/// Asserts the faults, line by line.
#[track_caller]
fn check(sources: &Sources, expected: &[&str]) {
    let told = load(sources).err().map(|faults| faults.to_string()).unwrap_or_default();
    assert_eq!(told, expected.join("\n"));
}
