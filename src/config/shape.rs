//! Decides which written values a key accepts: switches, numbers, durations, sizes, words.

use std::fmt;
use std::time::Duration;

use super::fault::{Fault, quote, quote_short};
use super::units;
use super::written::{Raw, Written};

/// What one key accepts. A value of it carries the key's bounds.
pub(super) trait Shape {
    /// What the program gets.
    type Value;

    /// The value, or none after telling every fault.
    fn read(&self, written: &Written, tell: &mut Tell<'_>) -> Option<Self::Value>;

    /// The value as it would stand in a file, credentials masked.
    fn show(&self, value: &Self::Value) -> String;

    /// What is accepted, in words that follow "expected".
    fn accepts(&self) -> String;

    /// Tells that something else stands there; quotes text only if it is free of credentials by nature.
    fn mismatch(&self, written: &Written, tell: &mut Tell<'_>) {
        tell.fault(written, format!("expected {}, found {}", self.accepts(), written.found()));
    }
}

/// Where the faults of one key go.
pub(super) struct Tell<'a> {
    /// The key's whole path.
    pub(super) key: &'a str,
    /// All faults so far.
    pub(super) faults: &'a mut Vec<Fault>,
}

impl Tell<'_> {
    /// Notes one fault of this key, at the place of what was written.
    pub(super) fn fault(&mut self, written: &Written, problem: String) {
        let key = Some(self.key.to_owned());
        self.faults.push(Fault { place: written.place.clone(), key, problem });
    }
}

/// `true` or `false`.
pub(super) struct Switch;

impl Shape for Switch {
    type Value = bool;

    fn read(&self, written: &Written, tell: &mut Tell<'_>) -> Option<bool> {
        match &written.raw {
            Raw::Bool(value) => return Some(*value),
            Raw::Bare(text) if text == "true" => return Some(true),
            Raw::Bare(text) if text == "false" => return Some(false),
            _other => self.mismatch(written, tell),
        }
        None
    }

    fn show(&self, value: &bool) -> String {
        value.to_string()
    }

    fn accepts(&self) -> String {
        "true or false".to_owned()
    }
}

/// A whole number within bounds, both included.
pub(super) struct Number(pub(super) u32, pub(super) u32);

impl Shape for Number {
    type Value = u32;

    fn read(&self, written: &Written, tell: &mut Tell<'_>) -> Option<u32> {
        let number = match &written.raw {
            Raw::Integer(number) => Some(*number),
            Raw::Bare(text) => text.parse().ok(),
            _other => None,
        };
        let Some(number) = number else {
            self.mismatch(written, tell);
            return None;
        };
        let within = u32::try_from(number).ok().filter(|number| (self.0..=self.1).contains(number));
        if within.is_none() {
            tell.fault(written, format!("expected {}, found {number}", self.accepts()));
        }
        within
    }

    fn show(&self, value: &u32) -> String {
        value.to_string()
    }

    fn accepts(&self) -> String {
        format!("a whole number from {} to {}", self.0, self.1)
    }
}

/// Requests per second, within bounds, both included.
pub(super) struct Rate(pub(super) f64, pub(super) f64);

impl Shape for Rate {
    type Value = f64;

    fn read(&self, written: &Written, tell: &mut Tell<'_>) -> Option<f64> {
        let number = match &written.raw {
            Raw::Float(number) => Some(*number),
            // A number that does not fit is far out of bounds; infinity says so.
            Raw::Integer(number) => Some(i32::try_from(*number).map_or(f64::INFINITY, f64::from)),
            Raw::Bare(text) => text.parse().ok(),
            _other => None,
        };
        let Some(number) = number else {
            self.mismatch(written, tell);
            return None;
        };
        if (self.0..=self.1).contains(&number) {
            return Some(number);
        }
        tell.fault(written, format!("expected {}, found one out of these bounds", self.accepts()));
        None
    }

    fn show(&self, value: &f64) -> String {
        format!("{value:?}")
    }

    fn accepts(&self) -> String {
        format!("a number from {} to {}", self.0, self.1)
    }
}

/// A time within bounds, both included.
pub(super) struct Lasting(pub(super) Duration, pub(super) Duration);

impl Shape for Lasting {
    type Value = Duration;

    fn read(&self, written: &Written, tell: &mut Tell<'_>) -> Option<Duration> {
        read_unit(self, written, tell, units::duration, (self.0, self.1))
    }

    fn show(&self, value: &Duration) -> String {
        quote(&units::show_duration(*value))
    }

    fn accepts(&self) -> String {
        let (least, most) = (units::show_duration(self.0), units::show_duration(self.1));
        format!("a duration from \"{least}\" to \"{most}\"")
    }
}

/// Bytes within bounds, both included.
pub(super) struct Size(pub(super) u64, pub(super) u64);

impl Shape for Size {
    type Value = u64;

    fn read(&self, written: &Written, tell: &mut Tell<'_>) -> Option<u64> {
        read_unit(self, written, tell, units::size, (self.0, self.1))
    }

    fn show(&self, value: &u64) -> String {
        quote(&units::show_size(*value))
    }

    fn accepts(&self) -> String {
        format!("a size from \"{}\" to \"{}\"", units::show_size(self.0), units::show_size(self.1))
    }
}

/// One word of a list.
pub(super) struct Word<T: 'static>(pub(super) &'static [(&'static str, T)]);

impl<T: Copy + PartialEq + fmt::Debug> Shape for Word<T> {
    type Value = T;

    fn read(&self, written: &Written, tell: &mut Tell<'_>) -> Option<T> {
        let Some(text) = written.text() else {
            self.mismatch(written, tell);
            return None;
        };
        let found = self.0.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            tell.fault(written, format!("expected {}, found {}", self.accepts(), quote_short(text)));
        }
        found
    }

    fn show(&self, value: &T) -> String {
        let word = self.0.iter().find(|(_, known)| known == value).map_or("", |(word, _)| *word);
        quote(word)
    }

    fn accepts(&self) -> String {
        let words: Vec<_> = self.0.iter().map(|(word, _)| quote(word)).collect();
        match words.split_last() {
            Some((last, [])) => last.clone(),
            Some((last, others)) => format!("{} or {last}", others.join(", ")),
            None => String::new(),
        }
    }
}

fn read_unit<S: Shape>(
    shape: &S,
    written: &Written,
    tell: &mut Tell<'_>,
    parse: fn(&str) -> Result<S::Value, String>,
    (least, most): (S::Value, S::Value),
) -> Option<S::Value>
where
    S::Value: PartialOrd,
{
    let Some(text) = written.text() else {
        shape.mismatch(written, tell);
        return None;
    };
    match parse(text) {
        Ok(value) if (least..=most).contains(&value) => Some(value),
        Ok(_beyond) => {
            tell.fault(written, format!("expected {}, found {}", shape.accepts(), quote_short(text)));
            None
        }
        Err(problem) => {
            tell.fault(written, problem);
            None
        }
    }
}
