//! Listening to what a device publishes.

use std::time::Duration;

use harp_zmtp::SocketType;
use tokio::time::{Instant, sleep_until};

use crate::device::Device;
use crate::entry::Entry;
use crate::fault::Fault;
use crate::link::Link;
use crate::surroundings::Settings;
use crate::upkeep::Socket;

/// After so long a publisher that says nothing has heard what is wanted.
const SETTLES_IN: Duration = Duration::from_millis(500);

/// A device's publisher.
pub(crate) struct Publisher;

impl Socket for Publisher {
    const TYPE: SocketType = SocketType::Sub;

    fn port(entry: &Entry) -> u16 {
        entry.event_port
    }

    async fn hold(device: &Device, link: Link, _settings: &Settings) -> Option<Fault> {
        Some(hear(device, link).await)
    }

    fn lost(device: &Device, fault: Option<Fault>) {
        device.unheard(fault);
    }
}

/// Hears what comes, until nothing does any more.
async fn hear(device: &Device, mut link: Link) -> Fault {
    if let Err(fault) = link.subscribe().await {
        return fault;
    }
    device.subscribed();
    let settles = Instant::now() + SETTLES_IN;
    let mut is_settled = false;
    loop {
        let message = tokio::select! {
            message = link.receive() => Some(message),
            () = sleep_until(settles), if !is_settled => None,
        };
        if !is_settled && !matches!(message, Some(Err(_))) {
            is_settled = true;
            device.settled();
        }
        match message {
            Some(Ok(parts)) => device.published(&parts),
            Some(Err(fault)) => return fault,
            None => {}
        }
    }
}
