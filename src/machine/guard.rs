//! Decides who is refused while memory is short: one look every now and then, one word for everybody who asks.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use super::cgroup::Meter;
use super::pressure::{Marks, Pressure};

/// What is watched.
#[derive(Debug, Clone)]
pub struct GuardSettings {
    /// From which part of the limit on something is refused.
    pub marks: Marks,
    /// Bytes that may be used, if the control group or the machine would allow more.
    pub limit: Option<u64>,
    /// The directory of the control group's files; none: found.
    pub cgroup: Option<PathBuf>,
}

/// Memory is short: come again later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Tollgate is short of memory and takes no {} for the moment", .0.as_str())]
pub struct Overloaded(Refusing);

/// What is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusing {
    Requests,
    Uploads,
}

impl Refusing {
    fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Uploads => "large uploads",
        }
    }
}

impl Overloaded {
    /// When it may be over: a guess, for nobody knows.
    pub fn retry_after(&self) -> Duration {
        RETRY_AFTER
    }
}

/// How memory is now, and what was refused because of it since start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Glance {
    /// What is refused now.
    pub pressure: Pressure,
    /// Bytes in use and bytes there are; none if nothing tells, or nothing is watched.
    pub memory: Option<(u64, u64)>,
    /// Requests refused.
    pub refused_requests: u64,
    /// Uploads refused.
    pub refused_uploads: u64,
}

/// Says whether there is memory for one more. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Guard(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    watched: Option<(Meter, GuardSettings)>,
    level: AtomicU8,
    used: AtomicU64,
    limit: AtomicU64,
    refused_requests: AtomicU64,
    refused_uploads: AtomicU64,
}

impl Guard {
    /// Watches memory; refuses nothing before the first [`Guard::look`].
    pub fn new(settings: GuardSettings) -> Self {
        let meter = settings.cgroup.as_deref().map_or_else(|| Meter::find(Path::new("/")), Meter::at);
        Self::of(Some((meter, settings)))
    }

    /// Refuses nobody.
    pub fn off() -> Self {
        Self::of(None)
    }

    fn of(watched: Option<(Meter, GuardSettings)>) -> Self {
        Self(Arc::new(Shared {
            watched,
            level: AtomicU8::new(Pressure::Calm.level()),
            used: AtomicU64::new(0),
            limit: AtomicU64::new(0),
            refused_requests: AtomicU64::new(0),
            refused_uploads: AtomicU64::new(0),
        }))
    }

    /// Reads the figures anew and says what follows: the pressure before, and now. Blocks. One caller at a time.
    pub fn look(&self) -> (Pressure, Pressure) {
        let before = self.pressure();
        let Some((meter, settings)) = &self.0.watched else { return (before, before) };
        let reading = meter.read(settings.limit);
        let (used, limit) = reading.map_or((0, 0), |reading| (reading.used, reading.limit));
        let now = reading.map_or(Pressure::Calm, |_| settings.marks.judge(before, used, limit));
        self.0.used.store(used, Ordering::Relaxed);
        self.0.limit.store(limit, Ordering::Relaxed);
        self.0.level.store(now.level(), Ordering::Relaxed);
        (before, now)
    }

    /// Whether a request may come in.
    ///
    /// # Errors
    /// [`Overloaded`] at [`Pressure::Requests`]; counted.
    pub fn admit(&self) -> Result<(), Overloaded> {
        if self.pressure() < Pressure::Requests {
            return Ok(());
        }
        self.0.refused_requests.fetch_add(1, Ordering::Relaxed);
        Err(Overloaded(Refusing::Requests))
    }

    /// Whether an upload may come in that does not fit in a small buffer.
    ///
    /// # Errors
    /// [`Overloaded`] from [`Pressure::Uploads`] on; counted.
    pub fn admit_upload(&self) -> Result<(), Overloaded> {
        if self.pressure() < Pressure::Uploads {
            return Ok(());
        }
        self.0.refused_uploads.fetch_add(1, Ordering::Relaxed);
        Err(Overloaded(Refusing::Uploads))
    }

    /// What is refused now.
    pub fn pressure(&self) -> Pressure {
        Pressure::of_level(self.0.level.load(Ordering::Relaxed))
    }

    /// How things stood at the last look.
    pub fn glance(&self) -> Glance {
        let limit = self.0.limit.load(Ordering::Relaxed);
        Glance {
            pressure: self.pressure(),
            memory: (limit > 0).then(|| (self.0.used.load(Ordering::Relaxed), limit)),
            refused_requests: self.0.refused_requests.load(Ordering::Relaxed),
            refused_uploads: self.0.refused_uploads.load(Ordering::Relaxed),
        }
    }
}

/// A cache that gives memory back and answers that end take about a second; a fleet must not come back in step with it.
const RETRY_AFTER: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(dir: &Path, used: &str) -> Guard {
        std::fs::write(dir.join("memory.max"), "1000").unwrap();
        std::fs::write(dir.join("memory.current"), used).unwrap();
        let marks = Marks { uploads: 70, requests: 80 };
        Guard::new(GuardSettings { marks, limit: None, cgroup: Some(dir.to_owned()) })
    }

    #[test]
    fn uploads_are_refused_first_and_everything_later() {
        let dir = tempfile::tempdir().unwrap();
        for (used, takes_requests, takes_uploads) in
            [("100", true, true), ("720", true, false), ("900", false, false)]
        {
            let guard = guard(dir.path(), used);
            assert!(guard.admit().is_ok() && guard.admit_upload().is_ok(), "nothing was looked at yet");
            guard.look();
            assert_eq!(guard.admit().is_ok(), takes_requests, "{used}");
            assert_eq!(guard.admit_upload().is_ok(), takes_uploads, "{used}");
            let glance = guard.glance();
            assert_eq!(
                (glance.refused_requests, glance.refused_uploads),
                (u64::from(!takes_requests), u64::from(!takes_uploads))
            );
        }
    }

    #[test]
    fn files_that_go_away_end_the_pressure() {
        let dir = tempfile::tempdir().unwrap();
        let guard = guard(dir.path(), "900");
        assert_eq!(guard.look(), (Pressure::Calm, Pressure::Requests));
        std::fs::write(dir.path().join("memory.current"), "nonsense").unwrap();
        assert_eq!(guard.look(), (Pressure::Requests, Pressure::Calm));
    }

    #[test]
    fn nobody_is_refused_where_nothing_is_watched() {
        let guard = Guard::off();
        assert_eq!(guard.look(), (Pressure::Calm, Pressure::Calm));
        assert!(guard.admit().is_ok() && guard.admit_upload().is_ok());
        assert_eq!(guard.glance().memory, None);
    }
}
