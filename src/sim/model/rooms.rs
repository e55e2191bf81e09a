//! `/rooms`: the spaces of the asking user, and the key server that fails to open some of their titles.

use std::time::SystemTime;

use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::call::{Call, wrong_method};
use super::memberships;
use super::paging::{self, Order, Style};
use super::reply::{Refusal, Reply, Verdict};
use super::stamp::stamp;
use super::world::{Room, RoomKind, World};

const ROOMS: Style = Style { path: "rooms?", cursor: "cursor", default: 100, order: Order::FiltersFirst };

const KMS_REASON: &str = "Key management server failed to respond appropriately. For more information: \
                          https://developer.ciscospark.com/errors.html";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Draft {
    title: Option<String>,
    team_id: Option<String>,
    is_locked: Option<bool>,
}

/// A room as it is shown: whole, or without what the key server did not open.
#[derive(Clone, Serialize)]
#[serde(untagged)]
enum View {
    Closed { id: String, title: &'static str, errors: Value },
    Open(Box<Room>),
}

pub(super) fn answer(world: &mut World, call: &Call<'_>, path: &[&str]) -> Verdict {
    match (call.method(), path) {
        (&Method::GET | &Method::HEAD, []) => list(world, call),
        (&Method::POST, []) => create(world, call),
        (&Method::GET | &Method::HEAD, [id]) => {
            world.room_of(id, &call.user).ok_or_else(Refusal::not_found)?;
            Ok(Reply::json(&view(world, id).ok_or_else(Refusal::not_found)?))
        }
        (&Method::PUT, [id]) => rename(world, call, id),
        (&Method::DELETE, [id]) => {
            world.room_of(id, &call.user).ok_or_else(Refusal::not_found)?;
            remove(world, id);
            Ok(Reply::no_content())
        }
        (_, []) => Err(wrong_method("GET, HEAD, POST")),
        (_, [_]) => Err(wrong_method("GET, HEAD, PUT, DELETE")),
        _ => Err(Refusal::not_found()),
    }
}

/// A new room with `creator` as its moderator.
pub(super) fn make(
    world: &mut World,
    (title, kind): (&str, RoomKind),
    creator: &str,
    team_id: Option<String>,
    now: SystemTime,
) -> String {
    let id = world.mint.id("ROOM");
    let room = Room {
        id: id.clone(),
        title: title.to_owned(),
        kind,
        is_locked: false,
        team_id,
        last_activity: stamp(now),
        creator_id: creator.to_owned(),
        created: stamp(now),
        kms_reads: 0,
        messages: Vec::new(),
        members: std::collections::BTreeMap::new(),
    };
    world.rooms.put(&id, room);
    memberships::join(world, &id, creator, kind == RoomKind::Group, now);
    id
}

fn create(world: &mut World, call: &Call<'_>) -> Verdict {
    let draft: Draft = call.json()?;
    let title = draft.title.filter(|title| !title.is_empty());
    let title = title.ok_or_else(|| Refusal::bad("title is required."))?;
    if draft.team_id.as_ref().is_some_and(|team| world.teams.find(team).is_none()) {
        return Err(Refusal::not_found());
    }
    let id = make(world, (&title, RoomKind::Group), &call.user, draft.team_id, call.now);
    if let Some(room) = world.rooms.find_mut(&id) {
        room.is_locked = draft.is_locked.unwrap_or(false);
    }
    world.rooms.find(&id).map(Reply::json).ok_or_else(Refusal::not_found)
}

fn rename(world: &mut World, call: &Call<'_>, id: &str) -> Verdict {
    world.room_of(id, &call.user).ok_or_else(Refusal::not_found)?;
    let draft: Draft = call.json()?;
    let title = draft.title.ok_or_else(|| Refusal::bad("title is required."))?;
    let room = world.rooms.find_mut(id).ok_or_else(Refusal::not_found)?;
    room.title = title;
    room.is_locked = draft.is_locked.unwrap_or(room.is_locked);
    Ok(Reply::json(room))
}

fn remove(world: &mut World, id: &str) {
    let Some(room) = world.rooms.remove(id) else { return };
    for membership in room.members.values() {
        world.memberships.remove(membership);
    }
    for message in &room.messages {
        let message = world.messages.remove(message);
        for content in message.iter().flat_map(|message| &message.contents) {
            world.contents.remove(content);
        }
    }
}

fn list(world: &mut World, call: &Call<'_>) -> Verdict {
    let [kind, team, order] = ["type", "teamId", "sortBy"].map(|key| call.query.value(key));
    if kind.as_ref().is_some_and(|kind| !matches!(kind.as_str(), "direct" | "group")) {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "type must be one of direct, group."));
    }
    let matches = |room: &&Room| {
        room.members.contains_key(&call.user)
            && kind.as_ref().is_none_or(|kind| (kind == "direct") == (room.kind == RoomKind::Direct))
            && team.as_ref().is_none_or(|team| room.team_id.as_ref() == Some(team))
    };
    let mut found: Vec<(String, String)> = world
        .rooms
        .iter()
        .filter(matches)
        .map(|room| (room.id.clone(), room.last_activity.clone()))
        .collect();
    match order.as_deref() {
        // The newest first: a room that is written to while someone pages shifts the pages.
        Some("lastactivity") => found.sort_by(|one, other| other.1.cmp(&one.1)),
        Some("created") => found.reverse(),
        _ => {}
    }
    let (page, link) = paging::page(call, ROOMS, &found, |(id, _)| id)?;
    let views = page.iter().filter_map(|(id, _)| view(world, id)).collect();
    Ok(paging::reply(views, link))
}

fn view(world: &mut World, id: &str) -> Option<View> {
    let room = world.rooms.find_mut(id)?;
    if room.kms_reads == 0 {
        return Some(View::Open(Box::new(room.clone())));
    }
    room.kms_reads -= 1;
    Some(View::Closed {
        id: id.to_owned(),
        title: "eyJhbGciOiIiLCJraWQiOiIiLCJlbmMiOiIifQ....",
        errors: json!({"title": {"code": "kms_failure", "reason": KMS_REASON}}),
    })
}
