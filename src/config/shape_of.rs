//! Decides how a value may be absent or several: an empty string is none, an array is many.

use super::shape::{Shape, Tell};
use super::written::{Raw, Written};

/// The inner shape, or `""` for none.
pub(super) struct Optional<S>(pub(super) S);

impl<S: Shape> Shape for Optional<S> {
    type Value = Option<S::Value>;

    fn read(&self, written: &Written, tell: &mut Tell<'_>) -> Option<Option<S::Value>> {
        if written.text() == Some("") { Some(None) } else { self.0.read(written, tell).map(Some) }
    }

    fn show(&self, value: &Option<S::Value>) -> String {
        value.as_ref().map_or_else(|| "\"\"".to_owned(), |value| self.0.show(value))
    }

    fn accepts(&self) -> String {
        format!("{}, or \"\"", self.0.accepts())
    }
}

/// An array of the inner shape; bare text is a TOML array or items separated by commas.
pub(super) struct List<S>(pub(super) S);

impl<S: Shape> Shape for List<S> {
    type Value = Vec<S::Value>;

    fn read(&self, written: &Written, tell: &mut Tell<'_>) -> Option<Vec<S::Value>> {
        let Some(items) = written.items() else {
            self.mismatch(written, tell);
            return None;
        };
        // All items are read before the first fault ends it: each fault is told.
        let read: Vec<_> = items.iter().map(|item| self.0.read(item, tell)).collect();
        read.into_iter().collect()
    }

    fn show(&self, value: &Vec<S::Value>) -> String {
        let items: Vec<_> = value.iter().map(|item| self.0.show(item)).collect();
        format!("[{}]", items.join(", "))
    }

    fn accepts(&self) -> String {
        format!("an array, each item {}", self.0.accepts())
    }

    fn mismatch(&self, written: &Written, tell: &mut Tell<'_>) {
        let hint = if matches!(written.raw, Raw::Text(_)) { ": put it in brackets" } else { "" };
        tell.fault(written, format!("expected an array, found {}{hint}", written.found()));
    }
}
