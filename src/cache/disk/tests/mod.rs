//! What the disk tier keeps, finds again after a restart, and lets go of first.

use std::os::unix::fs::PermissionsExt;

use http::header;
use http_body_util::BodyExt;
use tempfile::TempDir;

use super::*;
use crate::body::BodyError;

mod damage;
mod faults;
mod laws;
mod streaming;

/// A disk tier in a directory of its own.
struct World {
    dir: TempDir,
    settings: DiskSettings,
    disk: Disk,
    writer: Writer,
}

impl World {
    fn new() -> Self {
        Self::bounded(u64::MAX, usize::MAX)
    }

    fn bounded(max_bytes: u64, max_entries: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let settings = DiskSettings {
            dir: dir.path().join("disk"),
            max_bytes,
            max_entries,
            max_queued_bytes: 1024 * 1024 * 1024,
        };
        let (disk, writer) = Disk::open(settings.clone(), Clock::system()).unwrap();
        Self { dir, settings, disk, writer }.settled()
    }

    /// Ends and begins again, as another process would; `between` sees the closed directory.
    fn restarted(self, between: impl FnOnce(&Path)) -> Self {
        let Self { dir, settings, disk, writer } = self;
        writer.close(PATIENCE);
        drop(disk);
        between(&settings.dir);
        let (disk, writer) = Disk::open(settings.clone(), Clock::system()).unwrap();
        Self { dir, settings, disk, writer }.settled()
    }

    fn settled(self) -> Self {
        self.settle();
        self
    }

    /// Waits until the writer has nothing to do.
    fn settle(&self) {
        assert!(self.disk.0.wait_for_rest(PATIENCE), "the writer came to rest");
    }

    fn keep(&self, key: &str, body: &[u8]) {
        self.disk.keep(key, meta(body.len()), chunks(body));
        self.settle();
    }

    /// The body, or that nothing is kept.
    async fn body(&self, key: &str) -> Option<Vec<u8>> {
        let found = self.disk.find(key)?;
        let body = self.disk.read(&found, None).await?;
        Some(body.collect().await.unwrap().to_bytes().to_vec())
    }

    fn path(&self, key: &str) -> PathBuf {
        self.settings.dir.join(format::file_name(key))
    }

    /// Names in the directory but the lock.
    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(&self.settings.dir).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        names.retain(|name| name != LOCK);
        names.sort();
        names
    }
}

fn meta(length: usize) -> HeaderMap {
    let mut meta = HeaderMap::new();
    meta.insert(header::CONTENT_LENGTH, length.into());
    meta.insert(header::CONTENT_TYPE, "image/png".parse().unwrap());
    meta.insert(
        header::CONTENT_DISPOSITION,
        header::HeaderValue::from_bytes(b"attachment; filename=\"b\xc3\xbc: cher.png\"").unwrap(),
    );
    meta
}

/// In pieces that end nowhere near a block's end.
fn chunks(body: &[u8]) -> Arc<[Bytes]> {
    body.chunks(10_007).map(Bytes::copy_from_slice).collect()
}

/// Bytes that repeat in no short period.
fn bytes(length: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(length).collect()
}

const PATIENCE: Duration = Duration::from_secs(60);
const BLOCK: usize = format::BLOCK_BYTES;

#[tokio::test]
async fn what_was_kept_is_found_with_its_fields() {
    let world = World::new();
    for length in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 3 * BLOCK + 17] {
        let key = format!("/v1/contents/{length}");
        let body = bytes(length, 7);
        world.keep(&key, &body);
        let found = world.disk.find(&key).unwrap();
        assert_eq!(found.meta(), &meta(length));
        assert_eq!(found.body_bytes(), format::length(&body));
        assert_eq!(world.body(&key).await.unwrap(), body, "{length}");
    }
    assert!(world.disk.find("/v1/contents/other").is_none());
    let glance = world.disk.glance();
    assert_eq!((glance.entries, glance.failures, glance.dropped, glance.evicted), (7, 0, 0, 0));
}

