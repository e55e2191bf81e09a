//! Reads `multipart/form-data`, its parts in any order.

use bytes::Bytes;
use http::{HeaderMap, header};
use memchr::memmem;

/// One part of a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) name: String,
    pub(super) file_name: Option<String>,
    pub(super) media_type: Option<String>,
    pub(super) bytes: Bytes,
}

/// The boundary that the `Content-Type` names.
pub(super) fn boundary(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let (media_type, rest) = value.split_once(';')?;
    media_type.trim().eq_ignore_ascii_case("multipart/form-data").then_some(())?;
    parameter(rest, "boundary").filter(|boundary| !boundary.is_empty())
}

/// Whether the body ends with the closing boundary.
pub(super) fn is_closed(body: &[u8], boundary: &str) -> bool {
    body.trim_ascii_end().ends_with(format!("--{boundary}--").as_bytes())
}

/// The parts in order; `None` if the body is not of that form or does not end with the closing boundary.
pub(super) fn parts(body: &Bytes, boundary: &str) -> Option<Vec<Part>> {
    let delimiter = format!("\r\n--{boundary}");
    let finder = memmem::Finder::new(delimiter.as_bytes());
    let opening = delimiter.get(2..)?;
    let mut rest = match body.strip_prefix(opening.as_bytes()) {
        Some(_) => body.slice(opening.len()..),
        None => body.slice(finder.find(body)? + delimiter.len()..),
    };
    let mut parts = Vec::new();
    while !rest.starts_with(b"--") {
        // After a boundary there may be blanks before the end of the line.
        let line = memmem::find(&rest, b"\r\n")?;
        rest = rest.slice(line..);
        let end = finder.find(&rest)?;
        parts.push(part(&rest.slice(2.min(end)..end))?);
        rest = rest.slice(end + delimiter.len()..);
    }
    Some(parts)
}

fn part(bytes: &Bytes) -> Option<Part> {
    let (head, start) = match bytes.strip_prefix(b"\r\n") {
        Some(_) => (Bytes::new(), 2),
        None => {
            let end = memmem::find(bytes, b"\r\n\r\n")?;
            (bytes.slice(..end), end + 4)
        }
    };
    let head = String::from_utf8_lossy(&head).into_owned();
    let field = |wanted: &str| {
        let mut fields = head.split("\r\n").filter_map(|line| line.split_once(':'));
        let found = fields.find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted));
        found.map(|(_, value)| value.trim().to_owned())
    };
    let disposition = field("content-disposition")?;
    let (_, parameters) = disposition.split_once(';')?;
    Some(Part {
        name: parameter(parameters, "name")?,
        file_name: parameter(parameters, "filename"),
        media_type: field("content-type"),
        bytes: bytes.slice(start..),
    })
}

/// The value of `name=` in a list of parameters, quoted or not.
fn parameter(text: &str, name: &str) -> Option<String> {
    let mut rest = text;
    loop {
        let (key, after) = rest.split_once('=')?;
        let (value, left) = value(after.trim_start());
        if key.trim().trim_start_matches(';').trim().eq_ignore_ascii_case(name) {
            return Some(value);
        }
        rest = left;
    }
}

fn value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(';').unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return (value.trim().to_owned(), rest);
    };
    let mut value = String::new();
    let mut signs = quoted.char_indices();
    while let Some((at, sign)) = signs.next() {
        match sign {
            '"' => return (value, quoted.get(at + 1..).unwrap_or_default()),
            '\\' => value.extend(signs.next().map(|(_, escaped)| escaped)),
            _ => value.push(sign),
        }
    }
    (value, "")
}
