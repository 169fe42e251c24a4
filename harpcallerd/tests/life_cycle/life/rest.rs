//! What has to be so when a dispatcher has come to rest, and at the very end.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use harp_jobs::ledger::Ledger;
use harp_jobs::lineup::queue::Members;
use harp_proto::JobId;

use super::{Life, PATIENCE, name, turn};
use crate::host::Order;
use crate::{QUEUES, Step};

impl Life {
    /// Waits until nothing moves any more.
    pub(super) async fn settle(&mut self) {
        let give_up = Instant::now() + PATIENCE;
        loop {
            turn(5).await;
            self.requests.retain(|request| !request.is_finished());
            let moving = match self.requests.len() {
                0 => self.moving(),
                count => Some(format!("{count} requests are not answered")),
            };
            let Some(moving) = moving else {
                self.being_cancelled.clear();
                return self.check().await;
            };
            if Instant::now() > give_up {
                let book = &self.book;
                panic!("stuck: {moving}\n{:#?}\n{book:#?}", self.host);
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    fn members(&self, queue: usize) -> Members {
        let members = self.dispatcher.ledger().queue_jobs(&name(queue));
        // The lineup is asked, which is in memory.
        members.now_or_never().unwrap().unwrap()
    }

    /// What has to change by itself, if there is anything.
    fn moving(&mut self) -> Option<String> {
        // The deadline counts from the admission, which came no later than now.
        for (tag, entry) in (0..).zip(self.book.all()) {
            if entry.due.is_none()
                && let Some(start_by) = entry.start_by
            {
                let due = Some(self.seconds + start_by);
                self.book.change(tag, |entry| entry.due = due);
            }
        }
        let live = self.live();
        for (queue, concurrency) in QUEUES.iter().enumerate() {
            let members = self.members(queue);
            let taken = members.running.len() as u64;
            if taken < *concurrency && !members.waiting.is_empty() {
                return Some(format!("{members:?} wait in queue {queue} for nothing"));
            }
            for id in members.running {
                // A place without a live job is one that is kept.
                if !live.contains(&id)
                    && !self.held.contains(&id)
                    && !self
                        .book
                        .tag_of(id)
                        .is_some_and(|tag| self.host.get(tag).is_busy)
                {
                    return Some(format!("{id} has its place in queue {queue} for nothing"));
                }
            }
            for id in members.waiting {
                let tag = self.book.tag_of(id);
                let entry = tag.and_then(|tag| self.book.all().get(tag as usize).cloned());
                if entry.is_some_and(|entry| {
                    entry.cancel_told || entry.due.is_some_and(|due| due < self.seconds)
                }) {
                    return Some(format!("{id} waits in queue {queue} beyond its time"));
                }
            }
        }
        for id in live {
            let waits = QUEUES.iter().enumerate().any(|(queue, _)| {
                let members = self.members(queue);
                members.waiting.contains(&id)
            });
            let runs = self.book.tag_of(id).is_some_and(|tag| {
                let call = self.host.get(tag);
                call.is_busy && !call.lingers
            });
            if !waits && !runs {
                return Some(format!("{id} neither waits nor runs"));
            }
        }
        None
    }

    /// What has to be so whenever nothing moves.
    async fn check(&mut self) {
        let records = self.store.live().await.unwrap();
        let records: BTreeMap<JobId, u64> = records
            .into_iter()
            .map(|(id, record)| (id, record.sequence))
            .collect();
        for queue in 0..QUEUES.len() {
            let members = self.members(queue);
            let sequences = |ids: &[JobId]| -> Vec<u64> {
                ids.iter()
                    .filter_map(|id| records.get(id).copied())
                    .collect()
            };
            let running = sequences(&members.running);
            let waiting = sequences(&members.waiting);
            if !waiting.is_sorted() {
                self.host
                    .broken(format!("queue {queue} is not in its order: {waiting:?}"));
            }
            let begun = self.begun.entry(queue).or_default();
            *begun = running.into_iter().fold(*begun, u64::max);
            if waiting.first().is_some_and(|first| first < begun) {
                let what = format!("in queue {queue}, {begun} was run before {waiting:?}");
                self.host.broken(what);
            }
        }
        assert!(
            self.host.all_broken().is_empty(),
            "{:#?}",
            self.host.all_broken()
        );
    }

    /// The jobs that have not ended, which the embedded ledger knows at once.
    fn live(&self) -> HashSet<JobId> {
        let live = self.dispatcher.ledger().live_jobs().now_or_never();
        live.unwrap().unwrap().into_iter().collect()
    }

    /// Lets everything come to its end, and looks at all of it.
    pub(super) async fn end_all(&mut self) {
        while !self.live().is_empty() {
            for tag in self.host.busy() {
                self.book.change(tag, |entry| entry.finish_ordered = true);
                self.host.order(tag, Order::Finish);
            }
            for tag in self.host.lingering() {
                self.host.order(tag, Order::Release);
            }
            self.settle().await;
            // Those that hold places of before make way.
            self.step(Step::SlotGrace).await;
            self.settle().await;
        }
        self.step(Step::SlotGrace).await;
        self.settle().await;
        for confirm in self.confirms.drain(..) {
            confirm.await.unwrap();
        }
        let names = self.dispatcher.ledger().queues().await.unwrap();
        assert!(names.is_empty(), "queues are left: {names:?}");
        let store = &self.store;
        assert!(store.live().await.unwrap().is_empty());
        assert!(store.kept_places().await.unwrap().is_empty());
        let mut ended = BTreeMap::new();
        for job in store.ended_page(None, 10_000).await.unwrap() {
            let tag: u64 = job.call.info.decode().unwrap();
            assert_eq!(ended.insert(tag, job.id), None, "call {tag} has two jobs");
        }
        for (tag, entry) in (0..).zip(self.book.all()) {
            let runs = self.host.get(tag).runs;
            let Some(id) = ended.get(&tag).copied() else {
                assert!(
                    entry.is_unanswered && entry.id.is_none() && runs == 0,
                    "{entry:?}"
                );
                continue;
            };
            assert!(
                entry.id.is_none_or(|told| told == id),
                "{entry:?} has job {id}"
            );
            let end = store.outcome(id).await.unwrap().expect("an ended job");
            if let Err(what) = entry.check_end(&end, runs) {
                panic!("call {tag}: {what}\n{entry:#?}");
            }
        }
    }
}
