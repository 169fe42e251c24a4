//! What runs go by: limits, the judgement of hosts' certificates, memory. From the
//! configuration, and replaced by a reload for the runs that begin after it.

use std::sync::Arc;
use std::time::Duration;

use harp_budget::Budget;
use harp_host::tls::Trust;
use harp_jobs::limits::{RunLimits, ServiceLimits};
use harp_jobs::output::{OutputLimits, OutputPolicy};
use harp_service::Table;

use crate::services::settings::ServiceSettings;

/// The limits of every execution (daemon specification, configuration).
#[derive(Debug, Clone)]
pub struct ExecutionLimits {
    /// Longest silence of a host unless the call says otherwise.
    pub default_timeout: Duration,
    /// Longest execution; also the ceiling of what a call may ask.
    pub max_exec_time: Duration,
    /// For resolving, connecting, TLS and acknowledgement, in all.
    pub connect_timeout: Duration,
    /// How long a call waits for a host that was heard of lately and cannot be reached;
    /// zero for not at all.
    pub connect_patience: Duration,
    /// How long a queue's place is kept after a job's end for a host that is not done.
    pub slot_grace: Duration,
    /// How long the place of a job is kept whose host may not know that its connection is gone.
    pub break_grace: Duration,
    /// How long a call that was given up is listened to before its job ends.
    pub last_words: Duration,
    /// Greatest JSON text of one packet or result in bytes.
    pub max_packet_size: usize,
    /// Bytes that large messages of hosts may take in all.
    pub host_memory: usize,
    /// How much all packets of a job may be.
    pub output: OutputLimits,
    /// Whether calls may outlive their connections, at hosts that can keep them.
    pub keep_calls: bool,
    /// How long a host goes on with a call while nobody is connected.
    pub keep_for: Duration,
    /// How many connections to a host are kept for the next calls.
    pub max_idle_connections: usize,
}

/// What executions go by. A job keeps to the rules of the moment in which it started; a
/// reload replaces them for those that start after it.
#[derive(Debug)]
pub struct Rules {
    /// The limits.
    pub limits: ExecutionLimits,
    /// How hosts' certificates are judged.
    pub trust: Trust,
    /// What large messages of all hosts hold.
    pub memory: Budget,
}

impl ExecutionLimits {
    /// The limits that a job's life goes by, whoever runs its call.
    #[must_use]
    pub fn of_runs(&self, services: &ServiceSettings) -> RunLimits {
        RunLimits {
            connect_timeout: self.connect_timeout,
            default_timeout: self.default_timeout,
            max_exec_time: self.max_exec_time,
            last_words: self.last_words.min(self.slot_grace),
            output: self.output,
            services: ServiceLimits {
                host: Arc::clone(&services.host),
                max_exec_time: services.max_exec_time,
            },
        }
    }
}

/// Takes the keys of [`OutputLimits`] out of the configuration.
pub(crate) fn take_output(table: &Table<'_>) -> OutputLimits {
    let default = OutputLimits::default();
    let policy = table.one_of("job_limit_policy", &["cancel", "truncate"]);
    OutputLimits {
        max_packets: table
            .integer("max_job_packets", 1..=u64::MAX)
            .unwrap_or(default.max_packets),
        max_bytes: table.size("max_job_size").unwrap_or(default.max_bytes),
        policy: match policy.as_deref() {
            Some("truncate") => OutputPolicy::Truncate,
            _ => OutputPolicy::Cancel,
        },
    }
}
