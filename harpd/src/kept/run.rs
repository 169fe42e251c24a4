//! The task of one kept call, from its acceptance to its end. It belongs to no connection.

use std::sync::Arc;

use super::call::{KeptCall, KeptOutput};
use super::calls::KeptCalls;
use crate::call::{Call, Workplace};

/// Tells that the call has ended, also if its task panics.
struct Ending {
    calls: Arc<KeptCalls>,
    call: Arc<KeptCall>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.calls.ended(self.call.id);
    }
}

/// Runs the call to its end, which then waits to be fetched.
pub async fn run(call: Call, kept: Arc<KeptCall>, calls: Arc<KeptCalls>, workplace: Workplace) {
    let mut output = KeptOutput::of(Arc::clone(&kept));
    let ending = Ending { calls, call: kept };
    let facts = call.facts();
    let end = call.run(&mut output, &workplace).await;
    facts.tell_end(&end.said());
    // Before anybody can acknowledge it.
    drop(ending);
    output.conclude(end).await;
}
