//! What clients do: each verb is a task of its own, whose future may be dropped at any
//! point, since its client may leave.

use std::sync::Arc;

use harp_jobs::jobs::{Ended, Followed, Outages, Submission};
use harp_jobs::ledger::{Accepted, Ledger, Room, Which};
use harp_jobs::record::{CallRecord, QueueRecord};
use harp_jobs::transport::Proof;
use harp_jobs::world::{Phase, World};
use harp_values::{JobId, Json, Outcome, QueueName};
use tokio::sync::watch;

use super::History;
use crate::script::KEEPS;

impl History {
    /// Begins a verb. It is dropped where it stands when its client leaves.
    fn begin(&mut self, what: String, verb: impl Future<Output = ()> + Send + 'static) {
        let (leaves, mut left) = watch::channel(false);
        self.clients.push(leaves);
        let book = self.book.clone();
        let number = book.begin(what);
        let client = async move {
            tokio::select! {
                biased;
                Ok(_) = left.wait_for(|left| *left) => {}
                () = verb => {}
            }
            book.answered(number);
        };
        self.world.spawn("client", Phase::Verbs, Box::pin(client));
    }

    /// A client leaves.
    pub(super) fn leave(&mut self) {
        if !self.clients.is_empty() {
            let which = self.world.draw(self.clients.len());
            self.clients.swap_remove(which).send_replace(true);
        }
    }

    pub(super) fn submit(&mut self) {
        let world = &self.world;
        let queue = world.draw(4);
        let queue = (queue > 0).then(|| QueueRecord {
            name: format!("{{\"q\":{}}}", queue.min(2))
                .parse()
                .expect("a name"),
            concurrency: 1 + world.draw(2) as u64,
        });
        let key = world.once_in(4).then(|| world.draw(3));
        let host = if world.once_in(2) { KEEPS } else { "plain" };
        let timeout = [None, Some(5), Some(60)][world.draw(3)];
        let max_exec_time = [None, Some(2), Some(30)][world.draw(3)];
        let start_by = [None, Some(3), Some(100)][world.draw(3)];
        let call = CallRecord {
            timeout,
            max_exec_time,
            queue,
            key: key.map(|key| format!("{host} {key}")),
            ..CallRecord::new(host, "p", Json::NULL, 0)
        };
        let key = key.map(|key| key * 2 + usize::from(host == KEEPS));
        let new = Submission {
            call,
            unless_since: None,
            start_by,
        };
        let room = Room {
            live_jobs: 30,
            queue_length: 10,
        };
        let (jobs, book) = (Arc::clone(&self.jobs), self.book.clone());
        self.begin("submit".to_owned(), async move {
            match jobs.submit(new, room).await {
                Ok(Accepted::New(job)) => book.accepted(job, key, true),
                Ok(Accepted::Before(job)) => book.accepted(job, key, false),
                Err(_) => {}
            }
        });
    }

    /// One of the jobs that somebody knows of.
    fn some_job(&self) -> Option<JobId> {
        let jobs = self.book.jobs();
        let which = self.world.draw(jobs.len());
        // The newest first.
        jobs.into_iter().rev().nth(which)
    }

    pub(super) fn cancel(&mut self) {
        let Some(job) = self.some_job() else { return };
        let confirm = self.world.once_in(2);
        let (jobs, book) = (Arc::clone(&self.jobs), self.book.clone());
        let (hosts, world) = (self.hosts.clone(), self.world.clone());
        let (begun, put_off) = (world.lived(), world.put_off());
        self.begin(format!("cancel {job}, confirm: {confirm}"), async move {
            let Ok(cancelled) = jobs.cancel(job).await else {
                return;
            };
            let later = world.put_off() - put_off;
            book.cancel_took(job, world.lived() - begun, later);
            book.cancelled(job, cancelled.is_some(), false, &hosts);
            if let Some(cancelled) = cancelled
                && confirm
            {
                let is_confirmed = cancelled.host().await == Proof::Confirmed;
                book.cancelled(job, true, is_confirmed, &hosts);
            }
        });
    }

    pub(super) fn wait(&mut self) {
        let Some(job) = self.some_job() else { return };
        let (jobs, book) = (Arc::clone(&self.jobs), self.book.clone());
        if self.world.once_in(4) {
            self.begin(format!("look at {job}"), async move {
                match jobs.end(job).await {
                    Ok(Ended::Yes(end)) => book.ended(job, &end),
                    Ok(Ended::Nothing) => book.nothing(job),
                    Ok(Ended::NotYet) | Err(_) => {}
                }
                if let Ok(None) = jobs.job(job).await {
                    book.nothing(job);
                }
            });
            return;
        }
        self.begin(format!("wait for {job}"), async move {
            match jobs.wait(job).await {
                Ok(Some(end)) => book.ended(job, &end),
                Ok(None) => book.nothing(job),
                Err(_) => {}
            }
        });
    }

    pub(super) fn follow(&mut self) {
        let Some(job) = self.some_job() else { return };
        let from = self.world.draw(3) as u64;
        let (jobs, book) = (Arc::clone(&self.jobs), self.book.clone());
        self.begin(format!("follow {job} from {from}"), async move {
            let mut follower = jobs.follow(job, from, Outages::WaitOut);
            let mut next = from;
            loop {
                let followed = follower.next(1).await;
                let segments = match followed {
                    Ok(Followed::Recent(batches)) => batches
                        .iter()
                        .flat_map(|batch| batch.segments().to_vec())
                        .collect(),
                    Ok(Followed::Kept(segments)) => segments,
                    Ok(Followed::End(end)) => {
                        assert!(next >= end.packets, "{job} has packets that were not told");
                        return book.ended(job, &end);
                    }
                    Ok(Followed::Nothing) => return book.nothing(job),
                    Err(_) => return,
                };
                for segment in segments {
                    for (number, _, data) in segment.iter_from(next) {
                        assert_eq!(number, next, "a gap in {job}");
                        book.packet(job, number, data);
                        next += 1;
                    }
                }
                assert_eq!(next, follower.position());
            }
        });
    }

    pub(super) fn cancel_queue(&mut self) {
        let name = format!("{{\"q\":{}}}", 1 + self.world.draw(2));
        let queue: QueueName = name.parse().expect("a name");
        if self.world.once_in(2) {
            let jobs = Arc::clone(&self.jobs);
            self.begin(format!("cancel the queue {name}"), async move {
                let _ = jobs.cancel_queue(&queue).await;
            });
            return;
        }
        let which = Which::Queue(queue);
        let (ledger, book, hosts) = (self.memory.clone(), self.book.clone(), self.hosts.clone());
        self.begin(format!("withdraw the queue {name}"), async move {
            if let Ok(jobs) = ledger.withdraw(which, Outcome::Cancelled).await {
                for job in jobs {
                    book.cancelled(job, true, true, &hosts);
                }
            }
        });
    }
}
