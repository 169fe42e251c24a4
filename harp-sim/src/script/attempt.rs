//! One attempt at a call at a played host.

mod away;

use std::sync::Arc;
use std::time::Duration;

use harp_jobs::batch::Batch;
use harp_jobs::ledger::{Hold, Token};
use harp_jobs::record::CallRecord;
use harp_jobs::transport::{Attempt, Commit, Heard, How, Proof, Proved, Stored};
use harp_jobs::world::{BoxFuture, Moment, World};
use harp_values::{Failure, JobId, Outcome};

use super::call::Call;
use super::way::Said;
use super::{Answer, GRACE, Hosts, KEEPS, LEASE};

/// Bits of an epoch that count; the number of the dispatcher's start stands above them.
const COUNT: u32 = 20;

/// One attempt.
pub(super) struct Scripted {
    hosts: Hosts,
    hold: Hold,
    call: Arc<CallRecord>,
    how: How,
    /// The greatest epoch that was used.
    epoch: u64,
    /// The newest connection.
    connection: u64,
    /// The number of the next packet.
    received: u64,
    /// Packets below this are durable.
    durable: u64,
    is_connected: bool,
    is_acknowledged: bool,
    is_told: bool,
    /// It is over, or its host is to go on.
    is_let_go: bool,
    was_first: bool,
    /// Nothing has gone out, since the host is away.
    waits: bool,
    has_said_unrun: bool,
}

impl Scripted {
    pub(super) fn new(
        hosts: &Hosts,
        hold: Hold,
        call: Arc<CallRecord>,
        how: How,
        is_unrun: bool,
    ) -> Scripted {
        let (later, since) = match how {
            How::New => (0, 0),
            How::Attach { since } => (1 << (COUNT - 1), since),
            How::Settle => (3 << (COUNT - 2), 0),
        };
        Scripted {
            hosts: hosts.clone(),
            hold,
            call,
            how,
            epoch: (u64::from(hold.owner) << COUNT) + later,
            connection: 0,
            received: since,
            durable: since,
            is_connected: false,
            is_acknowledged: false,
            is_told: false,
            is_let_go: false,
            was_first: false,
            waits: is_unrun && matches!(how, How::Attach { .. }),
            has_said_unrun: false,
        }
    }

    fn key(&self) -> (JobId, u32) {
        (self.hold.job, self.hold.attempt)
    }

    /// The call at its host, if it came there.
    fn at_host<T>(&self, look: impl FnOnce(&mut Call) -> T) -> Option<T> {
        self.hosts.state().calls.get_mut(&self.key()).map(look)
    }

