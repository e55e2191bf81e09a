//! What a line is made of: tenants, and their flows.

use std::collections::{HashMap, VecDeque};

use tokio::time::Instant;

use crate::route::Family;
use crate::words::TenantId;

use super::super::Turn;
use super::super::ask::{Ask, Class, Order, RoomKey};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct FlowKey {
    /// Strangers share a line, but not a flow: one's closed gate must not hold up the next.
    pub(super) tenant: TenantId,
    pub(super) family: Family,
    pub(super) room: Option<RoomKey>,
    /// Strict flows have one key whatever their requests' urgency: it must not change their order.
    pub(super) class: Option<Class>,
}

#[derive(Debug)]
pub(super) struct Flow {
    pub(super) tenant: usize,
    pub(super) key: FlowKey,
    pub(super) class: Class,
    pub(super) head: Option<usize>,
    pub(super) tail: Option<usize>,
    pub(super) waiting: u32,
    /// In its class's ring.
    pub(super) is_queued: bool,
    pub(super) parked_at: Option<Instant>,
    /// A strict flow's request that is under way.
    pub(super) owner: Option<Turn>,
}

#[derive(Debug)]
pub(super) struct Tenant {
    pub(super) id: TenantId,
    pub(super) weight: u32,
    pub(super) deficit: u32,
    pub(super) classes: [VecDeque<usize>; Class::COUNT],
    pub(super) credit: [u8; Class::COUNT],
    pub(super) flows: HashMap<FlowKey, usize>,
    pub(super) waiting: u32,
    pub(super) bytes: u64,
    pub(super) is_in_ring: bool,
    pub(super) is_parked: bool,
    pub(super) parked_at: Option<Instant>,
}

pub(super) fn key(ask: &Ask) -> FlowKey {
    let class = (ask.order == Order::Free).then_some(ask.class);
    FlowKey { tenant: ask.path.tenant, family: ask.path.family, room: ask.path.room, class }
}
