//! One command of a device: it waits for its turn, goes out, and is heard of.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use harp_jobs::failures;
use harp_jobs::hold::{Hold, Token};
use harp_jobs::record::CallRecord;
use harp_jobs::transport::{Attempt, Batch, Commit, Heard, How, Proof, Proved, Stored};
use harp_jobs::world::{BoxFuture, Moment};
use harp_values::{Failure, Json, Outcome, error_type};
use serde_json::json;
use tokio::sync::oneshot;

use crate::arguments;
use crate::device::{CommandTurn, Device, Look, Outgoing, changed};
use crate::fault::{Fault, Phase};
use crate::inbox::{Ended, Inbox, Next, Wanted};
use crate::procedure::Number;
use crate::refused::invalid_arguments;
use crate::reply::Verdict;
use crate::shared::Shared;
use crate::token::Note;

/// A call of a command.
pub(crate) struct CommandAttempt {
    shared: Arc<Shared>,
    device: Arc<Device>,
    host: String,
    number: Number,
    /// The request's `data`, as it goes out; `None` for none.
    data: Option<Vec<u8>>,
    note: Note,
    /// Whether that is what is on record.
    is_noted: bool,
    inbox: Arc<Inbox>,
    turn: Option<CommandTurn>,
    stage: Stage,
    /// The call was given up.
    is_told: bool,
    /// What was told last of the device's publisher.
    is_apart: bool,
}

/// How far the call has come.
enum Stage {
    /// Nothing has gone out.
    New,
    /// It has its turn: the numbers of the command.
    Ready(i64, Option<i64>),
    /// The command has gone out.
    Sent(i64),
    /// It ran before a start of the dispatcher: the job, how many packets it has, and from when
    /// on events come.
    Attaching(Hold, u64, u64),
    /// The device has taken it, which is to be told.
    Acknowledged,
    /// Its result will be published.
    Pending,
    /// It went out before a start of the dispatcher, and no reply is on record.
    Lost,
    /// It has ended.
    Over,
}

impl CommandAttempt {
    /// The attempt; a failure if the arguments are none that can be sent.
    pub(crate) fn new(
        shared: &Arc<Shared>,
        hold: Hold,
        call: &CallRecord,
        number: Number,
        how: How,
        note: Option<Note>,
    ) -> Result<CommandAttempt, Failure> {
        let device = shared.device(&call.host);
        let inbox = Arc::new(Inbox::new(Wanted::ALL, &shared.room));
        let mut data = None;
        let stage = match (how, note) {
            (How::New, _) => {
                // An entry that is not there yet refuses nothing; the device is not reached.
                let is_strict = device.entry().is_none_or(|entry| entry.strict);
                data = request_data(&call.arguments, is_strict)?;
                Stage::New
            }
            (How::Attach { since }, Some(Note::Pending { nonce, command })) => {
                device.await_result(nonce, command, &inbox, true);
                let from = device.stream_again(&inbox);
                Stage::Attaching(hold, since, from)
            }
            (How::Attach { .. } | How::Settle, _) => Stage::Lost,
        };
        let (note, is_noted) = match note {
            Some(note @ (Note::Sent { .. } | Note::Pending { .. })) => (note, true),
            // It was minted when the host was of another kind.
            _ => (shared.sent_note(), false),
        };
        Ok(CommandAttempt {
            shared: Arc::clone(shared),
            device,
            host: call.host.clone(),
            number,
            data,
            note,
            is_noted,
            inbox,
            turn: None,
            stage,
            is_told: false,
            is_apart: false,
        })
    }

    fn nonce(&self) -> u64 {
        match self.note {
            Note::Sent { nonce } | Note::Pending { nonce, .. } => nonce,
            Note::Stream { .. } => 0,
        }
    }

    /// Waits for the turn, and as long as `patience` for a device that cannot be reached.
    async fn reach(&mut self, patience: Duration) -> Result<(), Failure> {
        let _wish = self.device.wish();
        let mut changes = self.device.changes();
        let turn = self.turn.insert(self.device.line_up());
        let needs_version = self.number.at(None).is_none();
        let world = Arc::clone(self.device.world());
        let mut away_since = None;
        loop {
            changes.borrow_and_update();
            let until = match turn.look(needs_version) {
                Look::Now(version) => {
                    // Its version is known if that is needed.
                    let numbers = self.number.at(version.as_deref());
                    let (command, custom) = numbers.unwrap_or_default();
                    self.stage = Stage::Ready(command, custom);
                    return Ok(());
                }
                Look::Later(silent_at) => {
                    away_since = None;
                    silent_at.unwrap_or(Moment::NEVER)
                }
                Look::Away(fault) => {
                    let since = *away_since.get_or_insert_with(|| world.now());
                    if world.now() >= since + patience {
                        return Err(fault.to_failure(Phase::Connect));
                    }
                    since + patience
                }
                Look::Gone => return Err(failures::unknown_host(&self.host)),
            };
            tokio::select! {
                () = changed(&mut changes) => {}
                () = world.sleep(until) => {}
            }
        }
    }

