//! The name of a call on the wire of `harp/2`.

use std::fmt;
use std::str::FromStr;

use crate::JobId;

/// A call: a job, and which of its attempts. Written `JOB`, or `JOB/K` for an attempt
/// after the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId {
    /// The job.
    pub job: JobId,
    /// 1 for the first attempt.
    pub attempt: u32,
}

/// A text that names no call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a job's id, or JOB/K with an attempt K from 2 on")]
pub struct NotACallId;

impl CallId {
    /// The first attempt of a job.
    #[must_use]
    pub fn first(job: JobId) -> CallId {
        CallId { job, attempt: 1 }
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.attempt {
            1 => self.job.fmt(f),
            attempt => write!(f, "{}/{attempt}", self.job),
        }
    }
}

impl FromStr for CallId {
    type Err = NotACallId;

    fn from_str(text: &str) -> Result<CallId, NotACallId> {
        let (job, attempt) = match text.split_once('/') {
            None => (text, 1),
            Some((job, attempt)) => {
                let is_plain = attempt.bytes().all(|digit| digit.is_ascii_digit());
                let number: u32 = attempt.parse().map_err(|_| NotACallId)?;
                if number < 2 || !is_plain || attempt.starts_with('0') {
                    return Err(NotACallId);
                }
                (job, number)
            }
        };
        let job = job.parse().map_err(|_| NotACallId)?;
        Ok(CallId { job, attempt })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_has_one_name() {
        let job = "8ec71d6b-28d1-4ce2-aa23-f3ea7887beda";
        for (text, attempt) in [(job.to_owned(), 1), (format!("{job}/2"), 2)] {
            let call: CallId = text.parse().unwrap();
            assert_eq!(call.attempt, attempt);
            assert_eq!(call.to_string(), text);
        }
        for wrong in ["", "x", "/2", "8ec71d6b-28d1-4ce2-aa23-f3ea7887bed"] {
            assert!(wrong.parse::<CallId>().is_err(), "{wrong}");
        }
        for attempt in [
            "",
            "0",
            "1",
            "02",
            "+2",
            "-2",
            "x",
            "2/3",
            "4294967296",
            " 2",
        ] {
            assert!(
                format!("{job}/{attempt}").parse::<CallId>().is_err(),
                "{attempt}"
            );
        }
    }
}
