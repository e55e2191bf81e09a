//! Decides how a fault of the configuration is told: where it stands, what is wrong, what was meant.

use std::fmt;
use std::sync::Arc;

/// Where a value was written. Ordered as faults are told: file by line, then environment, then flags.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In the file; line and column count from 1, the column in characters.
    File {
        /// The file's name as the user gave it.
        name: Arc<str>,
        /// The line.
        line: usize,
        /// The column.
        column: usize,
    },
    /// In the environment: the variable's name.
    Env(String),
    /// On the command line: the flag's name.
    Flag(&'static str),
    /// Nowhere: the built-in default.
    Default,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { name, line, column } => write!(f, "{name}:{line}:{column}"),
            Self::Env(name) => f.write_str(name),
            Self::Flag(name) => f.write_str(name),
            Self::Default => f.write_str("default"),
        }
    }
}

/// One thing that is wrong. Shape: `tollgate.toml:7:12: gate.max_wait: "25" has no unit: write "25s"`.
///
/// The problem quotes no value that may be a credential.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {}{problem}", prefix(key.as_deref()))]
pub struct Fault {
    /// Where it stands.
    pub place: Place,
    /// The whole path of the key; none if the fault is not one known key's.
    pub key: Option<String>,
    /// What is wrong, and what would be right.
    pub problem: String,
}

/// Everything that is wrong, in the order of [`Place`]; shown one fault per line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// Sorts the faults and keeps the first [`MAX_FAULTS`]; the last line then says how many more there are.
    pub(super) fn new(mut faults: Vec<Fault>) -> Self {
        faults.sort_by(|a, b| a.place.cmp(&b.place));
        faults.dedup();
        let more = faults.len().saturating_sub(MAX_FAULTS);
        let rest = faults.get(MAX_FAULTS).map(|first| Fault {
            place: first.place.clone(),
            key: None,
            problem: format!("and {more} more faults"),
        });
        faults.truncate(MAX_FAULTS);
        faults.extend(rest);
        Self(faults)
    }

    /// Each fault in order; at least one.
    pub fn iter(&self) -> std::slice::Iter<'_, Fault> {
        self.0.iter()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(index, fault)| {
            let end = if index == 0 { "" } else { "\n" };
            write!(f, "{end}{fault}")
        })
    }
}

impl std::error::Error for Faults {}

/// `: did you mean "listen"?`, or nothing if no candidate is near.
pub(super) fn did_you_mean<'a>(wrong: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    // A long word has no near neighbour, and the distance of a long word is expensive.
    if wrong.len() > MAX_QUOTED {
        return String::new();
    }
    let allowed = (wrong.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(wrong, candidate), candidate))
        .filter(|(distance, _candidate)| *distance <= allowed)
        .min()
        .map(|(_distance, candidate)| format!(": did you mean \"{candidate}\"?"))
        .unwrap_or_default()
}

/// The text in double quotes as TOML would write it, cut after [`MAX_QUOTED`] characters.
///
/// A URL in the wrong place may carry a password: all of it up to its last `@` is left out.
pub(super) fn quote_short(text: &str) -> String {
    let is_url = text.contains("://");
    let masked = text.rsplit_once('@').filter(|_| is_url).map(|(_credential, host)| format!("***@{host}"));
    let text = masked.as_deref().unwrap_or(text);
    if text.chars().nth(MAX_QUOTED).is_none() {
        return quote(text);
    }
    let cut: String = text.chars().take(MAX_QUOTED).chain(std::iter::once('…')).collect();
    quote(&cut)
}

/// The text as a TOML basic string.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len().saturating_add(2));
    quoted.push('"');
    for letter in text.chars() {
        match letter {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            control if control.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(control))),
            plain => quoted.push(plain),
        }
    }
    quoted.push('"');
    quoted
}

fn prefix(key: Option<&str>) -> String {
    key.map_or_else(String::new, |key| format!("{key}: "))
}

/// A file of nonsense must not print a megabyte.
pub(super) const MAX_FAULTS: usize = 256;
const MAX_QUOTED: usize = 64;
