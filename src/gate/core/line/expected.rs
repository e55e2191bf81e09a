//! In which order everybody in line is expected to go, as far as weights, urgency and arrival tell.

use super::super::Turn;
use super::super::ask::Ask;
use super::{Entry, Lines, Place};

impl<W> Lines<W> {
    /// Everybody in line, the next first: rounds of all lines, urgency and then arrival within one.
    pub(in crate::gate::core) fn expected(&self) -> Vec<(Place, Ask)> {
        let mut standing: Vec<(usize, &Entry<W>)> = self.entries.iter().collect();
        standing.sort_unstable_by_key(|(_, entry)| (entry.ask.line, entry.ask.class, entry.turn));
        let mut rounds: Vec<(u32, Turn, usize, Ask)> = Vec::with_capacity(standing.len());
        let (mut line, mut before) = (None, 0_u32);
        for (index, Entry { ask, turn, .. }) in standing {
            if line.replace(ask.line) != Some(ask.line) {
                before = 0;
            }
            let round = before.checked_div(ask.weight.get()).unwrap_or_default();
            rounds.push((round, *turn, index, *ask));
            before = before.saturating_add(1);
        }
        rounds.sort_unstable_by_key(|(round, turn, ..)| (*round, *turn));
        rounds.into_iter().map(|(_, turn, entry, ask)| (Place { entry, turn }, ask)).collect()
    }

    /// Takes out anybody.
    pub(in crate::gate::core) fn take_any(&mut self) -> Option<Entry<W>> {
        let (_, entry) = self.deadlines.first().copied()?;
        self.withdraw(entry)
    }
}
