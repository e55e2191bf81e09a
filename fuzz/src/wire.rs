//! Reads HTTP/1.1 by the letter of RFC 9112 and nothing beside it: what it reads, everybody reads alike.

/// Lower-case names and values, in order.
pub(crate) type Fields = Vec<(String, Vec<u8>)>;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// The request line or status line.
    pub(crate) first: String,
    /// The header section.
    pub(crate) fields: Fields,
    pub(crate) body: Vec<u8>,
}

/// What some bytes begin with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// A message and its length in bytes.
    Whole(Message, usize),
    /// The beginning of one.
    Cut,
    /// Something that another reader might take for something else.
    Odd,
}

/// How a body without a length ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unmarked {
    /// At once: in a request, or in an answer that has no body.
    Empty,
    /// With the connection, which ended here.
    Close,
}

impl Message {
    /// The values of a field.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.fields.iter().filter(move |(own, _)| own == name).map(|(_, value)| value.as_slice())
    }

    /// The status of an answer; zero if it is none.
    pub(crate) fn status(&self) -> u16 {
        self.first.get(9..12).and_then(|digits| digits.parse().ok()).unwrap_or(0)
    }
}

/// Reads one message. `has_body` is false for the answer to a HEAD, whatever its fields say.
pub(crate) fn read(input: &[u8], unmarked: Unmarked, has_body: bool) -> Read {
    let Some(end) = find(input, b"\r\n\r\n") else { return Read::Cut };
    let Some((first, fields)) = head(&input[..end]) else { return Read::Odd };
    let mut message = Message { first, fields, body: Vec::new() };
    let at = end + 4;
    let rest = &input[at..];
    let lengths: Vec<_> = message.all("content-length").collect();
    let codings: Vec<_> = message.all("transfer-encoding").collect();
    let status = message.status();
    let is_clear = match (lengths.as_slice(), codings.as_slice()) {
        ([], []) => true,
        ([length], []) => decimal(length).is_some(),
        ([], [coding]) => coding.eq_ignore_ascii_case(b"chunked"),
        _ => false,
    };
    if !is_clear {
        return Read::Odd;
    }
    if !has_body || matches!(status, 100..200 | 204 | 304) {
        return Read::Whole(message, at);
    }
    let taken = match (lengths.first().and_then(|length| decimal(length)), codings.first()) {
        (_, Some(_)) => {
            return match chunks(rest) {
                Chunks::Whole(body, taken) => {
                    message.body = body;
                    Read::Whole(message, at + taken)
                }
                Chunks::Cut => Read::Cut,
                Chunks::Odd => Read::Odd,
            };
        }
        (Some(length), None) if rest.len() < length => return Read::Cut,
        (Some(length), None) => length,
        (None, None) if unmarked == Unmarked::Empty => 0,
        (None, None) => rest.len(),
    };
    message.body = rest[..taken].to_vec();
    Read::Whole(message, at + taken)
}

fn head(bytes: &[u8]) -> Option<(String, Fields)> {
    let mut lines = lines(bytes);
    let first = lines.next()?;
    if !first.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        return None;
    }
    let fields = lines.map(field).collect::<Option<_>>()?;
    Some((String::from_utf8(first.to_vec()).ok()?, fields))
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(bytes);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = find(text, b"\r\n");
        rest = end.map(|end| &text[end + 2..]);
        Some(&text[..end.unwrap_or(text.len())])
    })
}

fn field(line: &[u8]) -> Option<(String, Vec<u8>)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = (&line[..colon], trimmed(&line[colon + 1..]));
    let is_sound = !name.is_empty()
        && name.iter().all(|byte| is_token(*byte))
        && value.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~' | 0x80..));
    is_sound.then(|| (String::from_utf8_lossy(name).to_ascii_lowercase(), value.to_vec()))
}

/// Without blanks around it; a line break is none.
fn trimmed(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// RFC 9110 §5.6.2.
pub(crate) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Digits alone, and few enough for any reader.
pub(crate) fn decimal(text: &[u8]) -> Option<usize> {
    let is_plain = (1..=18).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    is_plain.then(|| std::str::from_utf8(text).ok()?.parse().ok())?
}

enum Chunks {
    Whole(Vec<u8>, usize),
    Cut,
    Odd,
}

/// Chunks without extensions or trailers.
fn chunks(input: &[u8]) -> Chunks {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let Some(end) = find(&input[at..], b"\r\n") else { return Chunks::Cut };
        let digits = &input[at..at + end];
        if !(1..=7).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Chunks::Odd;
        }
        let size = std::str::from_utf8(digits).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
        let Some(size) = size else { return Chunks::Odd };
        at += end + 2;
        let Some(data) = input.get(at..at + size) else { return Chunks::Cut };
        match input.get(at + size..at + size + 2) {
            None => return Chunks::Cut,
            Some(b"\r\n") => {}
            Some(_) => return Chunks::Odd,
        }
        body.extend_from_slice(data);
        at += size + 2;
        if size == 0 {
            return Chunks::Whole(body, at);
        }
    }
}

/// Where `wanted` begins first.
pub(crate) fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
