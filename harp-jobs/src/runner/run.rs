//! One run: a life, its attempt, its packets and its timer, in one loop. What comes is made
//! an event for the life here; what that orders is carried out by `orders.rs`.

mod orders;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use harp_values::{Evidence, Failure, Json};
use tokio::sync::watch;
use tracing::{error, info};

use super::asked::{Asked, Reply};
use super::work::{Came, Work};
use super::{Runner, Stop};
use crate::batch::Batch;
use crate::ledger::{Closed, Hold, Lost, Start, Token};
use crate::life::{Event, Life, Orders, Sign};
use crate::limits::RunLimits;
use crate::live::JobOwner;
use crate::output::Output;
use crate::pump::Pump;
use crate::record::CallRecord;
use crate::segment::Segment;
use crate::transport::{Commit, Heard, Stored};
use crate::world::{BoxFuture, Moment};

/// A run under way.
pub(super) struct Run<'r> {
    runner: &'r Runner,
    owner: &'r JobOwner,
    hold: Hold,
    call: Arc<CallRecord>,
    limits: Arc<RunLimits>,
    begun: Moment,
    life: Life,
    /// What is to be done before anything else.
    first: Option<Orders>,
    /// The transport's note that goes on record next, or has.
    token: Token,
    /// What the attempt says is owed if its host may still be busy.
    debt: Option<Token>,
    /// What the call had printed, as its host has said with its end.
    evidence: Option<Evidence>,
    work: Work,
    /// What follows once the host is told that the call is given up.
    once_told: OnceTold,
    asked: Asked,
    batch: Batch,
    pump: Pump,
    /// Whether the host is read.
    is_reading: bool,
    timer: Option<(Moment, BoxFuture<'static, ()>)>,
    stop: watch::Receiver<Stop>,
    terms: watch::Receiver<u64>,
    cancel_is_known: bool,
    end_is_durable: bool,
}

/// What follows once a host is told that its call is given up.
#[derive(Debug, Clone, Copy, Default)]
enum OnceTold {
    /// Nothing.
    #[default]
    Rest,
    /// It is listened to.
    Listen,
    /// It is to prove that it is done.
    Prove,
}

/// What comes next.
enum Step {
    Cancel,
    Stop(Stop),
    /// Others hold the job.
    Fenced,
    Rang,
    Reply(Reply),
    Durable(Result<Vec<Segment>, Lost>),
    Reading(bool),
    Came(Came),
}

