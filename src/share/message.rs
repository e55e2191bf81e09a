//! What replicas tell each other: signed, each heard once, and never longer than it need be.

use std::collections::HashMap;
use std::time::Duration;

use crate::cache::{Purge, Told, Void};
use crate::gate::{Level, NodeKey, Path};
use crate::route::Family;
use crate::words::TenantId;

use super::secret::Secret;
use super::spelling;

/// What a message says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// The cache holds something that is void.
    Cache(Told),
    /// A gate has changed in a way that only the server can vouch for: ask it.
    Look(NodeKey),
    /// A gate is shut.
    Shut(Shut),
    /// How far refusals of a family reach.
    Verdict(Family, Level),
}

/// A gate that is shut, in durations: no two processes have the same clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shut {
    pub(super) key: NodeKey,
    pub(super) refused: Option<Path>,
    /// For so long from now.
    pub(super) remaining: Duration,
}

/// Why a message was not heeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unheeded {
    #[error("a message was played again")]
    Again,
    #[error("a message without a signature of this deployment")]
    Stranger,
    #[error("a message of a replica that says nothing known")]
    Unknown,
}

/// Writes messages of one replica.
#[derive(Debug)]
pub(super) struct Pen {
    pub(super) secret: Secret,
    pub(super) me: String,
    pub(super) number: std::sync::atomic::AtomicU64,
}

impl Pen {
    /// Shape: `1 {replica} {number} {kind} {...} {signature}`.
    pub(super) fn write(&self, channel: &str, word: &Word) -> String {
        let number = self.number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let text = format!("1 {} {number} {}", self.me, said(word));
        let signature = self.secret.sign(channel, &text);
        format!("{text} {signature}")
    }
}

fn said(word: &Word) -> String {
    match word {
        Word::Cache(told) => {
            let voids = told.voids.iter().map(|void| format!("{}.{}", void.kind, void.slot));
            let purges = told.purges.iter().map(purge);
            let everything = told.is_everything.then(|| "everything".to_owned());
            let all: Vec<_> = voids.chain(purges).chain(everything).collect();
            format!("void {}", all.join(","))
        }
        Word::Look(key) => format!("look {}", spelling::key(*key)),
        Word::Shut(Shut { key, refused, remaining }) => {
            let refused = refused.as_ref().map_or_else(|| "-".to_owned(), spelling::path);
            format!("shut {} {refused} {}", spelling::key(*key), remaining.as_micros())
        }
        Word::Verdict(family, level) => format!("verdict {} {}", spelling::family(*family), level.as_str()),
    }
}

fn purge(purge: &Purge) -> String {
    let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    match purge {
        Purge::All => "all".to_owned(),
        Purge::Content(id) => format!("content:{}", hex(id)),
        Purge::Prefix(prefix) => format!("prefix:{}", hex(prefix)),
        Purge::Tenant(tenant) => format!("tenant:{}", tenant.hex()),
    }
}

/// Reads messages of others, each once.
#[derive(Debug, Default)]
pub(super) struct Ear {
    /// The highest number heard of a replica on a channel, and which of the 64 before were heard.
    heard: HashMap<String, (u64, u64)>,
}

