//! Limits of clients: use of the daemon, and time.

use std::time::Duration;

use harp_budget::{Budget, Share};
use harp_jobs::client::Client;
use harp_jobs::limits::DeskLimits;

use crate::peer_group::PeerGroup;

/// The limits of clients. All of them may change while the daemon runs.
#[derive(Debug, Clone, Copy)]
pub struct ClientLimits {
    /// What they may ask of the desk.
    pub desk: DeskLimits,
    /// Bytes that large requests of clients may take in all.
    pub client_memory: usize,
    /// Bytes that large requests may take in all of clients that have to authenticate and have
    /// not.
    pub stranger_memory: usize,
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
    /// Greatest number of HTTP requests that wait or follow at once.
    pub max_streams: usize,
    /// Such streams for one peer.
    pub max_streams_per_peer: usize,
}

impl Default for ClientLimits {
    /// The defaults of the configuration.
    fn default() -> ClientLimits {
        ClientLimits {
            desk: DeskLimits::default(),
            client_memory: 16 << 20,
            stranger_memory: 4 << 20,
            max_connections: 10_000,
            // Half of all: one peer never keeps the others out, nor does one queue.
            max_connections_per_peer: 5_000,
            max_handshakes: 256,
            handshake_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(3600),
            write_timeout: Duration::from_secs(120),
            max_streams: 2_000,
            max_streams_per_peer: 64,
        }
    }
}

/// The memory for large requests: of clients, and of those that are nobody yet.
#[derive(Debug)]
pub struct ClientMemory {
    known: Budget,
    strangers: Budget,
    /// Of large answers.
    answers: Budget,
}

impl ClientMemory {
    /// As much as the limits say.
    #[must_use]
    pub fn new(limits: &ClientLimits) -> ClientMemory {
        ClientMemory {
            known: Budget::new(limits.client_memory),
            strangers: Budget::new(limits.stranger_memory),
            answers: Budget::new(limits.client_memory),
        }
    }

    /// Goes by other limits from now on.
    pub fn change(&self, limits: &ClientLimits) {
        self.known.set_limit(limits.client_memory);
        self.strangers.set_limit(limits.stranger_memory);
        self.answers.set_limit(limits.client_memory);
    }

    /// A share for the large answers to a client.
    #[must_use]
    pub fn share_of_answers(&self, client: &Client) -> Share {
        self.answers.share(&PeerGroup::of(&client.peer))
    }

    /// A share for the requests of a client.
    #[must_use]
    pub fn share(&self, client: &Client) -> Share {
        let budget = if client.is_stranger() {
            &self.strangers
        } else {
            &self.known
        };
        budget.share(&PeerGroup::of(&client.peer))
    }
}
