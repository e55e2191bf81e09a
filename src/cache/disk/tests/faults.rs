//! A disk that is full, read-only, gone or hanging costs a miss and a count, never a request.

use std::io::{BufRead, BufReader};
use std::process::Command;

use super::*;

/// Runs one test of this binary again in a shell that was prepared; it finds `CHILD` among its arguments, where it passes
/// for one more name of a test.
///
/// `$0` is this binary and `$@` its arguments.
fn again(test: &str, shell: &mut Command) {
    let exe = std::env::current_exe().unwrap();
    let name = format!("cache::disk::tests::faults::{test}");
    let output = shell.arg(exe).args([&name, "--exact", "--nocapture", CHILD]).output().unwrap();
    let told =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
}

fn sh(script: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", script]);
    shell
}

fn is_child() -> bool {
    std::env::args().any(|argument| argument == CHILD)
}

/// A shell with mounts of its own, if this machine allows that; a container may not.
fn private_mounts() -> Option<Command> {
    let allowed = Command::new("unshare").args(["--mount", "true"]).output();
    let mut shell = Command::new("unshare");
    shell.args(["--mount", "sh", "-c", "exec \"$0\" \"$@\""]);
    allowed.is_ok_and(|output| output.status.success()).then_some(shell)
}

fn mount(arguments: &[&str], dir: &Path) {
    let output = Command::new("mount").args(arguments).arg(dir).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

const CHILD: &str = "as-a-child";

/// A write that the system refuses half-way, by a limit on the size of files that needs no rights.
#[tokio::test]
async fn a_write_that_fails_half_way_is_a_miss_and_a_count() {
    if !is_child() {
        // 512 or 1024 bytes each: one or two MiB.
        return again(
            "a_write_that_fails_half_way_is_a_miss_and_a_count",
            &mut sh("trap '' XFSZ; ulimit -f 2048; exec \"$0\" \"$@\""),
        );
    }
    let world = World::new();
    world.keep("small", b"small");
    world.keep("large", &bytes(5_000_000, 1));
    assert!(world.disk.find("large").is_none());
    assert_eq!(world.names().len(), 1, "nothing of it is left");
    assert_eq!(world.disk.glance().failures, 1);
    assert_eq!(world.disk.glance().bytes, 4096);
    world.keep("next", b"next");
    assert_eq!(world.body("next").await.unwrap(), b"next");
    assert_eq!(world.body("small").await.unwrap(), b"small");
}

#[tokio::test]
async fn a_full_disk_is_a_miss_and_a_count() {
    if !is_child() {
        return private_mounts().map_or_else(
            || eprintln!("no mounts here: only the limit on files was tried"),
            |mut shell| again("a_full_disk_is_a_miss_and_a_count", &mut shell),
        );
    }
    let world = World::new();
    let world = world.restarted(|dir| mount(&["-t", "tmpfs", "-o", "size=4m", "tmpfs"], dir));
    world.keep("small", b"small");
    world.keep("large", &bytes(5_000_000, 1));
    assert!(world.disk.find("large").is_none());
    assert_eq!((world.names().len(), world.disk.glance().failures), (1, 1));
    world.keep("fits", &bytes(3_000_000, 2));
    assert_eq!(world.body("fits").await.unwrap(), bytes(3_000_000, 2));
    // Laid over itself, as the lock file is open for writing on the mount below.
    mount(&["--bind", world.settings.dir.to_str().unwrap()], &world.settings.dir);
    mount(&["-o", "remount,bind,ro"], &world.settings.dir);
    world.keep("refused", b"refused");
    assert!(world.disk.find("refused").is_none());
    assert_eq!(world.body("fits").await.unwrap(), bytes(3_000_000, 2), "reading goes on");
    assert!(world.disk.remove("fits"));
    world.settle();
    assert!(world.body("fits").await.is_none());
    assert!(world.path("fits").exists(), "it cannot be removed yet");
    mount(&["-o", "remount,bind,rw"], &world.settings.dir);
    world.keep("next", b"next");
    assert_eq!(world.names().len(), 2, "what could not be removed is removed later");
    assert_eq!(world.body("next").await.unwrap(), b"next");
    let World { dir, settings, disk, writer } = world;
    writer.close(PATIENCE);
    drop(disk);
    for _ in 0..2 {
        let output = Command::new("umount").arg(&settings.dir).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    dir.close().unwrap();
}

#[tokio::test]
async fn without_file_descriptors_a_read_is_a_miss_and_the_file_stays() {
    if !is_child() {
        return again(
            "without_file_descriptors_a_read_is_a_miss_and_the_file_stays",
            &mut sh("ulimit -n 64; exec \"$0\" \"$@\""),
        );
    }
    let world = World::new();
    world.keep("a", b"body");
    let taken: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).take(1000).collect();
    assert!(taken.len() < 64);
    assert!(world.body("a").await.is_none());
    world.keep("b", b"body");
    assert!(world.disk.find("b").is_none());
    assert_eq!(world.disk.glance().failures, 2);
    drop(taken);
    assert_eq!(world.body("a").await.unwrap(), b"body");
    world.keep("b", b"body");
    assert_eq!(world.body("b").await.unwrap(), b"body");
}

/// A process that is killed while it writes, again and again in the same directory.
#[tokio::test]
async fn a_killed_process_leaves_only_whole_contents() {
    let length = |n: u32| usize::try_from(n % 7).unwrap() * 100_000 + 1;
    if is_child() {
        let dir = std::env::args().next_back().unwrap();
        let settings = DiskSettings {
            dir: dir.into(),
            max_bytes: 2_000_000,
            max_entries: 100,
            max_queued_bytes: 1_500_000,
        };
        let (disk, _writer) = Disk::open(settings, Clock::system()).unwrap();
        for n in (0..u32::MAX).cycle() {
            disk.keep(&format!("{}", n % 40), meta(length(n % 40)), chunks(&bytes(length(n % 40), n % 40)));
            eprintln!("kept");
        }
    }
    let mut world = World::new();
    for kept in [1, 20, 35, 50] {
        world = world.restarted(|dir| {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["cache::disk::tests::faults::a_killed_process_leaves_only_whole_contents", "--exact"])
                .args(["--nocapture", CHILD])
                .arg(dir)
                .stderr(std::process::Stdio::piped())
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap();
            let lines = BufReader::new(child.stderr.take().unwrap()).lines();
            assert_eq!(lines.take(kept).filter(|line| line.as_ref().unwrap() == "kept").count(), kept);
            child.kill().unwrap();
            child.wait().unwrap();
        });
        assert_eq!(world.disk.glance().failures, 0, "nothing half-written has the name of a whole file");
        assert!(world.disk.glance().bytes <= 2_000_000);
        for n in 0..40 {
            if let Some(body) = world.body(&format!("{n}")).await {
                assert!(body == bytes(length(n), n));
            }
        }
        assert_eq!(format::length(&vec![0; world.names().len()]), world.disk.glance().entries);
    }
    assert!(world.disk.glance().entries > 0);
}