    fn sleep(&self, milliseconds: u64) -> BoxFuture<'static, ()> {
        let world = &self.hosts.world;
        world.sleep(world.now() + Duration::from_millis(milliseconds))
    }

    fn keeps_calls(&self) -> bool {
        self.call.host == KEEPS
    }

    /// A connection, for a request or an attach of the next epoch.
    fn connect(&mut self) {
        self.epoch += 1;
        self.connection = self.hosts.connect();
    }

    /// What is said on the connection arrives later.
    fn hold_up(&self, said: Vec<Said>) {
        (self.hosts).hold_up(self.key(), self.connection, self.epoch, said);
    }

    /// Asks for the call, again and again while that is held up or its answer is lost.
    async fn ask_for(&mut self, since: u64) -> Answer {
        loop {
            self.connect();
            if self.hosts.once_in(6) {
                let mut said = vec![Said::Attach(since)];
                if self.is_told {
                    said.push(Said::Cancel);
                }
                self.hold_up(said);
                self.sleep(1000).await;
                continue;
            }
            let now = self.hosts.world.now();
            let (of, connection, epoch) = (self.key(), self.connection, self.epoch);
            let answer = (self.hosts.state()).attach(of, connection, epoch, since, (now, now));
            if !self.hosts.once_in(8) {
                return answer;
            }
            self.sleep(1000).await;
        }
    }

    /// Asks for a call of which nothing more is wanted: from the first packet on that its host
    /// has. What is acknowledged may come there meanwhile.
    async fn ask_for_any(&mut self) -> Answer {
        loop {
            let since = self.at_host(|call| call.acknowledged).unwrap_or_default();
            match self.ask_for(since).await {
                Answer::Forgotten => {}
                answer => return answer,
            }
        }
    }

    /// Attaches to a call. Some if there is something to be told at once.
    async fn attach(&mut self) -> Option<Heard> {
        self.sleep(5).await;
        if !self.keeps_calls() {
            return Some(ended("missing_result", true));
        }
        while self.hosts.once_in(3) {
            self.sleep(1000).await;
        }
        let How::Attach { since } = self.how else {
            return Some(ended("missing_result", true));
        };
        let answer = self.ask_for(since).await;
        self.is_connected = true;
        match answer {
            // It has never come there.
            Answer::Unknown => {
                self.how = How::New;
                return Some(Heard::NeverRan(Token("anew".into())));
            }
            Answer::Given => {}
            Answer::Forgotten => panic!("it wants what is forgotten"),
            Answer::Stale => return Some(ended("missing_result", true)),
        }
        self.received = since;
        let state = self.at_host(|call| call.over.filter(|_| !call.has_returned));
        match state.flatten() {
            Some(over) => {
                // Its end comes when nothing of it is left.
                self.hosts.world.sleep(over).await;
                Some(ended("keep_over", false))
            }
            None if self.at_host(|call| call.has_returned) == Some(true) => None,
            None => Some(Heard::Back),
        }
    }

    async fn hear(&mut self, into: &mut Batch) -> Heard {
        let world = self.hosts.world.clone();
        if self.hosts.once_in(20) {
            // A long silence.
            self.at_host(|call| call.last_words = None);
            self.sleep(25_000).await;
        } else {
            self.sleep(1 + world.draw(3) as u64 * 200).await;
        }
        let connection = self.connection;
        let is_held = self.at_host(|call| !call.keeps || call.is_held_by(connection));
        if self.hosts.once_in(12) || is_held == Some(false) {
            return self.break_off();
        }
        if self.is_told {
            return self.hear_last_words(into).await;
        }
        self.is_acknowledged = true;
        self.answer_a_beat();
        let now = world.now();
        let most = 1 + world.draw(3) as u64;
        let time = world.wall();
        let is_slow = self.hosts.once_in(4);
        let heard = self.at_host(|call| {
            call.tick(now);
            if let Some(over) = call.over.filter(|_| call.keeps && !call.has_returned) {
                return Err(over);
            }
            call.lease = now + LEASE;
            if is_slow {
                return Ok(Heard::Sign);
            }
            if call.sent < call.plan {
                for _ in 0..most {
                    if call.sent == call.plan || call.is_full() {
                        break;
                    }
                    // Each packet is its number.
                    into.push(time, call.sent.to_string().as_bytes());
                    call.sent += 1;
                }
                return Ok(Heard::Packets);
            }
            call.over.get_or_insert(now);
            call.has_returned = true;
            let value = call.plan.to_string().parse().expect("JSON");
            Ok(Heard::End {
                outcome: Outcome::Returned(value),
                left: false,
            })
        });
        self.received = self.at_host(|call| call.sent).unwrap_or_default();
        let heard = match heard {
            Some(Ok(heard)) => heard,
            Some(Err(over)) => {
                world.sleep(over).await;
                ended("keep_over", false)
            }
            None => ended("network_error", false),
        };
        self.is_let_go = matches!(heard, Heard::End { .. });
        heard
    }

    /// The host is told what it may forget; some of it comes late, or over a connection that
    /// has lost the call by then.
    fn answer_a_beat(&self) {
        let (connection, durable) = (self.connection, self.durable);
        if self.keeps_calls() && self.hosts.once_in(10) {
            self.hold_up(vec![Said::Ack(durable)]);
        } else {
            self.at_host(|call| call.acknowledge(connection, durable));
        }
    }

    /// What a host says of a call that it was told to end.
    async fn hear_last_words(&mut self, into: &mut Batch) -> Heard {
        let world = self.hosts.world.clone();
        let time = world.wall();
        let state = self.at_host(|call| {
            if call.last_words.is_some_and(|words| call.sent < words) {
                into.push(time, call.sent.to_string().as_bytes());
                call.sent += 1;
                return None;
            }
            Some(call.over)
        });
        match state {
            Some(None) => Heard::Packets,
            Some(Some(Some(over))) if !self.hosts.once_in(4) => {
                world.sleep(over).await;
                self.is_let_go = true;
                ended("cancelled", false)
            }
            // It says nothing of what may be left there.
            _ => ended("cancelled", true),
        }
    }

    /// A host says nothing: by then it can have nothing left. Some wait here, others have the
    /// places kept.
    async fn nothing_known(&mut self, by: Moment) -> Proved {
        let world = self.hosts.world.clone();
        if world.once_in(2) {
            world.sleep(by).await;
        }
        let keep = by.since(world.now());
        let host = Proof::Unconfirmed;
        Proved { host, keep }
    }

    /// The connection breaks.
    fn break_off(&mut self) -> Heard {
        self.is_connected = false;
        self.at_host(|call| call.last_words = None);
        if self.keeps_calls() {
            let since = self.received;
            self.how = How::Attach { since };
            return Heard::Apart;
        }
        // Its host ends it, a moment later.
        self.hosts.end(self.key());
        ended("network_error", true)
    }

    /// Cancels the call over the connection that has it.
    fn cancel(&self) {
        let later = self.hosts.a_moment_later();
        let (connection, epoch) = (self.connection, self.epoch);
        self.at_host(|call| {
            if call.cancel(connection, epoch) {
                call.end(later);
            }
        });
    }
}

fn ended(error: &str, left: bool) -> Heard {
    Heard::End {
        outcome: Outcome::Error(Failure::new(error, "played")),
        left,
    }
}

