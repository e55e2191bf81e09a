//! What a new message is made of: text kept byte for byte, mentions, and at most one file.

use std::time::SystemTime;

use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use super::contents::{self, MAX_BYTES, Origin};
use super::ids::{mix, spark_id};
use super::multipart::Part;
use super::payload::Payload;
use super::reply::Refusal;
use super::stamp::stamp;
use super::world::{Message, Room, RoomKind, ScanState, World};
use super::{people, rooms};
use crate::sim::settings::SimSettings;

/// The largest text of a message.
pub(super) const MAX_TEXT_BYTES: usize = 7439;

/// A message as a client writes it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Draft {
    pub(super) room_id: Option<String>,
    to_person_id: Option<String>,
    to_person_email: Option<String>,
    parent_id: Option<String>,
    pub(super) text: Option<String>,
    pub(super) markdown: Option<String>,
    pub(super) html: Option<String>,
    #[serde(default)]
    files: Option<Vec<String>>,
    attachments: Option<Value>,
}

impl Draft {
    /// Words for a room, without a file.
    pub(super) fn words(room: &str, text: Option<String>, markdown: Option<String>) -> Self {
        Self { room_id: Some(room.to_owned()), text, markdown, ..Self::default() }
    }

    /// The draft and the files of a form.
    ///
    /// # Errors
    /// 400 if `attachments` is no JSON.
    pub(super) fn from_parts(parts: Vec<Part>) -> Result<(Self, Vec<Part>), Refusal> {
        let mut draft = Self::default();
        let mut uploads = Vec::new();
        for part in parts {
            let text = String::from_utf8_lossy(&part.bytes).into_owned();
            match part.name.as_str() {
                "files" if part.file_name.is_some() => uploads.push(part),
                "files" => draft.files.get_or_insert_default().push(text),
                "roomId" => draft.room_id = Some(text),
                "toPersonId" => draft.to_person_id = Some(text),
                "toPersonEmail" => draft.to_person_email = Some(text),
                "parentId" => draft.parent_id = Some(text),
                "text" => draft.text = Some(text),
                "markdown" => draft.markdown = Some(text),
                "html" => draft.html = Some(text),
                "attachments" => {
                    let cards = serde_json::from_str(&text);
                    draft.attachments = Some(cards.map_err(|_| Refusal::bad("attachments must be JSON."))?);
                }
                _ => {}
            }
        }
        Ok((draft, uploads))
    }

    /// The size of its longest form.
    pub(super) fn text_bytes(&self) -> usize {
        [&self.text, &self.markdown, &self.html].into_iter().flatten().map(String::len).max().unwrap_or(0)
    }

    /// The people and groups that `<@personId:..>`, `<@personEmail:..>` and `<@all>` name.
    pub(super) fn mentions(&self, world: &World) -> (Vec<String>, Vec<String>) {
        let text = self.markdown.as_ref().or(self.html.as_ref()).or(self.text.as_ref());
        let mut people = Vec::new();
        let mut groups = Vec::new();
        for mention in text.map_or("", String::as_str).split("<@").skip(1) {
            let name = mention.split(['|', '>']).next().unwrap_or_default();
            match name.split_once(':') {
                Some(("personId", id)) => people.push(id.to_owned()),
                Some(("personEmail", email)) => {
                    people.extend(world.by_email(email).map(|person| person.id.clone()));
                }
                None if name == "all" => groups.push(name.to_owned()),
                _ => {}
            }
        }
        (people, groups)
    }
}

/// Puts a message into its room; its id.
///
/// # Errors
/// 404 for a room that the author is not in; 400 for a draft that Webex would not take; 413 for too large a file.
pub(super) fn post(
    world: &mut World,
    author: &str,
    draft: Draft,
    uploads: Vec<Part>,
    (settings, now): (&SimSettings, SystemTime),
) -> Result<String, Refusal> {
    let remote = draft.files.as_deref().unwrap_or_default();
    if draft.text_bytes() > MAX_TEXT_BYTES {
        return Err(too_large());
    }
    if uploads.len() + remote.len() > 1 {
        return Err(Refusal::bad("Only one file can be attached to a message."));
    }
    if uploads.iter().any(|part| super::payload::size(&part.bytes) > MAX_BYTES) {
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "The file is larger than 100 MB."));
    }
    let has_cards = draft.attachments.as_ref().is_some_and(|cards| !cards.is_null());
    if draft.text_bytes() == 0 && uploads.is_empty() && remote.is_empty() && !has_cards {
        return Err(Refusal::bad("text, markdown, html, files or attachments is required."));
    }
    if let Some(url) = remote.iter().find(|url| !url.starts_with("http://") && !url.starts_with("https://")) {
        return Err(Refusal::bad(format!("files: {url:?} is no URL.")));
    }
    let room_id = room(world, author, &draft, now)?;
    let uuid = world.mint.uuid().to_string();
    let content = file(world, (author, &room_id, &uuid), remote.first(), uploads, (settings, now));
    let (mentioned_people, mentioned_groups) = draft.mentions(world);
    let message = Message {
        id: spark_id("MESSAGE", &uuid),
        room_type: world.rooms.find(&room_id).map_or(RoomKind::Group, |room| room.kind),
        room_id,
        text: draft.text.or_else(|| draft.markdown.clone()),
        markdown: draft.markdown,
        html: draft.html,
        files: Vec::new(),
        person_id: author.to_owned(),
        person_email: world.people.find(author).map(super::world::Person::email).unwrap_or_default(),
        parent_id: draft.parent_id,
        mentioned_people,
        mentioned_groups,
        attachments: draft.attachments,
        created: stamp(now),
        updated: None,
        contents: content.into_iter().collect(),
        edits: 0,
    };
    Ok(keep(world, message))
}

