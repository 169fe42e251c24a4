//! What ends a job other than its host: limits, and the wishes of others.

use harp_values::{Outcome, standstill};

use super::parting::MOST;
use super::{Event, Life, Limit, Orders, Reach, Standing, StartRecord, Unexpected, Wish};
use crate::failures;
use crate::world::Moment;

impl Life {
    /// When [`Event::Due`] is to come, if nothing else happens before. It is the one timer
    /// of a run.
    #[must_use]
    pub fn due(&self) -> Option<Moment> {
        self.first_end().map(|end| self.put_off.end(end))
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
            Limit::Silence => failures::silence(self.terms.silence, self.terms.silence_set_by),
            Limit::Execution => failures::too_long(self.terms.longest, self.terms.longest_set_by),
        })
    }

    /// The limit that ends the job; `None` if what is due was noticed late and is put off.
    pub(super) fn limit_reached(&mut self, now: Moment) -> Result<Option<Limit>, Unexpected> {
        let limit = self.first_limit().map(|(_, limit)| limit);
        let is_over = self.is_over(now)?;
        Ok(limit.filter(|_| is_over))
    }

    /// Whether what is due is over; false if that was noticed late: then it is put off.
    pub(super) fn is_over(&mut self, now: Moment) -> Result<bool, Unexpected> {
        let end = self
            .first_end()
            .filter(|end| self.put_off.end(*end) <= now)
            .ok_or_else(|| self.unexpected(&Event::Due))?;
        self.beyond = 0;
        Ok(self.put_off.is_over(end, now))
    }

    /// Ends a call that runs if its limit is over.
    pub(super) fn judge(&mut self, now: Moment) -> Result<Orders, Unexpected> {
        Ok(match self.limit_reached(now)? {
            Some(limit) => self.part(self.outcome_of(limit), now),
            None => Orders::none(),
        })
    }

    /// So many bytes were heard of a call that runs. What had arrived when its limit was due
    /// counts before that, as far as it is no flood.
    pub(super) fn heard_more(&mut self, bytes: usize, now: Moment) -> Result<Orders, Unexpected> {
        if self.due().is_none_or(|due| due > now) {
            self.beyond = 0;
            return Ok(Orders::none());
        }
        self.beyond += bytes;
        if self.beyond > MOST {
            self.judge(now)
        } else {
            Ok(Orders::none())
        }
    }

    pub(super) fn first_end(&self) -> Option<Moment> {
        match &self.standing {
            Standing::Parting { until, .. } => Some(*until),
            Standing::Settling { until, .. } => *until,
            _ => self.first_limit().map(|(end, _)| end),
        }
    }

    /// The limit that is reached first, and when; of two at the same time the silence.
    fn first_limit(&self) -> Option<(Moment, Limit)> {
        let (run, heard) = match &self.standing {
            Standing::Starting {
                record: StartRecord::Made(run),
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
                Reach::Together | Reach::Unrun if *read => (run, Some(*heard)),
                _ => (run, None),
            },
            _ => return None,
        };
        Some(match heard.map(|heard| heard + self.terms.silence) {
            Some(silent_by) if silent_by <= run.end_by => (silent_by, Limit::Silence),
            _ => (run.end_by, Limit::Execution),
        })
    }
}

/// By how much what is due is put off, because it was noticed late
/// ([`harp_values::standstill`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PutOff {
    /// To when.
    pub(super) until: Moment,
    /// How often by now.
    pub(super) times: u32,
}

impl Default for PutOff {
    fn default() -> PutOff {
        PutOff {
            until: Moment::START,
            times: 0,
        }
    }
}

impl PutOff {
    /// When something is due that would be at `end`.
    pub(super) fn end(&self, end: Moment) -> Moment {
        end.max(self.until)
    }

    /// Whether what is due is over; it is put off if not.
    fn is_over(&mut self, end: Moment, now: Moment) -> bool {
        if end > self.until {
            // A later one, which was not put off yet.
            (self.until, self.times) = (end, 0);
        }
        let Some(longer) = standstill::put_off(now.since(self.until), self.times) else {
            return true;
        };
        (self.until, self.times) = (now + longer, self.times + 1);
        false
    }
}

/// The end of a job that the dispatcher's stop does not wait for.
pub(super) fn interrupted() -> Outcome {
    Outcome::Error(failures::missing_result())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use harp_values::standstill::{LATE, PUT_OFF_TIMES};

    use super::*;
    use crate::failures::SetBy;
    use crate::ledger::{Start, Token};
    use crate::life::{Order, Sign, Terms};

    const SECOND: Duration = Duration::from_secs(1);

    /// A life whose host has acknowledged the call, and may be silent for 20 s.
    fn running() -> Life {
        let terms = Terms {
            connect: 10 * SECOND,
            silence: 20 * SECOND,
            silence_set_by: SetBy::Call,
            longest: 60 * SECOND,
            longest_set_by: SetBy::Call,
            last_words: 5 * SECOND,
            already: Duration::ZERO,
            retry: None,
            unrun: None,
        };
        let token = Token::default();
        let (mut life, _) = Life::new(&Start::Recorded { at: 1, token }, terms, Moment::START);
        for event in [
            Event::LinkReady { keeps: false },
            Event::Committed,
            sign(Moment::START, 0),
        ] {
            life.on(event, Moment::START).unwrap();
        }
        life
    }

    fn sign(at: Moment, bytes: usize) -> Event {
        let talks = true;
        Event::Sign(Sign { at, bytes, talks })
    }

    fn ends(life: &mut Life, event: Event, now: Moment) -> bool {
        let orders = life.on(event, now).unwrap();
        orders.iter().any(|order| *order == Order::Tell)
    }

    #[test]
    fn what_came_during_a_standstill_comes_before_the_limit() {
        let mut life = running();
        // It was due at 20 s, and the process goes on at 24 s.
        let resumed = Moment::START + 24 * SECOND;
        assert!(!ends(&mut life, Event::Due, resumed));
        assert_eq!(life.due(), Some(resumed + 4 * SECOND));
        // A host that has talked is not silent.
        assert!(!ends(&mut life, sign(resumed, 10), resumed));
        assert_eq!(life.due(), Some(resumed + 20 * SECOND));
        assert!(ends(&mut life, Event::Due, resumed + 20 * SECOND));
    }

    #[test]
    fn a_process_that_is_always_late_keeps_limits_too() {
        let mut life = running();
        for _ in 0..PUT_OFF_TIMES {
            let late = life.due().unwrap() + LATE;
            assert!(!ends(&mut life, Event::Due, late));
        }
        let late = life.due().unwrap() + LATE;
        assert!(ends(&mut life, Event::Due, late));
        // Its last words have a limit of their own.
        assert!(matches!(life.standing(), Standing::Parting { .. }));
        let late = life.due().unwrap() + LATE;
        life.on(Event::Due, late).unwrap();
        assert_eq!(life.due(), Some(late + SECOND));
    }

    #[test]
    fn a_flood_does_not_keep_a_job_from_its_limit() {
        let mut life = running();
        let due = Moment::START + 60 * SECOND;
        let before = Moment::START + 59 * SECOND;
        assert!(!ends(&mut life, sign(before, 4 * MOST), before));
        assert!(!ends(&mut life, sign(due, MOST), due));
        assert!(ends(&mut life, sign(due, 1), due));
    }
}
