//! Decides which bytes a range names (RFC 9110 §14): of a whole, or of the part of it that is kept.

use std::ops::Range;

use http::{HeaderMap, HeaderValue, header};

use super::list;

/// One range of bytes that a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// From the first byte to the last one named, or to the end.
    From(u64, Option<u64>),
    /// This many bytes at the end.
    Last(u64),
}

/// Bytes of a whole that are kept without the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cache) struct Part {
    /// The place of its first byte in the whole.
    pub(in crate::cache) first: u64,
    /// Bytes held.
    pub(in crate::cache) bytes: u64,
    /// Bytes of the whole.
    pub(in crate::cache) total: u64,
    /// Whether it goes on to the end of the whole.
    pub(in crate::cache) reaches_end: bool,
}

/// A slice of what is kept, and the place it takes in the whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    /// Within the kept bytes.
    pub(super) slice: Range<u64>,
    /// The place of its first byte in the whole.
    pub(super) first: u64,
    pub(super) total: u64,
}

/// The range a request asks for. None for no range, several, another unit, or one that cannot be read: then it asks for
/// everything.
pub(super) fn wanted(headers: &HeaderMap) -> Option<Wanted> {
    let text = list::single(headers, &header::RANGE)?.trim_ascii();
    let (unit, set) = text.split_at_checked("bytes=".len())?;
    if !unit.eq_ignore_ascii_case(b"bytes=") {
        return None;
    }
    let set = set.trim_ascii();
    let dash = set.iter().position(|byte| *byte == b'-')?;
    let (first, last) = set.split_at_checked(dash)?;
    let last = last.strip_prefix(b"-")?;
    if first.is_empty() {
        return list::digits(last).map(Wanted::Last);
    }
    let first = list::digits(first)?;
    if last.is_empty() {
        return Some(Wanted::From(first, None));
    }
    let last = list::digits(last)?;
    (first <= last).then_some(Wanted::From(first, Some(last)))
}

impl Wanted {
    /// The bytes of a whole that it names; none if there are no such bytes.
    pub(super) fn of_whole(self, length: u64) -> Option<Range<u64>> {
        let range = match self {
            Self::From(first, None) => first..length,
            Self::From(first, Some(last)) => first..last.saturating_add(1).min(length),
            Self::Last(bytes) => length.saturating_sub(bytes)..length,
        };
        (range.start < range.end).then_some(range)
    }

    /// The bytes of a part that it names; none unless the part holds all of them.
    pub(super) fn of_part(self, part: &Part) -> Option<Piece> {
        let piece = |slice: Range<u64>, first| Piece { slice, first, total: part.total };
        match self {
            Self::From(first, last) => {
                let start = first.checked_sub(part.first)?;
                let end = match last.filter(|last| *last < part.total.saturating_sub(1)) {
                    Some(last) => last.checked_sub(part.first)?.checked_add(1)?,
                    None if part.reaches_end => part.bytes,
                    None => return None,
                };
                (start < end && end <= part.bytes).then(|| piece(start..end, first))
            }
            Self::Last(bytes) => {
                let start = part.bytes.checked_sub(bytes)?;
                let first = part.total.checked_sub(bytes)?;
                (part.reaches_end && bytes > 0).then(|| piece(start..part.bytes, first))
            }
        }
    }
}

impl Part {
    /// What a 206 brings, in answer to `request`; none if its fields contradict each other.
    ///
    /// One contradiction is let pass: an answer that holds exactly the last bytes that were asked for, though its
    /// Content-Range begins earlier. It is right about what was asked.
    pub(super) fn of(request: &HeaderMap, response: &HeaderMap) -> Option<Self> {
        let (first, last, total) = content_range(list::single(response, &header::CONTENT_RANGE)?)?;
        let span = last - first + 1;
        let bytes = match response.get(header::CONTENT_LENGTH) {
            None => span,
            Some(_) => list::digits(list::single(response, &header::CONTENT_LENGTH)?.trim_ascii())?,
        };
        let reaches_end = last + 1 == total;
        let is_what_was_asked = reaches_end && bytes < span && wanted(request) == Some(Wanted::Last(bytes));
        (bytes > 0 && (bytes == span || is_what_was_asked)).then_some(Self {
            first,
            bytes,
            total,
            reaches_end,
        })
    }

    /// Whether its place in the whole is beyond doubt.
    pub(super) fn is_exact(&self) -> bool {
        self.reaches_end == (self.first.checked_add(self.bytes) == Some(self.total))
    }
}

/// The value of Content-Range for a piece.
pub(super) fn content_range_of(piece: &Piece) -> Option<HeaderValue> {
    let last = piece.first.checked_add(piece.slice.end - piece.slice.start)?.checked_sub(1)?;
    HeaderValue::try_from(format!("bytes {}-{last}/{}", piece.first, piece.total)).ok()
}

/// First and last byte and the length of the whole, which must be known.
fn content_range(text: &[u8]) -> Option<(u64, u64, u64)> {
    let (unit, rest) = text.trim_ascii().split_at_checked("bytes ".len())?;
    let slash = rest.iter().position(|byte| *byte == b'/')?;
    let (span, total) = rest.split_at_checked(slash)?;
    let dash = span.iter().position(|byte| *byte == b'-')?;
    let (first, last) = span.split_at_checked(dash)?;
    let (first, last) = (list::digits(first)?, list::digits(last.strip_prefix(b"-")?)?);
    let total = list::digits(total.strip_prefix(b"/")?)?;
    (unit.eq_ignore_ascii_case(b"bytes ") && first <= last && last < total).then_some((first, last, total))
}
