//! What is on the disk, in memory: order of use, bounds, and files that must go. Pure; the writer thread acts on it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use http::HeaderMap;

/// What is known of a kept content.
#[derive(Debug, Clone)]
pub(super) struct Content {
    pub(super) meta: Arc<HeaderMap>,
    pub(super) body_bytes: u64,
    /// What its file takes on the disk.
    pub(super) file_bytes: u64,
    /// The file's name.
    pub(super) name: String,
}

/// A content among others.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) content: Content,
    /// Tells it from an earlier content of the same key.
    pub(super) id: u64,
    used: u64,
}

/// Contents by key and by last use.
#[derive(Debug)]
pub(super) struct Index {
    max_bytes: u64,
    max_entries: usize,
    entries: HashMap<Arc<str>, Entry>,
    order: BTreeMap<u64, Arc<str>>,
    bytes: u64,
    next: u64,
    /// Files that must go, with what they take: it counts until they are gone.
    leaving: HashMap<String, u64>,
}

impl Index {
    pub(super) fn new(max_bytes: u64, max_entries: usize) -> Self {
        Self {
            max_bytes,
            max_entries,
            entries: HashMap::new(),
            order: BTreeMap::new(),
            bytes: 0,
            next: 0,
            leaving: HashMap::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes on the disk, of contents that can be found.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.get(key)
    }

    pub(super) fn get_key_value(&self, key: &str) -> Option<(&Arc<str>, &Entry)> {
        self.entries.get_key_value(key)
    }

    /// Adds a content as the last used one; an earlier one of its key had to be removed before.
    pub(super) fn insert(&mut self, key: Arc<str>, content: Content) {
        let used = self.tick();
        self.bytes = self.bytes.saturating_add(content.file_bytes);
        self.order.insert(used, Arc::clone(&key));
        self.entries.insert(key, Entry { content, id: used, used });
    }

    /// Makes a content the last used one; whether it is still there.
    pub(super) fn touch(&mut self, key: &str, id: u64) -> bool {
        let used = self.tick();
        let Some(entry) = self.entries.get_mut(key).filter(|entry| entry.id == id) else { return false };
        if let Some(key) = self.order.remove(&entry.used) {
            self.order.insert(used, key);
        }
        entry.used = used;
        true
    }

    /// Removes a content; its file is leaving from now on.
    pub(super) fn remove(&mut self, key: &str) -> bool {
        let Some(entry) = self.entries.remove(key) else { return false };
        self.order.remove(&entry.used);
        self.bytes = self.bytes.saturating_sub(entry.content.file_bytes);
        self.leave(entry.content.name, entry.content.file_bytes);
        true
    }

    /// Removes contents whose key is chosen; how many.
    pub(super) fn remove_where(&mut self, is_chosen: impl Fn(&str) -> bool) -> u64 {
        let chosen: Vec<_> = self.entries.keys().filter(|key| is_chosen(key)).cloned().collect();
        chosen.iter().map(|key| u64::from(self.remove(key))).sum()
    }

    /// Whether a file of this size fits into the empty directory.
    pub(super) fn could_hold(&self, file_bytes: u64) -> bool {
        self.max_entries > 0 && file_bytes <= self.max_bytes
    }

    /// Removes what was least recently used until one more file of this size fits; how many had to go.
    pub(super) fn make_room(&mut self, file_bytes: u64) -> u64 {
        let mut evicted = 0;
        while self.entries.len() >= self.max_entries || self.bytes.saturating_add(file_bytes) > self.max_bytes
        {
            let Some(oldest) = self.order.first_key_value().map(|(_, key)| Arc::clone(key)) else { break };
            evicted += u64::from(self.remove(&oldest));
        }
        evicted
    }

    /// Whether a file of this size fits now, beside the files that could not be removed yet.
    pub(super) fn has_room(&self, file_bytes: u64) -> bool {
        let taken = self.leaving.values().copied().fold(self.bytes, u64::saturating_add);
        self.entries.len() < self.max_entries && taken.saturating_add(file_bytes) <= self.max_bytes
    }

    /// This file must go.
    pub(super) fn leave(&mut self, name: String, file_bytes: u64) {
        self.leaving.insert(name, file_bytes);
    }

    /// The files that must go.
    pub(super) fn leaving(&self) -> Vec<String> {
        self.leaving.keys().cloned().collect()
    }

    /// This file is gone, or its name belongs to a new content.
    pub(super) fn has_left(&mut self, name: &str) {
        self.leaving.remove(name);
    }

    fn tick(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}
