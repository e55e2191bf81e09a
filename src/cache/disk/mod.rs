//! Decides which attachment bodies are kept in files, for how long they stay, and when a file is not to be trusted.
//!
//! Knows no tenant and no credential: who may read is decided before this room is asked. Every fault of the disk is a
//! miss and a count.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;

use crate::body::Body;
use crate::clock::Clock;

mod format;
mod index;
mod reader;
mod scan;
mod state;
mod writer;

pub use writer::Writer;

use index::Index;
use reader::{Blocks, Opened, block_of, blocking};
use scan::Left;
use state::{Counts, Job, Shared};

/// Bounds of the disk tier.
#[derive(Debug, Clone)]
pub struct DiskSettings {
    /// Where the files are; for one process alone.
    pub dir: PathBuf,
    /// Bytes of all files together, heads included, each in whole pages of 4 KiB.
    pub max_bytes: u64,
    /// Files at most, and entries of the index in memory, about 1 KiB each.
    pub max_entries: usize,
    /// Bytes of the bodies that wait to be written, in memory; one body is taken even if it is larger.
    pub max_queued_bytes: u64,
}

/// Why the disk tier cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The directory cannot be made.
    #[error("cannot make {dir}")]
    Dir {
        /// The directory.
        dir: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The lock file cannot be made or locked.
    #[error("cannot lock {dir}")]
    Lock {
        /// The directory.
        dir: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another process keeps its files there.
    #[error("{dir} is used by another process")]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// The directory cannot be listed.
    #[error("cannot read {dir}")]
    Read {
        /// The directory.
        dir: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The writer's thread cannot be started.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

/// Bodies in files. Cloning shares them; they outlive the process.
#[derive(Debug, Clone)]
pub struct Disk(Arc<Shared>);

/// A content that is kept, as far as memory knows. Holds no file.
#[derive(Debug, Clone)]
pub struct Found {
    key: Arc<str>,
    id: u64,
    meta: Arc<HeaderMap>,
    body_bytes: u64,
}

/// The disk tier at a glance, for status and metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Glance {
    /// Contents that can be found.
    pub entries: u64,
    /// Bytes of their files, each in whole pages.
    pub bytes: u64,
    /// Contents removed to make room, since start.
    pub evicted: u64,
    /// Reads, writes and removals that failed and files found damaged, since start.
    pub failures: u64,
    /// Bodies not kept because too much was queued, they were too large or the end had come, since start.
    pub dropped: u64,
}

impl Found {
    /// The fields that came with it.
    pub fn meta(&self) -> &HeaderMap {
        &self.meta
    }

    /// Length of the body.
    pub fn body_bytes(&self) -> u64 {
        self.body_bytes
    }
}

impl Disk {
    /// Opens the directory, made with mode 0700 if it is not there, and finds again what an earlier process kept. Reads the head
    /// of each file and blocks meanwhile: for the start.
    ///
    /// Useless files of ours are removed soon afterwards, other files never. The writer's end is the end of keeping.
    ///
    /// # Errors
    /// `Dir`, `Lock`, `Read`, `Thread` as the system says; `Locked` if another process uses the directory.
    pub fn open(settings: DiskSettings, clock: Clock) -> Result<(Self, Writer), Fault> {
        let DiskSettings { dir, max_bytes, max_entries, max_queued_bytes } = settings;
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        made.map_err(|source| Fault::Dir { dir: dir.clone(), source })?;
        let lock = lock(&dir)?;
        let left = scan::look(&dir).map_err(|source| Fault::Read { dir: dir.clone(), source })?;
        let mut index = Index::new(max_bytes, max_entries);
        let counts = restore(&mut index, left);
        let shared = Arc::new(Shared::new(dir, clock, max_queued_bytes, index, counts));
        let writer = Writer::start(Arc::clone(&shared), lock).map_err(Fault::Thread)?;
        Ok((Self(shared), writer))
    }

    /// Keeps a whole body, soon: it is queued for the writer. Never blocks; dropped and counted if too much is queued.
    ///
    /// Replaces what is kept under the key, unless fields and length are the same: then nothing is written.
    pub fn keep(&self, key: &str, meta: HeaderMap, chunks: Arc<[Bytes]>) {
        let body_bytes = chunks.iter().map(|chunk| format::length(chunk)).sum();
        let file_bytes = format::file_bytes(key, &meta, body_bytes);
        self.0.change(|state| {
            if state.has(key, &meta, body_bytes) {
                return;
            }
            let fits = file_bytes.filter(|file_bytes| state.index.could_hold(*file_bytes));
            let is_queued = fits.is_some_and(|file_bytes| {
                let job = Job { key: key.into(), meta, chunks, body_bytes, file_bytes };
                state.queue(job, self.0.max_queued_bytes)
            });
            state.counts.dropped += u64::from(!is_queued);
        });
    }

    /// What is kept under the key; no file is touched, and it does not count as a use.
    pub fn find(&self, key: &str) -> Option<Found> {
        let state = self.0.lock();
        let (key, entry) = state.index.get_key_value(key)?;
        Some(Found {
            key: Arc::clone(key),
            id: entry.id,
            meta: Arc::clone(&entry.content.meta),
            body_bytes: entry.content.body_bytes,
        })
    }

    /// The body, or the part of it that `range` names (what lies behind its end is left out); none is a miss, also if the content
    /// was removed or replaced since it was found.
    ///
    /// Head and first block are verified before this returns, every other block before it is handed out. A fault later on breaks
    /// the body with [`BodyError::Cache`](crate::body::BodyError::Cache). Neither removal nor eviction does.
    pub async fn read(&self, found: &Found, range: Option<Range<u64>>) -> Option<Body> {
        let range = range.unwrap_or(0..found.body_bytes);
        let range = range.start..range.end.min(found.body_bytes);
        let Found { key, id, meta, body_bytes } = found.clone();
        let name = {
            let mut state = self.0.lock();
            if !state.index.touch(&key, id) {
                return None;
            }
            state.index.get(&key)?.content.name.clone()
        };
        let shared = Arc::clone(&self.0);
        let at = range.start;
        let is_empty = range.is_empty();
        let begin = move || {
            let opened = Opened::open(&shared.dir.join(name), &key, &meta, body_bytes)?;
            if opened.touch(shared.clock.wall()).is_err() {
                // Costs the order after a restart, not the answer.
                shared.lock().counts.failures += 1;
            }
            let first = if is_empty { Bytes::new() } else { opened.block(block_of(at))? };
            Ok((opened, first))
        };
        match blocking(OPEN_WITHIN, begin).await {
            Ok(_) if is_empty => Some(Body::empty()),
            Ok((opened, first)) => {
                Some(Body::stream(Blocks::new(Arc::clone(&self.0), opened, id, range, first)))
            }
            Err(error) => {
                self.0.change(|state| match error.kind() {
                    io::ErrorKind::InvalidData | io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof => {
                        state.counts.failures += u64::from(state.lose(&found.key, id));
                    }
                    // No file descriptor left, a disk that hangs: the file may be as good as ever.
                    _ => state.counts.failures += 1,
                });
                None
            }
        }
    }

    /// Forgets what is kept under the key, queued or being written; whether something was kept. Its file goes soon.
    pub fn remove(&self, key: &str) -> bool {
        self.0.change(|state| state.remove(key))
    }

    /// Forgets contents whose key is chosen; how many were kept. Asks about each one under the lock: choose quickly.
    pub fn remove_where(&self, is_chosen: impl Fn(&str) -> bool) -> u64 {
        self.0.change(|state| state.remove_where(is_chosen))
    }

    /// Forgets everything; how many contents were kept.
    pub fn clear(&self) -> u64 {
        self.remove_where(|_| true)
    }

    /// Counts and bytes as they are now.
    pub fn glance(&self) -> Glance {
        let state = self.0.lock();
        let Counts { evicted, failures, dropped } = state.counts;
        let entries = u64::try_from(state.index.len()).unwrap_or(u64::MAX);
        Glance { entries, bytes: state.index.bytes(), evicted, failures, dropped }
    }
}

/// Takes over what was left, the newest last, so that the oldest go if it is more than may be kept now.
fn restore(index: &mut Index, left: Left) -> Counts {
    let mut counts = Counts { failures: left.damaged, ..Counts::default() };
    for (key, content) in left.contents {
        if index.could_hold(content.file_bytes) {
            counts.evicted += index.make_room(content.file_bytes);
            index.insert(key, content);
        } else {
            counts.evicted += 1;
            index.leave(content.name, content.file_bytes);
        }
    }
    for (name, file_bytes) in left.useless {
        index.leave(name, file_bytes);
    }
    counts
}

/// Locks the directory for as long as the file is open; the system gives the lock back if the process dies.
fn lock(dir: &Path) -> Result<File, Fault> {
    let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(dir.join(LOCK));
    let file = opened.map_err(|source| Fault::Lock { dir: dir.to_owned(), source })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Fault::Locked { dir: dir.to_owned() }),
        Err(TryLockError::Error(source)) => Err(Fault::Lock { dir: dir.to_owned(), source }),
    }
}

const LOCK: &str = "lock";
/// Asking the API costs less than waiting longer for a disk.
const OPEN_WITHIN: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
