//! What a host answers to a request or an attach, and what follows.

use std::sync::Arc;

use harp_host::HostError;
use harp_jobs::transport::{Batch, Heard};
use harp_jobs::world::World;
use harp_proto::Failure;
use harp_proto::host::kept::{Acknowledgement, Denial};
use tokio::time::Instant;
use tracing::debug;

use super::super::attach::Apart;
use super::super::denials::{self, Follows, NoSuchCall};
use super::super::joined::{Asked, Joined, Said};
use super::super::lives::Speaks;
use super::super::token::{Note, Owes, Stamp};
use super::super::told_of;
use super::{KeptCall, Side, ended};
use crate::host_attempts::{Attempts, Try};

impl KeptCall {
    pub(super) fn answered(
        &mut self,
        answer: &Acknowledgement,
        waits: &mut Attempts,
    ) -> Option<Said> {
        let now = Instant::now();
        let boot: Arc<str> = answer.boot.as_str().into();
        self.shared
            .lives
            .note(&self.host, Speaks::Kept(Arc::clone(&boot)));
        self.gate.answered();
        self.shared.told.contacts.heard(&self.host);
        // A host that says more than it was asked for is not waited for any longer.
        self.keep = answer.keep.min(self.note.keep);
        self.renewed = now;
        self.heard = now;
        self.is_acknowledged = true;
        self.is_apart = false;
        self.signs = true;
        let Side::Joined(joined) = &mut self.side else {
            return None;
        };
        joined.line.boot = Some(boot);
        joined.answered = Some(now);
        joined.leave = None;
        match joined.turn.take() {
            Some(turn) => waits.acknowledged(turn),
            None => waits.heard(now),
        }
        if self.is_told && self.owes == Owes::Cancel {
            joined.cancel();
        }
        let attached = answer.attached.filter(|_| joined.asked == Asked::Attach)?;
        if attached.since != self.received {
            // It gives others than those that were asked for.
            self.received = attached.since;
            return Some(ended(denials::lost_packets(), true));
        }
        if attached.ended {
            // Its end counts, whatever limit has passed.
            self.signs = false;
            return None;
        }
        Some(Said::Heard(Heard::Back))
    }

    /// What was asked was refused; the connection has no call.
    pub(super) fn refused(
        &mut self,
        failure: Failure,
        waits: &mut Attempts,
        into: &Batch,
    ) -> Option<Said> {
        let over = Side::Over(failure.clone());
        let Side::Joined(mut joined) = std::mem::replace(&mut self.side, over) else {
            return Some(ended(failure, true));
        };
        let denial = Denial::of_failure(&failure);
        let endpoint = joined.line.connection.endpoint();
        let error = HostError::remote(endpoint, failure.clone());
        let turn = joined.turn.take();
        if joined.asked == Asked::Attach {
            self.gate.answered();
        }
        Some(match (joined.asked, denial) {
            (_, Some(Denial::StaleEpoch)) => {
                debug!("somebody with a higher epoch has the call");
                self.owes = Owes::Place;
                self.rest(*joined);
                self.over(denials::stale_epoch())
            }
            // A connection leads to one life: a host that has said which it is, and says
            // another now, would do so for ever.
            (
                Asked::Request,
                Some(Denial::WrongBoot {
                    boot,
                    takes_traceparent,
                }),
            ) if joined.line.boot.is_none() => {
                let boot: Arc<str> = boot.into();
                let lives = &self.shared.lives;
                lives.note(&self.host, Speaks::Kept(Arc::clone(&boot)));
                if takes_traceparent {
                    lives.note_traceparent(&self.host);
                }
                joined.line.boot = Some(Arc::clone(&boot));
                if let Some(turn) = turn {
                    waits.acknowledged(turn);
                }
                let note = Note::new(Some(boot), self.note.keep, self.epoch);
                Said::NeverRan(note, joined)
            }
            (Asked::Request, _) => {
                self.rest(*joined);
                match waits.failed(turn.unwrap_or_else(Try::free), &error) {
                    None => Said::Again,
                    Some(failure) => {
                        told_of(&error);
                        ended(failure, false)
                    }
                }
            }
            (
                Asked::Attach,
                Some(Denial::NoSuchCall {
                    boot,
                    earlier,
                    remembers,
                }),
            ) => {
                let answer = NoSuchCall {
                    boot,
                    earlier,
                    remembers,
                };
                self.no_such_call(&answer, joined)
            }
            (Asked::Attach, Some(Denial::LostPackets { first })) => {
                let is_more = first > self.received;
                self.received = first;
                self.rest(*joined);
                self.side = Side::Apart(Apart::since_break(Instant::now()));
                // Of a call that was given up none is wanted, and behind a marker none is
                // kept.
                if is_more && (self.is_told || into.is_truncated()) {
                    self.acknowledging.received(first, into.next(), 0);
                    return None;
                }
                ended(denials::lost_packets(), true)
            }
            // The registry says as whom, and changes.
            (Asked::Attach, Some(Denial::WrongBoot { .. }) | None) => {
                debug!(%error, "the call cannot be attached to");
                self.gate.failed(self.shared.world.chance());
                self.last = Some(failure);
                self.side = Side::Apart(Apart::since_break(Instant::now()));
                return self.apart();
            }
        })
    }

    fn no_such_call(&mut self, answer: &NoSuchCall, mut joined: Box<Joined>) -> Said {
        let (old, _) = self.note.at.ago(Stamp::now());
        let boot: Option<Arc<str>> = answer.boot.as_deref().map(Into::into);
        if let Some(boot) = &boot {
            self.shared
                .lives
                .note(&self.host, Speaks::Kept(Arc::clone(boot)));
        }
        joined.line.boot.clone_from(&boot);
        match answer.follows(&self.note, old, self.is_acknowledged) {
            Follows::NeverRan => {
                debug!("the host has never seen the request");
                let note = Note::new(boot, self.note.keep, self.epoch);
                Said::NeverRan(note, joined)
            }
            Follows::Gone {
                host_restarted,
                left,
            } => {
                self.rest(*joined);
                let failure = denials::gone(host_restarted);
                self.side = Side::Over(failure.clone());
                ended(failure, left)
            }
        }
    }
}
