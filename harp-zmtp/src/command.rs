//! Commands: the handshake's last step, and questions whether we are still there.

use bytes::{BufMut, Bytes, BytesMut};

use crate::SocketType;
use crate::violation::Violation;

/// What a command says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// The peer is ready.
    Ready(Ready),
    /// The peer refuses the connection, and says why.
    Error(Bytes),
    /// The peer asks whether we are there; this is to be sent back.
    Ping(Bytes),
    /// Anything else: it may be passed over.
    Other,
}

/// What a peer says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// The type of its socket; empty if it does not say.
    pub socket_type: Bytes,
}

impl Command {
    /// Reads a command's frame.
    ///
    /// # Errors
    ///
    /// [`Violation::Command`].
    pub(crate) fn read(mut frame: Bytes) -> Result<Command, Violation> {
        let name = take_short(&mut frame)?;
        Ok(match &name[..] {
            b"READY" => Command::Ready(Ready::read(frame)?),
            b"ERROR" => Command::Error(take_short(&mut frame)?),
            // Two bytes for how long it waits, then what it wants to hear.
            b"PING" if frame.len() >= 2 => Command::Ping(frame.split_off(2)),
            b"PING" => return Err(Violation::Command),
            _ => Command::Other,
        })
    }
}

impl Ready {
    fn read(mut frame: Bytes) -> Result<Ready, Violation> {
        let mut socket_type = Bytes::new();
        while !frame.is_empty() {
            let name = take_short(&mut frame)?;
            let length = frame.split_to_checked(4)?;
            let length = length
                .iter()
                .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            let value = frame.split_to_checked(length)?;
            if name.eq_ignore_ascii_case(b"Socket-Type") {
                socket_type = value;
            }
        }
        Ok(Ready { socket_type })
    }

    /// The body of our own READY.
    pub(crate) fn ours(socket: SocketType) -> BytesMut {
        let mut body = BytesMut::new();
        let mut property = |name: &[u8], value: &[u8]| {
            // Both are ours, and short.
            body.put_u8(name.len() as u8);
            body.put_slice(name);
            body.put_u32(value.len() as u32);
            body.put_slice(value);
        };
        property(b"Socket-Type", socket.as_str().as_bytes());
        if socket == SocketType::Dealer {
            property(b"Identity", b"");
        }
        body
    }
}

/// Takes what has its length in one byte before it.
fn take_short(frame: &mut Bytes) -> Result<Bytes, Violation> {
    let length = usize::from(frame.split_to_checked(1)?[0]);
    frame.split_to_checked(length)
}

trait SplitToChecked {
    fn split_to_checked(&mut self, length: usize) -> Result<Bytes, Violation>;
}

impl SplitToChecked for Bytes {
    fn split_to_checked(&mut self, length: usize) -> Result<Bytes, Violation> {
        if length <= self.len() {
            Ok(self.split_to(length))
        } else {
            Err(Violation::Command)
        }
    }
}
