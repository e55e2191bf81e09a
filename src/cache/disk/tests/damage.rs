//! What becomes of files that were cut, flipped, swapped or left half-written.

use super::*;

/// Changes a file between two lives of the process.
fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// What is left of a content of three blocks after `change`: whether it is found after a restart.
async fn survives(change: impl FnOnce(&mut Vec<u8>)) -> bool {
    let world = World::new();
    world.keep("a", &bytes(3 * BLOCK, 1));
    world.keep("b", b"untouched");
    let path = world.path("a");
    let world = world.restarted(|_| edit(&path, change));
    assert_eq!(world.body("b").await.unwrap(), b"untouched");
    let is_found = world.disk.find("a").is_some();
    assert_eq!(path.exists(), is_found, "a useless file is removed");
    assert_eq!(world.disk.glance().failures, u64::from(!is_found));
    is_found
}

#[tokio::test]
async fn damaged_foreign_and_cut_files_are_dropped_at_the_start() {
    let check = async |what: &str, change: &dyn Fn(&mut Vec<u8>)| {
        assert!(!survives(change).await, "{what}");
    };
    check("empty", &|file| file.clear()).await;
    check("cut in the head", &|file| file.truncate(20)).await;
    check("cut in the key", &|file| file.truncate(28)).await;
    check("cut in the body", &|file| file.truncate(BLOCK)).await;
    check("one byte short", &|file| file.truncate(file.len() - 1)).await;
    check("one byte long", &|file| file.push(0)).await;
    check("another version", &|file| file[8] += 1).await;
    check("a huge key", &|file| file[15] = 0xff).await;
    check("a huge body", &|file| file[27] = 0xff).await;
    check("a stranger's bytes", &|file| file.fill(b'x')).await;
    check("zeros, as after a power cut", &|file| file.fill(0)).await;
}

#[tokio::test]
async fn no_flipped_bit_of_a_head_goes_unseen() {
    let world = World::new();
    world.keep("key", b"body");
    let whole = fs::read(world.path("key")).unwrap();
    let file = world.dir.path().join("copy");
    for at in 0..whole.len() - 4 {
        for bit in 0..8 {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << bit;
            fs::write(&file, flipped).unwrap();
            assert!(format::Head::read(&File::open(&file).unwrap()).is_err(), "byte {at} bit {bit}");
        }
    }
}

#[tokio::test]
async fn a_file_under_another_content_s_name_is_dropped() {
    let world = World::new();
    world.keep("a", b"one");
    world.keep("b", b"two");
    let (one, two) = (world.path("a"), world.path("b"));
    let world = world.restarted(|_| fs::rename(one, two).unwrap());
    assert!(world.disk.find("a").is_none() && world.disk.find("b").is_none());
    assert_eq!(world.names(), [""; 0]);
}

#[tokio::test]
async fn a_damaged_first_block_is_a_miss_and_the_file_goes() {
    let world = World::new();
    world.keep("a", &bytes(3 * BLOCK, 1));
    edit(&world.path("a"), |file| {
        let first = file.len() - 3 * BLOCK;
        file[first + 5] ^= 1;
    });
    assert!(world.body("a").await.is_none());
    world.settle();
    assert!(world.disk.find("a").is_none());
    assert_eq!(world.names(), [""; 0]);
    assert_eq!(world.disk.glance().failures, 1);
}

/// Reads until the body ends or breaks: bytes that came, and how it ended.
async fn read_on(mut body: Body) -> (Vec<u8>, Result<(), BodyError>) {
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => read.extend(frame.into_data().unwrap()),
            Err(error) => {
                assert!(!http_body::Body::is_end_stream(&body), "a broken body does not look finished");
                assert!(body.frame().await.is_none());
                return (read, Err(error));
            }
        }
    }
    (read, Ok(()))
}

#[tokio::test]
async fn a_damaged_later_block_breaks_the_reader_before_its_bytes_are_seen() {
    type Change = fn(&mut Vec<u8>);
    let changes: [Change; 3] = [
        |file| {
            let last = file.len() - 1;
            file[last] ^= 0x80;
        },
        |file| file.truncate(file.len() - 1),
        // One whole block in the place of another.
        |file| {
            let end = file.len();
            file.copy_within(end - 2 * BLOCK..end - BLOCK, end - BLOCK);
        },
    ];
    for change in changes {
        let world = World::new();
        let whole = bytes(4 * BLOCK, 1);
        world.keep("a", &whole);
        let found = world.disk.find("a").unwrap();
        let body = world.disk.read(&found, None).await.unwrap();
        edit(&world.path("a"), change);
        let (read, end) = read_on(body).await;
        assert_eq!(read, whole[..3 * BLOCK]);
        assert!(matches!(end, Err(BodyError::Cache(_))), "{end:?}");
        world.settle();
        assert!(world.disk.find("a").is_none());
        assert_eq!(world.names(), [""; 0]);
        assert_eq!(world.disk.glance().failures, 1);
    }
}

#[tokio::test]
async fn a_fault_of_an_old_file_does_not_touch_the_new_one() {
    let world = World::new();
    world.keep("a", &bytes(4 * BLOCK, 1));
    let found = world.disk.find("a").unwrap();
    let body = world.disk.read(&found, None).await.unwrap();
    let held = File::options().write(true).open(world.path("a")).unwrap();
    world.keep("a", b"new");
    held.set_len(10).unwrap();
    assert!(read_on(body).await.1.is_err());
    world.settle();
    assert_eq!(world.body("a").await.unwrap(), b"new");
}

#[tokio::test]
async fn what_a_crash_left_is_removed_and_what_strangers_left_stays() {
    let world = World::new();
    world.keep("a", b"kept");
    let name = format::file_name("b");
    let part = format::part_name(&name);
    let world = world.restarted(|dir| {
        fs::write(dir.join(&part), b"half").unwrap();
        fs::write(dir.join("content-notes.txt"), b"a stranger's").unwrap();
        fs::write(dir.join(format!("{name}.bak")), b"a stranger's").unwrap();
        fs::create_dir(dir.join(format::file_name("c"))).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.join(format::file_name("d"))).unwrap();
    });
    let mut expected = vec![
        format::file_name("a"),
        "content-notes.txt".to_owned(),
        format!("{name}.bak"),
        format::file_name("c"),
        format::file_name("d"),
    ];
    expected.sort();
    assert_eq!(world.names(), expected);
    assert_eq!(world.body("a").await.unwrap(), b"kept");
    assert_eq!(world.disk.glance().failures, 0);
    world.disk.clear();
    world.settle();
    assert_eq!(world.names().len(), 4);
}

/// Every prefix of a file is what a crash while writing could leave, were it named as whole.
#[tokio::test]
async fn no_part_of_a_file_reads_as_whole() {
    let world = World::new();
    let body = bytes(BLOCK + 100, 1);
    world.keep("a", &body);
    let whole = fs::read(world.path("a")).unwrap();
    let file = world.dir.path().join("copy");
    for length in (0..whole.len()).step_by(97).chain(whole.len() - 5..whole.len()) {
        // A file may also have its length before it has its bytes.
        for padded in [false, true] {
            let mut part = whole[..length].to_vec();
            part.resize(if padded { whole.len() } else { length }, 0);
            fs::write(&file, part).unwrap();
            let opened = Opened::open(&file, "a", &meta(body.len()), format::length(&body));
            let read = opened.and_then(|opened| Ok((opened.block(0)?, opened.block(1)?)));
            assert!(read.is_err() || whole[length..].iter().all(|byte| *byte == 0), "{length} bytes");
        }
    }
}
