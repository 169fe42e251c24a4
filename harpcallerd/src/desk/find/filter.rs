//! What has to hold of a job that is wanted. Alternatives of one kind stand beside each
//! other; all kinds have to hold.

use harp_jobs::access::Patterns;
use harp_values::{JobId, Outcome, QueueName};

use super::path::Path;
use super::words::Words;
use crate::desk::read::Report;
use crate::desk::view::{State, View};

/// What has to hold.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// It stands in one of these states; in any, if there is none.
    pub states: Vec<State>,
    /// It has ended in one of these ways.
    pub kinds: Vec<Kind>,
    /// Its exception or error is of one of these types.
    pub error_types: Vec<String>,
    /// Its host.
    pub host: Name,
    /// Its procedure.
    pub procedure: Name,
    /// The client that submitted it.
    pub client: Name,
    /// It is in one of these queues.
    pub queues: Vec<InQueue>,
    /// It is a job of one of these services, by their ids.
    pub services: Vec<String>,
    /// It has one of these keys.
    pub keys: Vec<String>,
    /// It was submitted at this time or later, in milliseconds since 1970.
    pub submitted_since: Option<u64>,
    /// It was submitted before.
    pub submitted_until: Option<u64>,
    /// It ended at this time or later.
    pub ended_since: Option<u64>,
    /// It ended before.
    pub ended_until: Option<u64>,
    /// Values in its info, each with its alternatives.
    pub info: Vec<Path>,
    /// Values in its arguments.
    pub arguments: Vec<Path>,
    /// Words that occur in it.
    pub words: Words,
    /// Nothing can match.
    pub is_impossible: bool,
}

/// The ways in which a job ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The procedure returned.
    Returned,
    /// It raised an exception.
    Exception,
    /// The call could not be made, or did not come to an end of its own.
    Error,
    /// It was cancelled.
    Cancelled,
}

/// A queue, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InQueue {
    /// The queue of this name.
    Named(QueueName),
    /// No queue.
    None,
}

/// What has to hold of a name.
#[derive(Debug, Clone, Default)]
pub struct Name {
    /// One of these matches; anything does, if there is none.
    any_of: Option<Patterns>,
    /// None of these does.
    none_of: Option<Patterns>,
}

impl Name {
    /// Patterns with `*`; `!` before one excludes.
    #[must_use]
    pub fn new(texts: &[String]) -> Name {
        let (excluded, wanted): (Vec<_>, Vec<_>) =
            texts.iter().partition(|text| text.starts_with('!'));
        let wanted: Vec<String> = wanted.into_iter().cloned().collect();
        let excluded = excluded.into_iter().map(|text| text[1..].to_owned());
        let excluded: Vec<String> = excluded.collect();
        Name {
            any_of: (!wanted.is_empty()).then(|| Patterns::new(&wanted)),
            none_of: (!excluded.is_empty()).then(|| Patterns::new(&excluded)),
        }
    }

    /// This name and no other.
    #[must_use]
    pub fn exactly(name: String) -> Name {
        Name {
            any_of: Some(Patterns::exactly(name)),
            none_of: None,
        }
    }

    pub(in crate::desk) fn holds(&self, name: &str) -> bool {
        self.any_of.as_ref().is_none_or(|any| any.match_text(name))
            && self
                .none_of
                .as_ref()
                .is_none_or(|none| !none.match_text(name))
    }
}

impl Kind {
    /// The way in which a job has ended.
    #[must_use]
    pub fn of(outcome: &Outcome) -> Kind {
        match outcome {
            Outcome::Returned(_) => Kind::Returned,
            Outcome::Exception(_) => Kind::Exception,
            Outcome::Error(_) => Kind::Error,
            Outcome::Cancelled => Kind::Cancelled,
        }
    }
}

impl Filter {
    /// The one job that can match, if it is named by its id.
    pub(super) fn only_job(&self) -> Option<JobId> {
        self.words.job()
    }

    /// True if no job that has ended can match.
    pub(super) fn wants_live_only(&self) -> bool {
        !self.states.is_empty() && !self.states.contains(&State::Ended)
    }

