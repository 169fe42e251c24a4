//! The loop that hands on what the ledger tells: turns to runs, ends to whoever waits.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};

use super::Jobs;
use crate::ledger::{Change, News, Start, What};
use crate::runner::Runner;
use crate::world::Phase;

/// What the loop goes by.
pub(super) struct Hearing {
    pub(super) news: mpsc::UnboundedReceiver<News>,
    /// Those that wait until there is no news left.
    pub(super) marked: mpsc::UnboundedReceiver<oneshot::Sender<()>>,
    /// What is told of changes first.
    pub(super) listener: Box<dyn Fn(&Change) + Send + Sync>,
    pub(super) runner: Runner,
}

impl Jobs {
    /// Goes on until the ledger is shut.
    pub(super) async fn hand_on(self: Arc<Self>, mut hearing: Hearing) {
        loop {
            let news = tokio::select! {
                biased;
                news = hearing.news.recv() => news,
                Some(mark) = hearing.marked.recv() => {
                    // Whoever asked may be gone.
                    let _ = mark.send(());
                    continue;
                }
            };
            let Some(news) = news else {
                return;
            };
            match news {
                News::Turn(turn) => {
                    // Before anything of the run is told: a client that looks now looks at its owner.
                    let is_over = matches!(turn.start, Start::Settle { .. });
                    let packets = (!is_over).then_some(turn.packets);
                    let owner = self.handles.own(turn.hold.job, packets);
                    let run = hearing.runner.clone().run(turn, owner);
                    self.world.spawn("run", Phase::Runs, Box::pin(run));
                }
                News::Wish(hold) => {
                    if let Some(view) = self.handles.known(hold.job) {
                        view.wish_cancel();
                    }
                }
                News::Change(change) => {
                    (hearing.listener)(&change);
                    self.tell(change);
                }
                News::Fenced => {
                    warn!("others hold the jobs of this process now");
                    self.terms.send_modify(|terms| *terms += 1);
                    // Of the runs that are to come.
                    hearing.runner.terms.mark_unchanged();
                }
            }
        }
    }

    fn tell(&self, change: Change) {
        match &change.what {
            What::Ended(end) => {
                if end.started.is_none() {
                    let outcome = end.outcome.name();
                    info!(job = %change.job, outcome, "job ended before its start");
                }
                self.handles.tell_end(change.job, Arc::clone(end));
            }
            What::BackToWait => self.handles.tell_back_to_wait(change.job),
            What::Submitted { .. } | What::Started | What::Released | What::Pruned => {}
        }
        // Nobody may be listening.
        let _ = self.changes.send(change);
    }
}
