//! The one thread that writes and removes files, and how it ends.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::format::{encode_head, file_name, part_name};
use super::index::Content;
use super::state::{Job, Phase, Shared, Work};

/// Keeps the writer's thread, and with it the lock on the directory. Who holds this ends it.
///
/// # Drop
/// Gives up what is queued; waits about as long as one chunk takes, never much longer than a second.
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread; it ends when this value is closed or dropped. `lock` is given back by its end.
    pub(super) fn start(shared: Arc<Shared>, lock: File) -> io::Result<Self> {
        let run = {
            let shared = Arc::clone(&shared);
            move || {
                run(&shared);
                drop(lock);
            }
        };
        let thread = std::thread::Builder::new().name("cache-disk".to_owned()).spawn(run)?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Takes no more bodies and writes what is queued, for at most `patience`; the rest is given up. Blocks.
    ///
    /// A disk that hangs costs one second more; then the thread is left behind.
    pub fn close(mut self, patience: Duration) {
        self.end(patience);
    }

    fn end(&mut self, patience: Duration) {
        let Some(thread) = self.thread.take() else { return };
        let go_to = |phase| {
            self.shared.change(|state| {
                if state.phase != Phase::Ended {
                    state.phase = phase;
                }
            });
        };
        go_to(Phase::Closing);
        let mut has_ended = !patience.is_zero() && self.shared.wait_for_rest(patience);
        if !has_ended {
            go_to(Phase::Abandoned);
            has_ended = self.shared.wait_for_rest(ABANDON_FOR);
        }
        if has_ended {
            // A panic of the thread was reported by the thread; there is nothing to be undone here.
            drop(thread.join());
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.end(Duration::ZERO);
    }
}

fn run(shared: &Shared) {
    while let Some(work) = shared.next() {
        match work {
            Work::Tidy(names) => tidy(shared, &names),
            Work::Write(job) => write(shared, &job),
        }
    }
}

/// Removes files. One that cannot be removed is tried again the next time, and its bytes count until then.
fn tidy(shared: &Shared, names: &[String]) {
    for name in names {
        let removed = fs::remove_file(shared.dir.join(name));
        let mut state = shared.lock();
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => state.counts.failures += 1,
            Ok(()) | Err(_) => state.index.has_left(name),
        }
    }
}

fn write(shared: &Shared, job: &Job) {
    let leaving = {
        let mut state = shared.lock();
        if state.has(&job.key, &job.meta, job.body_bytes) {
            state.written();
            return;
        }
        state.index.remove(&job.key);
        let evicted = state.index.make_room(job.file_bytes);
        state.counts.evicted += evicted;
        state.index.leaving()
    };
    // Before anything is written: the bound holds at every moment.
    tidy(shared, &leaving);
    let name = file_name(&job.key);
    let part = part_name(&name);
    let outcome = if shared.lock().index.has_room(job.file_bytes) {
        write_part(shared, job, &shared.dir.join(&part))
            .and_then(|()| fs::rename(shared.dir.join(&part), shared.dir.join(&name)))
    } else {
        Err(io::ErrorKind::StorageFull.into())
    };
    shared.change(|state| {
        let is_wanted = state.is_wanted();
        state.written();
        match outcome {
            Ok(()) if is_wanted => {
                let meta = Arc::new(job.meta.clone());
                let (body_bytes, file_bytes) = (job.body_bytes, job.file_bytes);
                state.index.has_left(&name);
                state.index.insert(Arc::clone(&job.key), Content { meta, body_bytes, file_bytes, name });
            }
            Ok(()) => state.leave(name, job.file_bytes),
            Err(_) => {
                // Given up because nobody wants it any more is no failure of the disk.
                state.counts.failures += u64::from(is_wanted);
                state.leave(part, job.file_bytes);
            }
        }
    });
}

/// Writes the whole file under its temporary name and waits until the disk has it.
///
/// The bytes are synced before the name says that the file is whole: otherwise, after a power cut, a file could have its
/// full length and zeros for a body, and the first reader would learn that after its answer has begun. It costs nobody
/// but this thread. The directory is not synced: a rename that is lost is a content that is not found.
fn write_part(shared: &Shared, job: &Job, part: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(part)?;
    file.write_all(&encode_head(&job.key, &job.meta, &job.chunks))?;
    for piece in job.chunks.iter().flat_map(|chunk| chunk.chunks(PIECE_BYTES)) {
        if !shared.lock().is_wanted() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        file.write_all(piece)?;
    }
    // The time of the last use; the file system's own may be coarser than the order of uses.
    file.set_modified(shared.clock.wall())?;
    file.sync_data()
}

/// How long a thread that was told to stop is waited for: one piece and one sync.
const ABANDON_FOR: Duration = Duration::from_secs(1);
/// Between two looks at whether the body is still wanted.
const PIECE_BYTES: usize = 1024 * 1024;
