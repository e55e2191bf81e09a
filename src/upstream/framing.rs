//! Decides whether the head of an answer says in one way only where its body ends (RFC 9112 §6).

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{Extensions, HeaderMap, HeaderValue, StatusCode};
use hyper::ext::ReasonPhrase;

use super::{Codings, Failed};

/// What the framing of an answer means for its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// Bytes that were not meant for this answer may follow: nothing else is read from there.
    Doubtful,
    /// The end is certain.
    Plain,
}

/// Checks what hyper takes as it comes, and writes the length once; none for an answer that cannot have content.
///
/// # Errors
/// `Broken` for a length that is no number or two, and for transfer codings that nobody here can decode.
pub(super) fn check(
    headers: &mut HeaderMap,
    status: StatusCode,
    codings: Codings,
) -> Result<Framing, Failed> {
    let is_coded = headers.contains_key(TRANSFER_ENCODING);
    if is_coded && !are_readable(headers, codings) {
        return Err(Failed::Broken("the transfer coding of the answer is not chunked alone".into()));
    }
    let length = length(headers)?;
    if let Some(length) = length
        && !is_written_once(headers)
    {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    let claims_too_much = match status {
        StatusCode::NO_CONTENT => is_coded || length.is_some_and(|length| length > 0),
        // Nothing but a length of zero says by itself that nothing follows.
        StatusCode::RESET_CONTENT => is_coded || length != Some(0),
        _ => false,
    };
    if !has_content(status) {
        state_no_content(headers, status);
    }
    Ok(if claims_too_much || (is_coded && length.is_some()) { Framing::Doubtful } else { Framing::Plain })
}

/// Whether an answer of this status may have content, whatever its fields say (RFC 9110 §15.3.5, §15.3.6).
pub(super) fn has_content(status: StatusCode) -> bool {
    !matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT)
}

fn state_no_content(headers: &mut HeaderMap, status: StatusCode) {
    headers.remove(TRANSFER_ENCODING);
    headers.remove(CONTENT_LENGTH);
    if status == StatusCode::RESET_CONTENT {
        // Its end is not its head's by itself, as a 204's is (RFC 9112 §6.3).
        headers.insert(CONTENT_LENGTH, HeaderValue::from(0));
    }
}

/// Leaves the upstream's words for a status behind, if two readers could take their signs for something else.
pub(super) fn forget_odd_reason(extensions: &mut Extensions) {
    let is_printable = |byte: &u8| matches!(byte, b' '..=b'~');
    if extensions.get::<ReasonPhrase>().is_some_and(|reason| !reason.as_bytes().iter().all(is_printable)) {
        extensions.remove::<ReasonPhrase>();
    }
}

/// Whether the length stands there as it would be written anew.
fn is_written_once(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(CONTENT_LENGTH).iter();
    let first = lines.next().map(HeaderValue::as_bytes);
    let is_plain = match first {
        Some([b'0']) => true,
        Some([first, rest @ ..]) => (b'1'..=b'9').contains(first) && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    is_plain && lines.next().is_none()
}

/// Chunks alone; or, if the setting says so, codings that hyper reads to the close of the connection.
fn are_readable(headers: &HeaderMap, codings: Codings) -> bool {
    let lines: Vec<_> = headers.get_all(TRANSFER_ENCODING).iter().map(HeaderValue::as_bytes).collect();
    let is_chunked = |coding: &[u8]| coding.trim_ascii().eq_ignore_ascii_case(b"chunked");
    let last = lines.last().and_then(|line| line.rsplit(|&byte| byte == b',').next()).unwrap_or_default();
    match lines.as_slice() {
        [line] if is_chunked(line) => true,
        _ => codings == Codings::Any && !is_chunked(last),
    }
}

/// The one length that all lines and list members state, if there are any.
fn length(headers: &HeaderMap) -> Result<Option<u64>, Failed> {
    let mut found = None;
    let lines = headers.get_all(CONTENT_LENGTH).iter();
    for member in lines.flat_map(|line| line.as_bytes().split(|&byte| byte == b',')) {
        let member = std::str::from_utf8(member.trim_ascii()).unwrap_or_default();
        // `parse` alone would take a sign.
        let number = Some(member).filter(|member| member.bytes().all(|byte| byte.is_ascii_digit()));
        match number.and_then(|number| number.parse().ok()) {
            Some(length) if found.is_none_or(|other| other == length) => found = Some(length),
            _ => return Err(Failed::Broken("the length of the answer is not one number".into())),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    use http::HeaderName;

    const LENGTH: &str = "content-length";
    const CODING: &str = "transfer-encoding";

    /// Status, fields, and what is found.
    type Case = (u16, &'static [(&'static str, &'static str)], Option<Framing>);

    fn check_all(codings: Codings, cases: &[Case]) {
        for (status, fields, expected) in cases {
            let mut headers = HeaderMap::new();
            for &(name, value) in *fields {
                headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            let found = check(&mut headers, StatusCode::from_u16(*status).unwrap(), codings);
            assert_eq!(found.ok(), *expected, "{status} {fields:?}");
            assert!(expected.is_none() || headers.get_all(CONTENT_LENGTH).iter().count() <= 1);
        }
    }

    #[test]
    fn an_answer_states_one_length_or_chunks() {
        check_all(
            Codings::Chunked,
            &[
                (200, &[], Some(Framing::Plain)),
                (200, &[(LENGTH, "5")], Some(Framing::Plain)),
                (200, &[(LENGTH, "5"), (LENGTH, "5")], Some(Framing::Plain)),
                (200, &[(LENGTH, "5, 05")], Some(Framing::Plain)),
                (200, &[(LENGTH, "5"), (LENGTH, "6")], None),
                (200, &[(LENGTH, "5, 6")], None),
                (200, &[(LENGTH, "+5")], None),
                (200, &[(LENGTH, "")], None),
                (200, &[(LENGTH, "18446744073709551616")], None),
                (200, &[(CODING, "Chunked")], Some(Framing::Plain)),
                (200, &[(CODING, "chunked"), (LENGTH, "5")], Some(Framing::Doubtful)),
                (200, &[(CODING, "chunked"), (CODING, "chunked")], None),
                (200, &[(CODING, "gzip, chunked")], None),
                (200, &[(CODING, "cow")], None),
                (204, &[(LENGTH, "0")], Some(Framing::Plain)),
                (204, &[(LENGTH, "5")], Some(Framing::Doubtful)),
                (204, &[(CODING, "chunked")], Some(Framing::Doubtful)),
                (205, &[(LENGTH, "0")], Some(Framing::Plain)),
                (205, &[(LENGTH, "5")], Some(Framing::Doubtful)),
                (205, &[(CODING, "chunked")], Some(Framing::Doubtful)),
                (205, &[], Some(Framing::Doubtful)),
                (304, &[(LENGTH, "5")], Some(Framing::Plain)),
            ],
        );
    }

    #[test]
    fn any_coding_is_read_to_the_close_where_that_is_wanted() {
        check_all(
            Codings::Any,
            &[
                (200, &[(CODING, "cow")], Some(Framing::Plain)),
                (200, &[(CODING, "chunked")], Some(Framing::Plain)),
                (200, &[(CODING, "gzip, chunked")], None),
            ],
        );
    }
}
