//! One call at a host that keeps it (`harp/2`): over as many connections as it takes.

use std::sync::Arc;
use std::time::Duration;

use harp_budget::Share;
use harp_host::kept::News;
use harp_host::{HostError, Wanted};
use harp_jobs::ledger::Token;
use harp_jobs::record::CallRecord;
use harp_jobs::transport::{Batch, Heard, Proof, Proved, Stored};
use harp_jobs::world::World;
use harp_proto::host::kept::{Acknowledgement, Attach, CallId, Refusal};
use harp_proto::{Failure, Outcome};
use harp_time::within;
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use super::acknowledging::Acknowledging;
use super::attach::{Apart, There, Tried};
use super::gate::Gate;
use super::joined::{Asked, Joined, Said};
use super::lives::Speaks;
use super::refusals::{self, Follows, NoSuchCall};
use super::token::{Note, Owes, Stamp};
use super::{Shared, told_of};
use crate::clock;
use crate::host_attempts::{Attempts, Turn};
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
    /// The host has said that it has the call.
    is_acknowledged: bool,
    /// The call was given up: its host is told so whenever it is there.
    is_told: bool,
    /// What is owed when it is.
    owes: Owes,
    /// Whoever runs the job has been told that the host cannot be reached.
    is_apart: bool,
    /// That the host is at work is to be told next.
    signs: bool,
    streams: bool,
    /// What came of the newest attempt to reach the host.
    last: Option<Failure>,
    /// Until the host is attached to again, if connections break as soon as they are there.
    pause: Duration,
    /// What a large result holds of the memory for such until its job's end is on record.
    _result: Option<Share>,
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
            is_acknowledged: false,
            is_told: false,
            owes: Owes::Cancel,
            is_apart: false,
            signs: false,
            streams: false,
            last: None,
            pause: Duration::ZERO,
            _result: None,
        }
    }

    /// The request has gone out.
    pub(super) fn sent(mut self, joined: Joined) -> KeptCall {
        self.side = Side::Joined(Box::new(joined));
        self
    }

    /// It ran when this process began; packets from `since` on are wanted.
    pub(super) fn at_restart(mut self, since: u64) -> KeptCall {
        self.received = since;
        self.acknowledging.has(since);
        // What is on record of it has come from there.
        self.is_acknowledged = since > 0;
        self.renewed = self.renewed.min(self.shared.began).max(self.shared.began);
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
                return said;
            }
        }
    }

    /// When the host can have given the call up by itself.
    fn kept_until(&self) -> Instant {
        self.renewed + self.keep
    }

    async fn attach(&mut self) -> Option<Said> {
        let until = self.kept_until();
        let Side::Apart(apart) = &mut self.side else {
            return None;
        };
        let tried = tokio::select! {
            biased;
            tried = apart.tried(&self.shared, &self.host) => tried,
            () = sleep_until(until) => {
                let failure = refusals::kept_for(self.last.as_ref(), self.keep);
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
                Some(self.over(refusals::gone(true)))
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
                if joined.limit() > now {
                    return None;
                }
                let error = joined.timed_out();
                return self.broke(&error);
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
                    if let Some(said) = self.take(news, waits) {
                        return Some(said);
                    }
                }
                Err(error) => return self.fault(&error),
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

    /// Takes a packet, and those that have arrived behind it.
    fn take_packets(&mut self, first: &[u8], into: &mut Batch) {
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
                match into.is_full() {
                    true => Wanted::Enough,
                    false => Wanted::More,
                }
            });
        }
        self.received += count;
        self.acknowledging
            .received(self.received, into.next(), bytes);
    }

    fn take(&mut self, news: News, waits: &mut Attempts) -> Option<Said> {
        match news {
            News::Acknowledged(acknowledgement) => self.answered(&acknowledgement, waits),
            News::Refused(failure) => Some(self.refused(failure, waits)),
            News::End(outcome) => {
                if let Side::Joined(joined) = &mut self.side {
                    self._result = joined.line.connection.take_share();
                }
                waits.heard(Instant::now());
                // It comes when nothing of the call is left.
                Some(Said::Heard(Heard::End {
                    outcome,
                    left: false,
                }))
            }
            News::Beat(_) => {
                self.renewed = Instant::now();
                waits.heard(self.renewed);
                None
            }
            News::Packet(_) => None,
        }
    }

    fn answered(&mut self, answer: &Acknowledgement, waits: &mut Attempts) -> Option<Said> {
        let now = Instant::now();
        let boot: Arc<str> = answer.boot.as_str().into();
        self.shared
            .lives
            .note(&self.host, Speaks::Kept(Arc::clone(&boot)));
        self.gate.answered();
        self.keep = answer.keep;
        self.renewed = now;
        self.is_acknowledged = true;
        self.is_apart = false;
        self.signs = true;
        self.streams = answer.stream_result;
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
            return Some(ended(refusals::lost_packets(), true));
        }
        if attached.ended {
            // Its end counts, whatever limit has passed.
            self.signs = false;
            return None;
        }
        Some(Said::Heard(Heard::Back))
    }

    /// What was asked was refused; the connection has no call.
    fn refused(&mut self, failure: Failure, waits: &mut Attempts) -> Said {
        let over = Side::Over(failure.clone());
        let Side::Joined(mut joined) = std::mem::replace(&mut self.side, over) else {
            return ended(failure, true);
        };
        let refusal = Refusal::of_failure(&failure);
        let endpoint = joined.line.connection.endpoint();
        let error = HostError::remote(endpoint, failure.clone());
        let turn = joined.turn.take();
        if joined.asked == Asked::Attach {
            self.gate.answered();
        }
        match (joined.asked, refusal) {
            (_, Some(Refusal::StaleEpoch)) => {
                debug!("somebody with a higher epoch has the call");
                self.owes = Owes::Place;
                self.rest(*joined);
                self.over(refusals::stale_epoch())
            }
            (Asked::Request, Some(Refusal::WrongBoot { boot })) => {
                let boot: Arc<str> = boot.into();
                self.shared
                    .lives
                    .note(&self.host, Speaks::Kept(Arc::clone(&boot)));
                joined.line.boot = Some(Arc::clone(&boot));
                if let Some(turn) = turn {
                    waits.acknowledged(turn);
                }
                let note = Note::new(Some(boot), self.note.keep, self.epoch);
                Said::NeverRan(note, joined)
            }
            (Asked::Request, _) => {
                self.rest(*joined);
                match waits.failed(turn.unwrap_or_else(Turn::free), &error) {
                    None => Said::Again,
                    Some(failure) => {
                        told_of(&error);
                        ended(failure, false)
                    }
                }
            }
            (
                Asked::Attach,
                Some(Refusal::NoSuchCall {
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
            (Asked::Attach, Some(Refusal::LostPackets { first })) => {
                self.received = first;
                self.rest(*joined);
                self.side = Side::Apart(Apart::since_break(Instant::now()));
                ended(refusals::lost_packets(), true)
            }
            // It may be another one's answer: who may call is in the registry, and changes.
            (Asked::Attach, Some(Refusal::WrongBoot { .. }) | None) => {
                debug!(%error, "the call cannot be attached to");
                self.gate.failed(self.shared.world.chance());
                self.last = Some(failure);
                self.side = Side::Apart(Apart::since_break(Instant::now()));
                self.apart().unwrap_or(Said::Heard(Heard::Apart))
            }
        }
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
                let failure = refusals::gone(host_restarted);
                self.side = Side::Over(failure.clone());
                ended(failure, left)
            }
        }
    }

    /// A fault on the connection. The call goes on at the host if it is one of the way there.
    fn fault(&mut self, error: &HostError) -> Option<Said> {
        if refusals::is_break(error) {
            return self.broke(error);
        }
        told_of(error);
        self.side = Side::Apart(Apart::since_break(Instant::now()));
        Some(ended(error.to_failure(), true))
    }

    fn broke(&mut self, error: &HostError) -> Option<Said> {
        let now = Instant::now();
        let over = Side::Over(error.to_failure());
        let Side::Joined(joined) = std::mem::replace(&mut self.side, over) else {
            return None;
        };
        debug!(%error, "the connection to the host is broken; the call goes on there");
        self.shared.idle.forget(&self.host);
        match (joined.asked, joined.answered) {
            (Asked::Attach, None) => self.gate.failed(self.shared.world.chance()),
            _ => self.gate.broke(),
        }
        let is_short = joined
            .answered
            .is_some_and(|answered| now.saturating_duration_since(answered) < SHORT);
        self.pause = match is_short && joined.asked == Asked::Attach {
            true => (2 * self.pause).clamp(PAUSES.0, PAUSES.1),
            false => Duration::ZERO,
        };
        self.last = Some(error.to_failure());
        self.side = Side::Apart(Apart::since_break(now + self.pause));
        self.apart()
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

    /// Tells the host that the call is given up, if it is connected. One that is not is told
    /// by [`KeptCall::prove`].
    pub(super) async fn tell(&mut self) {
        self.is_told = true;
        if let Side::Joined(joined) = &mut self.side
            && self.owes == Owes::Cancel
        {
            joined.cancel();
            let by = Instant::now() + self.rules.limits.slot_grace;
            // A host that does not take it in is found out by waiting for it.
            let _ = within(by, joined.line.connection.flush()).await;
        }
    }

    /// Waits until the host says that nothing of the call is left, or can have given it up by
    /// itself. Cancel safe.
    pub(super) async fn prove(&mut self, waits: &mut Attempts) -> Proved {
        self.is_told = true;
        if self.owes == Owes::Place {
            return self.kept_place();
        }
        if let Side::Joined(joined) = &mut self.side {
            joined.cancel();
        }
        self.acknowledging.wants_nothing();
        loop {
            let mut unwanted = Batch::new(self.received);
            match self.next(waits, &mut unwanted).await {
                Said::Again | Said::NeverRan(..) | Said::Heard(Heard::NeverRan(_)) => {
                    return Proved::free(Proof::Confirmed);
                }
                Said::Heard(Heard::End { left: false, .. }) => {
                    self.end_is_stored();
                    return Proved::free(Proof::Confirmed);
                }
                Said::Heard(Heard::End { left: true, .. }) => return self.kept_place(),
                Said::Heard(_) => {}
            }
        }
    }

    /// The place is kept until the host can have nothing left.
    fn kept_place(&self) -> Proved {
        let until = self.kept_until() + self.rules.limits.slot_grace;
        Proved {
            host: Proof::Unconfirmed,
            keep: until.saturating_duration_since(Instant::now()),
        }
    }

    /// Whether packets may come.
    pub(super) fn streams(&self) -> bool {
        self.streams && matches!(self.side, Side::Joined(_))
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

    /// What has to be on record with the end while the host may be busy.
    pub(super) fn debt(&self) -> Token {
        let mut note = self.note.clone();
        note.owes = self.owes;
        note.keep = self.keep;
        note.epoch = self.epoch;
        note.at = Stamp::now().before(self.renewed.elapsed());
        note.token()
    }
}

fn ended(failure: Failure, left: bool) -> Said {
    Said::Heard(Heard::End {
        outcome: Outcome::Error(failure),
        left,
    })
}
