//! `/messages`: reading, editing and deleting them; what a new one is made of stands in `draft`.

use http::{Method, StatusCode, header};

use super::call::{Call, unsupported, wrong_method};
use super::contents;
use super::draft::{Draft, MAX_TEXT_BYTES};
use super::paging::{self, Order, Style};
use super::reply::{Refusal, Reply, Verdict};
use super::world::{Message, PersonKind, Room, RoomKind, World};
use super::{draft, multipart};

const MESSAGES: Style =
    Style { path: "messages?", cursor: "beforeMessage", default: 50, order: Order::FiltersFirst };

const DIRECT: Style = Style { path: "messages/direct?", ..MESSAGES };

/// Edits that a message takes; the next one is refused.
const MAX_EDITS: u32 = 10;

pub(super) fn answer(world: &mut World, call: &Call<'_>, path: &[&str]) -> Verdict {
    match (call.method(), path) {
        (&Method::GET | &Method::HEAD, []) => list(world, call),
        (&Method::POST, []) => create(world, call),
        (&Method::GET | &Method::HEAD, ["direct"]) => direct(world, call),
        (&Method::GET | &Method::HEAD, [id]) => {
            let message = find(world, call, id)?;
            Ok(Reply::json(&shown(world, message, call)))
        }
        (&Method::PUT, [id]) => edit(world, call, id),
        (&Method::DELETE, [id]) => delete(world, call, id),
        (_, []) => Err(wrong_method("GET, HEAD, POST")),
        (_, [_]) => Err(wrong_method("GET, HEAD, PUT, DELETE")),
        _ => Err(Refusal::not_found()),
    }
}

fn find<'a>(world: &'a World, call: &Call<'_>, id: &str) -> Result<&'a Message, Refusal> {
    let message = world.messages.find(id).ok_or_else(Refusal::not_found)?;
    world.room_of(&message.room_id, &call.user).ok_or_else(Refusal::not_found)?;
    Ok(message)
}

/// The message with the URLs of its files.
fn shown(world: &World, message: &Message, call: &Call<'_>) -> Message {
    let contents = message.contents.iter().filter_map(|id| world.contents.find(id));
    let files = contents.map(|content| contents::url(content, call.settings)).collect();
    Message { files, ..message.clone() }
}

fn list(world: &World, call: &Call<'_>) -> Verdict {
    let room = call.query.value("roomId").ok_or_else(|| Refusal::bad("roomId is required."))?;
    let room = world.room_of(&room, &call.user).ok_or_else(Refusal::not_found)?;
    let mentioned = call.query.value("mentionedPeople");
    let is_bot = world.people.find(&call.user).is_some_and(|person| person.kind == PersonKind::Bot);
    if is_bot
        && room.kind == RoomKind::Group
        && !mentioned.as_deref().is_some_and(|id| id == "me" || id == call.user)
    {
        return Err(Refusal::forbidden(
            "Bots can only list messages of group rooms that mention them: mentionedPeople=me is required.",
        ));
    }
    let mentioned = mentioned.map(|id| if id == "me" { call.user.clone() } else { id });
    page(world, call, MESSAGES, room, mentioned.as_deref())
}

fn direct(world: &World, call: &Call<'_>) -> Verdict {
    let [id, email] = ["personId", "personEmail"].map(|key| call.query.value(key));
    let other = match (id, email) {
        (Some(id), _) => world.people.find(&id),
        (None, Some(email)) => world.by_email(&email),
        (None, None) => return Err(Refusal::bad("personId or personEmail is required.")),
    };
    let other = other.ok_or_else(Refusal::not_found)?;
    let room = draft::direct_room(world, &call.user, &other.id).ok_or_else(Refusal::not_found)?;
    page(world, call, DIRECT, room, None)
}

