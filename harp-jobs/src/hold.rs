//! What whoever has a job's turn writes it with.

use bytes::Bytes;
use harp_values::JobId;

/// The right to write a job that has its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hold {
    /// The job.
    pub job: JobId,
    /// The number of the attempt, from 1 on.
    pub attempt: u32,
    /// The number of the daemon's start; with several nodes, of the job's owners.
    pub owner: u32,
}

/// A transport's own note with a start. Nobody else can read it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Token(pub Bytes);