impl Ear {
    /// What a message says; none if this replica wrote it itself.
    ///
    /// # Errors
    /// [`Unheeded`].
    pub(super) fn read(
        &mut self,
        pen: &Pen,
        channel: &str,
        message: &[u8],
    ) -> Result<Option<Word>, Unheeded> {
        let text = str::from_utf8(message).ok().filter(|text| text.len() <= MAX_BYTES);
        let (text, signature) = text.and_then(|text| text.rsplit_once(' ')).ok_or(Unheeded::Stranger)?;
        if !pen.secret.signed(channel, text, signature) {
            return Err(Unheeded::Stranger);
        }
        let mut parts = text.splitn(4, ' ');
        let (Some("1"), Some(replica), Some(number), Some(said)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Unheeded::Unknown);
        };
        if replica == pen.me {
            return Ok(None);
        }
        let number = number.parse().map_err(|_| Unheeded::Unknown)?;
        // Each channel by itself: what is told over one may overtake what is told over the other by far.
        if !self.is_new(&format!("{channel} {replica}"), number) {
            return Err(Unheeded::Again);
        }
        read(said).map(Some).ok_or(Unheeded::Unknown)
    }

    /// Messages may overtake each other, but not by much.
    fn is_new(&mut self, from: &str, number: u64) -> bool {
        if self.heard.len() >= MAX_REPLICAS && !self.heard.contains_key(from) {
            self.heard.clear();
        }
        let Some((highest, before)) = self.heard.get_mut(from) else {
            self.heard.insert(from.to_owned(), (number, 0));
            return true;
        };
        if number > *highest {
            let step = number - *highest;
            *before = if step >= 64 { 0 } else { *before << step | 1 << (step - 1) };
            *highest = number;
            return true;
        }
        let back = *highest - number;
        if !(1..=64).contains(&back) {
            return false;
        }
        let bit = 1 << (back - 1);
        let is_new = *before & bit == 0;
        *before |= bit;
        is_new
    }
}

fn read(said: &str) -> Option<Word> {
    let mut parts = said.split(' ');
    let word = match (parts.next()?, parts.next()?) {
        ("look", key) => Word::Look(spelling::read_key(key)?),
        ("shut", key) => {
            let key = spelling::read_key(key)?;
            let refused = match parts.next()? {
                "-" => None,
                path => Some(spelling::read_path(path)?),
            };
            let remaining = Duration::from_micros(parts.next()?.parse().ok()?);
            Word::Shut(Shut { key, refused, remaining })
        }
        ("verdict", family) => {
            let (segment, access) = family.split_once(':')?;
            Word::Verdict(spelling::read_family(segment, access)?, Level::named(parts.next()?)?)
        }
        ("void", all) => Word::Cache(read_void(all)?),
        _ => return None,
    };
    parts.next().is_none().then_some(word)
}

fn read_void(all: &str) -> Option<Told> {
    let mut told = Told::default();
    for one in all.split(',').filter(|one| !one.is_empty()) {
        if let Some((kind, slot)) = one.split_once('.') {
            told.voids.push(Void { kind: kind.parse().ok()?, slot: slot.parse().ok()? });
        } else if one == "everything" {
            told.is_everything = true;
        } else {
            told.purges.push(read_purge(one)?);
        }
    }
    Some(told)
}

fn read_purge(text: &str) -> Option<Purge> {
    let unhexed = |text: &str| {
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let byte = |[high, low]: &[u8; 2]| u8::try_from(digit(*high)? << 4 | digit(*low)?).ok();
        let bytes: Option<Vec<u8>> = pairs.iter().map(byte).collect();
        rest.is_empty().then(|| String::from_utf8(bytes?).ok())?
    };
    match text.split_once(':') {
        None => (text == "all").then_some(Purge::All),
        Some(("content", id)) => unhexed(id).map(Purge::Content),
        Some(("prefix", prefix)) => unhexed(prefix).map(Purge::Prefix),
        Some(("tenant", tenant)) => TenantId::from_hex(tenant).map(Purge::Tenant),
        Some(_) => None,
    }
}

