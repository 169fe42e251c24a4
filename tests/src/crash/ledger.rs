//! What clients have been shown. Whatever does not fit to it is a broken promise.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Display;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use super::plan::{At, LANES, Plan};
use super::random::Random;

/// What all clients together know.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    state: Mutex<State>,
    /// Nobody crashes the dispatcher: a client that asks is answered, and what ran ends by
    /// itself.
    steady: bool,
}

#[derive(Debug, Default)]
struct State {
    jobs: HashMap<String, Known>,
    /// In the order in which they became known.
    ids: Vec<String>,
    /// Jobs whose end nobody has been shown.
    live: HashSet<String>,
    broken: Vec<String>,
}

/// What is known of one job.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) plan: Plan,
    /// How it ended, as text, if anybody has been told.
    pub(crate) outcome: Option<String>,
    /// How many of its packets somebody has been shown.
    pub(crate) packets: u64,
}

impl Known {
    /// The name of how it ended.
    pub(crate) fn outcome_name(&self) -> Option<String> {
        let outcome = serde_json::from_str(self.outcome.as_ref()?).unwrap_or_default();
        Some(outcome_name(&outcome))
    }
}

impl Ledger {
    /// One for a dispatcher that nobody crashes.
    pub(crate) fn steady() -> Ledger {
        Ledger {
            state: Mutex::default(),
            steady: true,
        }
    }

    /// A client got no answer. A crash may be the reason.
    pub(crate) fn unanswered(&self, what: impl Display) {
        if self.steady {
            self.broken(format!("no answer: {what}"));
        }
    }

    /// A client has been told that its call has this job.
    pub(crate) fn accepted(&self, id: &str, plan: &Plan) {
        let mut state = self.state();
        if let Some(known) = state.jobs.get(id) {
            let (lane, tag) = (known.plan.lane, known.plan.tag);
            if (lane, tag) != (plan.lane, plan.tag) {
                let broken = format!("job {id} of call {lane}/{tag} was given to {plan:?}");
                state.broken.push(broken);
            }
            return;
        }
        let known = Known {
            plan: plan.clone(),
            outcome: None,
            packets: 0,
        };
        state.jobs.insert(id.to_owned(), known);
        state.ids.push(id.to_owned());
        state.live.insert(id.to_owned());
    }

    /// A client has been shown a packet.
    pub(crate) fn packet(&self, id: &str, number: u64, data: &str) {
        let mut state = self.state();
        let Some(known) = state.jobs.get_mut(id) else {
            return;
        };
        known.packets = known.packets.max(number + 1);
        let expected = known.plan.packet(number);
        if data != expected || number >= known.plan.packets {
            let broken = format!("packet {number} of job {id} is {data:.200}, not {expected:.200}");
            state.broken.push(broken);
        }
    }

    /// A client has been shown how a job ended.
    pub(crate) fn outcome(&self, id: &str, outcome: &str) {
        let mut state = self.state();
        let Some(known) = state.jobs.get_mut(id) else {
            return;
        };
        let broken = match &known.outcome {
            Some(before) if before != outcome => Some(format!(
                "job {id} had ended with {before}, now with {outcome}"
            )),
            Some(_) => None,
            None if !is_possible(&known.plan, outcome, self.steady) => {
                Some(format!("job {id} ended with {outcome}: {:?}", known.plan))
            }
            None => None,
        };
        known.outcome.get_or_insert_with(|| outcome.to_owned());
        state.live.remove(id);
        state.broken.extend(broken);
    }

    /// A promise was broken.
    pub(crate) fn broken(&self, what: String) {
        self.state().broken.push(what);
    }

    /// The promises that were broken so far.
    pub(crate) fn all_broken(&self) -> Vec<String> {
        self.state().broken.clone()
    }

    pub(crate) fn get(&self, id: &str) -> Option<Known> {
        self.state().jobs.get(id).cloned()
    }

    /// The ids of all jobs.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.state().ids.clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.state().ids.len()
    }

    /// Jobs whose end nobody has been shown.
    pub(crate) fn live(&self) -> Vec<String> {
        self.state().live.iter().cloned().collect()
    }

    /// How many jobs have ended with outcomes of these names.
    pub(crate) fn ended(&self) -> BTreeMap<String, u64> {
        let mut ended = BTreeMap::new();
        for name in self.state().jobs.values().filter_map(Known::outcome_name) {
            *ended.entry(name).or_default() += 1;
        }
        ended
    }

    pub(crate) fn live_in(&self, lane: usize) -> usize {
        let state = self.state();
        let of_lane = |id: &&String| state.jobs[*id].plan.lane == lane;
        state.live.iter().filter(of_lane).count()
    }

    /// One of the newest jobs.
    pub(crate) fn any_recent(&self, random: &mut Random) -> Option<String> {
        let state = self.state();
        let newest = state.ids.len().min(100);
        let back = random.below(newest.max(1) as u64) as usize;
        state.ids.iter().rev().nth(back).cloned()
    }

    /// All jobs that live, and so many of the others; all of them if that is `None`.
    pub(crate) fn to_check(&self, others: Option<u64>, random: &mut Random) -> Vec<String> {
        let state = self.state();
        let Some(others) = others else {
            return state.ids.clone();
        };
        let mut ids: HashSet<String> = state.live.clone();
        ids.extend(state.ids.iter().rev().take(50).cloned());
        if !state.ids.is_empty() {
            for _ in 0..others {
                let index = random.below(state.ids.len() as u64) as usize;
                ids.insert(state.ids[index].clone());
            }
        }
        ids.into_iter().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a call may end like this where clients cancel, and dispatchers crash unless
/// all is steady.
fn is_possible(plan: &Plan, outcome: &str, steady: bool) -> bool {
    if outcome == plan.outcome() || outcome == r#"{"cancelled":true}"# {
        return true;
    }
    let outcome: Value = serde_json::from_str(outcome).unwrap_or_default();
    let error = &outcome["error"];
    match error["type"].as_str() {
        // What a harpd keeps goes on over crashes.
        Some("missing_result") => !steady && LANES[plan.lane].at == At::Counting,
        Some("timeout") => plan.start_by.is_some() && error["data"]["limit"] == "start_by",
        _ => false,
    }
}

/// The name of an outcome: its key, or the type of its error.
pub(crate) fn outcome_name(outcome: &Value) -> String {
    if let Some(name) = outcome["error"]["type"].as_str() {
        return name.to_owned();
    }
    let keys = outcome.as_object().and_then(|keys| keys.keys().next());
    keys.cloned().unwrap_or_default()
}
