//! Standard output and standard error, which are shared with other processes: one of these may
//! have made them non-blocking, and their reader may have gone.

use std::fmt::Display;
use std::io::{self, Write};
use std::thread;
use std::time::Duration;

use crate::terminal;

/// How long to wait for a non-blocking output that takes nothing.
const FULL: Duration = Duration::from_millis(2);

/// An output that is waited for where it takes nothing at the moment, whether or not it is
/// non-blocking.
#[derive(Debug)]
pub struct Patient<W>(pub W);

impl<W: Write> Write for Patient<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        patiently(|| self.0.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        patiently(|| self.0.flush())
    }
}

fn patiently<T>(mut act: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match act() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(FULL),
            done => return done,
        }
    }
}

/// Prints a line on standard output. What others have chosen in it steers no terminal.
///
/// # Errors
///
/// If it cannot be written. A reader that has seen enough, such as head(1), is no error.
pub fn say(line: impl Display) -> io::Result<()> {
    let mut output = Patient(io::stdout());
    let said = output.write_all(whole(&line).as_bytes());
    unless_heard(said.and_then(|()| output.flush()))
}

/// Prints a line on standard error, likewise; a failure there cannot be told to anybody.
pub fn note(line: impl Display) {
    let _ = Patient(io::stderr()).write_all(whole(&line).as_bytes());
}

/// A line with its end, to be written at once, so that nobody else's comes in between.
fn whole(line: &impl Display) -> String {
    format!("{}\n", terminal::clean(&line.to_string()))
}

/// Passes over that the reader of an output has gone.
///
/// # Errors
///
/// What else it was.
pub fn unless_heard(written: io::Result<()>) -> io::Result<()> {
    written.or_else(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Ok(()),
        _ => Err(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes a byte at a time, and nothing every other time.
    struct Hesitant {
        taken: Vec<u8>,
        asked: usize,
    }

    impl Write for Hesitant {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.asked += 1;
            match self.asked % 3 {
                0 => {
                    self.taken.push(bytes[0]);
                    Ok(1)
                }
                1 => Err(io::ErrorKind::WouldBlock.into()),
                _ => Err(io::ErrorKind::Interrupted.into()),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_output_that_takes_nothing_for_a_moment_is_waited_for() {
        let hesitant = Hesitant {
            taken: Vec::new(),
            asked: 0,
        };
        let mut output = Patient(hesitant);
        output.write_all(b"all of it").unwrap();
        assert_eq!(output.0.taken, b"all of it");
        assert!(unless_heard(Err(io::ErrorKind::BrokenPipe.into())).is_ok());
        assert!(unless_heard(Err(io::ErrorKind::StorageFull.into())).is_err());
    }
}
