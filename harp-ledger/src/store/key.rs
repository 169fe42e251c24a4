//! A key of the store.

/// A key, on the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    bytes: [u8; Key::MAX],
    len: usize,
}

impl Key {
    /// Table and digest. Shorter: table, job, packet number, piece number.
    pub(super) const MAX: usize = 1 + 32;

    pub(super) fn new(table: u8) -> Key {
        let mut bytes = [0; Key::MAX];
        bytes[0] = table;
        Key { bytes, len: 1 }
    }

    /// Likewise, in the table of further pieces.
    pub(super) fn of_pieces(mut self) -> Key {
        self.bytes[0] = self.bytes[0].to_ascii_uppercase();
        self
    }

    pub(super) fn with(mut self, part: &[u8]) -> Key {
        self.bytes[self.len..self.len + part.len()].copy_from_slice(part);
        self.len += part.len();
        self
    }
}

impl std::ops::Deref for Key {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}