fn page(world: &World, call: &Call<'_>, style: Style, room: &Room, mentioned: Option<&str>) -> Verdict {
    let [before, parent] = ["before", "parentId"].map(|key| call.query.value(key));
    let matches = |id: &&String| {
        let Some(message) = world.messages.find(id) else { return false };
        // Both times are written alike, so their order as text is their order in time.
        before.as_ref().is_none_or(|before| message.created < *before)
            && parent.as_ref().is_none_or(|parent| message.parent_id.as_ref() == Some(parent))
            && mentioned.is_none_or(|person| message.mentioned_people.iter().any(|id| id == person))
    };
    let ids: Vec<String> = room.messages.iter().rev().filter(matches).cloned().collect();
    let (page, link) = paging::page(call, style, &ids, |id| id)?;
    let messages = page.iter().filter_map(|id| world.messages.find(id));
    Ok(paging::reply(messages.map(|message| shown(world, message, call)).collect(), link))
}

fn create(world: &mut World, call: &Call<'_>) -> Verdict {
    let (draft, uploads) = match call.media_type().as_deref() {
        Some("multipart/form-data") => {
            let boundary = multipart::boundary(call.request.headers());
            let boundary = boundary.ok_or_else(|| unsupported("The multipart boundary is missing."))?;
            let parts = multipart::parts(call.request.body(), &boundary)
                .ok_or_else(|| Refusal::bad("The multipart body is malformed or incomplete."))?;
            Draft::from_parts(parts)?
        }
        _ => (call.json::<Draft>()?, Vec::new()),
    };
    let id = draft::post(world, &call.user, draft, uploads, (call.settings, call.now))?;
    let message = world.messages.find(&id).ok_or_else(Refusal::not_found)?;
    Ok(Reply::json(&shown(world, message, call)))
}

fn edit(world: &mut World, call: &Call<'_>, id: &str) -> Verdict {
    let message = find(world, call, id)?;
    if message.person_id != call.user {
        return Err(Refusal::forbidden("Only the author of a message can edit it."));
    }
    let draft: Draft = call.json()?;
    let message = find(world, call, id)?;
    if !message.contents.is_empty() {
        return Err(Refusal::bad("Messages with files cannot be edited."));
    }
    if message.edits >= MAX_EDITS {
        return Err(Refusal::bad("The message has been edited too many times."));
    }
    if draft.room_id.as_ref() != Some(&message.room_id) {
        return Err(Refusal::bad("roomId is required and must be the room of the message."));
    }
    if draft.text_bytes() > MAX_TEXT_BYTES {
        return Err(draft::too_large());
    }
    if draft.text_bytes() == 0 {
        return Err(Refusal::bad("text, markdown or html is required."));
    }
    let updated = call.stamp();
    let mentions = draft.mentions(world);
    let message = world.messages.find_mut(id).ok_or_else(Refusal::not_found)?;
    (message.mentioned_people, message.mentioned_groups) = mentions;
    message.text = draft.text.or_else(|| draft.markdown.clone());
    message.markdown = draft.markdown;
    message.html = draft.html;
    message.updated = Some(updated);
    message.edits += 1;
    Ok(Reply::json(message))
}

fn delete(world: &mut World, call: &Call<'_>, id: &str) -> Verdict {
    let message = find(world, call, id)?;
    let is_moderator = world.memberships.iter().any(|membership| {
        membership.room_id == message.room_id && membership.person_id == call.user && membership.is_moderator
    });
    if message.person_id != call.user && !is_moderator {
        return Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "Only the author or a moderator can delete a message.",
        ));
    }
    if let Some(message) = world.messages.remove(id) {
        for content in &message.contents {
            world.contents.remove(content);
        }
        if let Some(room) = world.rooms.find_mut(&message.room_id) {
            room.messages.retain(|known| known != id);
        }
    }
    Ok(Reply::no_content())
}

/// The room whose messages a request reads: the key of the small bucket.
pub(super) fn room_read(method: &Method, path: &[&str], query: &super::query::Query) -> Option<String> {
    let is_list = matches!(*method, Method::GET | Method::HEAD) && path == ["messages"];
    if is_list { query.value("roomId") } else { None }
}

/// The header with which the small bucket shows itself on every answer.
pub(super) fn bucket_header() -> header::HeaderName {
    header::HeaderName::from_static("x-ratelimit-limit")
}
