//! Decides how the configuration in effect is shown: as a file would say it, each value with its origin.

use std::fmt::Write as _;

use super::layers::Taken;

/// The values as TOML, each followed by where it was written; `rows` of arrays of tables one list each.
pub(super) fn describe(values: &[Taken], rows: &[Vec<Taken>]) -> String {
    let mut text = String::new();
    let mut section = "";
    for taken in values {
        let table = table(taken);
        if table != section {
            header(&mut text, &format!("[{table}]"));
            section = table;
        }
        line(&mut text, taken);
    }
    for row in rows {
        header(&mut text, &format!("[[{}]]", row.first().map_or("", table)));
        row.iter().for_each(|taken| line(&mut text, taken));
    }
    text
}

fn table(taken: &Taken) -> &'static str {
    taken.key.rsplit_once('.').map_or("", |(table, _name)| table)
}

fn header(text: &mut String, header: &str) {
    text.push('\n');
    text.push_str(header);
    text.push('\n');
}

fn line(text: &mut String, taken: &Taken) {
    let name = taken.key.rsplit_once('.').map_or(taken.key, |(_table, name)| name);
    let setting = format!("{name} = {}", taken.shown);
    // Writing to a String does not fail.
    writeln!(text, "{setting:<WIDTH$}  # {}", taken.place).unwrap_or_default();
}

/// Wide enough for most settings, so that the origins stand below each other.
const WIDTH: usize = 44;