impl Attempt for Scripted {
    fn ready(&mut self, by: Moment) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(async move {
            let world = self.hosts.world.clone();
            if self.hosts.once_in(8) {
                world.sleep(by).await;
                return Err(Failure::new("network_error", "etimedout"));
            }
            self.sleep(2 + world.draw(3) as u64 * 500).await;
            if self.hosts.once_in(8) {
                return Err(Failure::new("network_error", "econnrefused"));
            }
            self.waits = self.hosts.once_in(6);
            self.is_connected = !self.waits;
            Ok(())
        })
    }

    fn commit(&mut self, by: Moment) -> BoxFuture<'_, Commit> {
        Box::pin(async move {
            let world = self.hosts.world.clone();
            if self.waits {
                return Commit::Done;
            }
            self.sleep(1).await;
            if !self.was_first && self.hosts.once_in(8) {
                self.was_first = true;
                return Commit::First(Token("first".into()));
            }
            let failure = Failure::new("network_error", "broken");
            if self.hosts.once_in(10) {
                let certain = true;
                return Commit::Not { failure, certain };
            }
            if self.hosts.once_in(15) {
                world.sleep(by).await;
            }
            let is_lost = self.hosts.once_in(15);
            if is_lost && world.once_in(2) {
                let certain = false;
                return Commit::Not { failure, certain };
            }
            let request = self.hosts.request(&self.call);
            self.connect();
            if self.keeps_calls() && self.hosts.once_in(10) {
                // The connection breaks before it has come to the host.
                self.hold_up(vec![Said::Request(request)]);
                self.is_connected = false;
                self.how = How::Attach { since: 0 };
                return Commit::Done;
            }
            let now = world.now();
            let (of, connection, epoch) = (self.key(), self.connection, self.epoch);
            (self.hosts.state()).receive(of, &request, connection, epoch, (now, now));
            self.sleep(1).await;
            if is_lost {
                if !self.keeps_calls() {
                    self.hosts.end(self.key());
                }
                let certain = false;
                return Commit::Not { failure, certain };
            }
            Commit::Done
        })
    }

    fn next<'a>(&'a mut self, into: &'a mut Batch) -> BoxFuture<'a, Heard> {
        Box::pin(async move {
            if self.waits {
                return self.wait_for_host().await;
            }
            if self.is_connected {
                return self.hear(into).await;
            }
            match self.attach().await {
                Some(heard) => heard,
                None => Heard::Sign,
            }
        })
    }

    fn stored(&mut self, what: Stored) {
        if let Stored::Packets(number) = what {
            self.durable = self.durable.max(number);
        }
    }

    fn tell(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.is_told = true;
            self.sleep(1 + self.hosts.world.draw(2) as u64 * 300).await;
            if !self.keeps_calls() {
                self.hosts.end(self.key());
            } else if self.is_connected && self.hosts.once_in(6) {
                self.hold_up(vec![Said::Cancel]);
                return;
            } else if self.is_connected {
                self.cancel();
            }
            if self.is_connected && self.talks() {
                let more = self.hosts.world.draw(3) as u64;
                self.at_host(|call| call.last_words = Some(call.sent + more));
            }
        })
    }

    fn prove(&mut self) -> BoxFuture<'_, Proved> {
        Box::pin(async move {
            let world = self.hosts.world.clone();
            self.is_told = true;
            if !self.keeps_calls() {
                self.hosts.end(self.key());
            } else if self.hosts.once_in(3) {
                // It cannot be reached until it has given the call up by itself.
                let by = self.hosts.given_up_by(self.key()) + GRACE;
                return self.nothing_known(by).await;
            } else {
                match self.ask_for_any().await {
                    Answer::Given => self.cancel(),
                    // Somebody else has it.
                    Answer::Stale => {
                        let by = self.hosts.given_up_by(self.key()) + GRACE;
                        return self.nothing_known(by).await;
                    }
                    Answer::Unknown | Answer::Forgotten => {
                        return Proved::free(Proof::Confirmed);
                    }
                }
            }
            let over = self.at_host(|call| call.over).flatten();
            let by = world.now() + GRACE;
            match over {
                None => Proved::free(Proof::Confirmed),
                Some(over) if over <= by && !self.hosts.once_in(5) => {
                    world.sleep(over).await;
                    Proved::free(Proof::Confirmed)
                }
                Some(_) => self.nothing_known(by).await,
            }
        })
    }

    fn keeps(&self) -> bool {
        self.keeps_calls() && !self.waits
    }

    fn talks(&self) -> bool {
        self.is_acknowledged && self.at_host(|call| call.plan > 0) == Some(true)
    }

    fn heard(&self) -> Option<Moment> {
        None
    }

    fn debt(&self) -> Option<Token> {
        // What a host keeps may still have to be told that it is not wanted.
        let owes = self.call.queue.is_some() || self.keeps_calls();
        owes.then(|| Token("debt".into()))
    }

    fn detach(mut self: Box<Self>) {
        self.is_let_go = true;
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        // A host that does not keep calls ends them when nobody is connected.
        let is_at_work = self.how == How::New && !self.is_let_go && !self.is_told;
        if is_at_work && !self.keeps_calls() {
            self.hosts.end(self.key());
        }
    }
}