/// The room of two, if they have one.
pub(super) fn direct_room<'a>(world: &'a World, one: &str, other: &str) -> Option<&'a Room> {
    world.rooms.iter().find(|room| {
        room.kind == RoomKind::Direct && [one, other].iter().all(|person| room.members.contains_key(*person))
    })
}

/// The 400 with Webex's own text.
pub(super) fn too_large() -> Refusal {
    Refusal::bad("Unable to post message to room: \"The request payload is too big\"")
}

fn keep(world: &mut World, message: Message) -> String {
    let id = message.id.clone();
    if let Some(room) = world.rooms.find_mut(&message.room_id) {
        room.messages.push(id.clone());
        room.last_activity.clone_from(&message.created);
    }
    world.messages.put(&id, message);
    id
}

fn room(world: &mut World, author: &str, draft: &Draft, now: SystemTime) -> Result<String, Refusal> {
    if let Some(room) = &draft.room_id {
        return world.room_of(room, author).map(|room| room.id.clone()).ok_or_else(Refusal::not_found);
    }
    if draft.to_person_id.is_none() && draft.to_person_email.is_none() {
        return Err(Refusal::bad("roomId, toPersonId or toPersonEmail is required."));
    }
    let other = people::named(world, draft.to_person_id.as_deref(), draft.to_person_email.as_deref(), now)?;
    if let Some(room) = direct_room(world, author, &other) {
        return Ok(room.id.clone());
    }
    let title = world.people.find(&other).map(|person| person.display_name.clone()).unwrap_or_default();
    let room = rooms::make(world, (&title, RoomKind::Direct), author, None, now);
    super::memberships::join(world, &room, &other, false, now);
    Ok(room)
}

fn file(
    world: &mut World,
    (author, room, message): (&str, &str, &str),
    remote: Option<&String>,
    uploads: Vec<Part>,
    (settings, now): (&SimSettings, SystemTime),
) -> Option<String> {
    let id = spark_id("CONTENT", &format!("{message}/0"));
    let state = ScanState::Clean;
    let content = match (uploads.into_iter().next(), remote) {
        (Some(part), _) => {
            let name = part.file_name.unwrap_or_else(|| "file".to_owned());
            let media_type = part.media_type.unwrap_or_else(|| contents::media_type(&name).to_owned());
            let origin = Origin { source: "upload", state, now };
            contents::make(id.clone(), room, (&name, &media_type), Payload::Whole(part.bytes), origin)
        }
        (None, Some(url)) => {
            let (name, media_type, payload) = fetched(world, author, url, settings);
            contents::make(
                id.clone(),
                room,
                (&name, &media_type),
                payload,
                Origin { source: url, state, now },
            )
        }
        (None, None) => return None,
    };
    contents::keep(world, content);
    Some(id)
}

/// What a URL leads to: another content of this Webex, or 10 to 74 kB made up from the URL.
fn fetched(world: &World, author: &str, url: &str, settings: &SimSettings) -> (String, String, Payload) {
    let own =
        url.strip_prefix(settings.public_base.as_str()).and_then(|rest| rest.strip_prefix("/contents/"));
    let known = own.and_then(|id| world.contents.find(id.split('?').next()?));
    if let Some(content) = known.filter(|content| world.room_of(&content.room_id, author).is_some()) {
        return (content.name.clone(), content.media_type.clone(), content.payload.clone());
    }
    let name = url.split(['?', '#']).next().unwrap_or(url).rsplit('/').next().unwrap_or_default();
    let name = if name.is_empty() { "file" } else { name };
    let seed = url.bytes().fold(0, |sum, byte| mix(sum ^ u64::from(byte)));
    let end = 10_000 + seed % 65_536;
    (name.to_owned(), contents::media_type(name).to_owned(), Payload::Generated { seed, start: 0, end })
}
