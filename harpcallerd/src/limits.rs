//! What clients may use of the daemon, and how long they may take.

use std::time::Duration;

/// The limits of clients. All of them may change while the daemon runs.
#[derive(Debug, Clone, Copy)]
pub struct ClientLimits {
    /// Greatest JSON text of one request in bytes.
    pub max_request_size: usize,
    /// Greatest number of connections at once.
    pub max_connections: usize,
    /// Greatest number of connections of one peer at once.
    pub max_connections_per_peer: usize,
    /// Greatest number of TLS handshakes with clients at once.
    pub max_handshakes: usize,
    /// How long a TLS handshake may take.
    pub handshake_timeout: Duration,
    /// How long a request may take from its first byte to its last, and a new connection
    /// to its first request.
    pub request_timeout: Duration,
    /// How long a connection that is kept may be without a request.
    pub idle_timeout: Duration,
    /// How long a client that is being sent something may take nothing of it.
    pub write_timeout: Duration,
    /// Greatest number of queued and running jobs.
    pub max_live_jobs: usize,
    /// Greatest number of jobs that wait in one queue.
    pub max_queue_length: usize,
}

impl Default for ClientLimits {
    /// The defaults of the configuration.
    fn default() -> ClientLimits {
        ClientLimits {
            max_request_size: 16 << 20,
            max_connections: 10_000,
            // Half of all: one peer never keeps the others out, nor does one queue.
            max_connections_per_peer: 5_000,
            max_handshakes: 256,
            handshake_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(3600),
            write_timeout: Duration::from_secs(120),
            max_live_jobs: 100_000,
            max_queue_length: 50_000,
        }
    }
}
