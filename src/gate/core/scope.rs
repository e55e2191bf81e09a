//! Decides whom a refusal concerns: everybody, until an answer proves it narrower (GATE 3).

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::route::Family;
use crate::words::TenantId;

use super::ask::{Path, RoomKey};

/// How far a refusal reaches, widest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// Everything through this upstream.
    Egress,
    /// One tenant.
    Tenant,
    /// One tenant's family of routes.
    Family,
    /// One tenant's requests for one room.
    Room,
}

/// Who decides it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Evidence: egress until a success proves the limit narrower.
    Auto,
    /// The operator.
    Fixed(Level),
}

/// A gate's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeKey {
    /// All tenants.
    Egress,
    /// One tenant.
    Tenant(TenantId),
    /// One tenant's family.
    Family(TenantId, Family),
    /// One tenant's room.
    Room(TenantId, Family, RoomKey),
}

impl Scope {
    /// The word for status, as it stands in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Fixed(level) => level.as_str(),
        }
    }
}

impl Level {
    /// All, widest first.
    pub const ALL: [Self; 4] = [Self::Egress, Self::Tenant, Self::Family, Self::Room];

    /// The word for status and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Egress => "egress",
            Self::Tenant => "tenant",
            Self::Family => "route",
            Self::Room => "room",
        }
    }

    /// Reads what [`Level::as_str`] wrote.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.as_str() == word)
    }

    fn wider(self) -> Option<Self> {
        match self {
            Self::Egress => None,
            Self::Tenant => Some(Self::Egress),
            Self::Family => Some(Self::Tenant),
            Self::Room => Some(Self::Family),
        }
    }
}

impl Path {
    /// The gate at `level` that this request passes; the next wider one if it names no room.
    pub fn at(&self, level: Level) -> NodeKey {
        match (level, self.room) {
            (Level::Egress, _) => NodeKey::Egress,
            (Level::Tenant, _) => NodeKey::Tenant(self.tenant),
            (Level::Room, Some(room)) => NodeKey::Room(self.tenant, self.family, room),
            (Level::Family | Level::Room, _) => NodeKey::Family(self.tenant, self.family),
        }
    }
}

impl NodeKey {
    /// How wide it is.
    pub fn level(self) -> Level {
        match self {
            Self::Egress => Level::Egress,
            Self::Tenant(_) => Level::Tenant,
            Self::Family(..) => Level::Family,
            Self::Room(..) => Level::Room,
        }
    }

    /// Which family's requests pass it; none for every family's.
    pub fn family(self) -> Option<Family> {
        match self {
            Self::Egress | Self::Tenant(_) => None,
            Self::Family(_, family) | Self::Room(_, family, _) => Some(family),
        }
    }

    /// Whose requests pass it; none for everybody's.
    pub fn tenant(self) -> Option<TenantId> {
        match self {
            Self::Egress => None,
            Self::Tenant(tenant) | Self::Family(tenant, _) | Self::Room(tenant, ..) => Some(tenant),
        }
    }
}

/// What has been learned, by family: limits differ between families.
#[derive(Debug)]
pub(super) struct Scopes {
    scope: Scope,
    families: HashMap<Family, Learned>,
}

#[derive(Debug, Default)]
struct Learned {
    verdict: Option<(Level, Instant)>,
    refusals: VecDeque<(Path, Instant, Instant)>,
    successes: VecDeque<(Path, Instant)>,
}

/// A verdict that nothing has confirmed for so long is forgotten.
const REMEMBERED_FOR: Duration = Duration::from_secs(3600);
/// Refusals of several tenants count together within the stated wait, but at least this long.
const COINCIDENCE: Duration = Duration::from_secs(10);
/// How many refusals and successes are remembered for each family.
const REMEMBERED: usize = 16;

impl Scopes {
    pub(super) fn new(scope: Scope) -> Self {
        Self { scope, families: HashMap::new() }
    }

    pub(super) fn set(&mut self, scope: Scope) {
        self.scope = scope;
    }

    /// Whether evidence decides.
    pub(super) fn is_auto(&self) -> bool {
        self.scope == Scope::Auto
    }

    /// What a refusal at `now` closes. `named` is what the answer itself said.
    pub(super) fn level(&self, now: Instant, family: Family, named: Option<Level>) -> Level {
        match self.scope {
            Scope::Fixed(level) => level,
            Scope::Auto => named.unwrap_or_else(|| self.verdict(now, family)),
        }
    }

