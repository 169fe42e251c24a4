//! Clients that submit, follow, ask, cancel and submit again, whether the dispatcher is
//! there or not.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};

use super::host::CountingHost;
use super::ledger::Ledger;
use super::link::Link;
use super::moment::{Moment, Signal};
use super::plan::{LANES, Plan};
use super::random::Random;
use crate::caller::packet;

/// How many jobs of a lane live at once, about.
const BACKLOG: usize = 10;

/// What all clients have.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) address: SocketAddr,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) host: Arc<CountingHost>,
    pub(crate) signal: Arc<Signal>,
    /// The directory of the files that harpd's procedures write.
    pub(crate) traces: PathBuf,
    /// No new calls are made.
    pub(crate) paused: AtomicBool,
    /// Whoever submits a call reads it: whoever writes it has nobody do so meanwhile.
    pub(crate) submitting: RwLock<()>,
    pub(crate) finished: AtomicBool,
}

impl Load {
    /// Starts the clients; they end when `finished` is set.
    pub(crate) fn start(self: &Arc<Self>, random: &mut Random) -> Vec<JoinHandle<()>> {
        let mut clients = Vec::new();
        for lane in 0..LANES.len() {
            clients.push(self.spawn(random, move |load, random| load.submit_all(lane, random)));
        }
        for _ in 0..3 {
            clients.push(self.spawn(random, Load::follow_any));
        }
        for _ in 0..2 {
            clients.push(self.spawn(random, Load::wait_for_any));
        }
        clients.push(self.spawn(random, Load::ask_all));
        clients.push(self.spawn(random, Load::cancel_any));
        clients.push(self.spawn(random, Load::submit_any_again));
        clients
    }

    fn spawn(
        self: &Arc<Self>,
        random: &mut Random,
        client: impl Fn(&Load, &mut Random) + Send + 'static,
    ) -> JoinHandle<()> {
        let load = Arc::clone(self);
        let mut random = random.fork();
        thread::spawn(move || {
            while !load.finished.load(Ordering::Relaxed) {
                client(&load, &mut random);
            }
        })
    }

    /// The file that harpd's procedures write for a lane.
    pub(crate) fn trace(&self, lane: usize) -> PathBuf {
        self.traces.join(format!("trace{lane}"))
    }

    /// Submits the calls of a lane one after the other.
    fn submit_all(&self, lane: usize, random: &mut Random) {
        let mut tag = 0;
        while !self.finished.load(Ordering::Relaxed) {
            if self.paused.load(Ordering::Relaxed) || self.ledger.live_in(lane) >= BACKLOG {
                thread::sleep(Duration::from_millis(5));
                continue;
            }
            tag += 1;
            self.submit(&Plan::random(lane, tag, random));
        }
    }

