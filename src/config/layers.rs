//! Decides which of several written values counts: flag before environment before file before default.

use std::collections::BTreeMap;

use super::fault::{Fault, Place};
use super::shape::{Shape, Tell};
use super::written::Written;

/// Everything written for one set of keys, and what came of it.
#[derive(Debug)]
pub(super) struct Layers {
    home: Place,
    written: BTreeMap<&'static str, Vec<Written>>,
    faulty: Vec<&'static str>,
    taken: Vec<Taken>,
    faults: Vec<Fault>,
}

/// One key's value in effect.
#[derive(Debug)]
pub(super) struct Taken {
    /// The whole path.
    pub(super) key: &'static str,
    /// The value as it would stand in a file, credentials masked.
    pub(super) shown: String,
    /// Where it was written.
    pub(super) place: Place,
}

impl Layers {
    /// No value yet; `home` is where a missing key is missed.
    pub(super) fn new(home: Place) -> Self {
        Self { home, written: BTreeMap::new(), faulty: vec![], taken: vec![], faults: vec![] }
    }

    /// Adds a value above those that are there.
    pub(super) fn add(&mut self, key: &'static str, written: Written) {
        self.written.entry(key).or_default().push(written);
    }

    /// The topmost value of a key. Faults of all layers are told; a faulty key yields its default, so that the
    /// search for faults goes on.
    pub(super) fn take<S: Shape>(&mut self, key: &'static str, default: &str, shape: &S) -> Option<S::Value> {
        let before = self.faults.len();
        let mut chosen = None;
        for written in self.written.remove(key).unwrap_or_default() {
            let mut tell = Tell { key, faults: &mut self.faults };
            chosen = shape.read(&written, &mut tell).map(|value| (value, written.place));
        }
        if self.faults.len() > before {
            self.faulty.push(key);
        }
        if chosen.is_none() {
            let mut tell = Tell { key, faults: &mut self.faults };
            let value = shape.read(&Written::bare(default, Place::Default), &mut tell);
            chosen = value.map(|value| (value, Place::Default));
        }
        let (value, place) = chosen?;
        self.taken.push(Taken { key, shown: shape.show(&value), place });
        Some(value)
    }

    /// Tells a fault between values, at the first of the keys that somebody wrote. Says nothing if one of them is
    /// faulty itself: the fault could be a shadow of that one.
    pub(super) fn conflict(&mut self, keys: &[&'static str], problem: String) {
        if keys.iter().any(|key| self.faulty.contains(key)) {
            return;
        }
        let written = keys.iter().find(|key| self.place(key) != Place::Default).or_else(|| keys.first());
        let Some(key) = written else { return };
        self.faults.push(Fault { place: self.place(key), key: Some((*key).to_owned()), problem });
    }

    /// Tells that the first of these keys is needed and nobody wrote any of them; faulty ones were written.
    pub(super) fn missing(&mut self, keys: &[&'static str], problem: String) {
        if keys.iter().any(|key| self.faulty.contains(key)) {
            return;
        }
        let key = keys.first().map(|key| (*key).to_owned());
        self.faults.push(Fault { place: self.home.clone(), key, problem });
    }

    /// Where the value in effect was written.
    pub(super) fn place(&self, key: &str) -> Place {
        let taken = self.taken.iter().find(|taken| taken.key == key);
        taken.map_or(Place::Default, |taken| taken.place.clone())
    }

    /// Replaces what is shown of a key whose default depends on the machine.
    pub(super) fn show_instead(&mut self, key: &str, shown: String) {
        if let Some(taken) = self.taken.iter_mut().find(|taken| taken.key == key) {
            taken.shown = shown;
        }
    }

    /// Moves the faults told so far to the end of `all`.
    pub(super) fn drain_faults(&mut self, all: &mut Vec<Fault>) {
        all.append(&mut self.faults);
    }

    /// The values in effect, in the order of the table of keys.
    pub(super) fn into_taken(self) -> Vec<Taken> {
        self.taken
    }
}
