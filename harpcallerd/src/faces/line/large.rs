//! Answers that are large: what all of them take in memory is bounded together. One waits
//! until there is room for it, fair by peer. It gives way to others, which ends its
//! connection, if its client takes it too slowly while they wait; the client may ask again.

use std::io;

use super::{Closing, Conversation};
use crate::faces::connection::Socket;

/// An answer from this length on is large.
const LARGE: usize = 64 * 1024;

/// Bytes that are written at once.
const STEP: usize = 64 * 1024;

/// How often the bytes of an answer are in memory: as they were read, and as its line.
const COPIES: usize = 2;

impl<S: Socket> Conversation<S> {
    /// True if an answer of this length has to wait for room.
    pub(super) fn is_large(length: usize) -> bool {
        length >= LARGE
    }

    /// Waits for room for the next answer, if it is large.
    pub(super) async fn make_room(&mut self, length: usize) -> Result<(), Closing> {
        if !Self::is_large(length) {
            return Ok(());
        }
        let mut share = self.memory.share_of_answers(&self.client);
        tokio::select! {
            held = share.hold(COPIES * length) => held.map_err(|_| too_slow())?,
            () = self.connection.broken() => return Err(Closing::Silent),
        }
        self.answer = Some(share);
        Ok(())
    }

    /// Writes an answer, and gives back what is held for it.
    pub(super) async fn write_answer(&mut self, line: &[u8]) -> Result<(), Closing> {
        let Some(mut share) = self.answer.take() else {
            return Ok(self.write(line).await?);
        };
        for piece in line.chunks(STEP) {
            tokio::select! {
                biased;
                written = self.write(piece) => written?,
                () = share.gave_way() => return Err(too_slow()),
            }
            share.moved(piece.len());
        }
        Ok(())
    }
}

fn too_slow() -> Closing {
    let why = "a large answer was taken too slowly while others waited";
    Closing::Broken(io::Error::new(io::ErrorKind::TimedOut, why))
}
