//! The one timer: jobs that have to have started, or may start again.

use harp_jobs::failures;
use harp_jobs::world::World;
use harp_values::Outcome;

use super::Memory;
use super::write::Write;

impl Memory {
    /// Ends those that did not start in time, and lets those go on that waited for theirs.
    pub(super) async fn serve_the_due(self) {
        loop {
            let first = {
                let state = self.state();
                if state.is_closed {
                    return;
                }
                state.lineup.first_due()
            };
            let world = &self.0.world;
            tokio::select! {
                biased;
                () = self.0.timer.notified() => continue,
                () = world.sleep(first.unwrap_or(harp_jobs::world::Moment::NEVER)) => {}
            }
            let mut state = self.state();
            let (overdue, turns) = state.lineup.take_due(world.now());
            for job in overdue {
                let seconds = self
                    .0
                    .disk
                    .rows()
                    .jobs
                    .get(&job)
                    .and_then(|row| row.start_by);
                let outcome = Outcome::Error(failures::not_started(seconds.unwrap_or_default()));
                let at = world.wall();
                if !state.is_closed {
                    state.pending.push(Write::End {
                        jobs: vec![job],
                        outcome,
                        at,
                        answer: None,
                    });
                }
            }
            self.0.work.notify_one();
            self.give_turns(&mut state, turns);
        }
    }
}
