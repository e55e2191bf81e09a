//! What a request asks of the scheduler: whom it speaks for, where it goes, how urgent, how large.

use std::num::NonZeroU32;

use tokio::time::Instant;

use crate::route::Family;
use crate::words::TenantId;

/// A room, as a hash of its id: reads of one room have a small limit of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoomKey(pub u64);

/// What may be limited, from the widest to the narrowest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Path {
    /// Whose quota it uses.
    pub tenant: TenantId,
    /// First path segment, reads and writes apart.
    pub family: Family,
    /// The room that it reads or writes, where it names one.
    pub room: Option<RoomKey>,
}

/// Urgency, RFC 9218: 0 goes first, 7 last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Class(u8);

impl Class {
    /// How many there are.
    pub const COUNT: usize = 8;
    /// What nobody waits for.
    pub const BACKGROUND: Self = Self(7);
    /// What a bot reads: RFC 9218's own default.
    pub const READ: Self = Self(3);
    /// What a person may be waiting for.
    pub const WRITE: Self = Self(2);

    /// `None` above 7.
    pub fn new(urgency: u8) -> Option<Self> {
        (urgency <= Self::BACKGROUND.0).then_some(Self(urgency))
    }

    pub(super) fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// Whether requests of one flow may overtake each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Order {
    /// Reads, and writes without a room.
    Free,
    /// Writes to one room: one under way at a time, a replay included.
    Strict,
}

/// What a request costs when it is sent to try a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// A body of megabytes: the last choice for a probe.
    Large,
    /// Small and safe: may be sent to find out how far a refusal reaches.
    Probe,
    /// Anything else.
    Small,
}

/// Whether it has stood in line before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It comes for the first time.
    New,
    /// It was refused and goes before everybody who came later.
    Replay,
}

/// One request for a turn.
#[derive(Debug, Clone, Copy)]
pub struct Ask {
    /// What it uses.
    pub path: Path,
    /// Whose line it stands in: its tenant's, or the one that all strangers share.
    pub line: TenantId,
    /// Turns per round of that line.
    pub weight: NonZeroU32,
    /// How urgent within the line.
    pub class: Class,
    /// Whether it may be overtaken.
    pub order: Order,
    /// What it costs to try.
    pub size: Size,
    /// Decoded bytes held while it waits.
    pub bytes: u32,
    /// Whether it has stood in line before.
    pub standing: Standing,
    /// When waiting becomes pointless.
    pub deadline: Instant,
}
