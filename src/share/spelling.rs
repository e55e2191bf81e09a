//! How gates, requests' ways and verdicts are spelt in names and messages; what is spelt otherwise is nothing.

use crate::gate::{Level, NodeKey, Path, RoomKey};
use crate::route::{Access, Family};
use crate::words::TenantId;

/// `egress`, `tenant:{hex}`, `route:{hex}:{family}:{access}` or `room:{hex}:{family}:{access}:{hex}`.
pub(super) fn key(key: NodeKey) -> String {
    let level = key.level().as_str();
    match key {
        NodeKey::Egress => level.to_owned(),
        NodeKey::Tenant(tenant) => format!("{level}:{}", tenant.hex()),
        NodeKey::Family(tenant, family) => format!("{level}:{}:{}", tenant.hex(), self::family(family)),
        NodeKey::Room(tenant, family, RoomKey(room)) => {
            format!("{level}:{}:{}:{room:016x}", tenant.hex(), self::family(family))
        }
    }
}

/// Reads what [`key`] wrote.
pub(super) fn read_key(text: &str) -> Option<NodeKey> {
    let (level, rest) = text.split_once(':').map_or((text, None), |(level, rest)| (level, Some(rest)));
    match (Level::named(level)?, rest) {
        (Level::Egress, None) => Some(NodeKey::Egress),
        (Level::Tenant, Some(tenant)) => TenantId::from_hex(tenant).map(NodeKey::Tenant),
        (Level::Family, Some(rest)) => match read_path(rest)? {
            Path { tenant, family, room: None } => Some(NodeKey::Family(tenant, family)),
            _with_room => None,
        },
        (Level::Room, Some(rest)) => match read_path(rest)? {
            Path { tenant, family, room: Some(room) } => Some(NodeKey::Room(tenant, family, room)),
            _without_room => None,
        },
        (Level::Egress, Some(_)) | (Level::Tenant | Level::Family | Level::Room, None) => None,
    }
}

/// `{hex}:{family}:{access}`, and `:{hex}` if it names a room.
pub(super) fn path(path: &Path) -> String {
    let room = path.room.map_or_else(String::new, |RoomKey(room)| format!(":{room:016x}"));
    format!("{}:{}{room}", path.tenant.hex(), family(path.family))
}

/// Reads what [`path`] wrote.
pub(super) fn read_path(text: &str) -> Option<Path> {
    let (tenant, rest) = text.split_once(':')?;
    let (segment, rest) = rest.split_once(':')?;
    let (access, room) = rest.split_once(':').map_or((rest, None), |(access, room)| (access, Some(room)));
    let room = match room {
        None => None,
        Some(room) if room.len() == 16 => Some(RoomKey(u64::from_str_radix(room, 16).ok()?)),
        Some(_) => return None,
    };
    let family = read_family(segment, access)?;
    Some(Path { tenant: TenantId::from_hex(tenant)?, family, room })
}

/// `{segment}:{access}`.
pub(super) fn family(family: Family) -> String {
    format!("{}:{}", family.segment, family.access.as_str())
}

/// Reads what [`family`] wrote, apart.
pub(super) fn read_family(segment: &str, access: &str) -> Option<Family> {
    let access = [Access::Read, Access::Write].into_iter().find(|known| known.as_str() == access)?;
    Family::named(segment, access)
}

#[cfg(test)]
mod tests {
    use super::*;

    const READS: Family = Family { segment: "rooms", access: Access::Read };

    #[test]
    fn what_is_spelt_can_be_read() {
        let tenant = TenantId::new([0xab; 16]);
        for known in [
            NodeKey::Egress,
            NodeKey::Tenant(tenant),
            NodeKey::Family(tenant, READS),
            NodeKey::Room(tenant, READS, RoomKey(7)),
        ] {
            assert_eq!(read_key(&key(known)), Some(known));
        }
        for room in [None, Some(RoomKey(u64::MAX))] {
            let known = Path { tenant, family: READS, room };
            assert_eq!(read_path(&path(&known)), Some(known));
        }
    }

    #[test]
    fn anything_else_is_nothing() {
        let hex = TenantId::new([1; 16]).hex();
        for text in [
            "",
            "egress:",
            "egress:x",
            "tenant",
            "tenant:12",
            "room:x",
            &format!("route:{hex}:nowhere:read"),
            &format!("route:{hex}:rooms:both"),
            &format!("route:{hex}:rooms:read:0000000000000007"),
            &format!("room:{hex}:rooms:read"),
            &format!("room:{hex}:rooms:read:7"),
            &format!("tenant:{hex}:"),
        ] {
            assert!(read_key(text).is_none(), "{text}");
        }
    }
}
