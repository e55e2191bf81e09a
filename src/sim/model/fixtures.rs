//! What is there before anyone seeds anything: Alice (token `alice`), Bob (`bob`) and a room with one file of each kind.

use std::time::SystemTime;

use bytes::Bytes;

use super::contents::{self, Origin};
use super::draft::{self, Draft};
use super::ids::mix;
use super::multipart::Part;
use super::payload::Payload;
use super::world::{PersonKind, RoomKind, ScanState, World};
use super::{memberships, people, rooms};
use crate::sim::settings::SimSettings;

/// Name, first bytes and size of every file; the sizes but the seed's 44,752 are arbitrary.
const FILES: &[(&str, &[u8], u64)] = &[
    ("example.png", b"\x89PNG\r\n\x1a\n", 44_752),
    ("example.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", 9_216),
    ("example.docx", b"PK\x03\x04", 6_521),
    ("example.ppt", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", 12_800),
    ("example.pptx", b"PK\x03\x04", 14_003),
    ("example.pdf", b"%PDF-1.4\n", 3_028),
    ("example.jpg", b"\xff\xd8\xff\xe0\x00\x10JFIF", 2_711),
    ("example.jpeg", b"\xff\xd8\xff\xe0\x00\x10JFIF", 2_712),
    ("example.bmp", b"BM", 1_078),
    ("example.gif", b"GIF89a", 807),
    ("Übersicht 世界.pdf", b"%PDF-1.4\n", 1_999),
];

/// Puts the first people, rooms and files into an empty world.
pub(super) fn furnish(world: &mut World, settings: &SimSettings, now: SystemTime) {
    let [alice, bob] = [("alice", "Alice Example"), ("bob", "Bob Example")].map(|(token, name)| {
        let id = people::ensure(world, &format!("{token}@example.com"), name, PersonKind::Person, now);
        world.tokens.insert(token.to_owned(), id.clone());
        id
    });
    let room = rooms::make(world, ("Example files", RoomKind::Group), &alice, None, now);
    memberships::join(world, &room, &bob, false, now);
    for (name, magic, end) in FILES {
        let made_up = Payload::Generated {
            seed: mix(settings.seed ^ end),
            start: super::payload::size(magic),
            end: *end,
        };
        let bytes: Bytes = magic.iter().copied().chain(made_up.to_bytes()).collect();
        attach(
            world,
            (&alice, &room),
            (name, contents::media_type(name)),
            Payload::Whole(bytes),
            ScanState::Clean,
            (settings, now),
        );
    }
}

/// A message with that file; the ids of message and content.
pub(super) fn attach(
    world: &mut World,
    (author, room): (&str, &str),
    (name, media_type): (&str, &str),
    payload: Payload,
    state: ScanState,
    (settings, now): (&SimSettings, SystemTime),
) -> Option<(String, String)> {
    let part = Part {
        name: "files".to_owned(),
        file_name: Some(name.to_owned()),
        media_type: Some(media_type.to_owned()),
        bytes: Bytes::new(),
    };
    let draft = Draft::words(room, Some(name.to_owned()), None);
    let message = draft::post(world, author, draft, vec![part], (settings, now)).ok()?;
    let id = world.messages.find(&message)?.contents.first()?.clone();
    let origin = Origin { source: "seed", state, now };
    // The upload is replaced rather than posted with its bytes: a seeded file may be larger than Webex takes.
    contents::keep(world, contents::make(id.clone(), room, (name, media_type), payload, origin));
    Some((message, id))
}
