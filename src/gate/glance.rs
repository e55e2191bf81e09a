//! What operators see of the gate: lines, gates and verdicts at one moment.

use std::time::Duration;

use tokio::time::Instant;

use crate::route::Family;

use super::core::{GateView, Level, LineView, Scope};
use super::{Gate, Mode};

/// The gate at a glance, for status and metrics.
#[derive(Debug, Clone, PartialEq)]
pub struct Glance {
    /// Whether requests are held back.
    pub mode: Mode,
    /// Requests in line.
    pub waiting: usize,
    /// How long the oldest in line has been there.
    pub oldest_waited: Duration,
    /// Every line with somebody in it, longest first.
    pub lines: Vec<LineView>,
    /// Requests between permit and answer.
    pub in_flight: usize,
    /// Whom a refusal stops.
    pub scope: Scope,
    /// The operator's ceiling for all tenants together, in requests per second.
    pub ceiling_per_second: Option<f64>,
    /// The widest gate.
    pub egress: GateView,
    /// How long the gates of each width have been closed since start, all gates together.
    pub closed_for_total: [(Level, Duration); 4],
    /// The narrower ones that are known.
    pub gates: Vec<GateView>,
    /// How far refusals reach, where that is proved.
    pub verdicts: Vec<(Family, Level)>,
}

impl Gate {
    /// Lines, gates and verdicts as they are now.
    pub fn glance(&self) -> Glance {
        let now = Instant::now();
        let state = self.shared.lock();
        let core = &state.core;
        Glance {
            mode: state.mode,
            waiting: core.waiting(),
            oldest_waited: core
                .oldest_joined_at()
                .map_or(Duration::ZERO, |at| now.saturating_duration_since(at)),
            lines: core.lines(now),
            in_flight: core.in_flight(),
            scope: core.settings().scope,
            ceiling_per_second: core.settings().ceiling.map(|ceiling| ceiling.rate),
            egress: core.egress(now),
            closed_for_total: Level::ALL.map(|level| (level, core.closed_for_total(now, level))),
            gates: core.gates(now).collect(),
            verdicts: core.verdicts(now).map(|(family, level, _)| (family, level)).collect(),
        }
    }
}
