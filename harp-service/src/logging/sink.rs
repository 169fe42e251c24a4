//! The places that an entry is written to.

use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use harp_files::append;

use super::entry::{Entry, Field, Value};
use super::{LogFormat, LogHandler, format, journald, syslog};
use crate::private_file;
use crate::streams::Patient;

/// How long a log daemon may take to take a datagram.
const PATIENCE: Duration = Duration::from_millis(200);
/// How long one is left alone that did not take a datagram in that time.
const PAUSE: Duration = Duration::from_secs(1);

/// An output of the log, its name for people, and how it does.
#[derive(Debug)]
pub(super) struct Sink {
    destination: Destination,
    name: String,
    /// Lines that it did not take lately.
    lost: u64,
    /// Whether standard error has been told that it did not take some.
    told: bool,
}

#[derive(Debug)]
enum Destination {
    Stdout { colours: bool },
    Stderr { colours: bool },
    File { file: File, is_torn: bool },
    Syslog(Daemon),
    Journald(Daemon),
}

impl Sink {
    pub(super) fn of(handler: &LogHandler) -> Sink {
        let destination = match handler {
            LogHandler::Stdout => Destination::Stdout {
                colours: io::stdout().is_terminal(),
            },
            LogHandler::Stderr => Destination::Stderr {
                colours: io::stderr().is_terminal(),
            },
            LogHandler::Syslog(path) => Destination::Syslog(Daemon::at(path)),
            LogHandler::Journald(path) => Destination::Journald(Daemon::at(path)),
        };
        Sink::new(destination, handler.to_string())
    }

    /// Opens a log file, or makes it with mode 0600, in a directory that is made with mode
    /// 0700 if it is missing.
    pub(super) fn file(path: &Path) -> io::Result<Sink> {
        if let Some(directory) = path.parent().filter(|path| !path.as_os_str().is_empty()) {
            private_file::create_directory(directory)?;
        }
        let file = append::open(path, 0o600).map_err(|error| {
            let message = format!("cannot open the log file {}: {error}", path.display());
            io::Error::new(error.kind(), message)
        })?;
        let destination = Destination::File {
            file,
            is_torn: false,
        };
        Ok(Sink::new(destination, path.display().to_string()))
    }

    fn new(destination: Destination, name: String) -> Sink {
        Sink {
            destination,
            name,
            lost: 0,
            told: false,
        }
    }

    /// Writes entries, all at once where that can be done. Those that are not taken are
    /// lost here: standard error is told so once, and the place, when it takes lines again,
    /// how many it did not take. Returns how many that were.
    pub(super) fn write(&mut self, entries: &[Entry], format: LogFormat, ident: &str) -> u64 {
        let at_once = match self.destination {
            Destination::Syslog(_) | Destination::Journald(_) => 1,
            Destination::Stdout { .. } | Destination::Stderr { .. } | Destination::File { .. } => {
                usize::MAX
            }
        };
        let mut lost = 0;
        for entries in entries.chunks(at_once) {
            lost += self.write_together(entries, format, ident);
        }
        lost
    }

    fn write_together(&mut self, entries: &[Entry], format: LogFormat, ident: &str) -> u64 {
        match self.destination.write(entries, format, ident) {
            Ok(()) if self.lost > 0 => {
                let notice = [lost(self.lost)];
                if self.destination.write(&notice, format, ident).is_ok() {
                    self.lost = 0;
                }
                0
            }
            Ok(()) => 0,
            Err(Unwritten { lines, error }) => {
                self.lost += lines as u64;
                if !self.told {
                    self.told = true;
                    let name = &self.name;
                    // Nothing is left to be told if this fails.
                    let _ = writeln!(
                        io::stderr(),
                        "{ident}: cannot log to {name}: {error}; trying on, lines are lost"
                    );
                }
                lines as u64
            }
        }
    }
}

/// Line in the place of lines that could not be written.
pub(super) fn lost(lines: u64) -> Entry {
    let lines = Field {
        name: "lines",
        value: Value::Plain(lines.to_string()),
    };
    Entry::own(
        tracing::Level::WARN,
        "lines of the log are lost",
        vec![lines],
    )
}

impl Destination {
    fn write(
        &mut self,
        entries: &[Entry],
        format: LogFormat,
        ident: &str,
    ) -> Result<(), Unwritten> {
        let text = |colours| {
            let mut text = String::new();
            for entry in entries {
                text.push_str(&format::line(entry, format, colours));
                text.push('\n');
            }
            text
        };
        match self {
            Destination::Stdout { colours } => {
                write_lines(&mut Patient(io::stdout().lock()), &text(*colours))
            }
            Destination::Stderr { colours } => {
                write_lines(&mut Patient(io::stderr()), &text(*colours))
            }
            Destination::File { file, is_torn } => {
                if *is_torn {
                    let all = entries.len();
                    file.write_all(b"\n").map_err(Unwritten::all(all))?;
                }
                let written = write_lines(file, &text(false));
                *is_torn = written.is_err();
                written
            }
            Destination::Syslog(daemon) => each(entries, |entry| {
                daemon.send(&syslog::datagram(entry, format, ident))
            }),
            Destination::Journald(daemon) => each(entries, |entry| {
                daemon.send(&journald::datagram(entry, ident))
            }),
        }
    }
}

/// The last lines of several, which could not be written.
#[derive(Debug)]
struct Unwritten {
    lines: usize,
    error: io::Error,
}

