//! Decides how the configuration in effect is shown: as a file would say it, each value with its origin.

use std::fmt::Write as _;

use super::layers::Taken;

/// The values as TOML, each followed by where it was written; `tenants` one list each.
pub(super) fn describe(values: &[Taken], tenants: &[Vec<Taken>]) -> String {
    let mut text = String::new();
    let mut section = "";
    for taken in values {
        let (table, name) = taken.key.rsplit_once('.').unwrap_or(("", taken.key));
        if table != section {
            header(&mut text, &format!("[{table}]"));
            section = table;
        }
        line(&mut text, name, taken);
    }
    for tenant in tenants {
        header(&mut text, "[[tenant]]");
        for taken in tenant {
            line(&mut text, taken.key.strip_prefix("tenant.").unwrap_or(taken.key), taken);
        }
    }
    text
}

fn header(text: &mut String, header: &str) {
    text.push('\n');
    text.push_str(header);
    text.push('\n');
}

fn line(text: &mut String, name: &str, taken: &Taken) {
    let setting = format!("{name} = {}", taken.shown);
    // Writing to a String does not fail.
    writeln!(text, "{setting:<WIDTH$}  # {}", taken.place).unwrap_or_default();
}

/// Wide enough for most settings, so that the origins stand below each other.
const WIDTH: usize = 44;
