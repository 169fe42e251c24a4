//! What a host still sends of a call that was given up: what its procedure prints while it
//! is being ended comes before the job's end.

use std::time::Duration;

use harp_host::HostCall;
use harp_host::limit::Limit;
use harp_proto::{Outcome, host};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::bounds::is_limit;
use super::recording::Recording;
use crate::jobs::LiveJob;

/// Packets that are taken in all, in bytes; a packet counts 16 more. A host that sends
/// without end is not to keep its job from ending.
const MOST: u64 = 1024 * 1024;

/// True if the job of a call that was given up ends only after the host's last words: those
/// that say something about the procedure, which was cancelled or reached a limit.
pub(super) fn are_wanted(outcome: &Outcome, call: &HostCall) -> bool {
    let is_cut_short = *outcome == Outcome::Cancelled || is_limit(outcome);
    // Of a call without packets there is nothing to come.
    is_cut_short && call.streams()
}

/// Tells the host that the call is given up, and takes the packets that it sends until it is
/// done, `time` is over or `interrupt` is cancelled. True if the host has proved that
/// nothing of the call is left.
pub(super) async fn take(
    packets: &mut Recording,
    call: &mut HostCall,
    live: &LiveJob,
    time: Duration,
    interrupt: &CancellationToken,
) -> bool {
    let mut limit = Limit::until(Instant::now() + time);
    let most = packets.bytes().saturating_add(MOST);
    if limit.keep(call.tell_cancel()).await.is_none() {
        return false;
    }
    loop {
        let reading = packets.has_room();
        let message = tokio::select! {
            biased;
            () = limit.passed() => return false,
            () = interrupt.cancelled() => return false,
            stored = packets.stored(live), if packets.is_pending() => match stored {
                Ok(()) => continue,
                // The job's end will say so.
                Err(_) => return false,
            },
            message = call.next(), if reading => message,
        };
        match packets.take(message, call) {
            Ok(None) if packets.bytes() < most => {}
            // Another end than the proof may be followed by it.
            Ok(Some(Outcome::Error(failure))) => {
                return host::Message::Error(failure).proves_cancel();
            }
            Ok(_) | Err(_) => return false,
        }
    }
}
