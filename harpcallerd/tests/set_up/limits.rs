//! The limits that tests begin with.

use std::time::Duration;

use harp_jobs::output::OutputLimits;
use harpcallerd::rules::ExecutionLimits;

/// No limit of time comes into play, and hosts keep no calls.
pub(crate) fn unlimited() -> ExecutionLimits {
    let never = Duration::from_secs(1_000_000);
    ExecutionLimits {
        default_timeout: never,
        max_exec_time: never,
        connect_timeout: never,
        connect_patience: Duration::ZERO,
        slot_grace: never,
        break_grace: Duration::ZERO,
        last_words: Duration::ZERO,
        max_packet_size: 1 << 20,
        host_memory: 32 << 20,
        output: OutputLimits::default(),
        keep_calls: false,
        keep_for: Duration::from_secs(300),
        max_idle_connections: 8,
    }
}
