//! Reading regular files, and nothing else.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use crate::text;

/// Opens a regular file for reading. Links are followed: an operator
/// who may name the file may name it by a link.
///
/// # Errors
///
/// What the system says; [`io::ErrorKind::InvalidInput`] for a named pipe, a socket or a
/// device, which could keep its reader waiting for ever, and
/// [`io::ErrorKind::IsADirectory`] for a directory.
pub fn open(path: &Path) -> io::Result<File> {
    // Before anything is opened, too: to open a device can be enough to set it off.
    check(&std::fs::metadata(path)?)?;
    let file = File::options()
        .read(true)
        // What has taken the file's place since then is not waited for either.
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)?;
    check(&file.metadata()?)?;
    Ok(file)
}

/// Reads a regular file, without a byte order mark of UTF-8 before its content.
///
/// # Errors
///
/// Those of [`open`], and what the system says of the reading.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = open(path)?;
    let mut content = Vec::new();
    file.read_to_end(&mut content)?;
    text::pass_over_mark(&mut content);
    Ok(content)
}

/// Reads a regular file as text.
///
/// # Errors
///
/// Those of [`read`]; [`io::ErrorKind::InvalidData`] if it is not UTF-8.
pub fn read_to_string(path: &Path) -> io::Result<String> {
    text::from_bytes(read(path)?)
}

/// Says what is wrong with what is there if it is no regular file.
///
/// # Errors
///
/// Those of [`open`].
pub fn check(found: &std::fs::Metadata) -> io::Result<()> {
    let kind = found.file_type();
    if kind.is_file() {
        return Ok(());
    }
    if kind.is_dir() {
        return Err(io::Error::from_raw_os_error(libc::EISDIR));
    }
    let what = if kind.is_fifo() {
        "it is a named pipe"
    } else if kind.is_socket() {
        "it is a socket"
    } else {
        "it is a device"
    };
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("{what}, not a regular file"),
    ))
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, Mode, mkfifoat};

    use super::*;

    #[test]
    fn only_regular_files_are_read_and_nothing_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("file"), "text").unwrap();
        std::os::unix::fs::symlink("file", path("link")).unwrap();
        assert_eq!(read_to_string(&path("file")).unwrap(), "text");
        assert_eq!(read(&path("link")).unwrap(), b"text");

        mkfifoat(CWD, path("pipe"), Mode::RUSR | Mode::WUSR).unwrap();
        std::os::unix::fs::symlink("pipe", path("link to pipe")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        for (name, told) in [
            ("pipe", "named pipe"),
            ("link to pipe", "named pipe"),
            ("socket", "socket"),
            ("/dev/zero", "device"),
            (".", "directory"),
            ("absent", "No such file"),
        ] {
            let error = read(&path(name)).unwrap_err().to_string();
            assert!(error.contains(told), "{name}: {error}");
        }
        std::fs::write(path("marked"), "\u{feff}text").unwrap();
        assert_eq!(read(&path("marked")).unwrap(), b"text");
        std::fs::write(path("binary"), b"\xff").unwrap();
        let error = read_to_string(&path("binary")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
