//! One call at a host that keeps it (`harp/2`): over as many connections as it takes.

mod answers;
mod ending;
mod hearing;

use std::sync::Arc;
use std::time::Duration;

use harp_budget::Share;
use harp_host::HostError;
use harp_host::kept::News;
use harp_jobs::record::CallRecord;
use harp_jobs::transport::{Batch, Heard, Stored};
use harp_jobs::world::World;
use harp_proto::host::kept::{Attach, CallId};
use harp_proto::{Evidence, Failure, Outcome};
use harp_time::within;
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use super::acknowledging::Acknowledging;
use super::attach::{Apart, There, Tried};
use super::denials;
use super::gate::Gate;
use super::joined::{Asked, Joined, Said};
use super::lives::Speaks;
use super::token::{Note, Owes, Stamp};
use super::{Shared, told_of};
use crate::host_attempts::{Attempts, Try};
use crate::host_contacts::WaitsThere;
use crate::rules::Rules;

/// A connection that breaks again so soon after an answer has helped nobody.
const SHORT: Duration = Duration::from_secs(1);

/// Until such a host is attached to again, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// One call at its host.
pub(super) struct KeptCall {
    shared: Arc<Shared>,
    rules: Arc<Rules>,
    gate: Arc<Gate>,
    host: String,
    id: CallId,
    note: Note,
    /// The highest epoch that was used.
    epoch: u64,
    side: Side,
    /// The number of the next packet, as the host counts.
    received: u64,
    acknowledging: Acknowledging,
    /// How long the host goes on alone.
    keep: Duration,
    /// When the newest `up` came, or the newest request or attach went out.
    renewed: Instant,
    /// When the newest `up` came, or the call began here.
    heard: Instant,
    /// The host has said that it has the call.
    is_acknowledged: bool,
    /// The call was given up: its host is told so whenever it is there.
    is_told: bool,
    /// What is owed when it is.
    owes: Owes,
    /// The host has said that nothing of the call is left, or has never had it.
    is_done: bool,
    /// Whoever runs the job has been told that the host cannot be reached.
    is_apart: bool,
    /// That the host is at work is to be told next.
    signs: bool,
    /// What came of the newest attempt to reach the host.
    last: Option<Failure>,
    /// Until the host is attached to again, if connections break as soon as they are there.
    pause: Duration,
    /// As long as the host says that the call waits there until fewer run.
    waits_there: Option<WaitsThere>,
    /// What a large result holds of the memory for such until its job's end is on record.
    _result: Option<Share>,
    /// What the call had printed, as its host has said with its end.
    evidence: Option<Evidence>,
}

/// Where the host is.
enum Side {
    /// It is connected.
    Joined(Box<Joined>),
    /// It is not.
    Apart(Apart),
    /// Nothing more is asked of it: the call is over, with this.
    Over(Failure),
}

impl KeptCall {
    /// A call with this on record; `epoch` is the highest one that was used.
    pub(super) fn new(
        shared: &Arc<Shared>,
        rules: &Arc<Rules>,
        call: &CallRecord,
        id: CallId,
        note: &Note,
        epoch: u64,
    ) -> KeptCall {
        KeptCall {
            shared: Arc::clone(shared),
            rules: Arc::clone(rules),
            gate: shared.gates.of(&call.host),
            host: call.host.clone(),
            id,
            note: note.clone(),
            epoch,
            side: Side::Apart(Apart::at_start()),
            received: 0,
            acknowledging: Acknowledging::new(),
            keep: note.keep,
            renewed: Instant::now(),
            heard: Instant::now(),
            is_acknowledged: false,
            is_told: false,
            owes: Owes::Cancel,
            is_done: false,
            is_apart: false,
            signs: false,
            last: None,
            pause: Duration::ZERO,
            waits_there: None,
            _result: None,
            evidence: None,
        }
    }

    /// The request has gone out.
    pub(super) fn sent(mut self, joined: Joined) -> KeptCall {
        self.side = Side::Joined(Box::new(joined));
        self
    }

    /// It ran when this process came to hold it, at a start or from another node: what its host's
    /// time alone is counted by begins now. Packets from `since` on are wanted.
    pub(super) fn at_restart(mut self, since: u64) -> KeptCall {
        self.received = since;
        self.acknowledging.has(since);
        // What is on record of it has come from there.
        self.is_acknowledged = since > 0;
        self
    }

    /// Its job has ended, and this is owed.
    pub(super) fn owed(mut self, note: &Note) -> KeptCall {
        self.is_told = true;
        if note.owes != Owes::Runs {
            self.owes = note.owes;
            let (_, ago) = note.at.ago(Stamp::now());
            self.renewed = self.renewed.checked_sub(ago).unwrap_or(self.renewed);
        }
        self
    }

