//! Files that lines are appended to.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{Access, OFlags, access, fcntl_getfl, fcntl_setfl};

/// Opens a file to append to, and makes it with this mode if it is missing. A terminal, a
/// device or a named pipe that somebody reads will do; one that nobody reads is not waited
/// for. Writing waits for the reader.
///
/// # Errors
///
/// What the system says: `ENXIO` for a named pipe that nobody reads.
pub fn open(path: &Path, mode: u32) -> io::Result<File> {
    let file = File::options()
        .append(true)
        .create(true)
        .mode(mode)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)?;
    fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
    Ok(file)
}

/// Whether [`open`] would succeed, without making the file.
///
/// # Errors
///
/// As for [`open`].
pub fn check(path: &Path) -> io::Result<()> {
    if path.try_exists()? {
        return open(path, 0).map(drop);
    }
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    access(directory, Access::WRITE_OK | Access::EXEC_OK)?;
    if directory.is_dir() {
        Ok(())
    } else {
        Err(io::ErrorKind::NotADirectory.into())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::fs::MetadataExt;

    use rustix::fs::{CWD, Mode, mkfifoat};

    use super::*;

    #[test]
    fn a_pipe_that_nobody_reads_is_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        open(&path, 0o600).unwrap().write_all(b"one").unwrap();
        open(&path, 0o644).unwrap().write_all(b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"onetwo");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        open(Path::new("/dev/null"), 0o600).unwrap();

        let pipe = directory.path().join("pipe");
        mkfifoat(CWD, &pipe, Mode::RUSR | Mode::WUSR).unwrap();
        let error = open(&pipe, 0o600).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENXIO));
        let mut reader = File::options()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(&pipe)
            .unwrap();
        let mut writer = open(&pipe, 0o600).unwrap();
        writer.write_all(b"line").unwrap();
        let mut read = [0; 4];
        reader.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"line");
        let flags = fcntl_getfl(&writer).unwrap();
        assert!(
            !flags.contains(OFlags::NONBLOCK),
            "who is slow is waited for"
        );
    }
}
