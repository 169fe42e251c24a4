//! The task that makes rounds, a few at a time, and goes on until each has its answer.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use harp_jobs::ledger::*;
use tracing::{error, info, warn};

use super::term::{Term, join};
use super::{NotOpened, Postgres, State};
use crate::act::Act;
use crate::columns::Columns;
use crate::connection::Connection;
use crate::fault::Fault;
use crate::lanes::{UnderWay, Waiting};
use crate::told::Told;

/// Rounds that are under way at a time, each over a connection of its own.
pub(super) const LANES: usize = 2;

/// The pause before a round is sent again, which doubles up to the second.
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The pause after which what others were in the way of is asked again.
const BUSY: Duration = Duration::from_millis(5);

/// A connection for rounds.
struct Lane {
    number: usize,
    connection: Option<Connection>,
}

/// A round that is over.
struct Over {
    lane: Lane,
    round: Vec<Waiting>,
    fate: Fate,
    /// An answer to it was lost on the way.
    was_in_doubt: bool,
}

enum Fate {
    Told(Vec<Told>),
    /// The term is over; nothing was done.
    Fenced,
    /// It cannot be done as a whole.
    Refused(Arc<str>),
    /// Nobody waits for the end of the outage.
    GivenUp,
}

impl Postgres {
    /// Makes rounds until the ledger is closed.
    pub(super) async fn write_rounds(self) {
        let lanes = (0..LANES).map(|number| Lane {
            number,
            connection: None,
        });
        let mut idle: Vec<Lane> = lanes.collect();
        let mut under_way = UnderWay::default();
        let mut rounds = FuturesUnordered::new();
        loop {
            if rounds.is_empty() && !self.between_rounds(&mut idle).await {
                return self.end(idle).await;
            }
            while let Some(lane) = idle.pop() {
                let round = {
                    let mut state = self.state();
                    if state.in_doubt || state.is_fenced || state.is_to_tend {
                        Vec::new()
                    } else {
                        under_way.take(&mut state.waiting, Act::weight)
                    }
                };
                if round.is_empty() {
                    idle.push(lane);
                    break;
                }
                rounds.push(self.carry_out(lane, round));
            }
            tokio::select! {
                Some(over) = rounds.next() => {
                    under_way.over(&over.round);
                    idle.push(self.round_over(over));
                }
                () = self.0.work.notified() => {}
            }
        }
    }

    /// What is done while nothing is under way. False when there will be nothing any more.
    async fn between_rounds(&self, idle: &mut [Lane]) -> bool {
        let (is_fenced, in_doubt, is_to_tend) = {
            let mut state = self.state();
            if state.waits_for_nothing && !state.troubled.is_empty() {
                for waiting in std::mem::take(&mut state.waiting) {
                    waiting.act.give_up(Lost::Closed);
                }
            }
            if state.waiting.is_empty() && !state.closing.is_empty() {
                return false;
            }
            (state.is_fenced, state.in_doubt, state.is_to_tend)
        };
        if is_fenced {
            self.again(|connection| self.join_again(connection), &mut idle[0])
                .await;
        } else if in_doubt {
            self.again(|connection| self.reconcile(connection), &mut idle[0])
                .await;
        } else if is_to_tend {
            self.again(|connection| self.tend(connection), &mut idle[0])
                .await;
        }
        true
    }