#[tokio::test]
async fn a_restart_finds_everything_again() {
    let world = World::new();
    let bodies: Vec<_> = (0..20).map(|n| (format!("/v1/contents/{n}"), bytes(5_000 * n, 3))).collect();
    for (key, body) in &bodies {
        world.keep(key, body);
    }
    let before = world.disk.glance();
    let world = world.restarted(|_| {});
    assert_eq!(world.disk.glance(), before);
    for (key, body) in &bodies {
        assert_eq!(world.disk.find(key).unwrap().meta(), &meta(body.len()));
        assert_eq!(world.body(key).await.as_ref(), Some(body));
    }
}

#[tokio::test]
async fn what_is_queued_is_written_before_the_end() {
    let world = World::new();
    for n in 0..10 {
        world.disk.keep(&format!("{n}"), meta(200_000), chunks(&bytes(200_000, n)));
    }
    let world = world.restarted(|_| {});
    assert_eq!(world.disk.glance().entries, 10);
}

#[tokio::test]
async fn dropping_the_writer_gives_the_directory_back() {
    let World { dir: _dir, settings, disk, writer } = World::new();
    for n in 0..50 {
        disk.keep(&format!("{n}"), meta(200_000), chunks(&bytes(200_000, n)));
    }
    drop(writer);
    disk.keep("late", meta(3), chunks(b"abc"));
    assert!(disk.glance().dropped > 0);
    let (_disk, _writer) = Disk::open(settings, Clock::system()).unwrap();
}

#[tokio::test]
async fn a_directory_has_one_process() {
    let world = World::new();
    let second = Disk::open(world.settings.clone(), Clock::system());
    assert!(matches!(second, Err(Fault::Locked { dir }) if dir == world.settings.dir));
}

#[tokio::test]
async fn files_and_directory_are_for_their_owner_and_say_nothing() {
    let world = World::new();
    world.keep("/v1/contents/Y2lzY29zcGFyazovL3VzL0NPTlRFTlQ", b"secret");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&world.settings.dir), 0o700);
    for name in world.names() {
        assert_eq!(mode(&world.settings.dir.join(&name)), 0o600);
        assert!(!name.contains("Y2lz") && name.len() == 72, "{name}");
    }
    assert_eq!(mode(&world.settings.dir.join(LOCK)), 0o600);
}

#[tokio::test]
async fn the_bound_holds_and_the_least_recently_used_goes_first() {
    // One block and its head take 33 pages; three such files fit.
    let world = World::bounded(3 * 33 * 4096, usize::MAX);
    for n in 0..3 {
        world.keep(&format!("{n}"), &bytes(BLOCK, n));
    }
    assert!(world.body("0").await.is_some());
    world.keep("3", &bytes(BLOCK, 3));
    let kept =
        |world: &World| (0..4).filter(|n| world.disk.find(&format!("{n}")).is_some()).collect::<Vec<_>>();
    assert_eq!(kept(&world), [0, 2, 3]);
    assert_eq!(world.disk.glance().bytes, 3 * 33 * 4096);
    assert_eq!(world.disk.glance().evicted, 1);
    assert_eq!(world.names().len(), 3);
    // The order of uses, not of writing, is found again.
    assert!(world.body("2").await.is_some());
    assert!(world.body("0").await.is_some());
    let mut world = world;
    world.settings.max_bytes = 2 * 33 * 4096;
    let world = world.restarted(|_| {});
    assert_eq!(kept(&world), [0, 2]);
    assert_eq!(world.names().len(), 2);
    world.keep("4", &bytes(BLOCK, 4));
    assert_eq!(kept(&world), [0]);
}

#[tokio::test]
async fn the_number_of_files_is_bounded() {
    let world = World::bounded(u64::MAX, 5);
    for n in 0..12 {
        world.keep(&format!("{n}"), b"small");
        assert!(world.disk.glance().entries <= 5);
    }
    assert_eq!(world.names().len(), 5);
    let mut world = world;
    world.settings.max_entries = 2;
    let world = world.restarted(|_| {});
    assert_eq!((world.disk.glance().entries, world.names().len()), (2, 2));
    assert!(world.disk.find("11").is_some());
}