impl Unwritten {
    fn all(lines: usize) -> impl FnOnce(io::Error) -> Unwritten {
        move |error| Unwritten { lines, error }
    }
}

/// Writes each by itself, up to the first that fails.
fn each(
    entries: &[Entry],
    mut write: impl FnMut(&Entry) -> io::Result<()>,
) -> Result<(), Unwritten> {
    for (index, entry) in entries.iter().enumerate() {
        write(entry).map_err(Unwritten::all(entries.len() - index))?;
    }
    Ok(())
}

/// Writes lines. If that fails, those are counted that are not written whole.
fn write_lines(place: &mut impl Write, lines: &str) -> Result<(), Unwritten> {
    let mut left = lines.as_bytes();
    while !left.is_empty() {
        match place.write(left) {
            Ok(written) if written > 0 => left = &left[written..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            failed => {
                let error = failed.err().unwrap_or(ErrorKind::WriteZero.into());
                let lines = left.iter().filter(|byte| **byte == b'\n').count();
                return Err(Unwritten { lines, error });
            }
        }
    }
    place.flush().map_err(Unwritten::all(0))
}

/// The socket of a log daemon, which may be started later or anew.
#[derive(Debug)]
struct Daemon {
    path: PathBuf,
    socket: Option<UnixDatagram>,
    /// Until when it is left alone.
    pause: Option<Instant>,
}

impl Daemon {
    fn at(path: &Path) -> Daemon {
        Daemon {
            path: path.to_owned(),
            socket: None,
            pause: None,
        }
    }

    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        if self.pause.is_some_and(|end| Instant::now() < end) {
            return Err(ErrorKind::TimedOut.into());
        }
        self.pause = None;
        let kept = self.socket.take();
        let is_kept = kept.is_some();
        let sent = self.send_by(kept, datagram);
        match sent {
            // Started anew since, as a rule.
            Err(error) if is_kept && error.kind() != ErrorKind::WouldBlock => {
                self.send_by(None, datagram)
            }
            sent => sent,
        }
    }

    fn send_by(&mut self, socket: Option<UnixDatagram>, datagram: &[u8]) -> io::Result<()> {
        let socket = match socket {
            Some(socket) => socket,
            None => {
                let socket = UnixDatagram::unbound()?;
                socket.set_write_timeout(Some(PATIENCE))?;
                socket.connect(&self.path)?;
                socket
            }
        };
        let sent = socket.send(datagram);
        if matches!(&sent, Err(error) if error.kind() == ErrorKind::WouldBlock) {
            self.pause = Some(Instant::now() + PAUSE);
        }
        if !matches!(&sent, Err(error) if error.kind() != ErrorKind::WouldBlock) {
            self.socket = Some(socket);
        }
        sent.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use tracing::Level;

    use super::*;

    fn write(sink: &mut Sink, message: &str) {
        let entry = Entry::own(Level::INFO, message, Vec::new());
        sink.write(&[entry], LogFormat::Text, "test");
    }

    fn received(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[test]
    fn a_file_is_private_and_appended_to() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/log");
        write(&mut Sink::file(&path).unwrap(), "one");
        write(&mut Sink::file(&path).unwrap(), "two");
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert!(lines.len() == 2 && lines[0].ends_with(" one"), "{text}");
        let told = Sink::file(root.path()).unwrap_err().to_string();
        assert!(told.contains(&root.path().display().to_string()), "{told}");
    }

    #[test]
    fn lines_that_are_written_together_are_counted_when_they_do_not_fit() {
        let lines = "one\ntwo\nthree\n";
        let mut room = [0; 14];
        assert!(write_lines(&mut room.as_mut_slice(), lines).is_ok());
        assert_eq!(room, lines.as_bytes());
        for (room, unwritten) in [(0, 3), (3, 3), (4, 2), (13, 1)] {
            let mut place = vec![0; room];
            let failed = write_lines(&mut place.as_mut_slice(), lines).unwrap_err();
            assert_eq!(failed.lines, unwritten, "{room} bytes of room");
            assert_eq!(failed.error.kind(), ErrorKind::WriteZero);
        }
    }

    #[test]
    fn a_log_daemon_may_come_late_and_anew_and_hears_what_it_missed() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("socket");
        let mut sink = Sink::of(&LogHandler::Syslog(path.clone()));
        write(&mut sink, "nobody hears");
        for lost in [1, 2] {
            let daemon = UnixDatagram::bind(&path).unwrap();
            write(&mut sink, "heard");
            assert!(received(&daemon).ends_with(": heard"));
            assert!(received(&daemon).ends_with(&format!("lost lines={lost}")));
            write(&mut sink, "again");
            assert!(received(&daemon).ends_with(": again"));
            drop(daemon);
            std::fs::remove_file(&path).unwrap();
            write(&mut sink, "nobody");
            write(&mut sink, "hears");
        }
    }

    #[test]
    fn a_log_daemon_that_hangs_is_left_alone_for_a_while() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("socket");
        let _hanging = UnixDatagram::bind(&path).unwrap();
        let mut sink = Sink::of(&LogHandler::Syslog(path));
        let begun = Instant::now();
        // More than any socket keeps.
        for _ in 0..20_000 {
            write(&mut sink, "to nobody");
        }
        assert!(sink.lost > 0);
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "{:?}",
            begun.elapsed()
        );
    }
}
