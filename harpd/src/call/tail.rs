//! The last of what a command said on one of its streams.

use harp_proto::Evidence;

/// How much is kept, in bytes (harpd, "What its output becomes").
const KEPT: usize = Evidence::MOST;

/// The end of one stream.
#[derive(Debug, Default)]
pub(super) struct Tail {
    bytes: Vec<u8>,
}

impl Tail {
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

    /// The last line that is not empty. A `\r` ends a line too: of a progress bar it is the
    /// newest state.
    pub(super) fn last_line(&self) -> Option<String> {
        let text = self.text();
        let line = text
            .split(['\n', '\r'])
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
        let mut tail = Tail::default();
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

    #[test]
    fn of_a_progress_bar_the_newest_state_is_the_last_line() {
        for said in ["  1%\r 50%\r100%\n", "\r 1%\r 50%\r100%", "50%\r100%\r\n\n"] {
            let mut tail = Tail::default();
            tail.push(said.as_bytes());
            assert_eq!(tail.last_line().unwrap(), "100%");
        }
    }
}
