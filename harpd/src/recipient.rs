//! Whom the output of a call goes to, and what it hears of that one meanwhile.

use crate::answer::Packet;

/// Taker of a call's packets: a caller at the other end of a connection, or what keeps
/// them for one that may be away.
pub trait Recipient: Send {
    /// Puts packets behind those that came before.
    fn packets(&mut self, packets: Vec<Packet>);

    /// Shows that the procedure lives, though it has said nothing that makes a packet.
    fn sign_of_life(&mut self);

    /// The call does not wait for its slots any more.
    fn has_slots(&mut self) {}

    /// Whether the proof of a cancel says what the call had printed. A caller that knows the
    /// protocol by its first release alone gets it as that has it.
    fn takes_evidence(&self) -> bool {
        true
    }

    /// False while so much waits that the source of packets should pause.
    fn has_room(&self) -> bool;

    /// Hands on what can be handed on, and returns what happens next.
    ///
    /// Cancel safe.
    fn event(&mut self) -> impl Future<Output = CallerEvent> + Send;
}

/// Event at the side of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallerEvent {
    /// Something was handed on; there may be room again.
    Sent,
    /// The caller wants the call no longer: it has cancelled it, closed a connection that
    /// the call hangs on, or that is dead. Told once. Sending goes on as far as it can.
    Closed,
    /// The caller sent something after its request's line, which it must not.
    SpokeOn,
    /// The caller has taken nothing for too long of what waits to be sent. Told once.
    Stalled,
    /// Nobody has taken up the call within its `keep`. Told once.
    KeepOver,
}
