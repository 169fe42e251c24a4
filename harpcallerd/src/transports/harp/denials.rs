//! What follows from a host's denial of a call that was to be attached to. Pure.

use std::time::Duration;

use harp_host::{HostError, HostErrorKind};
use harp_jobs::failures;
use harp_proto::{Failure, Json, error_type};
use serde::Serialize;
use serde_json::{Value, json};

use super::token::Note;

/// How much longer than a job is old its host has to remember, so that clocks that differ do
/// no harm.
const MARGIN: Duration = Duration::from_secs(60);

/// What a host says that has no such call.
#[derive(Debug)]
pub(super) struct NoSuchCall {
    /// Its life; `None` if nothing may be concluded.
    pub(super) boot: Option<String>,
    /// The lives before it.
    pub(super) earlier: Vec<String>,
    /// Since how many seconds it has forgotten nothing; `None`: it never has.
    pub(super) remembers: Option<u64>,
}

/// What follows.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Follows {
    /// The host has never seen the request, which may go out now.
    NeverRan,
    /// The call is gone.
    Gone {
        /// Whether another life of harpd answers.
        host_restarted: bool,
        /// Whether something may be left of it.
        left: bool,
    },
}

impl NoSuchCall {
    /// What follows for a call with this note, `old` at most, of which an acknowledgement
    /// has come or not.
    pub(super) fn follows(&self, note: &Note, old: Duration, is_acknowledged: bool) -> Follows {
        let on_record = note.boot.as_deref();
        let Some(boot) = self.boot.as_deref() else {
            return Follows::Gone {
                host_restarted: false,
                left: true,
            };
        };
        if on_record.is_none() && !is_acknowledged {
            // What names no life of harpd is run by nobody.
            return Follows::NeverRan;
        }
        let is_same = on_record == Some(boot);
        let remembers_all = self
            .remembers
            .is_none_or(|seconds| Duration::from_secs(seconds) > old + MARGIN);
        if is_same && !is_acknowledged && remembers_all {
            return Follows::NeverRan;
        }
        let is_known = is_same
            || on_record.is_some_and(|life| self.earlier.iter().any(|earlier| earlier == life));
        Follows::Gone {
            host_restarted: !is_same,
            left: !is_known,
        }
    }
}

/// The call is gone at its host.
pub(super) fn gone(host_restarted: bool) -> Failure {
    failures::missing_result().with_data(&Gone { host_restarted })
}

/// Somebody newer has the call.
pub(super) fn stale_epoch() -> Failure {
    failures::missing_result().with_data(&json!({ "stale_epoch": true }))
}

/// Packets of the call are gone at its host.
pub(super) fn lost_packets() -> Failure {
    failures::missing_result().with_data(&json!({ "lost_packets": true }))
}

#[derive(Serialize)]
struct Gone {
    host_restarted: bool,
}

/// The host could not be reached for as long as it keeps the call; `last` is what came of the
/// newest attempt.
pub(super) fn kept_for(last: Option<&Failure>, keep: Duration) -> Failure {
    let seconds = keep.as_secs();
    let reason = last.map_or("no attempt was made", |last| last.message.as_str());
    let message = format!("the host was away for longer than it keeps the call: {reason}");
    let mut data = match last {
        Some(last) if last.error_type == error_type::NETWORK_ERROR => {
            match last.data.as_ref().map(Json::decode::<Value>) {
                Some(Ok(Value::Object(data))) => data,
                _ => serde_json::Map::new(),
            }
        }
        Some(last) => [("code".to_owned(), json!(last.error_type))]
            .into_iter()
            .collect(),
        None => serde_json::Map::new(),
    };
    data.insert("kept_for".to_owned(), json!(seconds));
    Failure::new(error_type::NETWORK_ERROR, message).with_data(&Value::Object(data))
}

/// Whether a fault is one of the way to the host, so that the call goes on there.
pub(super) fn is_break(error: &HostError) -> bool {
    matches!(
        error.kind(),
        HostErrorKind::Network { .. } | HostErrorKind::Os { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(boot: Option<&str>, remembers: Option<u64>) -> NoSuchCall {
        NoSuchCall {
            boot: boot.map(str::to_owned),
            earlier: vec!["a".to_owned(), "b".to_owned()],
            remembers,
        }
    }

    #[test]
    fn a_call_runs_only_where_it_certainly_never_came() {
        let note = |boot: &str| Note::new(Some(boot.into()), Duration::from_secs(300), 1);
        let old = Duration::from_secs(100);
        let gone = |host_restarted, left| Follows::Gone {
            host_restarted,
            left,
        };
        for (answer, boot, is_acknowledged, follows) in [
            (answer(Some("c"), None), "c", false, Follows::NeverRan),
            (answer(Some("c"), Some(161)), "c", false, Follows::NeverRan),
            (answer(Some("c"), Some(160)), "c", false, gone(false, false)),
            (answer(Some("c"), Some(0)), "c", false, gone(false, false)),
            (answer(Some("c"), None), "c", true, gone(false, false)),
            (answer(Some("c"), None), "b", false, gone(true, false)),
            (answer(Some("c"), None), "x", false, gone(true, true)),
            (answer(None, Some(0)), "c", false, gone(false, true)),
        ] {
            let came = answer.follows(&note(boot), old, is_acknowledged);
            assert_eq!(came, follows, "{answer:?} {boot} {is_acknowledged}");
        }
        let none = Note::new(None, Duration::ZERO, 1);
        let came = answer(Some("c"), None).follows(&none, old, false);
        assert_eq!(came, Follows::NeverRan);
    }

    #[test]
    fn the_error_of_a_host_that_stays_away_has_the_last_attempts_reason() {
        let last = Failure::new("network_error", "refused")
            .with_data(&json!({"code": "econnrefused", "phase": "connect", "address": "a:1"}));
        let failure = kept_for(Some(&last), Duration::from_secs(300));
        let data: Value = failure.data.unwrap().decode().unwrap();
        assert_eq!(
            data,
            json!({"code": "econnrefused", "phase": "connect", "address": "a:1", "kept_for": 300})
        );
        let last = Failure::new("unknown_host", "no such host");
        let failure = kept_for(Some(&last), Duration::from_secs(5));
        let data: Value = failure.data.unwrap().decode().unwrap();
        assert_eq!(data, json!({"code": "unknown_host", "kept_for": 5}));
    }
}
