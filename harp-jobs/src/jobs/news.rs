//! The loop that hands on what the ledger tells: turns to runs, ends to whoever waits.

use std::sync::Arc;

use tokio::sync::mpsc;
use tracing::{info, warn};

use super::Jobs;
use crate::ledger::{Change, News, Start, What};
use crate::runner::{Runner, Stop};
use crate::world::Phase;

impl Jobs {
    /// Goes on until the ledger is shut.
    pub(super) async fn hand_on(
        self: Arc<Self>,
        mut news: mpsc::UnboundedReceiver<News>,
        runner: Runner,
    ) {
        while let Some(news) = news.recv().await {
            match news {
                News::Turn(turn) => {
                    // Before anything of the run is told: who looks now looks at its owner.
                    let is_over = matches!(turn.start, Start::Settle { .. });
                    let packets = (!is_over).then_some(turn.packets);
                    let owner = self.handles.own(turn.hold.job, packets);
                    let run = runner.clone().run(turn, owner);
                    self.world.spawn("run", Phase::Runs, Box::pin(run));
                }
                News::Wish(hold) => {
                    if let Some(view) = self.handles.known(hold.job) {
                        view.wish_cancel();
                    }
                }
                News::Change(change) => self.tell(change),
                News::Fenced => {
                    warn!("somebody else holds the jobs of this process");
                    self.stop(Stop::Over);
                }
            }
        }
    }

    fn tell(&self, change: Change) {
        match &change.what {
            What::Submitted => info!(job = %change.job, "job accepted"),
            What::Ended(end) => self.handles.tell_end(change.job, Arc::clone(end)),
            What::BackToWait => self.handles.tell_back_to_wait(change.job),
            What::Started | What::Released | What::Pruned => {}
        }
        // Nobody may be listening.
        let _ = self.changes.send(change);
    }
}
