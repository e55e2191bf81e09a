//! Decides what a file says: walks its tables against the table of keys, and tells what does not belong.

use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::machine;

use super::fault::{Fault, Faults, MAX_FAULTS, Place, did_you_mean, quote_short};
use super::rows::{Row, TableArray};
use super::written::Written;

/// A configuration file, not yet understood.
#[derive(Debug, Clone)]
pub struct FileText {
    /// Its name as the user gave it: the beginning of every fault's line.
    pub name: String,
    /// What it contains; at most [`MAX_FILE_BYTES`] are accepted.
    pub text: String,
}

impl FileText {
    /// Reads a file. Blocks; reads at most one byte more than [`MAX_FILE_BYTES`].
    ///
    /// # Errors
    /// One fault if the file cannot be read, is too long or is not UTF-8.
    pub fn read(path: &Path) -> Result<Self, Faults> {
        let name = path.to_string_lossy().into_owned();
        let bytes = machine::file::read(path, MAX_FILE_BYTES)
            .map_err(|error| Faults::new(vec![whole(&name, format!("cannot be read: {error}"))]))?;
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Self { name, text }),
            Err(error) => {
                let valid = error.utf8_error().valid_up_to();
                let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
                let place = Lines::new(&name, &text).place(valid);
                let problem = "not UTF-8".to_owned();
                Err(Faults::new(vec![Fault { place, key: None, problem }]))
            }
        }
    }
}

/// What the file says, key by key.
#[derive(Debug)]
pub(super) struct Document {
    /// Keys outside the arrays of tables.
    pub(super) values: Vec<(&'static str, Written)>,
    /// The rows of all arrays of tables.
    pub(super) rows: Vec<Row>,
}

/// Reads the file's text. What can be read is returned beside the faults.
pub(super) fn read(file: &FileText, known: &[&'static str], faults: &mut Vec<Fault>) -> Document {
    let empty = Document { values: vec![], rows: vec![] };
    if file.text.len() > MAX_FILE_BYTES {
        faults.push(whole(&file.name, format!("longer than {MAX_FILE_BYTES} bytes")));
        return empty;
    }
    // A byte order mark is no part of TOML, and some editors write one.
    let text = file.text.strip_prefix('\u{feff}').unwrap_or(&file.text);
    let lines = Lines::new(&file.name, text);
    match DeTable::parse(text) {
        Ok(root) => {
            let mut walk = Walk { known, lines: &lines, faults, document: empty };
            walk.table("", root.get_ref());
            walk.document
        }
        Err(error) => {
            let start = error.span().map_or(text.len(), |span| span.start);
            let problem = error.message().trim_end().to_owned();
            faults.push(Fault { place: lines.place(start), key: None, problem });
            empty
        }
    }
}

struct Walk<'a> {
    known: &'a [&'static str],
    lines: &'a Lines<'a>,
    faults: &'a mut Vec<Fault>,
    document: Document,
}

