//! When an attempt is followed by another one. It is the caller's word that running twice
//! is right; without it a call runs at most once.

use std::time::Duration;

use harp_values::{Outcome, error_type};

use crate::world::Moment;

/// What is said of the attempt after this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// How long the job waits at least.
    pub pause: Duration,
    /// The outcomes that are tried again, by their names; `None` for those that say nothing
    /// about the procedure.
    pub on: Option<Vec<String>>,
    /// No attempt begins later.
    pub until: Option<Moment>,
}

/// What is tried again unless the caller says otherwise.
const DEFAULT: [&str; 6] = [
    error_type::NETWORK_ERROR,
    error_type::PROTOCOL_ERROR,
    error_type::TIMEOUT,
    error_type::MISSING_RESULT,
    error_type::SHUTDOWN,
    "keep_over",
];

impl Retry {
    /// How long a job waits that came to this outcome; `None` if it has ended.
    #[must_use]
    pub fn after(&self, outcome: &Outcome, now: Moment) -> Option<Duration> {
        let is_in_time = self.until.is_none_or(|until| now + self.pause <= until);
        (is_in_time && self.is_wanted(outcome)).then_some(self.pause)
    }

    fn is_wanted(&self, outcome: &Outcome) -> bool {
        let (kind, failure) = match outcome {
            // What was wanted, and what was given up.
            Outcome::Returned(_) | Outcome::Cancelled => return false,
            Outcome::Exception(failure) => ("exception", failure),
            Outcome::Error(failure) => ("error", failure),
        };
        match &self.on {
            None => kind == "error" && DEFAULT.contains(&failure.error_type.as_str()),
            Some(on) => on
                .iter()
                .any(|name| name == kind || *name == failure.error_type),
        }
    }
}

#[cfg(test)]
mod tests {
    use harp_values::{Failure, Json};

    use super::*;

    #[test]
    fn what_is_tried_again_is_what_the_caller_names() {
        let error = |name: &str| Outcome::Error(Failure::new(name, "m"));
        let exception = Outcome::Exception(Failure::new("timeout", "m"));
        let retry = |on: Option<&[&str]>, until| Retry {
            pause: Duration::from_secs(5),
            on: on.map(|on| on.iter().map(|name| (*name).to_owned()).collect()),
            until,
        };
        let is_tried =
            |retry: &Retry, outcome: &Outcome| retry.after(outcome, Moment::START).is_some();
        let default = retry(None, None);
        assert!(is_tried(&default, &error("network_error")));
        assert!(is_tried(&default, &error("timeout")));
        assert!(!is_tried(&default, &error("storage_error")));
        assert!(!is_tried(&default, &exception));
        for never in [Outcome::Cancelled, Outcome::Returned(Json::NULL)] {
            assert!(!is_tried(&default, &never));
            assert!(!is_tried(
                &retry(Some(&["exception", "error"]), None),
                &never
            ));
        }
        assert!(is_tried(&retry(Some(&["exception"]), None), &exception));
        assert!(!is_tried(
            &retry(Some(&["exception"]), None),
            &error("timeout")
        ));
        assert!(is_tried(&retry(Some(&["oom"]), None), &error("oom")));
        let until = |seconds| Some(Moment::START + Duration::from_secs(seconds));
        assert!(is_tried(&retry(None, until(5)), &error("timeout")));
        assert!(!is_tried(&retry(None, until(4)), &error("timeout")));
    }
}
