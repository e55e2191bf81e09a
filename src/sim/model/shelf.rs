//! Keeps resources by id in the order in which they came.

use std::collections::{BTreeMap, HashMap};

/// Resources of one kind; the oldest goes when one more comes.
const MAX_ROWS: usize = 1_000_000;

/// Resources by id; iteration is in order of arrival.
#[derive(Debug)]
pub(super) struct Shelf<T> {
    places: HashMap<String, u64>,
    rows: BTreeMap<u64, (String, T)>,
    arrived: u64,
}

impl<T> Shelf<T> {
    pub(super) fn new() -> Self {
        Self { places: HashMap::new(), rows: BTreeMap::new(), arrived: 0 }
    }

    pub(super) fn put(&mut self, id: &str, row: T) {
        self.arrived += 1;
        self.remove(id);
        self.places.insert(id.to_owned(), self.arrived);
        self.rows.insert(self.arrived, (id.to_owned(), row));
        if self.rows.len() > MAX_ROWS
            && let Some((_, (oldest, _))) = self.rows.pop_first()
        {
            self.places.remove(&oldest);
        }
    }

    pub(super) fn find(&self, id: &str) -> Option<&T> {
        self.rows.get(self.places.get(id)?).map(|(_, row)| row)
    }

    pub(super) fn find_mut(&mut self, id: &str) -> Option<&mut T> {
        self.rows.get_mut(self.places.get(id)?).map(|(_, row)| row)
    }

    pub(super) fn remove(&mut self, id: &str) -> Option<T> {
        self.rows.remove(&self.places.remove(id)?).map(|(_, row)| row)
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.rows.values().map(|(_, row)| row)
    }
}