    async fn send(&mut self, by: Moment) -> Commit {
        let Stage::Ready(command, custom) = self.stage else {
            return Commit::Done;
        };
        if !self.is_noted {
            self.is_noted = true;
            return Commit::First(self.note.token());
        }
        let nonce = self.nonce();
        let text = request(command, custom, nonce, self.data.as_deref());
        // Both are in place before the device can say anything.
        self.device.await_result(nonce, command, &self.inbox, false);
        self.device.stream(&self.inbox);
        let (sent, mut told) = oneshot::channel();
        let Some(turn) = &self.turn else {
            return Commit::Done;
        };
        turn.send(Outgoing {
            nonce,
            text,
            inbox: Arc::clone(&self.inbox),
            sent,
        });
        let world = Arc::clone(self.device.world());
        let told = tokio::select! {
            told = &mut told => told,
            () = world.sleep(by) => {
                if turn.take_back() {
                    let what = "it could not be sent the command in time";
                    let fault = Fault::timed_out(self.host.clone(), what);
                    return self.not_sent(&fault, true);
                }
                // It is going out, which is bounded in time.
                told.await
            }
        };
        match told {
            Ok(Ok(())) => {
                self.stage = Stage::Sent(command);
                Commit::Done
            }
            Ok(Err(fault)) => self.not_sent(&fault, false),
            // The dispatcher ends.
            Err(_) => self.not_sent(&Fault::moved(self.host.clone()), false),
        }
    }

    fn not_sent(&mut self, fault: &Fault, certain: bool) -> Commit {
        self.turn = None;
        self.stage = Stage::Over;
        Commit::Not {
            failure: fault.to_failure(Phase::Connect),
            certain,
        }
    }

    async fn hear(&mut self, into: &mut Batch) -> Heard {
        match self.stage {
            Stage::Sent(_) if self.is_told => self.over(Outcome::Cancelled, true),
            Stage::Sent(sent) => {
                let reply = self.inbox.replied().await;
                self.turn = None;
                match reply {
                    Err(failure) => self.over(Outcome::Error(failure), true),
                    Ok(answer) => match answer.verdict {
                        Verdict::Ended(outcome) => self.over(outcome, false),
                        Verdict::Later => {
                            let command = match answer.command {
                                0 => sent,
                                told => told,
                            };
                            let nonce = self.nonce();
                            self.note = Note::Pending { nonce, command };
                            self.stage = Stage::Acknowledged;
                            Heard::Note(self.note.token())
                        }
                    },
                }
            }
            Stage::Attaching(hold, packets, from) => {
                let surroundings = Arc::clone(&self.shared.surroundings);
                let last = match packets {
                    0 => None,
                    packets => surroundings.last_packet(hold.job, packets).await,
                };
                // A nonce is the time of its call.
                let since = last.unwrap_or(self.nonce() / 1000).min(from);
                self.inbox.missed(since, from);
                self.stage = Stage::Pending;
                Heard::Back
            }
            Stage::Acknowledged => {
                self.stage = Stage::Pending;
                Heard::Sign
            }
            Stage::Pending => self.hear_more(into).await,
            Stage::Lost => self.over(Outcome::Error(failures::missing_result()), true),
            Stage::New | Stage::Ready(..) | Stage::Over => self.over(Outcome::Cancelled, false),
        }
    }

    /// Hears of a command whose result will be published.
    async fn hear_more(&mut self, into: &mut Batch) -> Heard {
        let next = self.inbox.next(self.is_apart, into, u64::MAX);
        let next = if self.is_told {
            // There is no cancel: what has come is taken, and nothing is waited for.
            tokio::select! {
                biased;
                next = next => Some(next),
                () = std::future::ready(()) => None,
            }
        } else {
            Some(next.await)
        };
        match next {
            Some(Next::Packets) => Heard::Packets,
            None | Some(Next::Apart) if self.is_told => self.over(Outcome::Cancelled, true),
            None | Some(Next::Apart) => {
                self.is_apart = true;
                Heard::Apart
            }
            Some(Next::Back) => {
                self.is_apart = false;
                Heard::Back
            }
            Some(Next::End(end)) => {
                let (outcome, left) = match end {
                    Ended::Result(outcome) => (outcome, false),
                    Ended::Restarted | Ended::Unwanted => (Outcome::Error(restarted()), false),
                    Ended::Gone => (Outcome::Error(failures::unknown_host(&self.host)), true),
                };
                self.over(outcome, left)
            }
        }
    }

    fn over(&mut self, outcome: Outcome, left: bool) -> Heard {
        self.stage = Stage::Over;
        Heard::End { outcome, left }
    }
}

