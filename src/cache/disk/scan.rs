//! Decides what an earlier process left that is worth keeping. Reads only heads; removes nothing itself.

use std::fs::{self, DirEntry, File};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use super::format::{Head, Named, damaged, file_name, named, on_disk};
use super::index::Content;

/// What was found in the directory.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// By key; least recently used first.
    pub(super) contents: Vec<(Arc<str>, Content)>,
    /// Files of ours that are of no use, and what they take.
    pub(super) useless: Vec<(String, u64)>,
    /// How many of those were damaged, of another version or unreadable. Parts are no damage.
    pub(super) damaged: u64,
}

/// Looks through the directory. A body is verified when it is read, not here: that would be gigabytes.
///
/// # Errors
/// The directory cannot be listed. A file that cannot be read is useless, no error.
pub(super) fn look(dir: &Path) -> io::Result<Left> {
    let mut left = Left::default();
    let mut used = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        // Without following a link: what is not a plain file was not made here.
        if !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        let bytes = entry.metadata().map_or(0, |known| on_disk(known.len()));
        match named(&name) {
            Named::Stranger => {}
            Named::Part => left.useless.push((name, bytes)),
            Named::Content => match read(&entry, &name) {
                Ok(found) => used.push(found),
                Err(_) => {
                    left.damaged += 1;
                    left.useless.push((name, bytes));
                }
            },
        }
    }
    used.sort_by(|(at, key, _), (other_at, other, _)| (at, key).cmp(&(other_at, other)));
    left.contents = used.into_iter().map(|(_, key, content)| (key, content)).collect();
    Ok(left)
}

fn read(entry: &DirEntry, name: &str) -> io::Result<(SystemTime, Arc<str>, Content)> {
    let file = File::open(entry.path())?;
    let head = Head::read(&file)?;
    if file_name(&head.key) != name {
        return Err(damaged());
    }
    let content = Content {
        meta: Arc::new(head.meta),
        body_bytes: head.body_bytes,
        file_bytes: on_disk(head.body_at.saturating_add(head.body_bytes)),
        name: name.to_owned(),
    };
    Ok((file.metadata()?.modified()?, head.key.into(), content))
}
