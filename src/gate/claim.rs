//! Decides what a request may claim in the line: whose turn, which flow, how urgent, for how long.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::time::Duration;

use aws_lc_rs::digest;
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method, header};
use serde::Deserialize;

use crate::cache::Slot;
use crate::route::{Access, CacheRule, Route};
use crate::words::TenantId;

use super::core::{Class, Order, PLAIN_WEIGHT, Path, RoomKey, Size};

/// What an operator says of one tenant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TenantRule {
    /// Turns per round.
    pub weight: NonZeroU32,
    /// Time in line, instead of the common one.
    pub max_wait: Option<Duration>,
    /// Whether it waits at all.
    pub passage: Passage,
}

/// Whether requests wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// They pass at once; what the line would have meant is reckoned.
    Free,
    /// They take their turn.
    Line,
}

/// A request's body, as far as the line cares.
#[derive(Debug, Clone, Copy)]
pub struct Load<'a> {
    /// Bytes; none if only the sender knows.
    pub length: Option<u64>,
    /// All of it, if it is small enough to be in memory.
    pub bytes: Option<&'a [u8]>,
}

/// What a request claims, before it has a place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claim {
    pub(super) path: Path,
    pub(super) class: Class,
    pub(super) order: Order,
    pub(super) size: Size,
    pub(super) bytes: u32,
    pub(super) weight: NonZeroU32,
    pub(super) max_wait: Duration,
    pub(super) passage: Passage,
}

/// The common rules and the exceptions.
#[derive(Debug, Clone)]
pub struct ClaimSettings {
    /// Time in line, all attempts together.
    pub max_wait: Duration,
    /// The most that a client may ask for with `Prefer: wait`.
    pub max_prefer_wait: Duration,
    /// Exceptions.
    pub tenants: HashMap<TenantId, TenantRule>,
}

impl ClaimSettings {
    pub(super) fn claim(&self, slot: &Slot, route: &Route, head: &Parts, load: Load<'_>) -> Claim {
        let tenant = slot.pass().tenant();
        let rule = self.tenants.get(&tenant);
        let path = Self::path(tenant, route, head, load);
        let is_form = media_type(&head.headers).is_some_and(|kind| kind.starts_with("multipart/"));
        // An upload names its room somewhere in its parts: it keeps its order among the tenant's uploads.
        let is_ordered = route.family().access == Access::Write && (path.room.is_some() || is_form);
        Claim {
            path,
            class: class(route, &head.headers),
            order: if is_ordered { Order::Strict } else { Order::Free },
            size: size(route, head, load),
            bytes: held(head, load),
            weight: rule.map_or(PLAIN_WEIGHT, |rule| rule.weight),
            max_wait: self.max_wait(tenant, &head.headers),
            passage: rule.map_or(Passage::Line, |rule| rule.passage),
        }
    }
}

impl ClaimSettings {
    /// Which gates a request passes.
    pub(super) fn path(tenant: TenantId, route: &Route, head: &Parts, load: Load<'_>) -> Path {
        Path { tenant, family: route.family(), room: room(route, head, load) }
    }

    /// How long a request of this tenant may wait: as long as it asks for, else by the tenant's rule, else by the common one.
    pub(super) fn max_wait(&self, tenant: TenantId, headers: &HeaderMap) -> Duration {
        let own = self.tenants.get(&tenant).and_then(|rule| rule.max_wait).unwrap_or(self.max_wait);
        preferred(headers).map_or(own, |asked| asked.min(self.max_prefer_wait))
    }
}

/// RFC 9218 `Priority: u=`, else writes before reads.
fn class(route: &Route, headers: &HeaderMap) -> Class {
    let asked = headers.get_all(PRIORITY).iter().filter_map(|line| line.to_str().ok());
    let mut members =
        asked.flat_map(|line| line.split(',')).filter_map(|member| member.trim().strip_prefix("u="));
    let asked = members.next().and_then(|urgency| urgency.parse().ok()).and_then(Class::new);
    asked.unwrap_or_else(|| match route.family().access {
        Access::Read => Class::READ,
        Access::Write => Class::WRITE,
    })
}

/// RFC 7240 `Prefer: wait=`, in seconds; 0 asks for an answer now.
fn preferred(headers: &HeaderMap) -> Option<Duration> {
    let lines = headers.get_all(PREFER).iter().filter_map(|line| line.to_str().ok());
    let mut members = lines.flat_map(|line| line.split([',', ';'])).filter_map(|member| {
        let (name, value) = member.split_once('=')?;
        name.trim().eq_ignore_ascii_case("wait").then(|| value.trim().trim_matches('"'))
    });
    members.next().and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs)
}

fn size(route: &Route, head: &Parts, load: Load<'_>) -> Size {
    let is_safe = matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS);
    let is_download = route.rule() == CacheRule::Contents && head.method == Method::GET;
    match load.length {
        Some(0) if is_safe && !is_download => Size::Probe,
        Some(_) if load.bytes.is_some() => Size::Small,
        _ => Size::Large,
    }
}

fn held(head: &Parts, load: Load<'_>) -> u32 {
    let fields: usize = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
    let bytes = fields + head.uri.path().len() + load.bytes.map_or(0, <[u8]>::len);
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// The room that a request names: in its query, or in a small JSON body.
fn room(route: &Route, head: &Parts, load: Load<'_>) -> Option<RoomKey> {
    let query = route.target().query().unwrap_or_default();
    let named =
        query.split('&').find_map(|pair| pair.strip_prefix("roomId=")).filter(|room| !room.is_empty());
    if let Some(room) = named {
        return Some(key(room.as_bytes()));
    }
    let mut segments = route.target().path().trim_end_matches('/').split('/').skip(2);
    if let (Some("rooms"), Some(room), None) = (segments.next(), segments.next(), segments.next()) {
        return Some(key(room.as_bytes()));
    }
    #[derive(Deserialize)]
    struct Named {
        #[serde(rename = "roomId")]
        room_id: String,
    }
    let is_json = media_type(&head.headers).is_some_and(|kind| kind.starts_with("application/json"));
    let body = load.bytes.filter(|bytes| is_json && !bytes.is_empty())?;
    serde_json::from_slice::<Named>(body).ok().map(|named| key(named.room_id.as_bytes()))
}

/// Stays the same over restarts: learned limits of rooms are remembered by it.
fn key(room: &[u8]) -> RoomKey {
    let digest = digest::digest(&digest::SHA256, room);
    let mut bytes = [0; 8];
    bytes.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    RoomKey(u64::from_be_bytes(bytes))
}

fn media_type(headers: &HeaderMap) -> Option<String> {
    headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).map(str::to_ascii_lowercase)
}

const PREFER: HeaderName = HeaderName::from_static("prefer");
const PRIORITY: HeaderName = HeaderName::from_static("priority");