impl Drop for CommandAttempt {
    fn drop(&mut self) {
        self.device.forget_result(self.nonce());
    }
}

impl Attempt for CommandAttempt {
    fn ready(&mut self, by: Moment) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(async move {
            let patience = by.since(self.device.world().now());
            let secured = self.shared.secure(self.nonce()).await;
            secured.map_err(|error| {
                let message = format!("the command's nonce cannot be kept: {error}");
                Failure::new(error_type::STORAGE_ERROR, message)
            })?;
            self.reach(patience).await
        })
    }

    fn commit(&mut self, by: Moment) -> BoxFuture<'_, Commit> {
        Box::pin(self.send(by))
    }

    fn next<'a>(&'a mut self, into: &'a mut Batch) -> BoxFuture<'a, Heard> {
        Box::pin(self.hear(into))
    }

    fn talks(&self) -> bool {
        matches!(self.stage, Stage::Acknowledged | Stage::Pending)
    }

    fn heard(&self) -> Option<Moment> {
        // That the device lives does not say that a reply will come.
        if self.talks() {
            self.device.heard()
        } else {
            None
        }
    }

    fn stored(&mut self, _what: Stored) {}

    fn tell(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.is_told = true;
            // Late replies are nobody's.
            self.turn = None;
        })
    }

    fn prove(&mut self) -> BoxFuture<'_, Proved> {
        Box::pin(async { Proved::free(Proof::Unconfirmed) })
    }

    fn keeps(&self) -> bool {
        matches!(
            self.stage,
            Stage::Attaching(..) | Stage::Acknowledged | Stage::Pending
        )
    }

    fn debt(&self) -> Option<Token> {
        None
    }

    fn detach(self: Box<Self>) {}
}

/// The device has forgotten its commands.
fn restarted() -> Failure {
    let data = json!({ "host_restarted": true });
    let message = "the device was started anew, and has forgotten the command";
    Failure::new(error_type::MISSING_RESULT, message).with_data(&data)
}

/// The `data` of a request with these arguments.
fn request_data(arguments: &Json, is_strict: bool) -> Result<Option<Vec<u8>>, Failure> {
    let text = arguments.as_bytes();
    if text == b"[]" {
        return Ok(None);
    }
    if text.first() != Some(&b'{') {
        let message = "a device takes one object, or no arguments at all";
        return Err(invalid_arguments(message));
    }
    let mut data = Vec::with_capacity(text.len());
    match arguments::write(text, &mut data) {
        Err(changed) if is_strict => {
            let message = format!(
                "the device would change {}: it takes capital letters (A to Z) and blanks in \
                 strings and keys for another style of writing; \"strict\": false in the \
                 registry sends them all the same",
                changed.path
            );
            let data = json!({ "path": changed.path });
            Err(invalid_arguments(message).with_data(&data))
        }
        _ => Ok(Some(data)),
    }
}

/// The text of a request.
fn request(command: i64, custom: Option<i64>, nonce: u64, data: Option<&[u8]>) -> Bytes {
    let mut text = format!("{{\"command\":{command},\"nonce\":{nonce}").into_bytes();
    if let Some(custom) = custom {
        // As the device writes keys by itself, once it has changed their style.
        text.extend(format!(",\"custom_command\":{custom}").bytes());
    }
    if let Some(data) = data {
        text.extend(b",\"data\":");
        text.extend(data);
    }
    text.push(b'}');
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_one_object_without_blanks_and_capitals() {
        let data = request_data(&r#"{"mode":"idle","n":1E2}"#.parse().unwrap(), true);
        let data = data.unwrap();
        assert_eq!(
            request(120, None, 7, data.as_deref()),
            r#"{"command":120,"nonce":7,"data":{"mode":"idle","n":1e2}}"#
        );
        let none = request_data(&"[]".parse().unwrap(), true).unwrap();
        assert_eq!(
            request(99999, Some(12), 7, none.as_deref()),
            r#"{"command":99999,"nonce":7,"custom_command":12}"#
        );
    }

    #[test]
    fn arguments_that_would_be_changed_are_refused_with_their_place() {
        let text = r#"{"deep":{"er":[1,{"x":"Hello"}]}}"#;
        let failure = request_data(&text.parse().unwrap(), true).unwrap_err();
        assert_eq!(failure.error_type, "invalid_argument_list");
        assert!(failure.message.contains("deep.er.1.x"), "{failure}");
        let sent = request_data(&text.parse().unwrap(), false).unwrap();
        assert_eq!(sent.as_deref(), Some(text.as_bytes()));
        for positional in ["[1]", r#"["idle"]"#] {
            let failure = request_data(&positional.parse().unwrap(), false).unwrap_err();
            assert_eq!(failure.error_type, "invalid_argument_list");
        }
    }
}
