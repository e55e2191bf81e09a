//! What an operator may say of the scheduler.

use std::time::Duration;

use crate::gate::bucket::Rate;
use crate::gate::ceiling::Ceiling;
use crate::words::TenantId;

use super::scope::Scope;

/// What the scheduler must know.
#[derive(Debug, Clone)]
pub struct CoreSettings {
    /// Whom a refusal stops.
    pub scope: Scope,
    /// The first rate tried.
    pub start_rate: Rate,
    /// Learning never goes above this: the operator's pin.
    pub pin: Rate,
    /// How many requests may go at once after a pause.
    pub burst: u32,
    /// The whole egress' fixed ceiling, besides what is learned.
    pub ceiling: Option<Ceiling>,
    /// Fixed ceilings of tenants.
    pub tenant_ceilings: Vec<(TenantId, Ceiling)>,
    /// Requests in flight at once.
    pub max_in_flight: usize,
    /// Requests in line, all tenants together.
    pub max_waiting: usize,
    /// Decoded bytes in line, all tenants together.
    pub max_waiting_bytes: u64,
    /// Requests in line of one tenant.
    pub max_tenant_waiting: u32,
    /// Decoded bytes in line of one tenant.
    pub max_tenant_bytes: u64,
    /// Gates of tenants, families and rooms that are remembered.
    pub max_gates: usize,
    /// A stated wait is honoured up to this.
    pub max_gate: Duration,
}
