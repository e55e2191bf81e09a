//! Reads files that somebody else may have written: never more than asked for, and never from what may not end.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

/// The whole file. Blocks as long as the disk does.
///
/// # Errors
/// `FileTooLarge` beyond `max_bytes`, of which one byte more is read; `InvalidInput` for a pipe or a socket, which would
/// be waited for; else what the system says.
pub fn read(file: &Path, max_bytes: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(max_bytes).unwrap_or(u64::MAX).saturating_add(1);
    open(file)?.take(limit).read_to_end(&mut bytes)?;
    if bytes.len() > max_bytes {
        let problem = format!("is longer than {max_bytes} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, problem));
    }
    Ok(bytes)
}

/// Opens a file for reading.
///
/// # Errors
/// `InvalidInput` for a pipe or a socket; else what the system says.
pub fn open(file: &Path) -> io::Result<File> {
    // Before it is opened: to open a pipe is to wait for its writer.
    let kind = fs::metadata(file)?.file_type();
    if kind.is_fifo() || kind.is_socket() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "is a pipe or a socket, not a file"));
    }
    File::open(file)
}

/// The same as text.
///
/// # Errors
/// As [`read`]; `InvalidData` if it is not UTF-8.
pub fn read_text(file: &Path, max_bytes: usize) -> io::Result<String> {
    String::from_utf8(read(file, max_bytes)?)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    fn kind(file: &Path) -> Result<usize, io::ErrorKind> {
        read(file, 100).map(|bytes| bytes.len()).map_err(|error| error.kind())
    }

    #[test]
    fn what_is_too_long_endless_or_no_file_is_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for length in [0, 100, 101, 1_000_000] {
            fs::write(path("file"), vec![b'x'; length]).unwrap();
            let expected = if length <= 100 { Ok(length) } else { Err(io::ErrorKind::FileTooLarge) };
            assert_eq!(kind(&path("file")), expected);
        }
        assert_eq!(kind(&path("none")), Err(io::ErrorKind::NotFound));
        assert_eq!(kind(dir.path()), Err(io::ErrorKind::IsADirectory));
        assert_eq!(kind(Path::new("/dev/null")), Ok(0));
        assert_eq!(kind(Path::new("/dev/zero")), Err(io::ErrorKind::FileTooLarge));
        let _socket = UnixListener::bind(path("socket")).unwrap();
        assert_eq!(kind(&path("socket")), Err(io::ErrorKind::InvalidInput));
        let made = std::process::Command::new("mkfifo").arg(path("pipe")).status().unwrap();
        assert!(made.success());
        assert_eq!(kind(&path("pipe")), Err(io::ErrorKind::InvalidInput));
    }

    #[test]
    fn text_is_utf_8() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, [b'a', 0xff]).unwrap();
        assert_eq!(read_text(&file, 100).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