#[tokio::test]
async fn what_is_too_large_is_not_kept() {
    let world = World::bounded(64 * 1024, 10);
    world.keep("small", b"small");
    world.keep("large", &bytes(64 * 1024, 1));
    let mut large = meta(1);
    large.insert("etag", "x".repeat(70_000).parse().unwrap());
    world.disk.keep("fields", large, chunks(b"x"));
    world.disk.keep(&"k".repeat(70_000), meta(1), chunks(b"x"));
    world.settle();
    let glance = world.disk.glance();
    assert_eq!((glance.entries, glance.dropped, glance.evicted), (1, 3, 0));
}

#[tokio::test]
async fn a_full_queue_drops_and_counts() {
    let mut world = World::new();
    world.settings.max_queued_bytes = 1024 * 1024;
    let world = world.restarted(|_| {});
    let body = chunks(&bytes(500_000, 1));
    for n in 0..200 {
        world.disk.keep(&format!("{n}"), meta(500_000), Arc::clone(&body));
    }
    let world = world.settled();
    let glance = world.disk.glance();
    assert_eq!(glance.entries + glance.dropped, 200);
    assert!(glance.entries >= 1 && glance.dropped >= 1, "{glance:?}");
    // One body larger than the whole queue is still taken when nothing waits.
    world.keep("large", &bytes(2 * 1024 * 1024, 1));
    assert!(world.disk.find("large").is_some());
}

#[tokio::test]
async fn the_same_content_is_not_written_twice_and_another_one_replaces_it() {
    let world = World::new();
    world.keep("a", b"one");
    let before = fs::metadata(world.path("a")).unwrap().modified().unwrap();
    world.keep("a", b"one");
    assert_eq!(fs::metadata(world.path("a")).unwrap().modified().unwrap(), before);
    let old = world.disk.find("a").unwrap();
    world.keep("a", b"other");
    assert_eq!(world.body("a").await.unwrap(), b"other");
    assert!(world.disk.read(&old, None).await.is_none(), "what was found is what is read");
    assert_eq!(world.disk.glance().entries, 1);
    assert_eq!(world.names().len(), 1);
}

#[tokio::test]
async fn removal_reaches_what_is_kept_queued_and_being_written() {
    let world = World::new();
    for n in 0..4 {
        world.keep(&format!("/v1/contents/{n}"), b"small");
    }
    assert!(world.disk.remove("/v1/contents/0"));
    assert!(!world.disk.remove("/v1/contents/0"));
    assert_eq!(world.disk.remove_where(|key| key.ends_with('1') || key.ends_with('2')), 2);
    assert_eq!(world.disk.clear(), 1);
    for n in 0..8 {
        world.disk.keep(&format!("{n}"), meta(4_000_000), chunks(&bytes(4_000_000, n)));
    }
    world.disk.clear();
    world.settle();
    assert_eq!(world.disk.glance().entries, 0);
    assert_eq!(world.disk.glance().bytes, 0);
    assert_eq!(world.disk.glance().failures, 0);
    let world = world.restarted(|_| {});
    assert_eq!(world.names(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_read_nothing_wrong() {
    let world = World::bounded(40 * 33 * 4096, 100);
    let mut tasks = Vec::new();
    for task in 0..8_u32 {
        let disk = world.disk.clone();
        tasks.push(tokio::spawn(async move {
            let mut hits = 0;
            for step in 0..150_u32 {
                let n = (task * 31 + step * 17) % 60;
                let key = format!("{n}");
                let length = 1000 + usize::try_from(n).unwrap() * 3000;
                match (task + step) % 5 {
                    0 => disk.keep(&key, meta(length), chunks(&bytes(length, n))),
                    1 if step % 3 == 0 => drop(disk.remove(&key)),
                    _ => {
                        let Some(found) = disk.find(&key) else { continue };
                        let Some(body) = disk.read(&found, None).await else { continue };
                        assert_eq!(body.collect().await.unwrap().to_bytes(), bytes(length, n));
                        hits += 1;
                    }
                }
                tokio::task::yield_now().await;
            }
            hits
        }));
    }
    let mut hits = 0;
    for task in tasks {
        hits += task.await.unwrap();
    }
    world.settle();
    let glance = world.disk.glance();
    assert!(hits > 0 && glance.bytes <= 40 * 33 * 4096, "{hits} {glance:?}");
    assert_eq!(glance.failures, 0);
    assert_eq!(format::length(&vec![0; world.names().len()]), glance.entries);
}
