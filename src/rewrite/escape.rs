//! Decides what the text of a JSON string says, whatever its spelling.

/// The beginning of a JSON string's text with its escapes resolved, as far as it is ASCII.
#[derive(Debug, Default)]
pub(super) struct Decoded {
    /// What the text says.
    pub(super) text: Vec<u8>,
    ends: Vec<usize>,
}

impl Decoded {
    /// Reads `raw`, the bytes behind the opening quote. Stops at the first byte that is not ASCII or no JSON.
    pub(super) fn read(raw: &[u8]) -> Self {
        let mut decoded = Self::default();
        let mut rest = raw;
        while let Some((byte, length)) = character(rest) {
            rest = rest.get(length..).unwrap_or_default();
            decoded.text.push(byte);
            decoded.ends.push(raw.len() - rest.len());
        }
        decoded
    }

    /// Where in the raw bytes the first `length` bytes of the text end.
    pub(super) fn raw_end(&self, length: usize) -> usize {
        length.checked_sub(1).and_then(|last| self.ends.get(last)).copied().unwrap_or(0)
    }
}

fn character(raw: &[u8]) -> Option<(u8, usize)> {
    match raw {
        [b'\\', b'u', digits @ ..] => {
            let digits = digits.get(..4).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
            let code = u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
            Some((u8::try_from(code).ok().filter(u8::is_ascii)?, LONGEST_ESCAPE))
        }
        [b'\\', b'b', ..] => Some((0x08, 2)),
        [b'\\', b'f', ..] => Some((0x0C, 2)),
        [b'\\', b'n', ..] => Some((b'\n', 2)),
        [b'\\', b'r', ..] => Some((b'\r', 2)),
        [b'\\', b't', ..] => Some((b'\t', 2)),
        [b'\\', byte @ (b'"' | b'\\' | b'/'), ..] => Some((*byte, 2)),
        [b'\\' | b'"', ..] => None,
        [byte, ..] => byte.is_ascii().then_some((*byte, 1)),
        [] => None,
    }
}

/// `\u0041`: the most bytes that one ASCII character can take.
pub(super) const LONGEST_ESCAPE: usize = 6;
