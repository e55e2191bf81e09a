//! What the gate has learned, as a file: a restart does not run into a wall that was known.

use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::gate::{Gate, GateView, Glance, Learned, Level, NodeKey, Rate, RoomKey};
use crate::machine;
use crate::route::{Access, Family};
use crate::words::TenantId;

use super::{Fault, state};

/// Keeps one gate's knowledge in the state directory. Holds hashes, never a credential.
#[derive(Debug)]
pub(super) struct Memory {
    dir: PathBuf,
    gate: Gate,
    clock: Clock,
    written: Mutex<Written>,
}

#[derive(Debug)]
struct Written {
    known: Option<Known>,
    has_failed: bool,
}

impl Memory {
    pub(super) fn new(dir: PathBuf, gate: Gate, clock: Clock) -> Self {
        Self { dir, gate, clock, written: Mutex::new(Written { known: None, has_failed: false }) }
    }

    /// Tells the gate what an earlier process knew. A file that cannot be believed is as good as none.
    pub(super) fn recall(&self) {
        let file = self.dir.join(FILE);
        let learned =
            read(&file).and_then(|known| known.map(|known| known.learned(self.clock.wall())).transpose());
        match learned {
            Ok(learned) => self.gate.restore(learned.into_iter().flatten()),
            Err(reason) => {
                tracing::warn!(file = %file.display(), error = %reason, "learned limits ignored");
            }
        }
    }

    /// Writes the file if what is known has changed since.
    pub(super) fn refresh(&self) {
        self.write(|written, known| written.known.as_ref().is_none_or(|written| !written.says(known)));
    }

    /// Writes the file, so that it also tells how old it is.
    pub(super) fn keep(&self) {
        self.write(|_, _| true);
    }

    /// The look and the write are one step: of two writers the later also knows more.
    fn write(&self, is_due: impl FnOnce(&Written, &Known) -> bool) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let known = Known::new(&self.gate.glance(), self.clock.wall());
        if !is_due(&written, &known) {
            return;
        }
        let kept = serde_json::to_vec(&known)
            .map_err(|error| Fault::File { file: self.dir.join(FILE), source: error.into() })
            .and_then(|text| state::write(&self.dir, FILE, &text));
        match kept {
            Ok(()) => *written = Written { known: Some(known), has_failed: false },
            // Said once, not every few seconds.
            Err(fault) if !written.has_failed => {
                tracing::warn!(error = %fault, "learned limits not kept");
                written.has_failed = true;
            }
            Err(_) => {}
        }
    }
}

