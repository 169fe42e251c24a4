//! The line of commands: one at a time goes out, the next when the reply has come.

use std::sync::Arc;

use bytes::Bytes;
use harp_jobs::world::Moment;
use tokio::sync::oneshot;

use super::Device;
use crate::fault::Fault;
use crate::inbox::Inbox;

/// A command that is to be sent.
pub(crate) struct Outgoing {
    /// Its nonce.
    pub(crate) nonce: u64,
    /// The request.
    pub(crate) text: Bytes,
    /// Where the reply goes.
    pub(crate) inbox: Arc<Inbox>,
    /// Told what became of the sending.
    pub(crate) sent: oneshot::Sender<Result<(), Fault>>,
}

/// Whether a command may go out.
#[derive(Debug)]
pub(crate) enum Look {
    /// It may: the version of the device, as far as it is known.
    Now(Option<String>),
    /// Other commands come first; the device may fall silent at this moment.
    Later(Option<Moment>),
    /// The device cannot be reached.
    Away(Fault),
    /// The registry does not have it any more.
    Gone,
}

/// A place in the line of commands, until the reply has come or this is dropped. A command that
/// is out then takes the connection with it.
pub(crate) struct CommandTurn {
    device: Arc<Device>,
    number: u64,
}

impl Device {
    /// Takes a place in the line of commands.
    pub(crate) fn line_up(self: &Arc<Self>) -> CommandTurn {
        let mut state = self.state();
        let number = state.next_turn;
        state.next_turn += 1;
        state.turns.push_back(number);
        drop(state);
        CommandTurn {
            device: Arc::clone(self),
            number,
        }
    }
}

impl CommandTurn {
    /// Whether the command may go out. `needs_version`: its number depends on that.
    pub(crate) fn look(&self, needs_version: bool) -> Look {
        let now = self.device.world.now();
        let state = self.device.state();
        if state.entry.is_none() {
            return Look::Gone;
        }
        if let Some(fault) = state.fault(now) {
            return Look::Away(fault);
        }
        let version = state.health.known().version.clone();
        if needs_version && version.is_none() {
            let what = "it has sent no heartbeat, which would tell its version, and so the number \
                        of this command";
            return Look::Away(Fault::network(
                state.command_address(),
                "no_heartbeat",
                what,
            ));
        }
        if state.turns.front() == Some(&self.number) {
            Look::Now(version)
        } else {
            Look::Later(state.health.silent_at())
        }
    }

    /// Has a command sent.
    pub(crate) fn send(&self, outgoing: Outgoing) {
        self.device.state().outgoing = Some((self.number, outgoing));
        self.device.changed.send_replace(());
    }

    /// Takes a command back that has not been taken; false if it has.
    pub(crate) fn take_back(&self) -> bool {
        let mut state = self.device.state();
        let is_its = |(turn, _): &(u64, Outgoing)| *turn == self.number;
        state
            .outgoing
            .take_if(|outgoing| is_its(outgoing))
            .is_some()
    }
}

impl Drop for CommandTurn {
    fn drop(&mut self) {
        let mut state = self.device.state();
        let number = self.number;
        state.turns.retain(|turn| *turn != number);
        state.outgoing.take_if(|(turn, _)| *turn == number);
        if state
            .in_flight
            .take_if(|in_flight| in_flight.turn == number)
            .is_some()
        {
            state.reset = true;
        }
        drop(state);
        self.device.changed.send_replace(());
    }
}