impl<'r> Run<'r> {
    pub(super) fn new(
        runner: &'r Runner,
        hold: Hold,
        start: &Start,
        (packets, last): (u64, Option<Bytes>),
        call: Arc<CallRecord>,
        owner: &'r JobOwner,
    ) -> Run<'r> {
        let limits = Arc::clone(&runner.limits.borrow());
        let (token, already) = match start {
            Start::ToRecord => (runner.transport.mint(&call).token, Duration::ZERO),
            Start::Recorded { token, .. } | Start::Settle { token } => {
                (token.clone(), Duration::ZERO)
            }
            Start::Attach { at, token } => {
                let already = runner.world.wall().saturating_sub(*at);
                (token.clone(), Duration::from_millis(already))
            }
        };
        let mut terms = limits.terms(&call, already);
        terms.unrun = runner.transport.unrun(&call, &token);
        let begun = runner.world.now();
        let (life, first) = Life::new(start, terms, begun);
        let mut stop = runner.stop.clone();
        // It may have begun before.
        stop.mark_changed();
        Run {
            runner,
            owner,
            hold,
            call,
            begun,
            life,
            first: Some(first),
            debt: Some(token.clone()),
            evidence: None,
            token,
            work: Work::Idle(None),
            once_told: OnceTold::Rest,
            asked: Asked::Nothing,
            batch: Batch::within(
                packets,
                Output::new(limits.output, packets, last.as_deref()),
            ),
            pump: Pump::new(packets),
            limits,
            is_reading: true,
            timer: None,
            stop,
            terms: runner.terms.clone(),
            cancel_is_known: false,
            end_is_durable: false,
        }
    }

    /// How many packets the job has.
    pub(super) fn packets(&self) -> u64 {
        self.pump.count()
    }

    /// Goes on until the life is over.
    pub(super) async fn drive(&mut self) {
        if let Some(first) = self.first.take() {
            self.carry_out(first);
        }
        while !self.life.is_done() {
            self.set_timer();
            let step = self.step().await;
            if let Some(event) = self.take(step) {
                self.on(event);
            }
        }
    }

    /// A fault of this program: the attempt is gone, and what it had put into the batch is.
    pub(super) fn after_a_fault(&mut self) {
        self.work = Work::Idle(None);
        self.first = None;
        let output = Output::new(self.limits.output, self.pump.count(), None);
        self.batch = Batch::within(self.pump.count(), output);
        self.on(Event::Fault);
    }

    fn on(&mut self, event: Event) {
        match self.life.on(event, self.runner.world.now()) {
            Ok(orders) => self.carry_out(orders),
            Err(unexpected) => error!(%unexpected, "a fault of this program; please report it"),
        }
    }

    /// Waits for what comes next. What somebody wants comes before what the host says, so
    /// that a flood of packets does not keep a job from its cancel; what has arrived comes
    /// before a limit.
    async fn step(&mut self) -> Step {
        let Run {
            owner,
            work,
            asked,
            batch,
            pump,
            is_reading,
            timer,
            stop,
            terms,
            cancel_is_known,
            ..
        } = self;
        let listens = matches!(work, Work::Listen(_));
        let reads = *is_reading;
        let packets = |context: &mut Context<'_>| {
            if let Poll::Ready(durable) = pump.poll_durable(context) {
                return Poll::Ready(Step::Durable(durable));
            }
            let has_room = pump.poll_room(context).is_ready();
            if listens && has_room != reads {
                return Poll::Ready(Step::Reading(has_room));
            }
            Poll::Pending
        };
        let comes = async {
            if reads || !listens {
                work.came(batch).await
            } else {
                work.hold_on().await
            }
        };
        let rings = async {
            match timer {
                Some((_, timer)) => timer.await,
                None => std::future::pending().await,
            }
        };
        let stops = async {
            if stop.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            *stop.borrow_and_update()
        };
        let fenced = async {
            if terms.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            () = fenced => Step::Fenced,
            () = owner.cancel_wished(), if !*cancel_is_known => Step::Cancel,
            stop = stops => Step::Stop(stop),
            reply = asked.answer() => Step::Reply(reply),
            step = poll_fn(packets) => step,
            came = comes => Step::Came(came),
            () = rings => Step::Rang,
        }
    }

    /// What a step means for the life.
    fn take(&mut self, step: Step) -> Option<Event> {
        match step {
            Step::Cancel => {
                self.cancel_is_known = true;
                Some(Event::Cancel)
            }
            Step::Fenced => Some(Event::Fenced),
            Step::Stop(Stop::No | Stop::Over) => None,
            Step::Stop(Stop::Leave) => Some(Event::Leave),
            Step::Stop(Stop::Interrupt) => {
                // It may have come to this before the run has seen that there is a stop.
                self.on(Event::Leave);
                Some(Event::Interrupt)
            }
            Step::Stop(Stop::EndCalls) => Some(Event::Interrupt),
            Step::Rang => {
                self.timer = None;
                self.hear_of_life();
                let due = self.life.due()?;
                (due <= self.runner.world.now()).then_some(Event::Due)
            }
            Step::Reply(Reply::Event(event)) => Some(event),
            Step::Reply(Reply::Noted) => {
                self.work.stored(Stored::Note);
                None
            }
            Step::Reply(Reply::Closed(closed)) => Some(self.closed(closed)),
            Step::Durable(Ok(segments)) => {
                self.show(segments);
                None
            }
            Step::Durable(Err(lost)) => Some(Event::Unkept(lost)),
            Step::Reading(reads) => {
                self.is_reading = reads;
                Some(Event::Reading(reads))
            }
            Step::Came(came) => self.came(came),
        }
    }

    /// A host that is heard shows life by parts of messages too.
    fn hear_of_life(&mut self) {
        if let Work::Listen(attempt) = &self.work
            && let Some(at) = attempt.heard()
        {
            self.on(self.sign(at, 0));
        }
    }

    fn sign(&self, at: Moment, bytes: usize) -> Event {
        let talks = self.work.attempt().is_some_and(|attempt| attempt.talks());
        Event::Sign(Sign { at, bytes, talks })
    }

    fn came(&mut self, came: Came) -> Option<Event> {
        Some(match came {
            Came::Ready(Ok(())) => Event::LinkReady {
                keeps: self.keeps(),
            },
            Came::Ready(Err(failure)) => Event::LinkFailed(failure),
            Came::Commit(Commit::Done) => Event::Committed,
            Came::Commit(Commit::First(token)) => Event::First {
                token,
                keeps: self.keeps(),
            },
            Came::Commit(Commit::Not { failure, certain }) => {
                Event::NotCommitted { failure, certain }
            }
            Came::Heard(heard) => self.heard(heard),
            Came::Told => {
                self.told();
                return None;
            }
            Came::Proved(proved) => Event::Proved(proved),
        })
    }

    /// Whether the host goes on with the call of an attempt that rests.
    fn keeps(&self) -> bool {
        match &self.work {
            Work::Idle(Some(attempt)) => attempt.keeps(),
            _ => false,
        }
    }

    fn heard(&mut self, heard: Heard) -> Event {
        let (bytes, too_much) = self.take_packets();
        if let Some(failure) = too_much {
            return Event::Cut(failure);
        }
        match heard {
            Heard::Sign | Heard::Packets => {
                self.forget_arguments();
                self.sign(self.runner.world.now(), bytes)
            }
            Heard::Note(token) => Event::Note(token),
            Heard::Unrun(token) => Event::Unrun(token),
            Heard::Apart => {
                self.owner.unreachable(Some(self.runner.world.wall()));
                Event::Apart
            }
            Heard::Back => {
                self.owner.unreachable(None);
                Event::Back
            }
            Heard::NeverRan(token) => {
                self.owner.unreachable(None);
                self.work = Work::Idle(self.work.take());
                Event::NeverRan {
                    token,
                    keeps: self.keeps(),
                }
            }
            Heard::End { outcome, left } => {
                let mut attempt = self.work.take();
                self.evidence = attempt.as_mut().and_then(|attempt| attempt.evidence());
                self.work = Work::Idle(attempt);
                Event::HostEnd { outcome, left }
            }
        }
    }

    /// What its host has acknowledged is not sent again, and can be large.
    fn forget_arguments(&mut self) {
        if self.call.arguments != Json::NULL {
            self.call = Arc::new(self.call.without_arguments());
        }
    }

    /// Hands what was put into the batch to the ledger: how many bytes came, and why the job
    /// cannot go on, if so.
    fn take_packets(&mut self) -> (usize, Option<Failure>) {
        let taken = self.batch.take();
        if !taken.segments.is_empty() {
            let ledger = &self.runner.ledger;
            let appending = ledger.append(self.hold, taken.segments.clone());
            self.pump.push(taken.segments, taken.bytes, appending);
        }
        (taken.bytes, taken.too_much)
    }

    fn told(&mut self) {
        if self.end_is_durable {
            self.work.stored(Stored::End);
        }
        match std::mem::take(&mut self.once_told) {
            OnceTold::Rest => {}
            OnceTold::Listen => self.listen(),
            OnceTold::Prove => self.prove(),
        }
    }

    fn closed(&mut self, closed: Closed) -> Event {
        // Packets come before the end that counts them, and are durable with it.
        let segments = self.pump.take_all();
        self.show(segments);
        self.end_is_durable = true;
        self.work.stored(Stored::End);
        if let Some(end) = &closed.end {
            let seconds = self.runner.world.now().since(self.begun).as_secs_f32();
            info!(outcome = end.outcome.name(), seconds, "job ended");
        }
        Event::Closed(closed)
    }

    fn show(&mut self, segments: Vec<Segment>) {
        if let Some(last) = segments.last() {
            self.work.stored(Stored::Packets(last.end()));
            self.owner.show(segments);
        }
    }

    fn set_timer(&mut self) {
        let Some(due) = self.life.due() else {
            return;
        };
        // One that rings too early is set again then.
        if self.timer.as_ref().is_none_or(|(rings, _)| *rings > due) {
            self.timer = Some((due, self.runner.world.sleep(due)));
        }
    }
}