    pub(super) fn verdict(&self, now: Instant, family: Family) -> Level {
        let verdict = self.families.get(&family).and_then(|learned| learned.verdict);
        let fresh = verdict.filter(|(_, at)| now.saturating_duration_since(*at) < REMEMBERED_FOR);
        fresh.map_or(Level::Egress, |(level, _)| level)
    }

    /// A success proved that refusals of `family` reach no further than `level`.
    pub(super) fn narrow(&mut self, now: Instant, family: Family, level: Level) {
        self.families.entry(family).or_default().verdict = Some((level, now));
    }

    /// A request sent at `sent_at` was accepted.
    pub(super) fn accepted(&mut self, path: Path, sent_at: Instant) {
        let Some(learned) = self.families.get_mut(&path.family) else { return };
        learned.successes.retain(|(other, _)| *other != path);
        learned.successes.push_back((path, sent_at));
        if learned.successes.len() > REMEMBERED {
            learned.successes.pop_front();
        }
    }

    /// Another process was refused: it counts when this one is, too.
    pub(super) fn note(&mut self, now: Instant, path: Path, until: Instant) {
        let learned = self.families.entry(path.family).or_default();
        learned.refusals.push_back((path, now, until));
        if learned.refusals.len() > REMEMBERED {
            learned.refusals.pop_front();
        }
    }

    /// A request was refused until `until` although the verdict is narrow. Returns the wider level that two or
    /// more refusals prove, and who was refused: nobody uninvolved may have been accepted since the first.
    pub(super) fn widened(
        &mut self,
        now: Instant,
        path: Path,
        until: Instant,
    ) -> Option<(Level, Vec<(Path, Instant)>)> {
        if !self.is_auto() {
            return None;
        }
        let verdict = self.verdict(now, path.family);
        let learned = self.families.entry(path.family).or_default();
        let window = until.saturating_duration_since(now).max(COINCIDENCE);
        learned.refusals.retain(|(_, at, _)| now.saturating_duration_since(*at) <= window);
        learned.refusals.push_back((path, now, until));
        if learned.refusals.len() > REMEMBERED {
            learned.refusals.pop_front();
        }
        if let Some((_, confirmed_at)) = &mut learned.verdict {
            *confirmed_at = now;
        }
        let wider = verdict.wider()?;
        let parent = path.at(wider);
        let involved: Vec<_> =
            learned.refusals.iter().filter(|(other, ..)| other.at(wider) == parent).collect();
        let first_at = involved.iter().map(|(_, at, _)| *at).min()?;
        let is_involved =
            |other: &Path| involved.iter().any(|(refused, ..)| refused.at(verdict) == other.at(verdict));
        let is_alone = involved.iter().all(|(refused, ..)| refused.at(verdict) == path.at(verdict));
        let is_denied = learned
            .successes
            .iter()
            .any(|(other, sent_at)| other.at(wider) == parent && *sent_at > first_at && !is_involved(other));
        if is_alone || is_denied {
            return None;
        }
        let refused = involved.into_iter().map(|(refused, _, until)| (*refused, *until)).collect();
        learned.verdict = (wider != Level::Egress).then_some((wider, now));
        Some((wider, refused))
    }

    /// The narrower level that an acceptance of `accepted` proves for a refusal of `refused` which closed `level`:
    /// the widest at which the two part.
    pub(super) fn proves(level: Level, refused: &Path, accepted: &Path) -> Option<Level> {
        if refused.at(level) != accepted.at(level) {
            return None;
        }
        let parts = |narrower: &Level| match narrower {
            // Rooms are told apart only if both requests name one.
            Level::Room => refused.room.is_some() && accepted.room.is_some() && refused.room != accepted.room,
            _ => refused.at(*narrower) != accepted.at(*narrower),
        };
        [Level::Tenant, Level::Family, Level::Room]
            .into_iter()
            .filter(|narrower| *narrower > level)
            .find(parts)
    }

    /// What is remembered, for status and for the state file: family, level, age.
    pub(super) fn verdicts(&self, now: Instant) -> impl Iterator<Item = (Family, Level, Duration)> {
        self.families.iter().filter_map(move |(family, learned)| {
            let (level, at) = learned.verdict?;
            let age = now.saturating_duration_since(at);
            (age < REMEMBERED_FOR).then_some((*family, level, age))
        })
    }

    /// Takes over what an earlier process had learned.
    pub(super) fn restore(&mut self, now: Instant, family: Family, level: Level) {
        self.narrow(now, family, level);
    }
}
