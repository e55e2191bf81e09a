//! Where kept bytes come from: memory, or a file; all of them, or a part.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;

use crate::body::Body;

use super::disk::{Disk, Found};
use super::store::Content;

/// All bytes of an attachment, wherever they are.
pub(super) enum Whole {
    Disk(Disk, Found),
    Memory(Arc<Content>),
}

impl Whole {
    /// The fields that tell whether other bytes are the same.
    pub(super) fn shape(&self) -> &HeaderMap {
        match self {
            Self::Disk(_, found) => found.meta(),
            Self::Memory(content) => &content.shape,
        }
    }

    /// The bytes, or a part of them; none if the file turns out to be gone or damaged.
    pub(super) async fn read(&self, part: Option<Range<u64>>) -> Option<Body> {
        match self {
            Self::Disk(disk, found) => disk.read(found, part).await,
            Self::Memory(content) => Some(read(&content.chunks, part)),
        }
    }
}

/// Kept chunks as a body, without copying.
pub(super) fn read(chunks: &Arc<[Bytes]>, part: Option<Range<u64>>) -> Body {
    let Some(part) = part else { return Body::kept(Arc::clone(chunks)) };
    let mut from = 0_u64;
    let sliced = chunks.iter().filter_map(|chunk| {
        let length = u64::try_from(chunk.len()).ok()?;
        let (start, end) = (part.start.max(from) - from, part.end.min(from + length).saturating_sub(from));
        from += length;
        let (start, end) = (usize::try_from(start).ok()?, usize::try_from(end).ok()?);
        (start < end).then(|| chunk.slice(start..end))
    });
    Body::kept(sliced.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    use http_body_util::BodyExt;

    #[tokio::test]
    async fn a_part_crosses_chunks() {
        let chunks: Arc<[Bytes]> =
            [&b"abc"[..], b"", b"de", b"f"].map(Bytes::from_static).into_iter().collect();
        for (part, expected) in [
            (None, "abcdef"),
            (Some(0..6), "abcdef"),
            (Some(2..4), "cd"),
            (Some(3..5), "de"),
            (Some(5..6), "f"),
            (Some(4..4), ""),
        ] {
            let read = read(&chunks, part.clone()).collect().await.unwrap().to_bytes();
            assert_eq!(read, expected, "{part:?}");
        }
    }
}
