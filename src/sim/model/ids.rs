//! Mints the ids of the made-up Webex: the same seed and the same requests give the same ids.

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

/// A source of ids that repeats itself for the same seed.
#[derive(Debug)]
pub(super) struct Mint {
    seed: u64,
    minted: u64,
}

impl Mint {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, minted: 0 }
    }

    pub(super) fn uuid(&mut self) -> Uuid {
        self.minted += 1;
        let [high, low] = [mix(self.seed ^ mix(self.minted)), mix(self.seed.wrapping_add(self.minted << 20))];
        let mut bytes = [0; 16];
        let (first, second) = bytes.split_at_mut(8);
        first.copy_from_slice(&high.to_be_bytes());
        second.copy_from_slice(&low.to_be_bytes());
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }

    /// A fresh id. Shape: base64url without padding of `ciscospark://us/{kind}/{uuid}`.
    pub(super) fn id(&mut self, kind: &str) -> String {
        let uuid = self.uuid();
        spark_id(kind, &uuid.to_string())
    }

    /// The id that a token's or an address's owner always gets, whenever it is first seen.
    pub(super) fn settled_id(&self, kind: &str, owner: &str) -> String {
        let digest = digest::digest(&digest::SHA256, format!("{}/{owner}", self.seed).as_bytes());
        let mut bytes = [0; 16];
        bytes.iter_mut().zip(digest.as_ref()).for_each(|(byte, from)| *byte = *from);
        spark_id(kind, &uuid::Builder::from_random_bytes(bytes).into_uuid().to_string())
    }
}

/// The id of `tail` as Webex writes it.
pub(super) fn spark_id(kind: &str, tail: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("ciscospark://us/{kind}/{tail}"))
}

/// Twelve hexadecimal digits that stand for a token wherever requests are recorded: the token itself is not kept there.
pub fn token_mark(token: &str) -> String {
    hex(digest::digest(&digest::SHA256, token.as_bytes()).as_ref().get(..6).unwrap_or_default())
}

/// The SHA-256 of `bytes` in hexadecimal digits.
pub(super) fn sha256(chunks: impl Iterator<Item = bytes::Bytes>) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    chunks.for_each(|chunk| context.update(&chunk));
    hex(context.finish().as_ref())
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing into a String cannot fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}

/// One step of splitmix64 (Steele, Lea, Flood 2014): spreads small numbers over all 64 bits.
pub(super) fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
