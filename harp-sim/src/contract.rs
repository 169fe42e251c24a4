//! What the core expects of any ledger, as functions over one: each ledger's own tests run
//! all of [`CONTRACT`].

mod decisions;
mod keeping;
mod papers;
mod starts;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use harp_jobs::ledger::*;
use harp_jobs::lineup::pool::PoolId;
use harp_jobs::record::{CallRecord, EndRecord, QueueRecord, Remarks};
use harp_jobs::segment::{Segment, SegmentBuilder};
use harp_jobs::transport::Minted;
use harp_jobs::world::BoxFuture;
use harp_values::{JobId, Json, Outcome};
use tokio::sync::mpsc;

/// A ledger that is held to the contract, and what can be done to it.
pub trait Subject: Send {
    /// The ledger as it is now.
    fn ledger(&self) -> Arc<dyn Ledger>;

    /// Kills the ledger and opens it again on what is durable.
    fn reopen(&mut self) -> BoxFuture<'_, ()>;

    /// From now on nothing can be written, or it can again.
    fn set_down(&mut self, is_down: bool);

    /// Lets time go by.
    fn pass(&self, time: Duration) -> BoxFuture<'_, ()>;

    /// The wall clock, in milliseconds since 1970.
    fn wall(&self) -> u64;
}

/// One part of the contract, by its name.
pub type Clause = (&'static str, fn(Play) -> BoxFuture<'static, ()>);

macro_rules! clauses {
    ($($room:ident :: $name:ident),* $(,)?) => {
        &[$((stringify!($name), |play| Box::pin($room::$name(play)))),*]
    };
}

/// All of the contract.
pub const CONTRACT: &[Clause] = clauses![
    decisions::an_accepted_job_exists_once,
    decisions::a_key_has_one_job,
    decisions::there_is_so_much_room,
    decisions::turns_come_in_order_and_one_by_one,
    decisions::what_has_not_started_can_be_withdrawn,
    decisions::a_queue_is_withdrawn_at_once,
    decisions::a_place_is_kept_until_a_debt_is_paid,
    decisions::another_attempt_waits_for_its_time_and_its_place,
    decisions::a_job_of_a_pool_is_claimed_once,
    decisions::who_does_not_start_in_time_has_ended,
    keeping::a_start_is_recorded_once,
    keeping::packets_are_kept_once_and_in_order,
    keeping::an_end_is_the_first_one,
    keeping::news_tell_each_change_once_and_in_order,
    keeping::lists_are_read_in_pages,
    keeping::the_oldest_ended_jobs_are_pruned,
    papers::a_paper_is_replaced_by_who_knows_it,
    papers::a_pool_is_withdrawn_at_once,
    papers::who_waits_for_a_job_of_a_pool_is_told,
    starts::an_outage_is_waited_for,
    starts::a_stop_waits_for_nothing_in_an_outage,
    starts::after_a_start_everything_is_where_it_was,
    starts::nobody_from_before_a_start_may_write,
    starts::once_it_drains_nothing_starts,
    starts::once_it_is_shut_everything_says_so,
];

/// A ledger being played with: the subject, its news, and calls to hand in.
pub struct Play {
    subject: Box<dyn Subject>,
    ledger: Arc<dyn Ledger>,
    news: mpsc::UnboundedReceiver<News>,
    turns: VecDeque<Turn>,
    changes: Vec<Change>,
    made: u64,
}

impl Play {
    /// Begins on a ledger that is empty.
    ///
    /// # Panics
    ///
    /// If its news have been taken.
    #[must_use]
    pub fn new(subject: Box<dyn Subject>) -> Play {
        let ledger = subject.ledger();
        let news = ledger.news().expect("news nobody has taken");
        Play {
            subject,
            ledger,
            news,
            turns: VecDeque::new(),
            changes: Vec::new(),
            made: 0,
        }
    }

    async fn reopen(&mut self) {
        self.subject.reopen().await;
        self.ledger = self.subject.ledger();
        self.news = self.ledger.news().expect("news nobody has taken");
        self.turns.clear();
        self.changes.clear();
    }

