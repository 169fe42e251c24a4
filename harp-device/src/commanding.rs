//! Sending a device its commands and hearing its replies.

use harp_time::Limit;
use harp_zmtp::SocketType;

use crate::device::{Device, Outgoing, changed};
use crate::entry::Entry;
use crate::fault::Fault;
use crate::link::Link;
use crate::surroundings::Settings;
use crate::upkeep::Socket;

/// A device's socket for commands.
pub(crate) struct Commander;

impl Socket for Commander {
    const TYPE: SocketType = SocketType::Dealer;

    fn port(entry: &Entry) -> u16 {
        entry.command_port
    }

    async fn hold(device: &Device, mut link: Link, settings: &Settings) -> Option<Fault> {
        device.commanded();
        let mut changes = device.changes();
        loop {
            changes.borrow_and_update();
            if device.is_to_reset() {
                return None;
            }
            if let Some(outgoing) = device.take_outgoing() {
                if let Err(fault) = send(&mut link, outgoing, settings).await {
                    return Some(fault);
                }
                continue;
            }
            tokio::select! {
                message = link.receive() => match message {
                    Ok(parts) if device.replied(&parts) => {}
                    Ok(_) => return Some(Fault::no_reply(link.at())),
                    Err(fault) => return Some(fault),
                },
                () = changed(&mut changes) => {}
            }
        }
    }

    fn lost(device: &Device, fault: Option<Fault>) {
        device.unreplied(fault);
    }
}

/// Sends a command, and tells whoever waits for that.
async fn send(link: &mut Link, outgoing: Outgoing, settings: &Settings) -> Result<(), Fault> {
    // An empty frame stands where a router would put its way back.
    let parts: [&[u8]; 2] = [b"", &outgoing.text];
    let mut limit = Limit::after(settings.connect_timeout);
    let sent = limit.keep(link.send(&parts)).await;
    let sent = sent.unwrap_or_else(|| {
        let what = "it did not take the command in time";
        Err(Fault::timed_out(link.at(), what))
    });
    // Whoever does not wait any more has left the line.
    let _ = outgoing.sent.send(sent.clone());
    sent
}
