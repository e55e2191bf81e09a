//! What a file of the disk tier is called and how its bytes are laid out: the only place that knows.
//!
//! A content is one file named `content-` and the SHA-256 of its key in hex; while it is written, `.part` follows. All
//! numbers are little-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `tollgate` |
//! | 4 | version of this layout |
//! | 4 | k, length of the key |
//! | 4 | m, length of the fields |
//! | 8 | b, length of the body |
//! | k | key, UTF-8 |
//! | m | fields, `name: value` CR LF each |
//! | 4 for each block of the body | its CRC-32 |
//! | 4 | CRC-32 of all bytes before it |
//! | b | body |
//!
//! The file is exactly as long as this says, so a cut one is known by its length. As the checksums of the blocks stand in
//! the head, a block of another file or place is as wrong as a flipped bit.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use aws_lc_rs::digest;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

/// One trip to the disk, and what one checksum covers: the memory a reader needs twice.
pub(super) const BLOCK_BYTES: usize = 128 * 1024;

/// What a name in the directory says about its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    /// A whole content.
    Content,
    /// What an earlier process began to write.
    Part,
    /// Not ours: never touched.
    Stranger,
}

/// The first part of a file.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) key: String,
    pub(super) meta: HeaderMap,
    pub(super) body_bytes: u64,
    /// Where the body begins.
    pub(super) body_at: u64,
    /// The checksum of each block.
    pub(super) sums: Vec<u32>,
}

/// The name of a content's file: says nothing about its key.
pub(super) fn file_name(key: &str) -> String {
    let hash = digest::digest(&digest::SHA256, key.as_bytes());
    hash.as_ref().iter().fold(CONTENT.to_owned(), |name, byte| name + &format!("{byte:02x}"))
}

/// The name of a file that is being written.
pub(super) fn part_name(name: &str) -> String {
    format!("{name}{PART}")
}

/// Whose file this is.
pub(super) fn named(name: &str) -> Named {
    let Some(rest) = name.strip_prefix(CONTENT) else { return Named::Stranger };
    let (hash, kind) = match rest.strip_suffix(PART) {
        Some(hash) => (hash, Named::Part),
        None => (rest, Named::Content),
    };
    let is_hash = hash.len() == 2 * digest::SHA256_OUTPUT_LEN
        && hash.bytes().all(|sign| sign.is_ascii_digit() || (b'a'..=b'f').contains(&sign));
    if is_hash { kind } else { Named::Stranger }
}

/// Bytes that the file of such a content takes on a disk; none if key or fields are too large to be kept.
pub(super) fn file_bytes(key: &str, meta: &HeaderMap, body_bytes: u64) -> Option<u64> {
    let fields = encode_fields(meta).len();
    let fits = key.len() <= MAX_KEY_BYTES && fields <= MAX_FIELD_BYTES;
    let whole = head_bytes(key.len(), fields, body_bytes)?.checked_add(body_bytes)?;
    fits.then(|| on_disk(whole))
}

/// Bytes of a file of this length, in whole pages.
pub(super) fn on_disk(length: u64) -> u64 {
    length.div_ceil(PAGE_BYTES).saturating_mul(PAGE_BYTES)
}

/// Everything before the body.
pub(super) fn encode_head(key: &str, meta: &HeaderMap, chunks: &[Bytes]) -> Vec<u8> {
    let fields = encode_fields(meta);
    let mut head = Vec::new();
    head.extend(MAGIC);
    head.extend(VERSION.to_le_bytes());
    // Both are far below 4 GiB, or `file_bytes` had refused them.
    head.extend(u32::try_from(key.len()).unwrap_or(u32::MAX).to_le_bytes());
    head.extend(u32::try_from(fields.len()).unwrap_or(u32::MAX).to_le_bytes());
    head.extend(chunks.iter().map(|chunk| length(chunk)).sum::<u64>().to_le_bytes());
    head.extend(key.as_bytes());
    head.extend(&fields);
    for sum in block_sums(chunks) {
        head.extend(sum.to_le_bytes());
    }
    let sum = crc32fast::hash(&head);
    head.extend(sum.to_le_bytes());
    head
}

