//! The 64 bytes that each side sends first.

use crate::violation::Violation;

/// Bytes of a greeting.
pub const GREETING: usize = 64;

/// Where the mechanism's name stands.
const MECHANISM: std::ops::Range<usize> = 12..32;

/// What a peer's greeting says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Greeting {
    /// Major version of the protocol, 3 or more.
    pub major: u8,
    /// Minor version.
    pub minor: u8,
}

impl Greeting {
    /// Our own: version 3.0, the mechanism NULL.
    #[must_use]
    pub fn ours() -> [u8; GREETING] {
        let mut bytes = [0; GREETING];
        bytes[0] = 0xff;
        bytes[9] = 0x7f;
        bytes[10] = 3;
        bytes[MECHANISM][..4].copy_from_slice(b"NULL");
        bytes
    }

    /// Reads a peer's, as far as it has come; `None` if that is too little. What is wrong is
    /// told as soon as it has come, since an older peer sends less.
    ///
    /// # Errors
    ///
    /// [`Violation::NotZmtp`], [`Violation::Version`], [`Violation::Mechanism`].
    pub(crate) fn read(bytes: &[u8]) -> Result<Option<Greeting>, Violation> {
        let is = |at: usize, wanted: u8| bytes.get(at).is_none_or(|byte| *byte == wanted);
        if !is(0, 0xff) || !is(9, 0x7f) {
            return Err(Violation::NotZmtp);
        }
        if bytes.get(10).is_some_and(|major| *major < 3) {
            return Err(Violation::Version);
        }
        let Some(bytes) = bytes.get(..GREETING) else {
            return Ok(None);
        };
        let mechanism = bytes[MECHANISM].trim_ascii_end();
        let end = mechanism.iter().rposition(|byte| *byte != 0);
        if mechanism[..end.map_or(0, |end| end + 1)] != *b"NULL" {
            return Err(Violation::Mechanism);
        }
        Ok(Some(Greeting {
            major: bytes[10],
            minor: bytes[11],
        }))
    }
}
