//! A device's events as they come, until nobody wants them any more; and recordings, which go
//! on for as long as the registry says so.

use std::sync::Arc;
use std::time::Duration;

use harp_jobs::failures;
use harp_jobs::hold::{Hold, Token};
use harp_jobs::record::CallRecord;
use harp_jobs::transport::{Attempt, Batch, Commit, Heard, How, Proof, Proved, Stored};
use harp_jobs::world::{BoxFuture, Moment};
use harp_values::{Failure, JobId, Json, Outcome};
use serde::Deserialize;
use serde_json::json;
use tracing::warn;

use crate::device::{Device, changed};
use crate::fault::{Fault, Phase};
use crate::inbox::{Ended, Inbox, Next, Wanted};
use crate::refused::invalid_arguments;
use crate::shared::Shared;
use crate::token::Note;

/// Packets of one recording; it goes on in the next one.
const RECORDED: u64 = 100_000;

/// How long one recording goes on.
const RECORDS_FOR: Duration = Duration::from_secs(24 * 3600);

/// A call of `events`.
pub(crate) struct StreamAttempt {
    shared: Arc<Shared>,
    device: Arc<Device>,
    host: String,
    /// `None` while a recording has nothing to record.
    inbox: Option<Arc<Inbox>>,
    /// Most packets of this job, and when it ends, if it is a recording.
    recording: Option<(u64, Moment)>,
    /// The recording of before the start of the dispatcher that this one goes on from, and from
    /// when on events come.
    before: Option<(JobId, u64)>,
    note: Note,
    /// Whether that is what is on record.
    is_noted: bool,
    stage: Stage,
    is_told: bool,
    is_apart: bool,
}

/// How far the call has come.
enum Stage {
    /// It has not begun.
    New,
    /// It ran before a start of the dispatcher: the job, how many packets it has, and from when
    /// on events come.
    Attaching(Hold, u64, u64),
    /// It has begun, which is to be told.
    Begun,
    /// Events are handed on.
    Streams,
}

/// The arguments of `events`.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Arguments {
    #[serde(default)]
    topics: Option<Vec<Word>>,
    #[serde(default)]
    kinds: Option<Vec<i64>>,
}

#[derive(Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Word {
    Event,
    Emergency,
}

/// What goes on record with such a call.
pub(crate) fn note(shared: &Shared) -> Note {
    let since = shared.world.wall();
    Note::Stream { since }
}

impl StreamAttempt {
    /// The attempt; a failure if the arguments are none.
    pub(crate) fn new(
        shared: &Arc<Shared>,
        hold: Hold,
        call: &CallRecord,
        how: How,
        noted: Option<Note>,
    ) -> Result<StreamAttempt, Failure> {
        let wanted = wanted(&call.arguments)?;
        let device = shared.device(&call.host);
        let is_noted = matches!(noted, Some(Note::Stream { .. }));
        let note = noted.filter(|_| is_noted).unwrap_or_else(|| note(shared));
        let inbox = if call.endless {
            device.recording()
        } else {
            Some(Arc::new(Inbox::new(wanted, &shared.room)))
        };
        let stage = match (how, &inbox) {
            (How::Attach { since }, Some(inbox)) => {
                Stage::Attaching(hold, since, device.stream_again(inbox))
            }
            (How::Attach { .. } | How::Settle, _) => Stage::Begun,
            (How::New, _) => Stage::New,
        };
        let before = match (how, &inbox) {
            (How::New | How::Attach { .. }, Some(inbox)) if call.endless => {
                let before = device.recorded_by(hold.job);
                before.map(|before| (before, device.stream_again(inbox)))
            }
            _ => None,
        };
        let recording = call.endless.then(|| {
            let packets = shared.surroundings.settings().max_packets.min(RECORDED);
            let ran = shared.world.wall().saturating_sub(since(note));
            let left = RECORDS_FOR.saturating_sub(Duration::from_millis(ran));
            (packets, shared.world.now() + left)
        });
        Ok(StreamAttempt {
            shared: Arc::clone(shared),
            device,
            host: call.host.clone(),
            inbox,
            recording,
            before: before.filter(|_| matches!(stage, Stage::New)),
            note,
            is_noted,
            stage,
            is_told: false,
            is_apart: false,
        })
    }

    /// Waits until the device is listened to.
    async fn reach(&self, by: Moment) -> Result<(), Failure> {
        let _wish = self.device.wish();
        let mut changes = self.device.changes();
        let world = self.device.world();
        loop {
            changes.borrow_and_update();
            if self.device.entry().is_none() {
                return Err(failures::unknown_host(&self.host));
            }
            let fault = match self.device.is_heard() {
                Ok(true) => return Ok(()),
                Ok(false) => Fault::timed_out(self.host.clone(), "it is not connected yet"),
                Err(fault) => fault,
            };
            if world.now() >= by {
                return Err(fault.to_failure(Phase::Connect));
            }
            tokio::select! {
                () = changed(&mut changes) => {}
                () = world.sleep(by) => {}
            }
        }
    }

