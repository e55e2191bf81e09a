//! Which message an attachment belongs to: its id says so, so a deleted message takes its attachments along.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// The message's own number in the path of a content, `ciscospark://us/CONTENT/{message}/{n}`; none if the id is of
/// another shape.
pub(super) fn message_of(path: &str) -> Option<String> {
    let id = decoded(path)?;
    let (message, _) = id.split_once("/CONTENT/")?.1.split_once('/')?;
    Some(message.to_owned())
}

/// The number of a message in its own path, `ciscospark://us/MESSAGE/{message}`.
pub(super) fn message_in(path: &str) -> Option<String> {
    Some(decoded(path)?.split_once("/MESSAGE/")?.1.to_owned())
}

fn decoded(path: &str) -> Option<String> {
    let id = path.trim_end_matches('/').rsplit('/').next()?.trim_end_matches('=');
    let bytes = URL_SAFE_NO_PAD.decode(id).or_else(|_other_alphabet| STANDARD_NO_PAD.decode(id)).ok()?;
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_names_its_message() {
        let path = |id: &str| format!("/v1/x/{}", URL_SAFE_NO_PAD.encode(id));
        for (id, content, message) in [
            ("ciscospark://us/CONTENT/0f1e/2", Some("0f1e"), None),
            ("ciscospark://us/MESSAGE/0f1e", None, Some("0f1e")),
            ("ciscospark://us/CONTENT/0f1e", None, None),
            ("something else", None, None),
        ] {
            assert_eq!(message_of(&path(id)).as_deref(), content, "{id}");
            assert_eq!(message_in(&path(id)).as_deref(), message, "{id}");
        }
        assert_eq!(message_of("/v1/contents/???"), None);
    }
}