impl Walk<'_> {
    fn table(&mut self, prefix: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let path = format!("{prefix}{}", key.get_ref());
            if key.get_ref().contains('.') {
                self.unknown(&path, prefix, key.span().start);
            } else if let Some(array) = TableArray::named(&path) {
                self.array(array, value);
            } else if let Some(known) = self.key(&path) {
                let written = Written::from_toml(value, &|byte| self.lines.place(byte));
                self.document.values.push((known, written));
            } else if self.is_section(&path) {
                self.section(&path, value);
            } else {
                self.unknown(&path, prefix, key.span().start);
            }
        }
    }

    fn section(&mut self, path: &str, value: &Spanned<DeValue<'_>>) {
        match value.get_ref() {
            DeValue::Table(table) => self.table(&format!("{path}."), table),
            _other => self.fault(value, path, format!("is a section: write [{path}] and its keys below")),
        }
    }

    fn array(&mut self, array: &'static TableArray, value: &Spanned<DeValue<'_>>) {
        let DeValue::Array(rows) = value.get_ref() else {
            return self.fault(value, array.path, array.write_so());
        };
        if rows.len() > array.most {
            return self.fault(value, array.path, array.too_many(rows.len()));
        }
        rows.iter().for_each(|row| self.row(array, row));
    }

    fn row(&mut self, array: &'static TableArray, row: &Spanned<DeValue<'_>>) {
        let DeValue::Table(table) = row.get_ref() else {
            return self.fault(row, array.path, array.write_so());
        };
        let prefix = format!("{}.", array.path);
        let mut values = vec![];
        for (key, value) in table {
            let path = format!("{prefix}{}", key.get_ref());
            match self.key(&path) {
                Some(known) => {
                    values.push((known, Written::from_toml(value, &|byte| self.lines.place(byte))));
                }
                None => self.unknown(&path, &prefix, key.span().start),
            }
        }
        self.document.rows.push(Row { array, home: self.lines.place(row.span().start), values });
    }

    fn key(&self, path: &str) -> Option<&'static str> {
        self.known.iter().find(|known| **known == path).copied()
    }

    fn is_section(&self, path: &str) -> bool {
        self.known.iter().any(|known| known.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
    }

    fn fault(&mut self, value: &Spanned<DeValue<'_>>, key: &str, problem: String) {
        let place = self.lines.place(value.span().start);
        self.faults.push(Fault { place, key: Some(key.to_owned()), problem });
    }

    fn unknown(&mut self, path: &str, prefix: &str, byte: usize) {
        // What will not be shown must not cost a search for each of a hundred thousand keys.
        let (place, near) = if self.faults.len() < MAX_FAULTS {
            (self.lines.place(byte), self.nearest(path, prefix))
        } else {
            (self.lines.line(byte), String::new())
        };
        let problem = format!("unknown key {}{near}", quote_short(path));
        self.faults.push(Fault { place, key: None, problem });
    }

    /// A key of the same table that is spelt alike, else one of the same name in another table.
    fn nearest(&self, path: &str, prefix: &str) -> String {
        let leaf = path.strip_prefix(prefix).unwrap_or(path);
        if leaf.contains('.') {
            return ": write the dots of a path outside quotes".to_owned();
        }
        let here = self.known.iter().filter_map(|known| known.strip_prefix(prefix));
        let here = here.map(|rest| rest.split('.').next().unwrap_or(rest));
        let near = did_you_mean(leaf, here);
        if !near.is_empty() {
            return if prefix.is_empty() { near } else { did_you_mean_in(prefix, &near) };
        }
        let elsewhere = self.known.iter().find(|known| known.rsplit('.').next() == Some(leaf));
        elsewhere.map_or_else(String::new, |known| format!(": did you mean \"{known}\"?"))
    }
}

/// Turns bytes into lines and columns.
struct Lines<'a> {
    name: Arc<str>,
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn new(name: &str, text: &'a str) -> Self {
        let after_breaks = text.match_indices('\n').map(|(index, _)| index.saturating_add(1));
        Self { name: name.into(), text, starts: std::iter::once(0).chain(after_breaks).collect() }
    }

    /// The same without the column, at no cost.
    fn line(&self, byte: usize) -> Place {
        let line = self.starts.partition_point(|start| *start <= byte);
        Place::File { name: Arc::clone(&self.name), line, column: 1 }
    }

    fn place(&self, byte: usize) -> Place {
        let line = self.starts.partition_point(|start| *start <= byte);
        let start = self.starts.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let before = self.text.get(start..byte).map_or(0, |before| before.chars().count());
        Place::File { name: Arc::clone(&self.name), line, column: before.saturating_add(1) }
    }
}

fn did_you_mean_in(prefix: &str, near: &str) -> String {
    near.replacen('"', &format!("\"{prefix}"), 1)
}

fn whole(name: &str, problem: String) -> Fault {
    let place = Place::File { name: name.into(), line: 1, column: 1 };
    Fault { place, key: None, problem }
}

/// A configuration is written by people; what is longer comes from somewhere else.
pub const MAX_FILE_BYTES: usize = 1 << 20;