    /// Waits for what the host says, as long as it can have the call. Cancel safe.
    pub(super) async fn next(&mut self, waits: &mut Attempts, into: &mut Batch) -> Said {
        loop {
            if std::mem::take(&mut self.signs) {
                return Said::Heard(Heard::Sign);
            }
            let said = match &self.side {
                Side::Joined(_) => self.listen(waits, into).await,
                Side::Apart(_) => self.attach().await,
                Side::Over(failure) => Some(ended(failure.clone(), true)),
            };
            if let Some(said) = said {
                self.is_done |= said.leaves_nothing();
                return said;
            }
        }
    }

    /// When the host can have given the call up by itself.
    fn kept_until(&self) -> Instant {
        self.renewed + self.keep
    }

    /// When it is waited for no longer: then, but at the latest this long after it was heard,
    /// however many attaches have gone out to which it has said nothing.
    fn awaited_until(&self) -> Instant {
        self.kept_until().min(self.heard + 2 * self.keep)
    }

    async fn attach(&mut self) -> Option<Said> {
        let until = self.awaited_until();
        let Side::Apart(apart) = &mut self.side else {
            return None;
        };
        let tried = tokio::select! {
            biased;
            tried = apart.tried(&self.shared, &self.host) => tried,
            () = sleep_until(until) => {
                let failure = denials::kept_for(self.last.as_ref(), self.keep);
                return Some(self.over(failure));
            }
        };
        match tried {
            Tried::There(there) => {
                self.ask(*there);
                None
            }
            Tried::Plain => {
                self.shared.lives.note(&self.host, Speaks::Plain);
                Some(self.over(denials::gone(true)))
            }
            Tried::Failed(failure) => {
                self.last = Some(failure);
                self.apart()
            }
        }
    }

    fn ask(&mut self, there: There) {
        let There {
            mut line,
            host,
            by,
            leave,
        } = there;
        self.epoch += 1;
        line.connection.attach(Attach {
            call: self.id,
            since: self.received,
            epoch: self.epoch,
            up: None,
            user: host.user.clone(),
            password: host.password.clone(),
        });
        self.renewed = Instant::now();
        let mut joined = Joined::new(line, host, Asked::Attach, by);
        joined.leave = Some(leave);
        self.side = Side::Joined(Box::new(joined));
    }

    /// Reads nothing, since nothing more can be taken, and lets a host that is connected know
    /// that the call is still wanted. Completes when it is not connected.
    pub(super) async fn hold_on(&mut self) {
        while let Side::Joined(joined) = &mut self.side
            && let Some(due) = joined.line.connection.vouches_at()
        {
            sleep_until(due).await;
            joined.line.connection.vouch();
            // It is not the host that is silent.
            self.renewed = Instant::now();
            self.heard = self.renewed;
            // One that takes nothing is found out by reading.
            let _ = within(self.renewed + SHORT, joined.line.connection.flush()).await;
        }
    }

    /// Takes in what has arrived. Cancel safe.
    async fn listen(&mut self, waits: &mut Attempts, into: &mut Batch) -> Option<Said> {
        let due = self.acknowledging.due();
        let Side::Joined(joined) = &mut self.side else {
            return None;
        };
        let limit = joined.limit();
        let rings = due.map_or(limit, |due| due.min(limit));
        let mut news = tokio::select! {
            biased;
            news = joined.line.connection.next() => news,
            () = sleep_until(rings) => {
                let now = Instant::now();
                if due.is_some_and(|due| due <= now) {
                    self.acknowledge();
                    return None;
                }
                // A part of a line may have come meanwhile.
                if !joined.is_broken() {
                    return None;
                }
                let error = joined.timed_out();
                return self.broke(&error, waits);
            }
        };
        let mut has_packets = false;
        loop {
            match news {
                Ok(News::Packet(data)) => {
                    has_packets = true;
                    self.take_packets(data.as_bytes(), into);
                }
                Ok(news) => {
                    if let Some(said) = self.take(news, waits, into) {
                        return Some(said);
                    }
                }
                Err(error) => return self.fault(&error, waits),
            }
            if into.is_full() {
                break;
            }
            let Side::Joined(joined) = &mut self.side else {
                return None;
            };
            match joined.line.connection.next_buffered() {
                Some(next) => news = next,
                None => break,
            }
        }
        if has_packets {
            waits.heard(Instant::now());
        }
        has_packets.then_some(Said::Heard(Heard::Packets))
    }

