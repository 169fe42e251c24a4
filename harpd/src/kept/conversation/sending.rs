//! What goes out on a connection of `harp/2`: the call's lines, and beats between them.

use std::time::Duration;

use bytes::Bytes;
use harp_proto::host::kept::Message;
use tokio::time::Instant;
use tracing::debug;

use super::{BEAT, BEATS_UNANSWERED, CHUNK, Conversation, Flow};
use crate::kept::backlog::Read;
use crate::kept::spool;

impl Conversation {
    /// Takes from the call what there is room for, and a beat that is due.
    pub(super) fn fill(&mut self) {
        let held = self.holding.as_ref();
        self.beat_pending |= held.is_some_and(|held| held.told_waits && !held.call.waits());
        loop {
            let is_inside = self
                .holding
                .as_ref()
                .is_some_and(|held| held.cursor.is_inside());
            if !is_inside {
                if self.last_words.is_some() {
                    return;
                }
                if self.beat_pending {
                    self.send_beat();
                }
            }
            let Some(held) = &mut self.holding else {
                return;
            };
            if held.reading.is_some() || self.link.unsent() >= CHUNK {
                return;
            }
            let (call, cursor) = (&held.call, &mut held.cursor);
            match self.link.add(|out| call.read(cursor, out, CHUNK)) {
                Read::Copied => {}
                Read::Nothing => break,
                Read::Spooled {
                    file,
                    offset,
                    length,
                    packets,
                } => {
                    let read = move || spool::read(&file, offset, length);
                    let reading = tokio::task::spawn_blocking(read);
                    held.reading = Some((reading, packets));
                    return;
                }
            }
        }
        if let Some(held) = &mut self.holding {
            let signs = held.call.signs();
            if self.link.is_quiet() && signs != held.signs {
                self.link.add(|out| out.extend_from_slice(b" "));
            }
            held.signs = signs;
        }
    }

    fn send_beat(&mut self) {
        self.beat_pending = false;
        let mut waits = false;
        if let Some(held) = &mut self.holding {
            self.unanswered += 1;
            waits = held.call.waits();
            held.told_waits = waits;
        }
        let up = self.house.calls.now();
        self.link.send(&Message::Beat { up, waits });
    }

    pub(super) fn has_read(&mut self, bytes: &Bytes) {
        // As long as nobody else has the call, none of it can have been overwritten.
        if self.is_displaced() {
            return;
        }
        if let Some(held) = &mut self.holding
            && let Some((_, packets)) = held.reading.take()
        {
            held.cursor.advance(bytes, packets);
            self.link.add(|out| out.extend_from_slice(bytes));
        }
    }

    pub(super) fn beat(&mut self) -> Flow {
        let interval = self.beat_interval();
        self.beat_at = Instant::now() + interval;
        // Over a slow way the system takes nothing for long; a caller that reads says so.
        let patience = interval * BEATS_UNANSWERED;
        let is_stuck = self.link.stuck_for().min(self.heard_at.elapsed()) >= patience;
        if self.unanswered >= BEATS_UNANSWERED || is_stuck {
            debug!(peer = %self.peer, "no answer to beats, the connection is taken for broken");
            return Flow::Over;
        }
        self.beat_pending = true;
        Flow::On
    }

    pub(super) fn beat_interval(&self) -> Duration {
        let held = self.holding.as_ref();
        held.map_or(BEAT, |held| BEAT.min(held.call.keep / 6))
    }
}