    /// Does something over a connection until it is done, or nobody waits for the database.
    async fn again<'a, F>(&'a self, mut work: impl FnMut(Connection) -> F, lane: &mut Lane)
    where
        F: Future<Output = (Option<Connection>, Result<(), Fault>)> + 'a,
    {
        let mut pause = PAUSE;
        loop {
            let done = match self.connection(lane).await {
                Ok(connection) => {
                    let (connection, done) = work(connection).await;
                    lane.connection = connection;
                    done
                }
                Err(fault) => Err(fault),
            };
            match done {
                Ok(()) => return self.well(lane.number),
                Err(Fault::Fenced) => {
                    self.state().is_fenced = true;
                    return;
                }
                Err(fault) => {
                    lane.connection = None;
                    self.trouble(lane.number, &fault);
                    self.answer_calls(&mut [], false, &fault);
                }
            }
            if self.paused(pause).await {
                return;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn connection(&self, lane: &mut Lane) -> Result<Connection, Fault> {
        match lane
            .connection
            .take()
            .filter(|connection| !connection.is_closed())
        {
            Some(connection) => Ok(connection),
            None => self.0.server.connect().await,
        }
    }

    /// Waits; true if nobody waits for the database any more.
    async fn paused(&self, pause: Duration) -> bool {
        let world = &self.0.world;
        let mut told = pin!(self.0.gives_up.notified());
        told.as_mut().enable();
        if self.state().waits_for_nothing {
            return true;
        }
        tokio::select! {
            biased;
            () = told => self.state().waits_for_nothing,
            () = world.sleep(world.now() + pause) => false,
        }
    }

    async fn carry_out(&self, mut lane: Lane, mut round: Vec<Waiting>) -> Over {
        let (mut was_in_doubt, mut pause) = (false, PAUSE);
        let fate = loop {
            let mut columns = Columns::default();
            for waiting in &round {
                waiting.act.enter(&mut columns, was_in_doubt);
            }
            if columns.len() == 0 {
                break Fate::Told(Vec::new());
            }
            let fault = match self.ask(&mut lane, &columns).await {
                Ok(told) => break Fate::Told(told),
                Err((Fault::Fenced, _)) => break Fate::Fenced,
                Err((Fault::Refused(why), _)) => break Fate::Refused(why),
                Err((Fault::Busy(_), _)) => {
                    let world = &self.0.world;
                    world.sleep(world.now() + BUSY).await;
                    continue;
                }
                Err((fault, was_sent)) => {
                    was_in_doubt |= was_sent;
                    fault
                }
            };
            lane.connection = None;
            self.trouble(lane.number, &fault);
            self.answer_calls(&mut round, was_in_doubt, &fault);
            if self.paused(pause).await {
                break Fate::GivenUp;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        };
        if !matches!(fate, Fate::GivenUp) {
            self.well(lane.number);
        }
        Over {
            lane,
            round,
            fate,
            was_in_doubt,
        }
    }

    /// Sends a round; with what went wrong comes whether it may have been made.
    async fn ask(&self, lane: &mut Lane, columns: &Columns) -> Result<Vec<Told>, (Fault, bool)> {
        let mut connection = self
            .connection(lane)
            .await
            .map_err(|fault| (fault, false))?;
        let (term, gives) = {
            let state = self.state();
            (state.term, !state.takes_nothing)
        };
        let told = connection
            .round(term.node, term.epoch, gives, columns)
            .await;
        lane.connection = Some(connection);
        told.map_err(|fault| (fault, true))
    }

    /// In an outage nobody waits for a call to be taken in. Whoever has handed one in is told
    /// whether it may be: one that was never sent is not.
    fn answer_calls(&self, round: &mut [Waiting], may_exist: bool, fault: &Fault) {
        let why: Arc<str> = fault.to_string().into();
        let mut state = self.state();
        let state = &mut *state;
        let mut left = 0;
        let mut answer = |waiting: &mut Waiting, may_exist| {
            let Act::Accept { jobs, answer, .. } = &mut waiting.act else {
                return;
            };
            // One that was answered before may have been made by then.
            let Some(answer) = answer.take() else { return };
            let why = Arc::clone(&why);
            let _ = answer.send(Err(NotAccepted::Storage { may_exist, why }));
            if !may_exist {
                left += jobs.len();
                jobs.clear();
            }
        };
        for waiting in round {
            answer(waiting, may_exist);
        }
        for waiting in &mut state.waiting {
            answer(waiting, false);
        }
        state.live.went(left);
    }

    fn round_over(&self, over: Over) -> Lane {
        let mut state = self.state();
        state.in_doubt |= over.was_in_doubt;
        match over.fate {
            Fate::Told(told) => {
                let acts = over.round.into_iter().map(|waiting| waiting.act);
                self.finish(&mut state, acts.collect(), told);
            }
            Fate::Fenced => {
                state.is_fenced = true;
                state.put_back(over.round);
            }
            Fate::Refused(why) if over.round.len() == 1 => {
                error!(%why, "PostgreSQL refuses a change");
                for waiting in over.round {
                    state.live.went(waiting.act.calls());
                    waiting.act.give_up(Lost::Refused(Arc::clone(&why)));
                }
            }
            // Whichever it was, the others are made.
            Fate::Refused(_) => {
                let mut round = over.round;
                round.iter_mut().for_each(|waiting| waiting.alone = true);
                state.put_back(round);
            }
            Fate::GivenUp => {
                for waiting in over.round {
                    waiting.act.give_up(Lost::Closed);
                }
            }
        }
        over.lane
    }

    /// A connection is in trouble: so is the ledger.
    pub(super) fn trouble(&self, number: usize, fault: &Fault) {
        let mut state = self.state();
        let is_news = state.troubled.is_empty();
        state.troubled.insert(number);
        self.0.outage.send_if_modified(|outage| {
            let is_news = outage.is_none();
            if is_news {
                *outage = Some(fault.to_string().into());
            }
            is_news
        });
        drop(state);
        if is_news {
            warn!("the jobs in the database cannot be reached: {fault}");
        }
    }

    /// A connection works.
    pub(super) fn well(&self, number: usize) {
        let mut state = self.state();
        if state.troubled.remove(&number) && state.troubled.is_empty() {
            self.0.outage.send_replace(None);
            drop(state);
            info!("the jobs in the database can be reached again");
        }
    }

    /// Takes up the turns that an answer which was lost would have told.
    async fn reconcile(&self, connection: Connection) -> (Option<Connection>, Result<(), Fault>) {
        let term = self.state().term;
        let mine = match self.mine(&connection, term).await {
            Ok(mine) => mine,
            Err(fault) => return (None, Err(fault)),
        };
        let mut state = self.state();
        for told in mine {
            self.take_turn(&mut state, &told);
        }
        state.in_doubt = false;
        (Some(connection), Ok(()))
    }

    /// Somebody has ended the term: what is held is let go, and a new one begins.
    async fn join_again(&self, connection: Connection) -> (Option<Connection>, Result<(), Fault>) {
        self.let_all_go();
        let connection = connection.for_start();
        let (options, world) = (&self.0.options, &*self.0.world);
        let joined = match join(&connection, options, world).await {
            Ok(term) => self.take_up(&connection, term).await.map(|()| term),
            Err(NotOpened::Unfit(crate::schema::Unfit::Fault(fault))) => Err(fault),
            Err(other) => Err(Fault::Away(other.to_string().into())),
        };
        match joined {
            Ok(Term { node, epoch }) => {
                info!(node, epoch, "this node has joined again");
                let mut state = self.state();
                (state.is_fenced, state.in_doubt) = (false, false);
                (None, Ok(()))
            }
            Err(fault) => (None, Err(fault)),
        }
    }

    fn let_all_go(&self) {
        let mut state = self.state();
        let waiting = std::mem::take(&mut state.waiting);
        let (of_holds, others) = waiting
            .into_iter()
            .partition(|waiting| waiting.act.hold().is_some());
        state.waiting = others;
        let of_holds: std::collections::VecDeque<Waiting> = of_holds;
        for waiting in of_holds {
            waiting.act.give_up(Lost::Fenced);
        }
        if state.held.let_all_go() {
            warn!("another dispatcher has ended this node's term: it lets go of its jobs");
            state.tell(News::Fenced);
        }
    }

    /// All is written: nothing is told any more.
    async fn end(&self, mut idle: Vec<Lane>) {
        if let Some(lane) = idle.first_mut() {
            let term = self.state().term;
            let world = &self.0.world;
            let leaving = async {
                let connection = self.connection(lane).await?;
                let leave = "select harp.leave_1($1, $2)";
                connection.rows(leave, &[&term.node, &term.epoch]).await
            };
            // Whoever comes next looks on for a while if this cannot be said.
            tokio::select! {
                _ = leaving => {}
                () = world.sleep(world.now() + LONGEST_PAUSE) => {}
            }
        }
        self.end_reading().await;
        let mut state = self.state();
        state.tells = None;
        state.is_over = true;
        for answer in std::mem::take(&mut state.closing) {
            let _ = answer.send(Ok(()));
        }
        drop(state);
        self.0.gives_up.notify_waiters();
        self.0.timer.notify_one();
    }
}

impl State {
    /// Puts the requests of a round before all others.
    fn put_back(&mut self, round: Vec<Waiting>) {
        for waiting in round.into_iter().rev() {
            self.waiting.push_front(waiting);
        }
    }
}
