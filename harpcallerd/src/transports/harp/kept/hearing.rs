//! What a host says of a call that it has.

use harp_host::Wanted;
use harp_host::kept::News;
use harp_jobs::transport::{Batch, Heard};
use harp_proto::{Evidence, Outcome, error_type};
use harp_time::clock;
use tokio::time::Instant;

use super::super::joined::Said;
use super::{KeptCall, Side};
use crate::host_attempts::Attempts;

impl KeptCall {
    /// Takes a packet, and those that have arrived behind it.
    pub(super) fn take_packets(&mut self, first: &[u8], into: &mut Batch) {
        self.waits_there = None;
        let now = clock::now();
        let mut count = 1;
        let mut bytes = first.len();
        into.push(now, first);
        if let Side::Joined(joined) = &mut self.side
            && !into.is_full()
        {
            joined.line.connection.take_packets(|data| {
                into.push(now, data);
                count += 1;
                bytes += data.len();
                if into.is_full() {
                    Wanted::Enough
                } else {
                    Wanted::More
                }
            });
        }
        self.received += count;
        self.acknowledging
            .received(self.received, into.next(), bytes);
    }

    fn renewed(&mut self, waits: &mut Attempts) {
        self.renewed = Instant::now();
        self.heard = self.renewed;
        waits.heard(self.renewed);
    }

    /// Lets people know whether the call waits at its host until fewer run there.
    fn waits_there(&mut self, waits: bool) {
        if waits == self.waits_there.is_some() {
            return;
        }
        let contacts = &self.shared.told.contacts;
        self.waits_there = waits.then(|| contacts.waits(self.id.job));
    }

    pub(super) fn take(&mut self, news: News, waits: &mut Attempts, into: &Batch) -> Option<Said> {
        match news {
            News::Acknowledged(acknowledgement) => self.answered(&acknowledgement, waits),
            News::Refused(failure) => self.refused(failure, waits, into),
            News::End(outcome) => {
                if let Side::Joined(joined) = &mut self.side {
                    self._result = joined.line.connection.take_share();
                }
                waits.heard(Instant::now());
                // A host ends a call so only when it was told to: by this dispatcher, before
                // a crash that took the reason along.
                let outcome = match outcome {
                    Outcome::Error(failure) if failure.error_type == error_type::CANCELLED => {
                        self.evidence = Evidence::of(&failure);
                        Outcome::Cancelled
                    }
                    outcome => outcome,
                };
                // It comes when nothing of the call is left.
                Some(Said::Heard(Heard::End {
                    outcome,
                    left: false,
                }))
            }
            News::Beat { waits: queues } => {
                self.waits_there(queues);
                self.renewed(waits);
                None
            }
            News::Part => {
                self.renewed(waits);
                None
            }
            News::Packet(_) => None,
        }
    }
}
