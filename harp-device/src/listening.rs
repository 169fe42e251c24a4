//! The task that listens to what a device publishes.

use std::sync::Arc;
use std::time::Duration;

use harp_zmtp::SocketType;
use tokio::time::{Instant, sleep_until};

use crate::backoff::Backoff;
use crate::device::Device;
use crate::entry::Entry;
use crate::fault::Fault;
use crate::link::{self, Link, shown};
use crate::surroundings::Surroundings;

/// After so long a publisher that says nothing has heard what is wanted.
const SETTLES_IN: Duration = Duration::from_millis(500);

/// Listens to a device wherever the registry has it, for ever.
pub(crate) async fn listen(device: Arc<Device>, surroundings: Arc<dyn Surroundings>) {
    loop {
        let entry = device.entered().await;
        tokio::select! {
            () = device.moved(&entry) => device.unheard(Fault::moved(shown(&entry.address, entry.event_port))),
            () = listen_there(&device, &entry, &surroundings) => {}
        }
    }
}

/// Listens to it there, again and again.
async fn listen_there(device: &Device, entry: &Entry, surroundings: &Arc<dyn Surroundings>) {
    let mut backoff = Backoff::new();
    loop {
        let now = surroundings.settings();
        let at = (&*entry.address, entry.event_port);
        let until = Instant::now() + now.connect_timeout;
        let opened = link::open(at, SocketType::Sub, now.max_packet_size, until).await;
        let fault = match opened {
            Ok(link) => {
                backoff.connected(device.world().now());
                let error = hear(device, link).await;
                Fault::of(shown(&entry.address, entry.event_port), &error)
            }
            Err(fault) => fault,
        };
        device.unheard(fault);
        device.pause(backoff.pause(device.world().now())).await;
    }
}

/// Hears what comes, until nothing does any more.
async fn hear(device: &Device, mut link: Link) -> harp_zmtp::Error {
    if let Err(error) = link.subscribe(b"").await {
        return error;
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
            Some(Err(error)) => return error,
            None => {}
        }
    }
}
