//! The task that sends a device its commands and hears its replies.

use std::sync::Arc;

use harp_time::Limit;
use harp_zmtp::SocketType;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::device::{Device, changed};
use crate::entry::Entry;
use crate::fault::Fault;
use crate::link::{self, Link, shown};
use crate::surroundings::{Settings, Surroundings};

/// Sends a device its commands wherever the registry has it, for ever.
pub(crate) async fn command(device: Arc<Device>, surroundings: Arc<dyn Surroundings>) {
    loop {
        let entry = device.entered().await;
        tokio::select! {
            () = device.moved(&entry) => device.unreplied(Some(Fault::moved(shown(&entry.address, entry.command_port)))),
            () = command_there(&device, &entry, &surroundings) => {}
        }
    }
}

/// Sends it its commands there, over one connection after the other.
async fn command_there(device: &Device, entry: &Entry, surroundings: &Arc<dyn Surroundings>) {
    let mut backoff = Backoff::new();
    loop {
        let now = surroundings.settings();
        let at = (&*entry.address, entry.command_port);
        let until = Instant::now() + now.connect_timeout;
        let opened = link::open(at, SocketType::Dealer, now.max_packet_size, until).await;
        let fault = match opened {
            Ok(link) => {
                backoff.connected(device.world().now());
                device.commanded();
                let conversation = Conversation {
                    device,
                    address: shown(&entry.address, entry.command_port),
                    settings: now,
                };
                match conversation.hold(link).await {
                    Some(fault) => fault,
                    // It was given up on purpose, and is opened anew at once.
                    None => {
                        device.unreplied(None);
                        continue;
                    }
                }
            }
            Err(fault) => fault,
        };
        device.unreplied(Some(fault));
        device.pause(backoff.pause(device.world().now())).await;
    }
}

/// What goes on over one connection.
struct Conversation<'a> {
    device: &'a Device,
    address: String,
    settings: Settings,
}

impl Conversation<'_> {
    /// Goes on until the connection breaks; `None` if it is to be given up.
    async fn hold(&self, mut link: Link) -> Option<Fault> {
        let mut changes = self.device.changes();
        loop {
            changes.borrow_and_update();
            if self.device.is_to_reset() {
                return None;
            }
            if let Some(outgoing) = self.device.take_outgoing() {
                // An empty frame stands where a router would put its way back.
                let parts: [&[u8]; 2] = [b"", &outgoing.text];
                let mut limit = Limit::after(self.settings.connect_timeout);
                let sent = limit.keep(link.send(&parts)).await;
                let sent = match sent {
                    Some(sent) => sent.map_err(|error| Fault::of(&*self.address, &error)),
                    None => {
                        let what = "it did not take the command in time";
                        Err(Fault::timed_out(&*self.address, what))
                    }
                };
                let fault = sent.as_ref().err().cloned();
                // Whoever does not wait any more has left the line.
                let _ = outgoing.sent.send(sent);
                if fault.is_some() {
                    return fault;
                }
                continue;
            }
            tokio::select! {
                message = link.receive() => match message {
                    Ok(parts) if self.device.replied(&parts) => {}
                    Ok(_) => return Some(Fault::no_reply(&*self.address)),
                    Err(error) => return Some(Fault::of(&*self.address, &error)),
                },
                () = changed(&mut changes) => {}
            }
        }
    }
}
