//! What exists in the made-up Webex: people, rooms, memberships, messages, contents, teams, webhooks.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use serde_json::Value;

use super::ids::Mint;
use super::payload::Payload;
use super::shelf::Shelf;

/// Everything there is, and who a token belongs to.
#[derive(Debug)]
pub(super) struct World {
    pub(super) mint: Mint,
    pub(super) organization: String,
    /// Token -> person id.
    pub(super) tokens: HashMap<String, String>,
    pub(super) people: Shelf<Person>,
    pub(super) rooms: Shelf<Room>,
    pub(super) memberships: Shelf<Membership>,
    pub(super) messages: Shelf<Message>,
    pub(super) contents: Shelf<Content>,
    pub(super) teams: Shelf<Team>,
    pub(super) team_memberships: Shelf<TeamMembership>,
    pub(super) webhooks: Shelf<Webhook>,
    pub(super) actions: Shelf<Action>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum PersonKind {
    Bot,
    Person,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Person {
    pub(super) id: String,
    pub(super) emails: Vec<String>,
    pub(super) display_name: String,
    pub(super) nick_name: String,
    pub(super) first_name: String,
    pub(super) last_name: String,
    pub(super) org_id: String,
    pub(super) created: String,
    pub(super) last_activity: String,
    pub(super) status: String,
    #[serde(rename = "type")]
    pub(super) kind: PersonKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum RoomKind {
    Direct,
    Group,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Room {
    pub(super) id: String,
    pub(super) title: String,
    #[serde(rename = "type")]
    pub(super) kind: RoomKind,
    pub(super) is_locked: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) team_id: Option<String>,
    pub(super) last_activity: String,
    pub(super) creator_id: String,
    pub(super) created: String,
    /// Reads for which the key server fails.
    #[serde(skip)]
    pub(super) kms_reads: u64,
    /// Oldest first.
    #[serde(skip)]
    pub(super) messages: Vec<String>,
    /// Person id -> membership id.
    #[serde(skip)]
    pub(super) members: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Membership {
    pub(super) id: String,
    pub(super) room_id: String,
    pub(super) person_id: String,
    pub(super) person_email: String,
    pub(super) person_display_name: String,
    pub(super) person_org_id: String,
    pub(super) is_moderator: bool,
    pub(super) is_monitor: bool,
    pub(super) is_room_hidden: bool,
    pub(super) room_type: RoomKind,
    pub(super) created: String,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Message {
    pub(super) id: String,
    pub(super) room_id: String,
    pub(super) room_type: RoomKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) markdown: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) html: Option<String>,
    /// URLs, filled in when the message is shown.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) files: Vec<String>,
    pub(super) person_id: String,
    pub(super) person_email: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) parent_id: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) mentioned_people: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) mentioned_groups: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) attachments: Option<Value>,
    pub(super) created: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) updated: Option<String>,
    #[serde(skip)]
    pub(super) contents: Vec<String>,
    #[serde(skip)]
    pub(super) edits: u32,
}

#[derive(Debug, Clone)]
pub(super) struct Content {
    pub(super) id: String,
    pub(super) room_id: String,
    pub(super) name: String,
    pub(super) media_type: String,
    pub(super) payload: Payload,
    pub(super) state: ScanState,
    /// Where the bytes came from: `upload`, `seed` or the remote URL as it was written.
    pub(super) source: String,
    pub(super) dlp_signals: u64,
    pub(super) created_s: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ScanState {
    Clean,
    /// A data-loss check must approve it first.
    Dlp,
    Infected,
    Rejected,
    /// So many more reads are answered 423.
    Scanning(u64),
    Unscannable,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Team {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) creator_id: String,
    pub(super) created: String,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TeamMembership {
    pub(super) id: String,
    pub(super) team_id: String,
    pub(super) person_id: String,
    pub(super) person_email: String,
    pub(super) person_display_name: String,
    pub(super) is_moderator: bool,
    pub(super) created: String,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Webhook {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) target_url: String,
    pub(super) resource: String,
    pub(super) event: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) filter: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) secret: Option<String>,
    pub(super) status: String,
    pub(super) created: String,
    #[serde(skip)]
    pub(super) owner: String,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Action {
    pub(super) id: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) message_id: String,
    pub(super) inputs: Value,
    pub(super) person_id: String,
    pub(super) room_id: String,
    pub(super) created: String,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut mint = Mint::new(seed);
        Self {
            organization: mint.id("ORGANIZATION"),
            mint,
            tokens: HashMap::new(),
            people: Shelf::new(),
            rooms: Shelf::new(),
            memberships: Shelf::new(),
            messages: Shelf::new(),
            contents: Shelf::new(),
            teams: Shelf::new(),
            team_memberships: Shelf::new(),
            webhooks: Shelf::new(),
            actions: Shelf::new(),
        }
    }

    /// The person behind an address, in any letter case.
    pub(super) fn by_email(&self, email: &str) -> Option<&Person> {
        self.people.find(&self.person_id(email))
    }

    /// The id of the person behind an address: it follows from the address, so that nobody is looked for.
    pub(super) fn person_id(&self, email: &str) -> String {
        self.mint.settled_id("PEOPLE", &email.to_ascii_lowercase())
    }

    /// The room, if `person` is a member of it.
    pub(super) fn room_of(&self, room: &str, person: &str) -> Option<&Room> {
        self.rooms.find(room).filter(|room| room.members.contains_key(person))
    }
}

impl Person {
    pub(super) fn has_email(&self, email: &str) -> bool {
        self.emails.iter().any(|known| known.eq_ignore_ascii_case(email))
    }

    pub(super) fn email(&self) -> String {
        self.emails.first().cloned().unwrap_or_default()
    }
}
