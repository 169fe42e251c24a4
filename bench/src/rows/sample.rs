//! The job that all rows use, as the store keeps it.

use harp_jobs::record::{CallRecord, LiveRecord, QueueRecord};
use harp_proto::JobId;
use harp_time::clock;

/// What [`CALL`](super::submits::CALL) comes to in the store, in its queue if `waits`,
/// else started.
pub(crate) fn job(sequence: u64, waits: bool) -> anyhow::Result<(JobId, CallRecord, LiveRecord)> {
    let submitted = clock::now();
    let queue = if waits {
        Some(QueueRecord {
            name: "{\"bench\":1}".parse()?,
            concurrency: 1,
        })
    } else {
        None
    };
    let call = CallRecord {
        queue: queue.clone(),
        ..CallRecord::new("bench", "hold", "[]".parse()?, submitted)
    };
    let live = LiveRecord {
        sequence,
        queue,
        started: (!waits).then_some(submitted),
        submitted,
        ..LiveRecord::UNKNOWN
    };
    Ok((JobId::submitted_at(submitted), call, live))
}
