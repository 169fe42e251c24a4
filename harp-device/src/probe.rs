//! Looking whether a device is there, for people who check a configuration.

use std::net::IpAddr;
use std::time::Duration;

use harp_zmtp::SocketType;
use tokio::time::Instant;

use crate::entry::Entry;
use crate::link;

/// Connects to both of a device's sockets, one after the other, and closes them again. Cancel
/// safe.
///
/// # Errors
///
/// What is wrong with the first that cannot be used.
pub async fn probe(entry: &Entry, time: Duration) -> Result<(), String> {
    let until = Instant::now() + time;
    for (port, socket) in [
        (entry.event_port, SocketType::Sub),
        (entry.command_port, SocketType::Dealer),
    ] {
        let opened = link::open((&entry.address, port), socket, 1 << 20, until).await;
        opened.map_err(|fault| fault.to_string())?;
    }
    Ok(())
}

/// Whether what is said to a device can be read and changed by others on the way: devices know
/// no encryption and no authentication.
#[must_use]
pub fn is_exposed(entry: &Entry) -> bool {
    let address = entry.address.parse::<IpAddr>();
    !address.map_or(entry.address == "localhost", |address| {
        address.is_loopback()
    })
}
