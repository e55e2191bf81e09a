//! Decides whether a request's own gates and ceilings let it go.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::gate::ceiling::Ceilings;

use super::ask::{Ask, Path};
use super::line::Check;
use super::node::{Node, Pass, Phase};
use super::outside::Outside;
use super::scope::{Level, NodeKey};

/// The gates on a request's way, but the widest; each once, so that a request without a room pays its family's gate once.
pub(super) fn levels(path: &Path) -> impl Iterator<Item = NodeKey> + use<> {
    let room = path.room.map(|_| path.at(Level::Room));
    [path.at(Level::Tenant), path.at(Level::Family)].into_iter().chain(room)
}

pub(super) fn is_open(gates: &HashMap<NodeKey, Node>, key: NodeKey) -> bool {
    gates.get(&key).is_none_or(|gate| gate.phase == Phase::Open)
}

pub(super) fn check(
    gates: &mut HashMap<NodeKey, Node>,
    ceilings: &Ceilings,
    outside: &mut Option<Outside>,
    now: Instant,
    ask: &Ask,
) -> Check {
    check_gates(gates, outside, now, ask).unwrap_or_else(|| check_ceiling(ceilings, now, ask))
}

/// What the request's own gates say, if one of them is closed.
pub(super) fn check_gates(
    gates: &mut HashMap<NodeKey, Node>,
    outside: &mut Option<Outside>,
    now: Instant,
    ask: &Ask,
) -> Option<Check> {
    for key in levels(&ask.path) {
        let Some(gate) = gates.get_mut(&key) else { continue };
        let until = match gate.pass(now) {
            Pass::Now => continue,
            // Its answer wakes the line; should that be missed, a look each second costs little.
            Pass::AfterProbe => Some(now + Duration::from_secs(1)),
            Pass::At(_) if gate.phase == Phase::Open => Some(gate.backlogged(now)),
            Pass::At(until) | Pass::Booked(until) => Some(until),
            Pass::Unbooked => {
                if let Some(outside) = outside {
                    outside.want(key);
                }
                // What is booked wakes the line; as above.
                Some(now + Duration::from_secs(1))
            }
        };
        // A line may be shared by strangers: only its own tenant's gate holds all of it up.
        return Some(match key {
            NodeKey::Tenant(tenant) if tenant == ask.line => Check::TenantWaits(until),
            _ => Check::FlowWaits(until),
        });
    }
    None
}

/// The last thing asked: a place under the ceiling that is given is used.
pub(super) fn check_ceiling(ceilings: &Ceilings, now: Instant, ask: &Ask) -> Check {
    match ceilings.tenant(now, ask.line) {
        Ok(()) => Check::Go,
        Err(at) => Check::TenantWaits(Some(at)),
    }
}