    async fn hear(&mut self, into: &mut Batch) -> Heard {
        match self.stage {
            Stage::Attaching(hold, packets, from) => {
                let surroundings = Arc::clone(&self.shared.surroundings);
                let last = match packets {
                    0 => None,
                    packets => surroundings.last_packet(hold.job, packets).await,
                };
                let since = last.unwrap_or(since(self.note)).min(from);
                if let Some(inbox) = &self.inbox {
                    inbox.missed(since, from);
                }
                self.stage = Stage::Begun;
                Heard::Back
            }
            Stage::New | Stage::Begun => {
                if let (Some((job, from)), Some(inbox)) = (self.before, &self.inbox) {
                    let surroundings = Arc::clone(&self.shared.surroundings);
                    let last = surroundings.last_of_ended(job).await;
                    inbox.missed(last.unwrap_or(job.submitted()).min(from), from);
                }
                self.before = None;
                self.stage = Stage::Streams;
                Heard::Sign
            }
            Stage::Streams => self.hear_more(into).await,
        }
    }

    async fn hear_more(&mut self, into: &mut Batch) -> Heard {
        let count = into.next();
        let Some(inbox) = &self.inbox else {
            return recorded(count);
        };
        let (most, ends) = match self.recording {
            Some((most, ends)) => (most.saturating_sub(count), ends),
            None => (u64::MAX, Moment::NEVER),
        };
        if most == 0 {
            return recorded(count);
        }
        let next = inbox.next(self.is_apart, into, most);
        let next = tokio::select! {
            biased;
            next = next => next,
            () = std::future::ready(()), if self.is_told => {
                // The device was asked for nothing.
                let outcome = Outcome::Cancelled;
                return Heard::End { outcome, left: false };
            }
            () = self.device.world().sleep(ends) => return recorded(count),
        };
        match next {
            Next::Packets => Heard::Packets,
            Next::Apart => {
                self.is_apart = true;
                Heard::Apart
            }
            Next::Back => {
                self.is_apart = false;
                Heard::Back
            }
            Next::End(Ended::Gone) if self.recording.is_none() => Heard::End {
                outcome: Outcome::Error(failures::unknown_host(&self.host)),
                left: false,
            },
            Next::End(_) => recorded(count),
        }
    }
}

/// The end of a recording: how many packets it has.
fn recorded(packets: u64) -> Heard {
    let count = Json::encode(&json!({ "packets": packets }));
    Heard::End {
        outcome: Outcome::Returned(count.unwrap_or(Json::NULL)),
        left: false,
    }
}

fn since(note: Note) -> u64 {
    match note {
        Note::Stream { since } => since,
        Note::Sent { nonce } | Note::Pending { nonce, .. } => nonce / 1000,
    }
}

/// Which events a call of these arguments wants.
fn wanted(arguments: &Json) -> Result<Wanted, Failure> {
    let arguments = match arguments.as_str() {
        "[]" => Arguments::default(),
        text if text.starts_with('{') => arguments.decode().map_err(|error| {
            invalid_arguments(format!(
                "events takes {{\"topics\": [\"event\", \"emergency\"], \"kinds\": [N, ...]}}: \
                 {error}"
            ))
        })?,
        _ => {
            return Err(invalid_arguments(
                "events takes one object, or no arguments at all",
            ));
        }
    };
    let has = |word| {
        let topics = arguments.topics.as_ref();
        topics.is_none_or(|topics| topics.contains(&word))
    };
    Ok(Wanted {
        events: has(Word::Event),
        emergencies: has(Word::Emergency),
        kinds: arguments.kinds,
    })
}

impl Attempt for StreamAttempt {
    fn ready(&mut self, by: Moment) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(async move {
            match self.recording {
                // It goes on without the device, and tells what it has missed. Whoever records
                // after it has to know of it.
                Some(_) => {
                    if let Err(error) = self.shared.save(self.shared.nonces.kept()).await {
                        let device = self.device.name();
                        warn!(device, %error, "which job records the device cannot be kept");
                    }
                    Ok(())
                }
                None => self.reach(by).await,
            }
        })
    }

    fn commit(&mut self, _by: Moment) -> BoxFuture<'_, Commit> {
        Box::pin(async {
            if !self.is_noted {
                self.is_noted = true;
                return Commit::First(self.note.token());
            }
            if let (Some(inbox), None) = (&self.inbox, self.recording) {
                self.device.stream(inbox);
            }
            self.stage = Stage::Begun;
            Commit::Done
        })
    }

    fn next<'a>(&'a mut self, into: &'a mut Batch) -> BoxFuture<'a, Heard> {
        Box::pin(self.hear(into))
    }

    fn talks(&self) -> bool {
        true
    }

    fn heard(&self) -> Option<Moment> {
        // A device at which nothing happens is not silent.
        Some(self.device.world().now())
    }

    fn stored(&mut self, _what: Stored) {}

    fn tell(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async { self.is_told = true })
    }

    fn prove(&mut self) -> BoxFuture<'_, Proved> {
        Box::pin(async { Proved::free(Proof::Confirmed) })
    }

    fn keeps(&self) -> bool {
        true
    }

    fn debt(&self) -> Option<Token> {
        None
    }

    fn detach(self: Box<Self>) {}
}

#[cfg(test)]
mod tests;
