//! Decides what of a path may be seen outside of the request: in the log, and in what the rooms print of themselves.

use std::borrow::Cow;

/// A path: plain words and Webex's ids stay, whatever else a segment may be is `*`. The address of an incoming
/// webhook is its credential, and a client with a fault puts its token anywhere.
pub fn masked(path: &str) -> Cow<'_, str> {
    if path.len() <= MAX_BYTES && path.as_bytes().split(|sign| *sign == b'/').all(is_harmless) {
        return Cow::Borrowed(path);
    }
    let mut shown = String::with_capacity(path.len().min(MAX_BYTES));
    for (index, segment) in path.split('/').enumerate() {
        if shown.len() > MAX_BYTES {
            shown.push_str("/...");
            break;
        }
        if index > 0 {
            shown.push('/');
        }
        shown.push_str(if is_harmless(segment.as_bytes()) { segment } else { "*" });
    }
    Cow::Owned(shown)
}

fn is_harmless(segment: &[u8]) -> bool {
    let is_version = matches!(segment, b"v1" | b"v2");
    // Words such as meetingInfo have few capitals; a random text of letters alone has many.
    let is_word = segment.len() <= MAX_WORD
        && segment.iter().all(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'-' | b'.'))
        && segment.iter().filter(|byte| byte.is_ascii_uppercase()).count() <= MAX_CAPITALS;
    let is_id = segment.len() <= MAX_ID
        && WEBEX_IDS.iter().any(|begin| segment.starts_with(begin.as_bytes()))
        && segment.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'='));
    is_version || is_word || is_id
}

/// `ciscospark://` in base64: the beginning of every id that the REST API gives out.
const WEBEX_IDS: [&str; 1] = ["Y2lzY29zcGFyazovL"];
/// The longest word of the API's paths is shorter.
const MAX_WORD: usize = 32;
const MAX_CAPITALS: usize = 3;
const MAX_ID: usize = 256;
const MAX_BYTES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_ids_stay_and_the_rest_is_masked() {
        let id = "Y2lzY29zcGFyazovL3VzL1JPT00vYmJjZWIxYWQtNDNmMS0zYjU4LTkxNDctZjE0YmIwYzRkMTU0";
        for (sent, shown) in [
            ("/", "/"),
            ("/v1/people/me", "/v1/people/me"),
            (&format!("/v1/rooms/{id}/meetingInfo"), &format!("/v1/rooms/{id}/meetingInfo")),
            ("/v1/people/ZmkYZmNMZA", "/v1/people/*"),
            ("/v1/webhooks/incoming/ZDk0YjU3", "/v1/webhooks/incoming/*"),
            ("/v1/unheard-of", "/v1/unheard-of"),
            ("/v1/Bearer%20abc", "/v1/*"),
            (&format!("/v1/rooms/{id}.token"), "/v1/rooms/*"),
            ("/v1/rooms/NjM4ZmE2YzQ", "/v1/rooms/*"),
            ("//\u{1b}[2J/\n", "//*/*"),
            ("*", "*"),
        ] {
            assert_eq!(masked(sent), shown, "{sent}");
        }
        assert!(masked(&"/a".repeat(100_000)).len() < 2 * MAX_BYTES);
    }
}
