//! Decides what is shown of the gate from second to second, at the same cost however much is known.

use tokio::time::Instant;

use super::{Gate, Rate};

/// What changes from second to second; costs the same however much is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pulse {
    /// Requests in line.
    pub waiting: usize,
    /// The widest gate's rate, in requests per second.
    pub rate: Rate,
    /// Whether the widest gate is closed.
    pub is_closed: bool,
}

impl Gate {
    /// The gate's pulse, now.
    pub fn pulse(&self) -> Pulse {
        let now = Instant::now();
        let state = self.shared.lock();
        let egress = state.core.egress(now);
        Pulse { waiting: state.core.waiting(), rate: egress.rate, is_closed: egress.closed_for.is_some() }
    }
}