    /// A call in the queue of this name, with a concurrency of 1.
    fn new_job(&mut self, queue: Option<&str>) -> NewJob {
        self.made += 1;
        let submitted = self.subject.wall();
        let id = (u128::from(submitted) << 80) | (7 << 76) | u128::from(self.made);
        let queue = queue.map(|name| QueueRecord {
            name: format!("{{\"name\":\"{name}\"}}").parse().expect("a name"),
            concurrency: 1,
        });
        let arguments = format!("[{}]", self.made).parse().expect("JSON");
        NewJob {
            id: JobId::from_bytes(id.to_be_bytes()),
            call: CallRecord {
                queue,
                client: Some("me".to_owned()),
                ..CallRecord::new("h", "p", arguments, submitted)
            },
            unless_since: None,
            start_by: None,
            minted: Minted {
                token: token("new"),
                pool: None,
            },
            room: Room {
                live_jobs: 1000,
                queue_length: 1000,
            },
        }
    }

    async fn accept(&mut self, job: &NewJob) -> Result<Accepted, NotAccepted> {
        let accepted = self.ledger.accept(vec![job.clone()]).await?;
        assert_eq!(accepted.len(), 1);
        Ok(accepted[0])
    }

    /// Hands in a call, which is taken.
    async fn submit(&mut self, queue: Option<&str>) -> JobId {
        let job = self.new_job(queue);
        assert_eq!(self.accept(&job).await, Ok(Accepted::New(job.id)));
        job.id
    }

    /// The next turn.
    async fn turn(&mut self) -> Turn {
        loop {
            if let Some(turn) = self.turns.pop_front() {
                return turn;
            }
            let news = self.news.recv().await;
            self.take(news.expect("a ledger that tells"));
        }
    }

    /// Submits a call that starts at once, and returns its turn.
    async fn run(&mut self, queue: Option<&str>) -> Turn {
        let job = self.submit(queue).await;
        let turn = self.turn().await;
        assert_eq!(turn.hold.job, job);
        assert!(matches!(turn.start, Start::Recorded { .. }), "{turn:?}");
        turn
    }

    /// Nobody has a turn, after some time too.
    async fn assert_no_turn(&mut self) {
        self.subject.pass(Duration::from_millis(100)).await;
        while let Ok(news) = self.news.try_recv() {
            self.take(news);
        }
        assert!(self.turns.is_empty(), "{:?}", self.turns);
    }

    fn take(&mut self, news: News) {
        match news {
            News::Turn(turn) => self.turns.push_back(turn),
            News::Change(change) => self.changes.push(change),
            News::Wish(_) | News::Fenced => {}
        }
    }

    /// What has been told of a job so far.
    async fn changes_of(&mut self, job: JobId) -> Vec<What> {
        self.subject.pass(Duration::from_millis(100)).await;
        while let Ok(news) = self.news.try_recv() {
            self.take(news);
        }
        let changes = self.changes.iter().filter(|change| change.job == job);
        changes.map(|change| change.what.clone()).collect()
    }

    async fn whereabouts(&mut self, job: JobId) -> Whereabouts {
        self.ledger.whereabouts(&[job]).await.expect("an answer")[0]
    }

    async fn end_of(&mut self, job: JobId) -> Option<Arc<EndRecord>> {
        self.ledger.end(job).await.expect("an answer")
    }

    async fn close(&mut self, hold: Hold, end: End) -> Closed {
        self.ledger.close_job(hold, end).await.expect("closed")
    }
}

fn token(text: &'static str) -> Token {
    Token(text.into())
}

fn pool() -> PoolId {
    PoolId("workers".into())
}

/// An end with nothing owed.
fn end(outcome: Outcome, packets: u64) -> End {
    End {
        then: Then::End(outcome),
        packets,
        debt: None,
        remarks: Default::default(),
    }
}

fn returned() -> Outcome {
    Outcome::Returned(Json::NULL)
}

/// Packets from a number on, up to another one: each is its number.
fn packets(from: u64, to: u64) -> Vec<Segment> {
    let mut builder = SegmentBuilder::new(from);
    for number in from..to {
        builder.push(1, number.to_string().as_bytes());
    }
    vec![builder.finish()]
}

#[cfg(test)]
mod tests;
