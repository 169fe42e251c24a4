//! How soon either end of a connection notices that the other is gone (host protocol, end).
//!
//! Both ends of every TCP connection of the project ask the peer after a silence whether it
//! is still there. So an end that loses a connection knows how long the other end may go on
//! without knowing.

use std::time::Duration;

/// Silence on a connection before the peer is asked whether it is still there.
pub const IDLE: Duration = Duration::from_secs(30);

/// Between two such questions.
pub const INTERVAL: Duration = Duration::from_secs(10);

/// Questions without an answer that make a connection dead.
pub const PROBES: u32 = 3;

/// How long after the last sign of the peer a connection is dead. For an end that has sent
/// something which the peer has not confirmed, the system's own limit counts in place of it.
pub const NOTICED: Duration = Duration::from_secs(30 + 3 * 10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_peer_is_noticed_after_the_last_question() {
        assert_eq!(NOTICED, IDLE + INTERVAL * PROBES);
    }
}