/// 4,096 marks of eight signs, some purges of a long path, and room.
const MAX_BYTES: usize = 256 << 10;
/// Far more than any deployment has; restarted replicas count anew.
const MAX_REPLICAS: usize = 4096;

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use proptest::prelude::*;

    use super::*;
    use crate::route::Access;

    const GATE: &str = "tg:v1:gate";
    const READS: Family = Family { segment: "rooms", access: Access::Read };

    fn pen(me: &str, secret: &str) -> Pen {
        let (secret, number) = (Secret::new(secret).unwrap(), AtomicU64::new(1));
        Pen { secret, me: me.to_owned(), number }
    }

    fn pens() -> [Pen; 2] {
        ["a", "b"].map(|me| pen(me, "0123456789abcdef"))
    }

    fn words() -> Vec<Word> {
        let tenant = TenantId::new([9; 16]);
        let path = Path { tenant, family: READS, room: None };
        let told = Told {
            voids: vec![Void { kind: 4, slot: 16_383 }, Void { kind: 6, slot: 0 }],
            purges: vec![Purge::All, Purge::Content("Y2lz,. ".into()), Purge::Tenant(tenant)],
            is_everything: true,
        };
        let remaining = Duration::from_secs(3600);
        vec![
            Word::Look(NodeKey::Family(tenant, READS)),
            Word::Shut(Shut { key: NodeKey::Egress, refused: Some(path), remaining }),
            Word::Shut(Shut { key: NodeKey::Tenant(tenant), refused: None, remaining }),
            Word::Verdict(READS, Level::Tenant),
            Word::Cache(told),
            Word::Cache(Told { purges: vec![Purge::Prefix("/v1/rooms?x=1".into())], ..Told::default() }),
        ]
    }

    #[test]
    fn what_one_writes_the_other_reads_and_it_itself_passes_over() {
        let [a, b] = pens();
        let mut ear = Ear::default();
        for word in words() {
            let message = a.write(GATE, &word);
            assert_eq!(ear.read(&a, GATE, message.as_bytes()), Ok(None));
            assert_eq!(ear.read(&b, GATE, message.as_bytes()), Ok(Some(word)));
        }
    }

    #[test]
    fn a_message_is_heard_once_even_if_another_overtook_it() {
        let [a, b] = pens();
        let mut ear = Ear::default();
        let messages: Vec<_> = (0..70).map(|_| a.write(GATE, &Word::Look(NodeKey::Egress))).collect();
        let mut read = |index: usize| ear.read(&b, GATE, messages[index].as_bytes()).is_ok();
        assert!(read(1) && read(0) && read(3) && read(2));
        assert!(!read(0) && !read(1) && !read(2) && !read(3));
        assert!(read(69) && !read(4) && read(5) && read(68));
        assert!(!read(5) && !read(69));
    }

    #[test]
    fn what_a_stranger_writes_is_not_heeded() {
        let [a, b] = pens();
        let stranger = pen("c", "another secret of theirs");
        let shut = &words()[1];
        let mut ear = Ear::default();
        let good = a.write(GATE, shut);
        for message in [
            stranger.write(GATE, shut),
            a.write("tg:v1:inv", shut),
            good.replace("3600000000", "1"),
            good.trim_end_matches(char::is_alphanumeric).to_owned(),
            String::new(),
            "1 a 1 shut egress - 1".to_owned(),
        ] {
            assert_eq!(ear.read(&b, GATE, message.as_bytes()), Err(Unheeded::Stranger), "{message}");
        }
        assert_eq!(ear.read(&b, GATE, b"\xff\xfe x"), Err(Unheeded::Stranger));
    }

    #[test]
    fn a_word_of_a_later_version_is_not_understood() {
        let [a, b] = pens();
        let mut ear = Ear::default();
        for (text, expected) in [
            ("2 a 900 look egress", Unheeded::Unknown),
            ("1 a 901 dance egress", Unheeded::Unknown),
            ("1 a 902 look egress more", Unheeded::Unknown),
            ("1 a x look egress", Unheeded::Unknown),
        ] {
            let message = format!("{text} {}", a.secret.sign(GATE, text));
            assert_eq!(ear.read(&b, GATE, message.as_bytes()), Err(expected), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_signed_text_breaks_the_reader(text in ".{0,200}") {
            let [a, b] = pens();
            let text = format!("1 a 1 {text}");
            let message = format!("{text} {}", a.secret.sign(GATE, &text));
            drop(Ear::default().read(&b, GATE, message.as_bytes()));
        }
    }
}
