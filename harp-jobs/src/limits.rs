//! The limits that every run goes by, and those of what clients may ask.

use std::sync::Arc;
use std::time::Duration;

use crate::failures::SetBy;
use crate::life::Terms;
use crate::output::OutputLimits;
use crate::record::CallRecord;

/// The limits of every run. A run keeps those of the moment in which it had its turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunLimits {
    /// For resolving, connecting, TLS and acknowledgement, in all.
    pub connect_timeout: Duration,
    /// Longest silence of a host unless the call says otherwise.
    pub default_timeout: Duration,
    /// Longest execution; also the ceiling of what a call may ask.
    pub max_exec_time: Duration,
    /// How long a call that was given up is listened to before its job ends.
    pub last_words: Duration,
    /// How much all packets of a job may be.
    pub output: OutputLimits,
    /// What is different for services.
    pub services: ServiceLimits,
}

/// What is different for calls to services, whose jobs workers fetch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServiceLimits {
    /// The host that such calls name.
    pub host: Arc<str>,
    /// Longest execution; also the ceiling of what a call may ask. The general one if it is
    /// `None`.
    pub max_exec_time: Option<Duration>,
}

/// What clients may ask of the desk. All of it may change while the daemon runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeskLimits {
    /// Greatest JSON text of one request in bytes.
    pub max_request_size: usize,
    /// Changes of jobs that are kept for readers of all of them that come back.
    pub max_event_backlog: usize,
    /// Greatest number of queued and running jobs.
    pub max_live_jobs: usize,
    /// Greatest number of jobs that wait in one queue.
    pub max_queue_length: usize,
}

impl Default for DeskLimits {
    /// The defaults of the configuration.
    fn default() -> DeskLimits {
        DeskLimits {
            max_request_size: 16 << 20,
            max_event_backlog: 10_000,
            max_live_jobs: 100_000,
            max_queue_length: 50_000,
        }
    }
}

impl RunLimits {
    /// What the life of this call's job goes by, which has run for `already` if it is
    /// attached to.
    #[must_use]
    pub fn terms(&self, call: &CallRecord, already: Duration) -> Terms {
        let seconds = |number: Option<u64>| number.map(Duration::from_secs);
        let of_services = self.services.max_exec_time;
        let of_services = of_services.filter(|_| *self.services.host == *call.host);
        let default_timeout = if call.endless {
            Duration::MAX
        } else {
            self.default_timeout
        };
        let (ceiling, key) = match of_services {
            _ if call.endless => (Duration::MAX, "max_exec_time"),
            Some(ceiling) => (ceiling, "topchef.max_exec_time"),
            None => (self.max_exec_time, "max_exec_time"),
        };
        let (silence, silence_set_by) = match seconds(call.timeout) {
            Some(asked) => (asked, SetBy::Call),
            None => (default_timeout, SetBy::Dispatcher("default_timeout")),
        };
        let (longest, longest_set_by) = match seconds(call.max_exec_time) {
            Some(asked) if asked <= ceiling => (asked, SetBy::Call),
            _ => (ceiling, SetBy::Dispatcher(key)),
        };
        Terms {
            connect: self.connect_timeout,
            silence,
            silence_set_by,
            longest,
            longest_set_by,
            last_words: self.last_words,
            already,
            retry: None,
            unrun: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use harp_values::Json;

    use super::*;

    #[test]
    fn a_call_may_ask_for_a_longer_silence_and_no_longer_execution() {
        let limits = RunLimits {
            connect_timeout: Duration::from_secs(10),
            default_timeout: Duration::from_secs(20),
            max_exec_time: Duration::from_secs(60),
            last_words: Duration::from_secs(5),
            output: OutputLimits::default(),
            services: ServiceLimits {
                host: "services".into(),
                max_exec_time: Some(Duration::from_secs(500)),
            },
        };
        let for_a_service = CallRecord::new("services", "s", Json::NULL, 0);
        assert_eq!(
            limits.terms(&for_a_service, Duration::ZERO).longest,
            Duration::from_secs(500)
        );
        let (default, ceiling) = (
            SetBy::Dispatcher("default_timeout"),
            SetBy::Dispatcher("max_exec_time"),
        );
        for (timeout, max_exec_time, silence, longest) in [
            (None, None, (20, default), (60, ceiling)),
            (Some(5), None, (5, SetBy::Call), (60, ceiling)),
            (Some(30), None, (30, SetBy::Call), (60, ceiling)),
            (Some(100), Some(7), (100, SetBy::Call), (7, SetBy::Call)),
            (None, Some(60), (20, default), (60, SetBy::Call)),
            (None, Some(1000), (20, default), (60, ceiling)),
            (
                Some(u64::MAX),
                Some(u64::MAX),
                (u64::MAX, SetBy::Call),
                (60, ceiling),
            ),
        ] {
            let call = CallRecord {
                timeout,
                max_exec_time,
                ..CallRecord::new("h", "p", Json::NULL, 0)
            };
            let terms = limits.terms(&call, Duration::ZERO);
            let of_silence = (terms.silence.as_secs(), terms.silence_set_by);
            let of_the_whole = (terms.longest.as_secs(), terms.longest_set_by);
            assert_eq!((of_silence, of_the_whole), (silence, longest), "{call:?}");
        }
        let endless = CallRecord {
            endless: true,
            ..CallRecord::new("h", "p", Json::NULL, 0)
        };
        let terms = limits.terms(&endless, Duration::ZERO);
        assert_eq!(
            (terms.silence, terms.longest),
            (Duration::MAX, Duration::MAX)
        );
    }
}
