//! `/memberships`: who is in which room. It decides what a token may read.

use std::time::SystemTime;

use http::{Method, StatusCode};
use serde::Deserialize;

use super::call::{Call, wrong_method};
use super::paging::{self, Order, Style};
use super::people;
use super::reply::{Refusal, Reply, Verdict};
use super::stamp::stamp;
use super::world::{Membership, World};

const MEMBERSHIPS: Style =
    Style { path: "memberships/?", cursor: "cursor", default: 100, order: Order::MaxFirst };

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Draft {
    room_id: Option<String>,
    person_id: Option<String>,
    person_email: Option<String>,
    is_moderator: Option<bool>,
    is_room_hidden: Option<bool>,
}

pub(super) fn answer(world: &mut World, call: &Call<'_>, path: &[&str]) -> Verdict {
    match (call.method(), path) {
        (&Method::GET | &Method::HEAD, []) => list(world, call),
        (&Method::POST, []) => create(world, call),
        (&Method::GET | &Method::HEAD, [id]) => find(world, call, id).map(Reply::json),
        (&Method::PUT, [id]) => update(world, call, id),
        (&Method::DELETE, [id]) => {
            find(world, call, id)?;
            remove(world, id);
            Ok(Reply::no_content())
        }
        (_, []) => Err(wrong_method("GET, HEAD, POST")),
        (_, [_]) => Err(wrong_method("GET, HEAD, PUT, DELETE")),
        _ => Err(Refusal::not_found()),
    }
}

/// Puts a person into a room; the membership's id, the old one if the person was there.
pub(super) fn join(
    world: &mut World,
    room: &str,
    person: &str,
    is_moderator: bool,
    now: SystemTime,
) -> Option<String> {
    if let Some(known) = world.rooms.find(room)?.members.get(person) {
        return Some(known.clone());
    }
    let id = world.mint.id("MEMBERSHIP");
    let who = world.people.find(person)?;
    let place = world.rooms.find_mut(room)?;
    place.members.insert(person.to_owned(), id.clone());
    let membership = Membership {
        id: id.clone(),
        room_id: room.to_owned(),
        person_id: person.to_owned(),
        person_email: who.email(),
        person_display_name: who.display_name.clone(),
        person_org_id: who.org_id.clone(),
        is_moderator,
        is_monitor: false,
        is_room_hidden: false,
        room_type: place.kind,
        created: stamp(now),
    };
    world.memberships.put(&id, membership);
    Some(id)
}

/// Takes a person out of a room.
pub(super) fn remove(world: &mut World, id: &str) {
    if let Some(membership) = world.memberships.remove(id)
        && let Some(room) = world.rooms.find_mut(&membership.room_id)
    {
        room.members.remove(&membership.person_id);
    }
}

fn find<'a>(world: &'a World, call: &Call<'_>, id: &str) -> Result<&'a Membership, Refusal> {
    let membership = world.memberships.find(id).ok_or_else(Refusal::not_found)?;
    world.room_of(&membership.room_id, &call.user).ok_or_else(Refusal::not_found)?;
    Ok(membership)
}

fn list(world: &World, call: &Call<'_>) -> Verdict {
    let [room, id, email] = ["roomId", "personId", "personEmail"].map(|key| call.query.value(key));
    if let Some(room) = &room {
        world.room_of(room, &call.user).ok_or_else(Refusal::not_found)?;
    } else if id.is_some() || email.is_some() {
        return Err(Refusal::bad("roomId is required when filtering by person."));
    }
    let matches = |membership: &&Membership| match &room {
        None => membership.person_id == call.user,
        Some(room) => {
            membership.room_id == *room
                && id.as_ref().is_none_or(|id| *id == membership.person_id)
                && email.as_ref().is_none_or(|email| email.eq_ignore_ascii_case(&membership.person_email))
        }
    };
    let found: Vec<Membership> = world.memberships.iter().filter(matches).cloned().collect();
    paging::list(call, MEMBERSHIPS, &found, |membership| &membership.id)
}

fn create(world: &mut World, call: &Call<'_>) -> Verdict {
    let draft: Draft = call.json()?;
    let room = draft.room_id.ok_or_else(|| Refusal::bad("roomId is required."))?;
    world.room_of(&room, &call.user).ok_or_else(Refusal::not_found)?;
    let person = people::named(world, draft.person_id.as_deref(), draft.person_email.as_deref(), call.now)?;
    if world.room_of(&room, &person).is_some() {
        return Err(Refusal::new(StatusCode::CONFLICT, "The person is already in the room."));
    }
    let id = join(world, &room, &person, draft.is_moderator.unwrap_or(false), call.now);
    let membership = id.and_then(|id| world.memberships.find(&id));
    membership.map(Reply::json).ok_or_else(Refusal::not_found)
}

fn update(world: &mut World, call: &Call<'_>, id: &str) -> Verdict {
    find(world, call, id)?;
    let draft: Draft = call.json()?;
    let membership = world.memberships.find_mut(id).ok_or_else(Refusal::not_found)?;
    membership.is_moderator = draft.is_moderator.unwrap_or(membership.is_moderator);
    membership.is_room_hidden = draft.is_room_hidden.unwrap_or(membership.is_room_hidden);
    Ok(Reply::json(membership))
}
