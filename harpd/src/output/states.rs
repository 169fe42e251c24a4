//! A line that is written again and again, as by a progress bar: each `\r` begins it anew,
//! and what stands on a terminal is its newest state.

/// The states of a line that has not ended.
#[derive(Debug, Default)]
pub(super) struct States {
    /// There was a `\r` in the line.
    is_rewritten: bool,
    /// There is something in it that was not looked at.
    is_fresh: bool,
    /// States were too many to be held.
    are_dropped: bool,
    /// The newest state that was shown.
    shown: Option<Vec<u8>>,
}

impl States {
    /// These bytes have come to the line.
    pub(super) fn has_grown(&mut self, bytes: &[u8]) {
        self.is_rewritten |= memchr::memchr(b'\r', bytes).is_some();
        self.is_fresh |= self.is_rewritten && !bytes.is_empty();
    }

    /// True if there may be a state that was not shown.
    pub(super) fn is_fresh(&self) -> bool {
        self.is_fresh
    }

    /// States have been dropped, since together they were longer than a line may be.
    pub(super) fn are_dropped(&mut self) {
        self.are_dropped = true;
    }

    /// True if states of this line were shown or dropped, so that only the newest of it is
    /// still to be shown.
    pub(super) fn are_past(&self) -> bool {
        self.are_dropped || self.shown.is_some()
    }

    /// Looks at the end of the line behind what is [`past`]: the newest state, with a `\r`
    /// behind it, unless it is empty or was shown.
    pub(super) fn newest(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        self.is_fresh = false;
        let text = without_returns(end);
        if text.is_empty() || self.shown.as_deref() == Some(text) {
            return None;
        }
        self.shown = Some(text.to_vec());
        Some([text, b"\r"].concat())
    }
}

/// How much of a line's beginning was written over by what follows it.
pub(super) fn past(line: &[u8]) -> usize {
    let text = without_returns(line);
    memchr::memrchr(b'\r', text).map_or(0, |place| place + 1)
}

fn without_returns(line: &[u8]) -> &[u8] {
    let returns = line.iter().rev().take_while(|byte| **byte == b'\r');
    &line[..line.len() - returns.count()]
}
