//! The only door to the time: monotonic instants for waiting, wall time for dates in headers.

use std::time::SystemTime;

use tokio::time::Instant;

/// Reads the time. Cloning is cheap; a virtual clock follows tokio's paused time.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System,
    Virtual { wall: SystemTime, origin: Instant },
}

impl Clock {
    /// The machine's own clocks.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A wall clock that reads `wall` now and advances with tokio's time, paused or not.
    pub fn starting_at(wall: SystemTime) -> Self {
        Self(Source::Virtual { wall, origin: Instant::now() })
    }

    /// The monotonic time, for deadlines and durations.
    pub fn now(&self) -> Instant {
        Instant::now()
    }

    /// The wall time, UTC, for HTTP dates. May step when the machine's clock is set.
    #[allow(clippy::disallowed_methods, reason = "this room is the door that the rule points to")]
    pub fn wall(&self) -> SystemTime {
        match self.0 {
            Source::System => SystemTime::now(),
            Source::Virtual { wall, origin } => wall + origin.elapsed(),
        }
    }
}