impl Head {
    /// Reads and verifies the head of a file; the body is untouched, but must have its length.
    ///
    /// # Errors
    /// `InvalidData` or `UnexpectedEof` if the file is not as this version writes it; else what the system says.
    pub(super) fn read(file: &File) -> io::Result<Self> {
        let mut fixed = [0; FIXED_BYTES];
        file.read_exact_at(&mut fixed, 0)?;
        let mut rest = fixed.as_slice();
        if take(&mut rest, MAGIC.len())? != MAGIC || take_u32(&mut rest)? != VERSION {
            return Err(damaged());
        }
        let key_bytes = usize::try_from(take_u32(&mut rest)?).map_err(|_| damaged())?;
        let meta_bytes = usize::try_from(take_u32(&mut rest)?).map_err(|_| damaged())?;
        let body_bytes = take_u64(&mut rest)?;
        if key_bytes > MAX_KEY_BYTES || meta_bytes > MAX_FIELD_BYTES {
            return Err(damaged());
        }
        let body_at = head_bytes(key_bytes, meta_bytes, body_bytes).ok_or_else(damaged)?;
        // Before memory is taken for it: a head claims no more blocks than the file has.
        if body_at.checked_add(body_bytes) != Some(file.metadata()?.len()) {
            return Err(damaged());
        }
        let mut head = vec![0; usize::try_from(body_at).map_err(|_| damaged())?];
        file.read_exact_at(&mut head, 0)?;
        let (content, mut sum) =
            head.split_last_chunk::<SUM_BYTES>().ok_or_else(damaged).map(|(a, b)| (a, b.as_slice()))?;
        if crc32fast::hash(content) != take_u32(&mut sum)? {
            return Err(damaged());
        }
        let mut rest = content.get(FIXED_BYTES..).ok_or_else(damaged)?;
        let key = std::str::from_utf8(take(&mut rest, key_bytes)?).map_err(|_| damaged())?.to_owned();
        let meta = decode_fields(take(&mut rest, meta_bytes)?).ok_or_else(damaged)?;
        let (sums, _) = rest.as_chunks::<SUM_BYTES>();
        let sums = sums.iter().map(|sum| u32::from_le_bytes(*sum)).collect();
        Ok(Self { key, meta, body_bytes, body_at, sums })
    }
}

/// What a file that is not as it was written reads as.
pub(super) fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the file is not as it was written")
}

/// Bytes of a chunk.
pub(super) fn length(chunk: &[u8]) -> u64 {
    u64::try_from(chunk.len()).unwrap_or(u64::MAX)
}

fn head_bytes(key_bytes: usize, meta_bytes: usize, body_bytes: u64) -> Option<u64> {
    let blocks = body_bytes.div_ceil(u64::try_from(BLOCK_BYTES).ok()?);
    let texts = FIXED_BYTES.checked_add(key_bytes)?.checked_add(meta_bytes)?.checked_add(SUM_BYTES)?;
    u64::try_from(SUM_BYTES).ok()?.checked_mul(blocks)?.checked_add(u64::try_from(texts).ok()?)
}

/// Chunks end where the network ended them, blocks do not.
fn block_sums(chunks: &[Bytes]) -> Vec<u32> {
    let mut sums = Vec::new();
    let mut block = crc32fast::Hasher::new();
    let mut filled = 0;
    for chunk in chunks {
        let mut rest = chunk.as_ref();
        while !rest.is_empty() {
            let (part, after) = rest.split_at(rest.len().min(BLOCK_BYTES - filled));
            block.update(part);
            filled += part.len();
            rest = after;
            if filled == BLOCK_BYTES {
                sums.push(std::mem::take(&mut block).finalize());
                filled = 0;
            }
        }
    }
    if filled > 0 {
        sums.push(block.finalize());
    }
    sums
}

fn encode_fields(meta: &HeaderMap) -> Vec<u8> {
    let line = |(name, value): (&HeaderName, &HeaderValue)| {
        [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat()
    };
    meta.iter().flat_map(line).collect()
}

fn decode_fields(mut text: &[u8]) -> Option<HeaderMap> {
    let mut meta = HeaderMap::new();
    while !text.is_empty() {
        let end = text.windows(2).position(|signs| signs == b"\r\n")?;
        let (line, rest) = text.split_at_checked(end)?;
        let colon = line.windows(2).position(|signs| signs == b": ")?;
        let name = HeaderName::from_bytes(line.get(..colon)?).ok()?;
        meta.append(name, HeaderValue::from_bytes(line.get(colon + 2..)?).ok()?);
        text = rest.get(2..)?;
    }
    Some(meta)
}

fn take<'a>(rest: &mut &'a [u8], bytes: usize) -> io::Result<&'a [u8]> {
    rest.split_off(..bytes).ok_or_else(damaged)
}

fn take_u32(rest: &mut &[u8]) -> io::Result<u32> {
    take(rest, 4)?.try_into().map(u32::from_le_bytes).map_err(|_| damaged())
}

fn take_u64(rest: &mut &[u8]) -> io::Result<u64> {
    take(rest, 8)?.try_into().map(u64::from_le_bytes).map_err(|_| damaged())
}

const CONTENT: &str = "content-";
const PART: &str = ".part";
const MAGIC: [u8; 8] = *b"tollgate";
/// Files of another version are dropped: a cache is filled again, not converted.
const VERSION: u32 = 1;
const FIXED_BYTES: usize = 28;
const SUM_BYTES: usize = 4;
/// A canonical path; no URI of the http crate is longer.
const MAX_KEY_BYTES: usize = 64 * 1024;
const MAX_FIELD_BYTES: usize = 64 * 1024;
/// What file systems hand out at least.
const PAGE_BYTES: u64 = 4096;
