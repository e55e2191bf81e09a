//! Puts people, rooms, memberships, messages and contents into the world for a test.

use std::time::SystemTime;

use serde::Deserialize;
use serde_json::{Value, json};

use super::contents;
use super::control::ControlFault;
use super::draft::{self, Draft};
use super::ids::{mix, token_mark};
use super::payload::Payload;
use super::world::{PersonKind, RoomKind, ScanState, World};
use super::{fixtures, memberships, people, rooms};
use crate::sim::settings::SimSettings;

/// Things that one call may make.
const MAX_COUNT: u64 = 100_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PersonSeed {
    email: String,
    #[serde(alias = "displayName")]
    display_name: Option<String>,
    #[serde(rename = "type")]
    kind: Option<PersonKind>,
    #[serde(default)]
    tokens: Vec<String>,
    token: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RoomSeed {
    #[serde(default = "untitled")]
    title: String,
    #[serde(rename = "type")]
    kind: Option<RoomKind>,
    /// E-mail addresses; the first is the creator.
    members: Vec<String>,
    #[serde(default = "one")]
    count: u64,
    /// Messages of the creator in each room.
    #[serde(default)]
    messages: u64,
    /// Reads for which the key server fails.
    #[serde(default)]
    kms: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MembershipSeed {
    #[serde(alias = "roomId")]
    room_id: String,
    #[serde(alias = "personEmail")]
    email: String,
    #[serde(default)]
    remove: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MessageSeed {
    #[serde(alias = "roomId")]
    room_id: String,
    /// The author's address; absent: the creator of the room.
    email: Option<String>,
    text: Option<String>,
    markdown: Option<String>,
    #[serde(default = "one")]
    count: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ContentSeed {
    #[serde(default = "seed_size")]
    size: u64,
    /// `clean`, `scanning:k`, `infected`, `unscannable` or `dlp`.
    #[serde(default = "clean")]
    state: String,
    name: Option<String>,
    #[serde(alias = "type")]
    media_type: Option<String>,
    /// The room; absent: a new one of `members`.
    #[serde(alias = "roomId")]
    room_id: Option<String>,
    #[serde(default = "alice")]
    members: Vec<String>,
}

pub(super) fn person(world: &mut World, seed: PersonSeed, now: SystemTime) -> Value {
    let name = seed.display_name.as_deref().or_else(|| seed.email.split('@').next()).unwrap_or_default();
    let kind = seed.kind.unwrap_or(PersonKind::Person);
    let id = people::ensure(world, &seed.email, name, kind, now);
    if let (Some(person), Some(kind)) = (world.people.find_mut(&id), seed.kind) {
        person.kind = kind;
    }
    let tokens: Vec<String> = seed.tokens.into_iter().chain(seed.token).collect();
    let marks: Vec<String> = tokens.iter().map(|token| token_mark(token)).collect();
    world.tokens.extend(tokens.into_iter().map(|token| (token, id.clone())));
    json!({"id": id, "email": seed.email, "token_marks": marks})
}

pub(super) fn room(
    world: &mut World,
    seed: &RoomSeed,
    (settings, now): (&SimSettings, SystemTime),
) -> Result<Value, ControlFault> {
    bounded(seed.count.saturating_mul(seed.messages.max(1)))?;
    let kind = seed.kind.unwrap_or(RoomKind::Group);
    let mut ids = Vec::new();
    for number in 1..=seed.count {
        let title = if seed.count > 1 { format!("{} {number}", seed.title) } else { seed.title.clone() };
        let id = gather(world, (&title, kind), &seed.members, now)?;
        if let Some(room) = world.rooms.find_mut(&id) {
            room.kms_reads = seed.kms;
        }
        let messages = MessageSeed {
            room_id: id.clone(),
            email: None,
            text: None,
            markdown: None,
            count: seed.messages,
        };
        message(world, &messages, (settings, now))?;
        ids.push(id);
    }
    Ok(json!({"id": ids.first(), "ids": ids}))
}

pub(super) fn membership(
    world: &mut World,
    seed: &MembershipSeed,
    now: SystemTime,
) -> Result<Value, ControlFault> {
    let person = member(world, &seed.email, now);
    let room = world.rooms.find(&seed.room_id).ok_or(ControlFault::Missing("room"))?;
    let known = room.members.get(&person).cloned();
    match (seed.remove, known) {
        (true, Some(id)) => {
            memberships::remove(world, &id);
            Ok(json!({"id": id}))
        }
        (true, None) => Err(ControlFault::Missing("membership")),
        (false, _) => Ok(json!({"id": memberships::join(world, &seed.room_id, &person, false, now)})),
    }
}

pub(super) fn message(
    world: &mut World,
    seed: &MessageSeed,
    (settings, now): (&SimSettings, SystemTime),
) -> Result<Value, ControlFault> {
    bounded(seed.count)?;
    let room = world.rooms.find(&seed.room_id).ok_or(ControlFault::Missing("room"))?;
    let (creator, first) = (room.creator_id.clone(), room.messages.len() + 1);
    let author = seed.email.as_ref().map(|email| member(world, email, now)).unwrap_or(creator);
    let mut ids = Vec::new();
    for (number, _) in (first..).zip(0..seed.count) {
        let text = seed.text.clone().or_else(|| seed.markdown.is_none().then(|| format!("message {number}")));
        let draft = Draft::words(&seed.room_id, text, seed.markdown.clone());
        let id = draft::post(world, &author, draft, Vec::new(), (settings, now));
        ids.push(id.map_err(|refusal| ControlFault::Body(refusal.message))?);
    }
    Ok(json!({"id": ids.first(), "ids": ids}))
}

pub(super) fn content(
    world: &mut World,
    seed: &ContentSeed,
    (settings, now): (&SimSettings, SystemTime),
) -> Result<Value, ControlFault> {
    let state = match (seed.state.as_str(), seed.state.split_once(':')) {
        ("clean", _) => ScanState::Clean,
        ("dlp", _) => ScanState::Dlp,
        ("infected", _) => ScanState::Infected,
        ("unscannable", _) => ScanState::Unscannable,
        (_, Some(("scanning", times))) => {
            ScanState::Scanning(times.parse().map_err(|_| ControlFault::Body("scanning:k".to_owned()))?)
        }
        _ => return Err(ControlFault::Body(format!("{:?} is no state", seed.state))),
    };
    let room = match &seed.room_id {
        Some(room) => room.clone(),
        None => gather(world, ("Contents", RoomKind::Group), &seed.members, now)?,
    };
    let author = world.rooms.find(&room).ok_or(ControlFault::Missing("room"))?.creator_id.clone();
    let name = seed.name.as_deref().unwrap_or("example.png");
    let media_type = seed.media_type.as_deref().unwrap_or_else(|| contents::media_type(name));
    let payload = Payload::Generated { seed: mix(settings.seed ^ seed.size), start: 0, end: seed.size };
    let made = fixtures::attach(
        world,
        (&author, &room),
        (name, media_type),
        payload.clone(),
        state,
        (settings, now),
    );
    let (message, id) = made.ok_or(ControlFault::Missing("room"))?;
    let url = world.contents.find(&id).map(|content| contents::url(content, settings));
    let sha256 = super::ids::sha256(payload.chunks());
    Ok(
        json!({"id": id, "url": url, "roomId": room, "messageId": message, "size": seed.size, "sha256": sha256}),
    )
}

/// A room of those people; the first is its creator.
fn gather(
    world: &mut World,
    room: (&str, RoomKind),
    members: &[String],
    now: SystemTime,
) -> Result<String, ControlFault> {
    let members: Vec<String> = members.iter().map(|email| member(world, email, now)).collect();
    let creator = members.first().ok_or(ControlFault::Missing("member"))?;
    let id = rooms::make(world, room, creator, None, now);
    for member in &members {
        memberships::join(world, &id, member, false, now);
    }
    Ok(id)
}

/// The person of that address; a word without `@` is a token, whose owner is meant.
fn member(world: &mut World, email: &str, now: SystemTime) -> String {
    if email.contains('@') {
        let name = email.split('@').next().unwrap_or(email);
        return people::ensure(world, email, name, PersonKind::Person, now);
    }
    people::holder(world, email, now)
}

fn bounded(count: u64) -> Result<(), ControlFault> {
    if count > MAX_COUNT { Err(ControlFault::Body(format!("count above {MAX_COUNT}"))) } else { Ok(()) }
}

fn one() -> u64 {
    1
}

fn untitled() -> String {
    "Room".to_owned()
}

fn clean() -> String {
    "clean".to_owned()
}

fn alice() -> Vec<String> {
    vec!["alice@example.com".to_owned()]
}

fn seed_size() -> u64 {
    44_752
}
