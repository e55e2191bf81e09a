//! Decides which tables may be written several times, and how each row of them becomes a value.

use super::fault::{Fault, Place};
use super::layers::{Layers, Taken};
use super::written::Written;

/// An array of tables: `[[path]]` begins a row.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TableArray {
    /// Its path; the paths of its keys begin with it.
    pub(super) path: &'static str,
    /// What one row is about.
    pub(super) row: &'static str,
    /// The most rows.
    pub(super) most: usize,
    /// What follows that number in words.
    pub(super) are_bounded: &'static str,
}

/// How long answers of some routes are kept.
pub(super) const CACHE_RULE: TableArray =
    TableArray { path: "cache.rule", row: "rule", most: 32, are_bounded: "rules" };

/// Tenants with names; each name is a label of metrics (OPS 2).
pub(super) const TENANT: TableArray =
    TableArray { path: "tenant", row: "tenant", most: 200, are_bounded: "tenants have names" };

impl TableArray {
    /// The array of that path.
    pub(super) fn named(path: &str) -> Option<&'static Self> {
        const ALL: &[TableArray] = &[CACHE_RULE, TENANT];
        ALL.iter().find(|array| array.path == path)
    }

    /// The array whose rows have this key.
    pub(super) fn of_key(key: &str) -> Option<&'static Self> {
        key.rsplit_once('.').and_then(|(path, _name)| Self::named(path))
    }

    /// Tells how to write it.
    pub(super) fn write_so(&self) -> String {
        format!("is a list: write [[{}]] and the keys of one {} below", self.path, self.row)
    }

    /// Tells that there are more rows than allowed.
    pub(super) fn too_many(&self, found: usize) -> String {
        format!("at most {} {}, found {found}", self.most, self.are_bounded)
    }
}

/// One row as it was written.
#[derive(Debug)]
pub(super) struct Row {
    /// Of which array.
    pub(super) array: &'static TableArray,
    /// Where it begins.
    pub(super) home: Place,
    /// Its keys.
    pub(super) values: Vec<(&'static str, Written)>,
}

/// All rows of the file, and what came of them.
#[derive(Debug)]
pub(super) struct Rows {
    written: Vec<Row>,
    taken: Vec<Vec<Taken>>,
    faults: Vec<Fault>,
}

impl Rows {
    /// Rows that nobody has read.
    pub(super) fn new(written: Vec<Row>) -> Self {
        Self { written, taken: vec![], faults: vec![] }
    }

    /// What `make` makes of each row of one array, in their order. Its faults are kept; where it makes nothing, the
    /// row is left out.
    pub(super) fn take<T>(
        &mut self,
        array: &TableArray,
        mut make: impl FnMut(&mut Layers) -> Option<T>,
    ) -> Vec<T> {
        let mut made = vec![];
        for row in self.written.extract_if(.., |row| row.array == array) {
            let mut layers = Layers::new(row.home);
            row.values.into_iter().for_each(|(key, written)| layers.add(key, written));
            made.extend(make(&mut layers));
            layers.drain_faults(&mut self.faults);
            self.taken.push(layers.into_taken());
        }
        made
    }

    /// Moves the faults told so far to the end of `all`.
    pub(super) fn drain_faults(&mut self, all: &mut Vec<Fault>) {
        all.append(&mut self.faults);
    }

    /// The values in effect, row by row.
    pub(super) fn into_taken(self) -> Vec<Vec<Taken>> {
        self.taken
    }
}
