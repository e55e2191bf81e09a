//! Decides whether an answer says that parts of it are missing: one with `errors` in it is never kept (CACHE 1).

use std::io::Read;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http::{HeaderMap, header};
use memchr::memmem::Finder;

/// Whether a member called `errors` may be in the body, or nobody can tell: a coding that cannot be read here, or more
/// bytes than are worth reading. A text that merely contains the word is not kept either; that costs a call.
pub(super) fn may_be_sealed(headers: &HeaderMap, chunks: &[Bytes]) -> bool {
    let coding = headers.get(header::CONTENT_ENCODING).map(|coding| coding.as_bytes().to_ascii_lowercase());
    let packed = Chunks { chunks, at: 0 };
    let is_clean = match coding.as_deref() {
        None | Some(b"" | b"identity") => is_clean(packed),
        Some(b"gzip" | b"x-gzip") => is_clean(MultiGzDecoder::new(packed)),
        Some(_) => false,
    };
    !is_clean
}

/// Whether the text was read to its end without meeting the word.
fn is_clean(text: impl Read) -> bool {
    let finder = Finder::new(WORD);
    let mut text = text.take(MAX_BYTES);
    let mut window = Vec::new();
    loop {
        let overlap = window.len().min(WORD.len() - 1);
        window.drain(..window.len() - overlap);
        match text.by_ref().take(WINDOW_BYTES).read_to_end(&mut window) {
            Ok(0) => return text.limit() > 0,
            Ok(_) if finder.find(&window).is_some() => return false,
            Ok(_) => {}
            Err(_) => return false,
        }
    }
}

struct Chunks<'a> {
    chunks: &'a [Bytes],
    at: usize,
}

impl Read for Chunks<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while let Some((first, rest)) = self.chunks.split_first() {
            let left = first.get(self.at..).unwrap_or_default();
            if left.is_empty() {
                (self.chunks, self.at) = (rest, 0);
                continue;
            }
            let length = left.len().min(buffer.len());
            buffer.iter_mut().zip(left).for_each(|(to, from)| *to = *from);
            self.at += length;
            return Ok(length);
        }
        Ok(0)
    }
}

const WORD: &[u8] = b"\"errors\"";
const WINDOW_BYTES: u64 = 64 * 1024;
/// People, rooms and memberships come in pages of at most a thousand, about a megabyte.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use http::HeaderValue;

    fn check(coding: Option<&'static str>, body: &[u8], expected: bool) {
        let mut headers = HeaderMap::new();
        if let Some(coding) = coding {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
        }
        for size in [1, 7, 1 << 20] {
            let chunks: Vec<_> = body.chunks(size).map(Bytes::copy_from_slice).collect();
            assert_eq!(may_be_sealed(&headers, &chunks), expected, "{coding:?} in chunks of {size}");
        }
    }

    #[test]
    fn the_word_is_found_wherever_it_stands() {
        let sealed = br#"{"items":[{"title":"x","errors":{"title":{"code":"kms_failure"}}}]}"#;
        let far = [vec![b' '; 65_530], sealed.to_vec()].concat();
        check(None, b"{}", false);
        check(None, b"", false);
        check(None, sealed, true);
        check(None, &far, true);
        let packed = |text: &[u8]| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(text).unwrap();
            encoder.finish().unwrap()
        };
        check(Some("gzip"), &packed(b"{}"), false);
        check(Some("GZip"), &packed(&far), true);
        check(Some("gzip"), b"no gzip at all", true);
        check(Some("br"), b"{}", true);
    }

    #[test]
    fn a_bomb_is_not_read_to_its_end() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        (0..17).for_each(|_| encoder.write_all(&[b' '; 1 << 20]).unwrap());
        check(Some("gzip"), &encoder.finish().unwrap(), true);
    }
}
