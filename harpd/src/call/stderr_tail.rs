//! The last of what a command said on standard error.

/// How much is kept, in bytes (harpd, "What its output becomes").
const KEPT: usize = 8 << 10;

/// The end of standard error.
#[derive(Debug, Default)]
pub(super) struct StderrTail {
    bytes: Vec<u8>,
}

impl StderrTail {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        // Not at every push, so that a talkative command does not make harpd move bytes
        // all the time.
        if self.bytes.len() > 4 * KEPT {
            let excess = self.bytes.len() - KEPT - 1;
            self.bytes.drain(..excess);
        }
    }

    /// The last 8 KiB; what is not UTF-8 becomes U+FFFD.
    pub(super) fn text(&self) -> String {
        let mut start = self.bytes.len().saturating_sub(KEPT);
        // Not from the middle of a character.
        while start > 0
            && self
                .bytes
                .get(start)
                .is_some_and(|byte| byte & 0xc0 == 0x80)
        {
            start += 1;
        }
        String::from_utf8_lossy(&self.bytes[start..]).into_owned()
    }

    /// The last line that is not empty.
    pub(super) fn last_line(&self) -> Option<String> {
        let text = self.text();
        let line = text
            .lines()
            .rev()
            .map(str::trim)
            .find(|line| !line.is_empty())?;
        Some(line.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_kept() {
        let mut tail = StderrTail::default();
        assert_eq!((tail.text().as_str(), tail.last_line()), ("", None));
        for number in 0..20_000 {
            tail.push(format!("é {number}\n").as_bytes());
        }
        tail.push(b" \n\n");
        assert_eq!(tail.last_line().unwrap(), "é 19999");
        let text = tail.text();
        assert!(text.len() <= KEPT && text.len() > KEPT - 4);
        assert!(!text.contains('\u{fffd}'));
    }
}
