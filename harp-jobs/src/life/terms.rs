//! What a job's life goes by.

use std::time::Duration;

use super::Retry;
use crate::failures::SetBy;
use crate::hold::Token;

/// What a life goes by. It is what held when the job had its turn; a reload changes it for
/// those after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// For everything up to the commit, and the age at which a link is opened anew.
    pub connect: Duration,
    /// Longest silence of the host.
    pub silence: Duration,
    /// Whose limit that is.
    pub silence_set_by: SetBy,
    /// Longest execution.
    pub longest: Duration,
    /// Whose limit that is.
    pub longest_set_by: SetBy,
    /// How long a call that was given up is listened to before its job ends.
    pub last_words: Duration,
    /// How long the job has run already when it is attached to.
    pub already: Duration,
    /// When another attempt follows; `None` if this is the last one.
    pub retry: Option<Retry>,
    /// What says on record that nobody has run the call, if a later start can begin it then.
    pub unrun: Option<Token>,
}
