//! The bytes of contents and answers: kept ones are shared, made-up ones are made while they are sent.

use bytes::{Bytes, BytesMut};

use super::ids::mix;

/// Bytes per made-up block; each begins with its number, so that a lost or doubled block shows.
const BLOCK: u64 = 64 * 1024;

/// A body. Cloning is cheap.
#[derive(Debug, Clone)]
pub enum Payload {
    /// All bytes at once.
    Whole(Bytes),
    /// Bytes `start..end` of the endless sequence of `seed`.
    Generated {
        /// Which sequence.
        seed: u64,
        /// The first byte.
        start: u64,
        /// One past the last byte.
        end: u64,
    },
}

impl Payload {
    /// No bytes.
    pub fn empty() -> Self {
        Self::Whole(Bytes::new())
    }

    /// The number of bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Whole(bytes) => size(bytes),
            Self::Generated { start, end, .. } => end - start,
        }
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes `from..to` of it, cut at its end.
    pub fn slice(&self, from: u64, to: u64) -> Self {
        let to = to.min(self.len());
        let from = from.min(to);
        match self {
            Self::Whole(bytes) => Self::Whole(bytes.slice(position(from)..position(to))),
            Self::Generated { seed, start, .. } => {
                Self::Generated { seed: *seed, start: start + from, end: start + to }
            }
        }
    }

    /// The bytes in order; no chunk is larger than 64 KiB, and none is empty.
    pub fn chunks(&self) -> Chunks {
        let block = match self {
            Self::Whole(_) => Vec::new(),
            Self::Generated { seed, .. } => {
                (0..BLOCK / 8).flat_map(|word| mix(seed ^ word).to_le_bytes()).collect()
            }
        };
        Chunks { left: self.clone(), block }
    }

    /// All bytes in one piece: for small ones.
    pub fn to_bytes(&self) -> Bytes {
        match self {
            Self::Whole(bytes) => bytes.clone(),
            Self::Generated { .. } => self
                .chunks()
                .fold(BytesMut::new(), |mut all, chunk| {
                    all.extend_from_slice(&chunk);
                    all
                })
                .freeze(),
        }
    }
}

/// The chunks of a [`Payload`].
#[derive(Debug)]
pub struct Chunks {
    left: Payload,
    block: Vec<u8>,
}

impl Iterator for Chunks {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.left.is_empty() {
            return None;
        }
        match &mut self.left {
            Payload::Whole(bytes) => Some(bytes.split_to(bytes.len().min(position(BLOCK)))),
            Payload::Generated { start, end, .. } => {
                let number = *start / BLOCK;
                let stop = (*end).min((number + 1) * BLOCK);
                for (byte, stamp) in self.block.iter_mut().zip(number.to_le_bytes()) {
                    *byte = stamp;
                }
                let range = position(*start % BLOCK)..position(stop - number * BLOCK);
                *start = stop;
                self.block.get(range).map(Bytes::copy_from_slice)
            }
        }
    }
}

/// A length in memory as a number on the wire.
pub(super) fn size(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

fn position(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}