#[tokio::test]
async fn a_vanished_directory_is_a_miss_and_a_count() {
    let world = World::new();
    world.keep("a", &bytes(3 * BLOCK, 1));
    let found = world.disk.find("a").unwrap();
    let reader = world.disk.read(&found, None).await.unwrap();
    fs::remove_dir_all(&world.settings.dir).unwrap();
    assert!(world.disk.read(&found, None).await.is_none());
    world.keep("b", b"body");
    assert!(world.disk.find("a").is_none() && world.disk.find("b").is_none());
    assert_eq!(world.disk.glance().failures, 2);
    assert_eq!(world.disk.glance().bytes, 0);
    assert_eq!(reader.collect().await.unwrap().to_bytes(), bytes(3 * BLOCK, 1));
}

/// On the real clock: a paused one stands still as long as a thread is in the system.
#[tokio::test]
async fn a_disk_that_hangs_is_a_miss_and_the_content_stays() {
    let world = World::new();
    world.keep("a", b"body");
    let (path, aside) = (world.path("a"), world.dir.path().join("aside"));
    fs::rename(&path, &aside).unwrap();
    // Opening a pipe waits until somebody writes to it.
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    assert!(world.body("a").await.is_none());
    assert_eq!((world.disk.glance().failures, world.disk.glance().entries), (1, 1));
    let released = File::options().write(true).open(&path).unwrap();
    fs::rename(&aside, &path).unwrap();
    drop(released);
    assert_eq!(world.body("a").await.unwrap(), b"body");
}

#[tokio::test]
async fn a_file_in_the_place_of_the_directory_is_a_fault() {
    let dir = tempfile::tempdir().unwrap();
    let open = |path: PathBuf| {
        let settings = DiskSettings { dir: path, max_bytes: 1, max_entries: 1, max_queued_bytes: 1 };
        Disk::open(settings, Clock::system())
    };
    fs::write(dir.path().join("file"), b"").unwrap();
    assert!(matches!(open(dir.path().join("file")), Err(Fault::Dir { .. })));
    assert!(matches!(open(dir.path().join("file/below")), Err(Fault::Dir { .. })));
    fs::create_dir_all(dir.path().join("dir").join(LOCK)).unwrap();
    assert!(matches!(open(dir.path().join("dir")), Err(Fault::Lock { .. })));
}
