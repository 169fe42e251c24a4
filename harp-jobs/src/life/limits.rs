//! What ends a job other than its host: limits, and the wishes of others.

use harp_values::Outcome;

use super::{Event, Life, Limit, Reach, Record, Standing, Unexpected, Wish};
use crate::failures;
use crate::world::Moment;

impl Life {
    /// When [`Event::Due`] is to come, if nothing else happens before. It is the one timer
    /// of a run.
    #[must_use]
    pub fn due(&self) -> Option<Moment> {
        self.first_limit().map(|(due, _)| due)
    }

    pub(super) fn wanted(&self, wish: Wish) -> Outcome {
        match wish {
            Wish::Cancel => Outcome::Cancelled,
            Wish::Limit(limit) => self.outcome_of(limit),
            Wish::Interrupt | Wish::Leave => interrupted(),
        }
    }

    pub(super) fn outcome_of(&self, limit: Limit) -> Outcome {
        Outcome::Error(match limit {
            Limit::Silence => failures::silence(self.terms.silence),
            Limit::Execution => failures::too_long(self.terms.longest),
        })
    }

    pub(super) fn limit_reached(&self, now: Moment) -> Result<Limit, Unexpected> {
        match self.first_limit() {
            Some((due, limit)) if due <= now => Ok(limit),
            _ => Err(self.unexpected(&Event::Due)),
        }
    }

    /// The limit that is reached first, and when.
    fn first_limit(&self) -> Option<(Moment, Limit)> {
        let (run, heard) = match &self.standing {
            Standing::Starting {
                record: Record::Made(run),
                ..
            }
            | Standing::Committing { run, wish: None } => (run, Some(run.begun)),
            Standing::Running {
                run,
                heard,
                read,
                reach,
            } => match reach {
                Reach::Attaching => return None,
                Reach::Together if *read => (run, Some(*heard)),
                _ => (run, None),
            },
            _ => return None,
        };
        Some(match heard.map(|heard| heard + self.terms.silence) {
            Some(silent_by) if silent_by < run.end_by => (silent_by, Limit::Silence),
            _ => (run.end_by, Limit::Execution),
        })
    }
}

/// The end of a job that the dispatcher's stop does not wait for.
pub(super) fn interrupted() -> Outcome {
    Outcome::Error(failures::missing_result())
}
