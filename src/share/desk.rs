//! Decides when a bucket may be asked about: one question at a time, after everything that is to be told of it.

use std::collections::{HashMap, VecDeque};

use tokio::time::Instant;

use crate::gate::NodeKey;

/// All buckets that are asked or told about. Bounded by the gates that there are: an idle desk is put away.
#[derive(Debug)]
pub(super) struct Desks<R> {
    desks: HashMap<NodeKey, Desk<R>>,
}

#[derive(Debug)]
struct Desk<R> {
    is_asking: bool,
    is_telling: bool,
    reports: VecDeque<R>,
    /// Not to be asked about before.
    not_before: Option<Instant>,
    /// To be asked about though nobody waits.
    is_due: bool,
}

impl<R> Default for Desk<R> {
    fn default() -> Self {
        let reports = VecDeque::new();
        Self { is_asking: false, is_telling: false, reports, not_before: None, is_due: false }
    }
}

impl<R> Desks<R> {
    pub(super) fn new() -> Self {
        Self { desks: HashMap::new() }
    }

    /// Whether a question may be asked now.
    pub(super) fn may_ask(&self, key: NodeKey, now: Instant) -> bool {
        self.desks.get(&key).is_none_or(|desk| {
            let is_busy = desk.is_asking || desk.is_telling || !desk.reports.is_empty();
            !is_busy && desk.not_before.is_none_or(|at| at <= now)
        })
    }

    /// A question is on its way.
    pub(super) fn asked(&mut self, key: NodeKey) {
        let desk = self.desks.entry(key).or_default();
        (desk.is_asking, desk.is_due, desk.not_before) = (true, false, None);
    }

    /// It was answered; the next one not before that instant, and then surely if it `must`.
    pub(super) fn answered(&mut self, key: NodeKey, again: Again) {
        let Some(desk) = self.desks.get_mut(&key) else { return };
        desk.is_asking = false;
        match again {
            Again::AtWill => {}
            Again::NotBefore(at) => desk.not_before = Some(at),
            Again::Surely(at) => (desk.not_before, desk.is_due) = (Some(at), true),
        }
        self.put_away(key);
    }

    /// Something is to be told.
    pub(super) fn put(&mut self, key: NodeKey, report: R) {
        self.desks.entry(key).or_default().reports.push_back(report);
    }

    /// What is to be told next of each bucket about which nothing is being told.
    pub(super) fn next_reports(&mut self) -> Vec<(NodeKey, R)> {
        let free = self.desks.iter_mut().filter(|(_, desk)| !desk.is_telling);
        let next = free.filter_map(|(key, desk)| {
            let report = desk.reports.pop_front()?;
            desk.is_telling = true;
            Some((*key, report))
        });
        next.collect()
    }

    /// It was told.
    pub(super) fn told(&mut self, key: NodeKey) {
        if let Some(desk) = self.desks.get_mut(&key) {
            desk.is_telling = false;
        }
        self.put_away(key);
    }

    /// Somebody says that the answer may be another now: ask at once.
    pub(super) fn look(&mut self, key: NodeKey) {
        let desk = self.desks.entry(key).or_default();
        (desk.is_due, desk.not_before) = (true, None);
    }

    /// Buckets to be asked about now though nobody may wait there.
    pub(super) fn due(&self, now: Instant) -> Vec<NodeKey> {
        let due = self.desks.iter().filter(|(_, desk)| desk.is_due);
        due.map(|(key, _)| *key).filter(|key| self.may_ask(*key, now)).collect()
    }

    /// When a bucket may be asked about that may not now.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.desks.values().filter_map(|desk| desk.not_before).min()
    }

    fn put_away(&mut self, key: NodeKey) {
        let is_idle = |desk: &Desk<R>| {
            let is_busy = desk.is_asking || desk.is_telling || desk.is_due;
            !is_busy && desk.reports.is_empty() && desk.not_before.is_none()
        };
        if self.desks.get(&key).is_some_and(is_idle) {
            self.desks.remove(&key);
        }
    }

    /// Those whose time has come are asked about when somebody waits there.
    pub(super) fn wake(&mut self, now: Instant) {
        let ripe = self.desks.iter().filter(|(_, desk)| desk.not_before.is_some_and(|at| at <= now));
        for key in ripe.map(|(key, _)| *key).collect::<Vec<_>>() {
            if let Some(desk) = self.desks.get_mut(&key) {
                desk.not_before = None;
            }
            self.put_away(key);
        }
    }
}

/// When a bucket is asked about again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// When somebody waits there.
    AtWill,
    /// The same, but not before this instant.
    NotBefore(Instant),
    /// At this instant, whether somebody waits or not.
    Surely(Instant),
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const KEY: NodeKey = NodeKey::Egress;

    #[test]
    fn one_question_at_a_time_and_after_what_is_to_be_told() {
        let now = Instant::now();
        let mut desks = Desks::new();
        assert!(desks.may_ask(KEY, now));
        desks.asked(KEY);
        assert!(!desks.may_ask(KEY, now));
        desks.put(KEY, 'a');
        desks.put(KEY, 'b');
        assert_eq!(desks.next_reports(), [(KEY, 'a')]);
        assert_eq!(desks.next_reports(), []);
        desks.answered(KEY, Again::AtWill);
        assert!(!desks.may_ask(KEY, now));
        desks.told(KEY);
        assert!(!desks.may_ask(KEY, now));
        assert_eq!(desks.next_reports(), [(KEY, 'b')]);
        desks.told(KEY);
        assert!(desks.may_ask(KEY, now) && desks.desks.is_empty());
    }

    #[test]
    fn a_bucket_is_left_alone_for_a_while_unless_somebody_says_look() {
        let (now, later) = (Instant::now(), Instant::now() + Duration::from_secs(1));
        let mut desks = Desks::<char>::new();
        desks.asked(KEY);
        desks.answered(KEY, Again::NotBefore(later));
        assert!(!desks.may_ask(KEY, now) && desks.may_ask(KEY, later));
        assert_eq!((desks.next_at(), desks.due(later)), (Some(later), vec![]));
        desks.look(KEY);
        assert_eq!(desks.due(now), [KEY]);
        desks.asked(KEY);
        desks.answered(KEY, Again::Surely(later));
        assert_eq!((desks.due(now), desks.due(later)), (vec![], vec![KEY]));
        desks.asked(KEY);
        desks.answered(KEY, Again::NotBefore(later));
        desks.wake(later);
        assert!(desks.desks.is_empty());
    }
}