    /// A fault on the connection. The call goes on at the host if it is one of the way there.
    fn fault(&mut self, error: &HostError, waits: &mut Attempts) -> Option<Said> {
        if denials::is_break(error) {
            return self.broke(error, waits);
        }
        told_of(error);
        self.side = Side::Apart(Apart::since_break(Instant::now()));
        Some(ended(error.to_failure(), true))
    }

    fn broke(&mut self, error: &HostError, waits: &mut Attempts) -> Option<Said> {
        let now = Instant::now();
        let over = Side::Over(error.to_failure());
        let Side::Joined(mut joined) = std::mem::replace(&mut self.side, over) else {
            return None;
        };
        self.shared.idle.forget(&self.host);
        let is_unanswered = joined.asked == Asked::Request && joined.answered.is_none();
        if is_unanswered && self.note.boot.is_none() {
            let turn = joined.turn.take().unwrap_or_else(Try::free);
            return Some(self.run_by_nobody(turn, error, waits));
        }
        debug!(%error, "the connection to the host is broken; the call goes on there");
        match (joined.asked, joined.answered) {
            (Asked::Attach, None) => self.gate.failed(self.shared.world.chance()),
            _ => self.gate.broke(),
        }
        let is_short = joined
            .answered
            .is_some_and(|answered| now.saturating_duration_since(answered) < SHORT);
        self.pause = if is_short && joined.asked == Asked::Attach {
            (2 * self.pause).clamp(PAUSES.0, PAUSES.1)
        } else {
            Duration::ZERO
        };
        self.last = Some(error.to_failure());
        self.side = Side::Apart(Apart::since_break(now + self.pause));
        self.apart()
    }

    /// What follows of a request that names no life of harpd, and so is run by nobody, once its
    /// connection is gone.
    fn run_by_nobody(&self, turn: Try, error: &HostError, waits: &mut Attempts) -> Said {
        debug!(%error, "the request was run by nobody");
        match waits.not_run(turn, error) {
            None if !self.is_told => Said::Again,
            failure => {
                told_of(error);
                ended(failure.unwrap_or_else(|| error.to_failure()), false)
            }
        }
    }

    /// Says that the host cannot be reached, once.
    fn apart(&mut self) -> Option<Said> {
        self.signs = false;
        let is_known = std::mem::replace(&mut self.is_apart, true);
        (!is_known).then_some(Said::Heard(Heard::Apart))
    }

    /// Nothing more is asked of the host, which may have the call.
    fn over(&mut self, failure: Failure) -> Said {
        self.side = Side::Over(failure.clone());
        ended(failure, true)
    }

    /// Keeps a connection without a call for the next one.
    fn rest(&self, joined: Joined) {
        let most = self.rules.limits.max_idle_connections;
        self.shared.idle.put(&self.host, joined.line, most);
    }

    /// This is durable, and may be acknowledged. Waits for nothing.
    pub(super) fn stored(&mut self, what: Stored) {
        match what {
            Stored::Packets(packets) => {
                self.acknowledging.stored(packets);
                if self.acknowledging.is_urgent() {
                    self.acknowledge();
                }
            }
            Stored::Note => {}
            Stored::End => self.end_is_stored(),
        }
    }

    fn acknowledge(&mut self) {
        let packets = self.acknowledging.say();
        if let Side::Joined(joined) = &mut self.side {
            joined.line.connection.acknowledge(packets);
        }
    }

    /// The end is durable: if it is the host's, the host may forget the call.
    fn end_is_stored(&mut self) {
        let Side::Joined(joined) = &mut self.side else {
            return;
        };
        joined.line.connection.acknowledge_end();
        if joined.line.connection.is_idle() && joined.answered.is_some() {
            let over = Side::Over(harp_jobs::failures::missing_result());
            if let Side::Joined(joined) = std::mem::replace(&mut self.side, over) {
                self.rest(*joined);
            }
        }
    }

    /// What the call had printed, if its host has said it with its end.
    pub(super) fn evidence(&mut self) -> Option<Evidence> {
        self.evidence.take()
    }

    /// Whether the host has last words for a call that is given up.
    pub(super) fn talks(&self) -> bool {
        matches!(&self.side, Side::Joined(joined) if joined.answered.is_some())
    }

    /// When the host has said last what is no beat.
    pub(super) fn heard(&self) -> Option<Instant> {
        match &self.side {
            Side::Joined(joined) if joined.answered.is_some() => {
                Some(joined.line.connection.spoke())
            }
            _ => None,
        }
    }
}

fn ended(failure: Failure, left: bool) -> Said {
    Said::Heard(Heard::End {
        outcome: Outcome::Error(failure),
        left,
    })
}
