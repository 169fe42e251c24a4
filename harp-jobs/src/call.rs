//! A call as it is submitted, in the words of the front door.

use harp_values::{JobId, Json, QueueName};

/// A call that a client wants to have made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCall {
    /// Name of the host in the hosts registry.
    pub host: String,
    /// Name of the procedure.
    pub procedure: String,
    /// An array, positional, or an object, named. It is kept in memory while the job runs,
    /// with all that it shares its bytes with.
    pub arguments: Json,
    /// Longest silence of the host in seconds, 1 or more.
    pub timeout: Option<u64>,
    /// Longest execution in seconds, 1 or more.
    pub max_exec_time: Option<u64>,
    /// The queue to wait in.
    pub queue: Option<QueueChoice>,
    /// Whatever the client wants to have kept with the job; `null` if nothing.
    pub info: Json,
    /// Idempotency key; it belongs to the client's identity.
    pub key: Option<String>,
    /// With `key`: a new job only if the last one is older than this many seconds.
    pub unless_since: Option<u64>,
    /// Seconds in which a queued job must have started.
    pub start_by: Option<u64>,
    /// The trace that it is part of, as its client has written it.
    pub trace: Option<String>,
}

/// The queue that a call waits in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueChoice {
    /// Its name.
    pub name: QueueName,
    /// How many of its jobs may run at once, 1 or more; what the queue's first call says
    /// holds.
    pub concurrency: u64,
}

/// What a submission has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// The job.
    pub job: JobId,
    /// Whether an earlier submission with the same key had made it.
    pub existing: bool,
    /// What holds for a new job, as long as the configuration is not changed before its
    /// start; `None` for one that an earlier submission had made.
    pub limits: Option<TimeLimits>,
}

/// Limits of a job's time, in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeLimits {
    /// Longest silence of the host.
    pub timeout: u64,
    /// Longest execution.
    pub max_exec_time: u64,
}