/// Why a file is not believed.
#[derive(Debug, thiserror::Error)]
enum Unbelievable {
    #[error("{0} is not a possible value")]
    Absurd(&'static str),
    #[error("it is larger than anything that was written")]
    Large,
    #[error(transparent)]
    Read(#[from] io::Error),
    #[error("damaged: {0}")]
    Syntax(#[from] serde_json::Error),
    #[error("version {0} is unknown")]
    Version(u32),
}

fn read(file: &std::path::Path) -> Result<Option<Known>, Unbelievable> {
    let text = match machine::file::read(file, MAX_BYTES) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => return Err(Unbelievable::Large),
        Err(error) => return Err(error.into()),
    };
    #[derive(Deserialize)]
    struct Head {
        version: u32,
    }
    match serde_json::from_slice(&text)? {
        Head { version: VERSION } => Ok(Some(serde_json::from_slice(&text)?)),
        Head { version } => Err(Unbelievable::Version(version)),
    }
}

/// The file. Times are seconds since the epoch, UTC.
#[derive(Debug, Serialize, Deserialize)]
struct Known {
    version: u32,
    saved_at: f64,
    gates: Vec<KnownGate>,
    verdicts: Vec<KnownVerdict>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct KnownGate {
    level: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    family: Option<(String, String)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    room: Option<String>,
    /// None if it was not closed.
    closed_until: Option<f64>,
    /// None if it never met a limit.
    rate_per_second: Option<f64>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct KnownVerdict {
    family: (String, String),
    level: String,
}

impl Known {
    fn new(glance: &Glance, wall: SystemTime) -> Self {
        let now = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        let is_telling = |view: &&GateView| view.closed_for.is_some() || view.has_met_limit;
        let mut narrow: Vec<_> = glance.gates.iter().filter(is_telling).collect();
        narrow.sort_unstable_by_key(|view| (std::cmp::Reverse(view.closed_for), view.key));
        let views = std::iter::once(&glance.egress).filter(is_telling).chain(narrow).take(MAX_GATES);
        let mut verdicts: Vec<_> =
            glance.verdicts.iter().map(|(family, level)| verdict(*family, *level)).collect();
        verdicts.sort_unstable_by(|one, other| one.family.cmp(&other.family));
        let gates = views.map(|view| gate(view, now)).collect();
        Self { version: VERSION, saved_at: now.as_secs_f64(), gates, verdicts }
    }

    fn says(&self, other: &Self) -> bool {
        (&self.gates, &self.verdicts) == (&other.gates, &other.verdicts)
    }

    /// Facts relative to now; families that this version has no name for are left out.
    fn learned(self, wall: SystemTime) -> Result<Vec<Learned>, Unbelievable> {
        let now = wall.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        // It is later than when the file was written, whatever a clock that was set back says: nothing stays closed for
        // longer than it was to be.
        let now = now.max(self.saved_at);
        let mut learned = Vec::new();
        for gate in self.gates {
            learned.extend(gate.view(now)?.map(Learned::Gate));
        }
        if now - self.saved_at < VERDICTS_HOLD_FOR.as_secs_f64() {
            for KnownVerdict { family, level } in self.verdicts {
                let level = Level::named(&level).ok_or(Unbelievable::Absurd("level"))?;
                learned.extend(named(&family)?.map(|family| Learned::Verdict(family, level)));
            }
        }
        Ok(learned)
    }
}

fn verdict(family: Family, level: Level) -> KnownVerdict {
    KnownVerdict { family: words(family), level: level.as_str().to_owned() }
}

fn gate(view: &GateView, now: Duration) -> KnownGate {
    // Tenths, rounded up: never early, and the same at the next look.
    let until = |wait: Duration| ((now + wait).as_secs_f64() * 10.0).ceil() / 10.0;
    KnownGate {
        level: view.key.level().as_str().to_owned(),
        tenant: view.key.tenant().map(TenantId::hex),
        family: view.key.family().map(words),
        room: match view.key {
            NodeKey::Room(_, _, RoomKey(room)) => Some(format!("{room:016x}")),
            NodeKey::Egress | NodeKey::Family(..) | NodeKey::Tenant(_) => None,
        },
        closed_until: view.closed_for.map(until),
        rate_per_second: view.has_met_limit.then(|| view.rate.per_second()),
    }
}

impl KnownGate {
    fn key(&self) -> Result<Option<NodeKey>, Unbelievable> {
        let tenant =
            || self.tenant.as_deref().and_then(TenantId::from_hex).ok_or(Unbelievable::Absurd("tenant"));
        let level = Level::named(&self.level).ok_or(Unbelievable::Absurd("level"))?;
        match level {
            Level::Egress => return Ok(Some(NodeKey::Egress)),
            Level::Tenant => return Ok(Some(NodeKey::Tenant(tenant()?))),
            Level::Family | Level::Room => {}
        }
        let family = self.family.as_ref().ok_or(Unbelievable::Absurd("family"))?;
        let (tenant, Some(family)) = (tenant()?, named(family)?) else { return Ok(None) };
        if level == Level::Family {
            return Ok(Some(NodeKey::Family(tenant, family)));
        }
        let digits = self.room.as_deref().and_then(|room| u64::from_str_radix(room, 16).ok());
        let room = digits.map(RoomKey).ok_or(Unbelievable::Absurd("room"))?;
        Ok(Some(NodeKey::Room(tenant, family, room)))
    }

    fn view(&self, now: f64) -> Result<Option<GateView>, Unbelievable> {
        let key = self.key()?;
        let rate = self
            .rate_per_second
            .map(|rate| Rate::new(rate).ok_or(Unbelievable::Absurd("rate")))
            .transpose()?;
        let left = self.closed_until.map_or(0.0, |until| until - now).max(0.0);
        if left > MAX_CLOSED_FOR.as_secs_f64() {
            return Err(Unbelievable::Absurd("closed_until"));
        }
        let closed_for = Some(Duration::from_secs_f64(left)).filter(|wait| !wait.is_zero());
        let is_over = rate.is_none() && closed_for.is_none();
        Ok(key.filter(|_| !is_over).map(|key| GateView {
            key,
            closed_for,
            is_half_open: false,
            rate: rate.unwrap_or(Rate::MAX),
            has_met_limit: rate.is_some(),
        }))
    }
}

fn words(family: Family) -> (String, String) {
    (family.segment.to_owned(), family.access.as_str().to_owned())
}

fn named((segment, access): &(String, String)) -> Result<Option<Family>, Unbelievable> {
    let access = Access::named(access).ok_or(Unbelievable::Absurd("access"))?;
    Ok(Family::named(segment, access))
}

/// How often the file is brought up to date.
pub(super) const REFRESH_EVERY: Duration = Duration::from_secs(2);
const FILE: &str = "gates.json";
const VERSION: u32 = 1;
/// A gate takes less than 300 bytes: a file of ours never reaches the size at which it is not read.
const MAX_GATES: usize = 10_000;
const MAX_BYTES: usize = 4 * 1024 * 1024;
/// `gate.max_gate` is at most a day; jitter adds a second.
const MAX_CLOSED_FOR: Duration = Duration::from_secs(24 * 3600 + 2);
/// As long as the gate itself holds to a verdict that nothing confirms.
const VERDICTS_HOLD_FOR: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests;
