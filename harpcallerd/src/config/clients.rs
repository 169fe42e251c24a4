//! The limits of clients in the configuration.

use harp_jobs::limits::DeskLimits;
use harp_service::Table;

use super::{count, seconds, size};
use crate::limits::ClientLimits;

/// Takes their keys out of the configuration.
pub(super) fn take(table: &Table<'_>) -> ClientLimits {
    table.guard(&[
        "max_request_size",
        "client_memory",
        "stranger_memory",
        "max_connections",
        "max_connections_per_peer",
        "max_handshakes",
        "handshake_timeout",
        "request_timeout",
        "idle_timeout",
        "write_timeout",
        "max_streams",
        "max_streams_per_peer",
        "max_event_backlog",
        "max_live_jobs",
        "max_queue_length",
    ]);
    let default = ClientLimits::default();
    ClientLimits {
        desk: DeskLimits {
            max_request_size: size(table, "max_request_size", default.desk.max_request_size),
            max_event_backlog: count(table, "max_event_backlog", default.desk.max_event_backlog),
            max_live_jobs: count(table, "max_live_jobs", default.desk.max_live_jobs),
            max_queue_length: count(table, "max_queue_length", default.desk.max_queue_length),
        },
        client_memory: size(table, "client_memory", default.client_memory),
        stranger_memory: size(table, "stranger_memory", default.stranger_memory),
        max_connections: count(table, "max_connections", default.max_connections),
        max_connections_per_peer: count(
            table,
            "max_connections_per_peer",
            default.max_connections_per_peer,
        ),
        max_handshakes: count(table, "max_handshakes", default.max_handshakes),
        handshake_timeout: seconds(table, "handshake_timeout", default.handshake_timeout),
        request_timeout: seconds(table, "request_timeout", default.request_timeout),
        idle_timeout: seconds(table, "idle_timeout", default.idle_timeout),
        write_timeout: seconds(table, "write_timeout", default.write_timeout),
        max_streams: count(table, "max_streams", default.max_streams),
        max_streams_per_peer: count(table, "max_streams_per_peer", default.max_streams_per_peer),
    }
}
