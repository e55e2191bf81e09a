//! What the user wrote, before anyone asks what it means: raw values, each with its place.

use toml::Spanned;
use toml::de::{DeArray, DeValue};

use super::fault::Place;

/// One value as it was written, and where.
#[derive(Debug, Clone)]
pub(super) struct Written {
    /// The value.
    pub(super) raw: Raw,
    /// Where it stands.
    pub(super) place: Place,
}

/// A value whose meaning is not yet known.
#[derive(Debug, Clone)]
pub(super) enum Raw {
    /// Text without a type of its own: from a variable, a flag or the table of defaults.
    Bare(String),
    /// A string of the file.
    Text(String),
    /// A whole number of the file.
    Integer(i128),
    /// A number with a point.
    Float(f64),
    /// `true` or `false`.
    Bool(bool),
    /// An array; each item has a place of its own.
    List(Vec<Written>),
    /// An array beyond [`MAX_ITEMS`]: read by nobody.
    LongList,
    /// What no key takes: a date, a table, a number beyond all bounds. Named for the fault.
    Other(&'static str),
}

impl Written {
    /// A value of the file; `place` finds the line and column of a byte.
    pub(super) fn from_toml(value: &Spanned<DeValue<'_>>, place: &impl Fn(usize) -> Place) -> Self {
        Self { raw: raw(value.get_ref(), place), place: place(value.span().start) }
    }

    /// A value without a type, from anywhere but the file.
    pub(super) fn bare(text: &str, place: Place) -> Self {
        Self { raw: Raw::Bare(text.to_owned()), place }
    }

    /// The value as items: an array, or bare text as a TOML array or separated by commas. None: something else.
    pub(super) fn items(&self) -> Option<Vec<Self>> {
        match &self.raw {
            Raw::List(items) => Some(items.clone()),
            Raw::Bare(text) if text.trim_start().starts_with('[') => {
                let parsed = DeValue::parse(text.trim()).ok()?;
                let here = |_byte| self.place.clone();
                let Raw::List(items) = raw(parsed.get_ref(), &here) else { return None };
                Some(items)
            }
            Raw::Bare(text) => Some(
                text.split(',')
                    .map(str::trim)
                    .filter(|item| !item.is_empty())
                    .map(|item| Self::bare(item, self.place.clone()))
                    .collect(),
            ),
            _other => None,
        }
    }

    /// The value if it is text of either sort.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.raw {
            Raw::Bare(text) | Raw::Text(text) => Some(text),
            _other => None,
        }
    }

    /// What stands there, in words that quote nothing.
    pub(super) fn found(&self) -> &'static str {
        match &self.raw {
            Raw::Bare(_) => "other text",
            Raw::Text(_) => "a string",
            Raw::Integer(_) => "a whole number",
            Raw::Float(_) => "a number with a point",
            Raw::Bool(_) => "true or false",
            Raw::List(_) => "an array",
            Raw::LongList => "an array of more than 256 items",
            Raw::Other(name) => name,
        }
    }
}

fn raw(value: &DeValue<'_>, place: &impl Fn(usize) -> Place) -> Raw {
    match value {
        DeValue::String(text) => Raw::Text(text.clone().into_owned()),
        DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix())
            .map_or(Raw::Other("a number beyond all bounds"), Raw::Integer),
        DeValue::Float(number) => {
            number.as_str().parse().map_or(Raw::Other("a number beyond all bounds"), Raw::Float)
        }
        DeValue::Boolean(value) => Raw::Bool(*value),
        DeValue::Datetime(_) => Raw::Other("a date"),
        DeValue::Array(items) => list(items, place),
        DeValue::Table(_) => Raw::Other("a table"),
    }
}

fn list(items: &DeArray<'_>, place: &impl Fn(usize) -> Place) -> Raw {
    if items.len() > MAX_ITEMS {
        return Raw::LongList;
    }
    // An array in an array suits no key: it is named, never entered, so nesting costs nothing.
    let item = |value: &Spanned<DeValue<'_>>| match value.get_ref() {
        DeValue::Array(_) => Written { raw: Raw::Other("an array"), place: place(value.span().start) },
        _other => Written::from_toml(value, place),
    };
    Raw::List(items.iter().map(item).collect())
}

/// No list of the configuration is long by nature; finding the place of an item costs a walk along its line.
const MAX_ITEMS: usize = 256;