    fn submit(&self, plan: &Plan) {
        let mut sent_before = false;
        while !self.finished.load(Ordering::Relaxed) {
            match self.ask_to_submit(plan) {
                Ok(reply) => return self.take_answer(plan, &reply, sent_before),
                // It may have been accepted; only a key makes it safe to try again.
                Err(Unsent::Perhaps) if plan.key.is_none() => {
                    return self.ledger.unanswered(format_args!("to the call {plan:?}"));
                }
                Err(Unsent::Perhaps) => sent_before = true,
                Err(Unsent::Certainly) => {}
            }
            self.ledger.unanswered(format_args!("to the call {plan:?}"));
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn ask_to_submit(&self, plan: &Plan) -> Result<Value, Unsent> {
        let _submitting = self.submitting.read();
        let mut link = Link::open(self.address).map_err(|_| Unsent::Certainly)?;
        let request = plan.request(&self.trace(plan.lane).to_string_lossy());
        link.send(&request).map_err(|_| Unsent::Perhaps)?;
        self.signal.reached(match plan.key {
            Some(_) => Moment::SubmittingKey,
            None => Moment::Submitting,
        });
        let reply = link.line().map_err(|_| Unsent::Perhaps)?;
        serde_json::from_str(&reply).map_err(|_| Unsent::Perhaps)
    }

    fn take_answer(&self, plan: &Plan, reply: &Value, sent_before: bool) {
        let Some(id) = reply["job_id"].as_str() else {
            if reply["error"]["type"] != "shutdown" {
                self.ledger.broken(format!("a call was refused: {reply}"));
            }
            return;
        };
        self.ledger.accepted(id, plan);
        if reply["existing"] == true && !sent_before {
            let broken = format!("a new call had a job already: {reply}, {plan:?}");
            self.ledger.broken(broken);
        }
        self.signal.reached(Moment::Submitted);
        if plan.start_by.is_some() {
            self.signal.reached(Moment::StartByOver);
        }
    }

    /// Follows a job, as a rule from its first packet.
    fn follow_any(&self, random: &mut Random) {
        let Some(id) = self.ledger.any_recent(random) else {
            return thread::sleep(Duration::from_millis(20));
        };
        let known = self.ledger.get(&id).map_or(0, |known| known.packets);
        let since = if random.one_in(3) {
            random.below(known + 1)
        } else {
            0
        };
        // Whatever breaks here breaks because the dispatcher is killed.
        if let Err(error) = self.follow(&id, since) {
            let what = format_args!("to a follower of job {id}: {error}");
            self.ledger.unanswered(what);
        }
        thread::sleep(random.up_to(10));
    }

    fn follow(&self, id: &str, since: u64) -> io::Result<()> {
        let mut link = Link::open(self.address)?;
        link.send(&format!(
            r#"{{"harpcaller":1,"follow_stream":"{id}","since":{since}}}"#
        ))?;
        let mut expected = since;
        loop {
            let line = link.line()?;
            let Some((number, data)) = packet(&line) else {
                self.take_outcome(id, &line);
                return Ok(());
            };
            if number != expected {
                let broken = format!("packet {number} of job {id} came where {expected} should");
                self.ledger.broken(broken);
            }
            expected = number + 1;
            self.ledger.packet(id, number, data);
            self.signal.reached(Moment::PacketShown);
        }
    }

    fn wait_for_any(&self, random: &mut Random) {
        if let Some(id) = self.ledger.any_recent(random)
            && let Ok(mut link) = Link::open(self.address)
            && let Ok(line) = link.ask(&format!(r#"{{"harpcaller":1,"get_result":"{id}"}}"#))
        {
            self.take_outcome(&id, &line);
        }
        thread::sleep(random.up_to(40));
    }

    /// Asks for the result of every job that lives.
    fn ask_all(&self, _: &mut Random) {
        if let Ok(mut link) = Link::open_lasting(self.address) {
            for id in self.ledger.live() {
                let request = json!({"harpcaller": 1, "get_result": id, "wait": false});
                let Ok(line) = link.ask(&request.to_string()) else {
                    break;
                };
                if line != r#"{"no_result":true}"# {
                    self.take_outcome(&id, &line);
                }
            }
        }
        thread::sleep(Duration::from_millis(50));
    }

    fn cancel_any(&self, random: &mut Random) {
        let live = self.ledger.live();
        if !live.is_empty() {
            let id = &live[random.below(live.len() as u64) as usize];
            let confirm = random.one_in(2);
            if let Err(error) = self.cancel(id, confirm) {
                let what = format_args!("to a cancel of job {id}: {error}");
                self.ledger.unanswered(what);
            }
        }
        thread::sleep(random.up_to(400));
    }

    fn cancel(&self, id: &str, confirm: bool) -> io::Result<()> {
        let mut link = Link::open(self.address)?;
        link.send(&json!({"harpcaller": 1, "cancel": id, "confirm": confirm}).to_string())?;
        self.signal.reached(Moment::Cancelling);
        let reply: Value = serde_json::from_str(&link.line()?)?;
        if reply["cancelled"] == true {
            self.ledger.outcome(id, r#"{"cancelled":true}"#);
            if reply["remote"] == "confirmed"
                && let Some(known) = self.ledger.get(id)
                && self.host.is_running(&known.plan)
            {
                let broken = format!("the cancel of job {id} was confirmed, and it runs");
                self.ledger.broken(broken);
            }
        } else if reply["cancelled"] != false {
            self.ledger
                .broken(format!("a cancel of job {id} was refused: {reply}"));
        }
        self.signal.reached(Moment::Cancelled);
        Ok(())
    }

    /// Submits a call again whose key has a job.
    fn submit_any_again(&self, random: &mut Random) {
        if let Some(id) = self.ledger.any_recent(random)
            && let Some(known) = self.ledger.get(&id)
            && known.plan.key.is_some()
            && let Ok(reply) = self.ask_to_submit(&known.plan)
            && reply["error"]["type"] != "shutdown"
        {
            let expected = json!({"harpcaller": 1, "job_id": id, "existing": true});
            if reply != expected {
                let broken = format!("the key of job {id} gave {reply}");
                self.ledger.broken(broken);
            }
        }
        thread::sleep(random.up_to(60));
    }

    /// What a client was told at the end of a stream or as a result.
    fn take_outcome(&self, id: &str, line: &str) {
        // A fault of the request is nobody's outcome.
        if line.starts_with(r#"{"harpcaller":"#) {
            self.ledger.broken(format!("asked about job {id}: {line}"));
            return;
        }
        self.ledger.outcome(id, line);
        self.signal.reached(Moment::OutcomeShown);
    }
}

/// Why a call has no answer.
enum Unsent {
    /// It has not been sent.
    Certainly,
    /// It may have been taken.
    Perhaps,
}
