//! Large bodies pass in blocks, in parts, and under the hands of a reader while they are removed.

use std::os::unix::fs::FileExt;

use super::*;

#[tokio::test]
async fn every_range_is_the_same_part_of_the_body() {
    let world = World::new();
    let whole = bytes(3 * BLOCK + 100, 5);
    world.keep("a", &whole);
    let found = world.disk.find("a").unwrap();
    let edges = [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 3 * BLOCK, 3 * BLOCK + 99, 3 * BLOCK + 100];
    for start in edges {
        for end in edges.into_iter().chain([usize::MAX]) {
            let range = u64::try_from(start).unwrap()..u64::try_from(end).unwrap();
            let body = world.disk.read(&found, Some(range)).await.unwrap();
            let expected = whole.get(start..end.min(whole.len())).unwrap_or_default();
            let hint = http_body::Body::size_hint(&body);
            assert_eq!(hint.exact(), Some(format::length(expected)));
            assert_eq!(body.collect().await.unwrap().to_bytes(), expected, "{start}..{end}");
        }
    }
    let beyond = world.disk.read(&found, Some(u64::MAX..u64::MAX)).await.unwrap();
    assert!(beyond.collect().await.unwrap().to_bytes().is_empty());
}

#[tokio::test]
async fn a_range_needs_only_its_own_blocks() {
    let world = World::new();
    let whole = bytes(3 * BLOCK, 5);
    world.keep("a", &whole);
    let file = File::options().write(true).open(world.path("a")).unwrap();
    let end = file.metadata().unwrap().len();
    let block = format::length(&whole[..BLOCK]);
    file.write_all_at(b"damage", end - 3 * block).unwrap();
    let found = world.disk.find("a").unwrap();
    let body = world.disk.read(&found, Some(block..3 * block)).await.unwrap();
    assert_eq!(body.collect().await.unwrap().to_bytes(), whole[BLOCK..]);
}

#[tokio::test]
async fn removal_and_eviction_break_no_reader() {
    let world = World::bounded(200 * 4096, 10);
    let whole = bytes(5 * BLOCK, 5);
    for remove in [true, false] {
        world.keep("a", &whole);
        let found = world.disk.find("a").unwrap();
        let mut body = world.disk.read(&found, None).await.unwrap();
        let mut read = body.frame().await.unwrap().unwrap().into_data().unwrap().to_vec();
        if remove {
            assert!(world.disk.remove("a"));
        } else {
            world.keep("b", &bytes(5 * BLOCK, 6));
        }
        world.settle();
        assert!(!world.path("a").exists());
        assert!(world.disk.read(&found, None).await.is_none());
        read.extend(body.collect().await.unwrap().to_bytes());
        assert_eq!(read, whole);
    }
    assert_eq!(world.disk.glance().failures, 0);
}

/// A reader that had the next blocks in memory already would not see that they were damaged meanwhile.
#[tokio::test]
async fn a_slow_reader_of_100_mb_is_one_block_ahead_and_no_more() {
    let world = World::new();
    let whole = bytes(100_000_000, 9);
    let began = tokio::time::Instant::now();
    world.keep("a", &whole);
    let wrote = began.elapsed();

    let found = world.disk.find("a").unwrap();
    let began = tokio::time::Instant::now();
    let mut body = world.disk.read(&found, None).await.unwrap();
    let mut read = 0;
    let mut is_same = true;
    while let Some(frame) = body.frame().await {
        let data = frame.unwrap().into_data().unwrap();
        assert!(data.len() <= BLOCK);
        is_same &= whole[read..].starts_with(&data);
        read += data.len();
    }
    eprintln!("100 MB written (with sync) in {wrote:?}, read and compared in {:?}", began.elapsed());
    assert!(is_same && read == whole.len());

    let mut body = world.disk.read(&found, None).await.unwrap();
    let file = File::options().write(true).open(world.path("a")).unwrap();
    for _ in 0..10 {
        body.frame().await.unwrap().unwrap();
    }
    let at = file.metadata().unwrap().len() - format::length(&whole) + format::length(&whole[..11 * BLOCK]);
    file.write_all_at(b"damage", at).unwrap();
    body.frame().await.unwrap().expect("this block may have been ahead or not, but is whole");
    assert!(matches!(body.frame().await, Some(Err(BodyError::Cache(_)))), "this one was still on the disk");
}

#[tokio::test(start_paused = true)]
async fn time_that_only_tests_see_does_not_end_a_read() {
    let world = World::new();
    let whole = bytes(20 * BLOCK, 9);
    world.keep("a", &whole);
    let found = world.disk.find("a").unwrap();
    let body = world.disk.read(&found, None).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(body.collect().await.unwrap().to_bytes(), whole);
}

#[tokio::test]
async fn a_reader_that_leaves_harms_nobody() {
    let world = World::new();
    let whole = bytes(20 * BLOCK, 9);
    world.keep("a", &whole);
    let found = world.disk.find("a").unwrap();
    for frames in 0..10 {
        let mut body = world.disk.read(&found, None).await.unwrap();
        for _ in 0..frames {
            body.frame().await.unwrap().unwrap();
        }
    }
    drop(world.disk.read(&found, None));
    assert_eq!(world.body("a").await.unwrap(), whole);
    assert_eq!(world.disk.glance().failures, 0);
}
