//! What the deployment's secret is good for: names that tell nothing, and messages that no stranger can write.

use std::fmt;

use aws_lc_rs::hmac;

use crate::gate::NodeKey;

/// The secret that all replicas of a deployment have.
///
/// Each use has a key of its own, so that nothing that is shown for one of them helps with another.
#[derive(Clone)]
pub struct Secret {
    root: hmac::Key,
    buckets: hmac::Key,
    messages: hmac::Key,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

impl Secret {
    /// `text` as it stands in the file, without the white space around it; none if it is too short to be one.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.len() < LEAST_LENGTH {
            return None;
        }
        let root = hmac::Key::new(hmac::HMAC_SHA256, text.as_bytes());
        let key = |purpose: &[u8]| hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&root, purpose).as_ref());
        let (buckets, messages) = (key(b"buckets"), key(b"messages"));
        Some(Self { root, buckets, messages })
    }

    /// The key that turns credentials into ids, the same for all replicas (decision 0018).
    pub fn tenant_key(&self) -> Vec<u8> {
        hmac::sign(&self.root, b"tenants").as_ref().to_vec()
    }

    /// The key by which replicas agree on the places of marks.
    pub fn mark_key(&self) -> Vec<u8> {
        hmac::sign(&self.root, b"marks").as_ref().to_vec()
    }

    /// What a gate's bucket is called where strangers may read: 32 hexadecimal digits.
    pub(super) fn bucket(&self, key: NodeKey) -> String {
        hex(hmac::sign(&self.buckets, super::spelling::key(key).as_bytes()).as_ref().iter().take(16))
    }

    /// The signature of a message on a channel: 64 hexadecimal digits.
    pub(super) fn sign(&self, channel: &str, text: &str) -> String {
        hex(hmac::sign(&self.messages, bound(channel, text).as_bytes()).as_ref().iter())
    }

    /// Whether a replica of this deployment wrote it, for this channel.
    pub(super) fn signed(&self, channel: &str, text: &str, signature: &str) -> bool {
        let (pairs, rest) = signature.as_bytes().as_chunks::<2>();
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let byte = |[high, low]: &[u8; 2]| u8::try_from(digit(*high)? << 4 | digit(*low)?).ok();
        let tag: Option<Vec<u8>> = pairs.iter().map(byte).collect();
        let is_right = tag
            .is_some_and(|tag| hmac::verify(&self.messages, bound(channel, text).as_bytes(), &tag).is_ok());
        rest.is_empty() && is_right
    }
}

/// A message for one channel is none for another.
fn bound(channel: &str, text: &str) -> String {
    format!("{channel}\n{text}")
}

fn hex<'a>(bytes: impl Iterator<Item = &'a u8>) -> String {
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

/// As for the admin token: 16 characters of a password manager have some 90 bits.
pub const LEAST_LENGTH: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::TenantId;

    #[test]
    fn a_secret_that_can_be_guessed_is_none() {
        assert!(Secret::new("  fifteen letters\n").is_none());
        assert!(Secret::new(" sixteen letters!\n").is_some());
    }

    #[test]
    fn the_same_secret_gives_the_same_names_and_another_others() {
        let [one, same, other] = ["0123456789abcdef", "0123456789abcdef\n", "0123456789abcdeX"]
            .map(|text| Secret::new(text).unwrap());
        let key = NodeKey::Tenant(TenantId::new([7; 16]));
        assert_eq!((one.bucket(key), one.tenant_key()), (same.bucket(key), same.tenant_key()));
        assert!(one.bucket(key) != other.bucket(key) && one.tenant_key() != other.tenant_key());
        assert!(one.bucket(key) != one.bucket(NodeKey::Egress) && one.mark_key() != one.tenant_key());
        assert_eq!(one.bucket(key).len(), 32);
        assert!(!format!("{one:?}").contains("0123"));
    }

    #[test]
    fn a_message_is_good_for_its_channel_alone_and_unchanged() {
        let secret = Secret::new("0123456789abcdef").unwrap();
        let signature = secret.sign("tg:v1:gate", "a");
        assert!(secret.signed("tg:v1:gate", "a", &signature));
        for (channel, text, signature) in [
            ("tg:v1:inv", "a", signature.as_str()),
            ("tg:v1:gate", "b", &signature),
            ("tg:v1:gate", "a", &signature[..62]),
            ("tg:v1:gate", "a", &format!("{signature}0")),
            ("tg:v1:gate", "a", ""),
            ("tg:v1:gate", "a", "zz"),
        ] {
            assert!(!secret.signed(channel, text, signature), "{channel} {text} {signature}");
        }
    }
}
