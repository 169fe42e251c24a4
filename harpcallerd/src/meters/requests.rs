//! What has been asked for, and how long the answers took.

use std::collections::BTreeMap;
use std::time::Duration;

use harp_time::Histogram;

/// What a request came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// The client protocol.
    HarpCaller,
    /// HTTP.
    Http,
}

/// What came of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Of the client protocol: `ok`, or the type of an error.
    Word(&'static str),
    /// Of HTTP.
    Number(u16),
}

/// A protocol, and an operation of it.
pub type Asked = (Protocol, &'static str);

/// Requests that have been answered. There are few operations and few ways in which they end.
#[derive(Debug, Default, Clone)]
pub struct Requests {
    /// How many.
    pub counts: BTreeMap<(Asked, Status), u64>,
    /// How long they took.
    pub durations: BTreeMap<Asked, Histogram>,
}

impl Protocol {
    /// Both.
    pub const ALL: [Protocol; 2] = [Protocol::HarpCaller, Protocol::Http];

    /// The word of the metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Protocol::HarpCaller => "harpcaller",
            Protocol::Http => "http",
        }
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Status::Word(word) => f.write_str(word),
            Status::Number(number) => write!(f, "{number}"),
        }
    }
}

impl Requests {
    pub(super) fn note(&mut self, asked: Asked, status: Status, took: Duration) {
        *self.counts.entry((asked, status)).or_default() += 1;
        let durations = self.durations.entry(asked);
        let durations = durations.or_insert_with(|| Histogram::new(Histogram::SHORT));
        durations.note(took);
    }
}
