//! One timer for all jobs that wait for a time.

use harp_jobs::world::Moment;

use super::Local;

impl Local {
    /// Ends those that did not start in time, and lets those go on that waited for theirs.
    /// Completes when the ledger is closed.
    pub(super) async fn serve_the_due(self) {
        loop {
            let first = {
                let state = self.state();
                if state.is_closed {
                    return;
                }
                let held = state.held.first_due();
                state.lineup.first_due().into_iter().chain(held).min()
            };
            let world = &self.0.world;
            tokio::select! {
                biased;
                () = self.0.timer.notified() => continue,
                () = world.sleep(first.unwrap_or(Moment::NEVER)) => {}
            }
            let now = world.now();
            let mut state = self.state();
            let (mut overdue, turns) = state.lineup.take_due(now);
            let held = state.held.take_due(now).into_iter();
            overdue.extend(held.map(|(job, _)| job));
            self.end_late(&mut state, &overdue);
            self.give(&state, turns);
        }
    }
}