    /// Where a walk begins that would begin behind `after`.
    pub(super) fn start(&self, newest_first: bool, after: Option<JobId>) -> Option<JobId> {
        let end = if newest_first {
            self.submitted_until.map(first_id_of)
        } else {
            self.submitted_since.map(first_id_of)
        };
        match (after, end) {
            (after, None) | (after @ Some(_), _) => after,
            (None, end) => end,
        }
    }

    /// True if no job behind one that was submitted then can match.
    pub(super) fn is_beyond(&self, newest_first: bool, submitted: u64) -> bool {
        if newest_first {
            self.submitted_since.is_some_and(|since| submitted < since)
        } else {
            self.submitted_until.is_some_and(|until| submitted >= until)
        }
    }

    /// False if the job cannot match, as far as its call and times tell.
    pub(super) fn may_match(&self, report: &Report) -> bool {
        let call = &report.call;
        let within = |time: u64, since: Option<u64>, until: Option<u64>| {
            since.is_none_or(|since| time >= since) && until.is_none_or(|until| time < until)
        };
        let wants_end = !self.kinds.is_empty()
            || !self.error_types.is_empty()
            || self.ended_since.or(self.ended_until).is_some();
        let end_fits = match report.ended {
            Some(ended) => within(ended, self.ended_since, self.ended_until),
            None => !wants_end,
        };
        let state = match (report.ended, report.started) {
            (Some(_), _) => State::Ended,
            (None, Some(_)) => State::Running,
            (None, None) => State::Queued,
        };
        let queue = call.queue.as_ref().map(|queue| &queue.name);
        let client = call.client.as_deref().unwrap_or("anonymous");
        !self.is_impossible
            && end_fits
            && (self.states.is_empty() || self.states.contains(&state))
            && self.host.holds(&call.host)
            && self.procedure.holds(&call.procedure)
            && self.client.holds(client)
            && (self.queues.is_empty() || self.queues.iter().any(|wanted| wanted.is(queue)))
            && (self.services.is_empty() || self.services.contains(&call.procedure))
            && (self.keys.is_empty() || self.keys.iter().any(|key| call.key.as_ref() == Some(key)))
            && within(call.submitted, self.submitted_since, self.submitted_until)
            && self.info.iter().all(|path| path.holds(&call.info))
            && self
                .arguments
                .iter()
                .all(|path| path.holds(&call.arguments))
    }

    /// True if the job is wanted, of which [`Filter::may_match`] was true.
    pub(super) fn matches(&self, view: &View) -> bool {
        let outcome = view.end.as_ref().map(|end| &end.outcome);
        let error_type = match outcome {
            Some(Outcome::Exception(failure) | Outcome::Error(failure)) => {
                Some(&failure.error_type)
            }
            _ => None,
        };
        let is_of_kind = |outcome| self.kinds.contains(&Kind::of(outcome));
        (self.kinds.is_empty() || outcome.is_some_and(is_of_kind))
            && (self.services.is_empty() || view.of_service)
            && (self.error_types.is_empty()
                || error_type.is_some_and(|kind| self.error_types.contains(kind)))
            && self.words.occur_in(view)
    }
}

impl InQueue {
    fn is(&self, queue: Option<&QueueName>) -> bool {
        match self {
            InQueue::Named(name) => queue == Some(name),
            InQueue::None => queue.is_none(),
        }
    }
}

/// An id below all those of jobs that were submitted at this time or later, and above all
/// others'.
fn first_id_of(time: u64) -> JobId {
    let mut bytes = [0; 16];
    // Times have 48 bits.
    bytes[..6].copy_from_slice(&time.min((1 << 48) - 1).to_be_bytes()[2..]);
    JobId::from_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_wanted_or_excluded() {
        let name = |texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
            Name::new(&texts)
        };
        assert!(name(&[]).holds("web01"));
        assert!(name(&["web*", "db01"]).holds("db01") && !name(&["web*"]).holds("db01"));
        assert!(name(&["web*", "!web02"]).holds("web01"));
        assert!(!name(&["web*", "!web02"]).holds("web02"));
        assert!(name(&["!web*"]).holds("db01") && !name(&["!web*", "!db*"]).holds("db01"));
    }

    #[test]
    fn a_time_is_an_id_between_those_of_jobs() {
        let time = 1_700_000_000_000;
        assert!(first_id_of(time) < JobId::submitted_at(time));
        assert!(first_id_of(time) > JobId::submitted_at(time - 1));
    }
}
