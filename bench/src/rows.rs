//! What is measured: the yardsticks, in groups that share a set-up.

mod calls;
mod ended;
mod http;
mod kept;
mod latency;
mod lists;
mod memory;
mod results;
mod sample;
mod streams;
mod submits;
mod volume;

use std::pin::Pin;
use std::time::Duration;

use crate::report::Figure;

/// How much is done for each figure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// How long a rate is measured.
    pub(crate) time: Duration,
    /// Packets of a stream that one follower reads.
    pub(crate) packets: u64,
    /// Packets of a stream that many followers read.
    pub(crate) shared_packets: u64,
    /// How many followers that is.
    pub(crate) followers: usize,
    /// Packets whose latency is measured.
    pub(crate) paced_packets: u64,
    /// Ended jobs in a large store.
    pub(crate) ended_jobs: u64,
    /// Queued jobs, for their memory and for a start.
    pub(crate) queued_jobs: u64,
    /// Idle followers, for their memory.
    pub(crate) idle_followers: usize,
    /// Ended jobs to be listed.
    pub(crate) listed_jobs: u64,
}

impl Plan {
    /// What the figures in PERFORMANCE.md are made with.
    pub(crate) const FULL: Plan = Plan {
        time: Duration::from_secs(5),
        packets: 1_000_000,
        shared_packets: 1_000_000,
        followers: 100,
        paced_packets: 1000,
        ended_jobs: 1_000_000,
        queued_jobs: 10_000,
        idle_followers: 2000,
        listed_jobs: 100_000,
    };

    /// Enough to see that everything runs.
    pub(crate) const QUICK: Plan = Plan {
        time: Duration::from_millis(500),
        packets: 20_000,
        shared_packets: 5000,
        followers: 20,
        paced_packets: 50,
        ended_jobs: 20_000,
        queued_jobs: 500,
        idle_followers: 100,
        listed_jobs: 2000,
    };
}

/// Figures that are measured together.
pub(crate) struct Group {
    /// For the command line.
    pub(crate) name: &'static str,
    /// Whether one measurement has to do, because it takes minutes.
    pub(crate) once: bool,
    run: fn(Plan) -> Measuring,
}

type Measuring = Pin<Box<dyn Future<Output = anyhow::Result<Vec<Figure>>>>>;

impl Group {
    /// Measures them once.
    pub(crate) async fn measure(&self, plan: Plan) -> anyhow::Result<Vec<Figure>> {
        (self.run)(plan).await
    }
}

/// All of them.
pub(crate) const GROUPS: &[Group] = &[
    Group {
        name: "submits",
        once: false,
        run: |plan| Box::pin(submits::measure(plan)),
    },
    Group {
        name: "calls",
        once: false,
        run: |plan| Box::pin(calls::measure(plan)),
    },
    Group {
        name: "kept",
        once: false,
        run: |plan| Box::pin(kept::measure(plan)),
    },
    Group {
        name: "results",
        once: false,
        run: |plan| Box::pin(results::measure(plan)),
    },
    Group {
        name: "streams",
        once: false,
        run: |plan| Box::pin(streams::measure(plan)),
    },
    Group {
        name: "latency",
        once: false,
        run: |plan| Box::pin(latency::measure(plan)),
    },
    Group {
        name: "memory",
        once: false,
        run: |plan| Box::pin(memory::measure(plan)),
    },
    Group {
        name: "lists",
        once: false,
        run: |plan| Box::pin(lists::measure(plan)),
    },
    Group {
        name: "http",
        once: false,
        run: |plan| Box::pin(http::measure(plan)),
    },
    Group {
        name: "http-lists",
        once: true,
        run: |plan| Box::pin(http::measure_lists(plan)),
    },
    Group {
        name: "volume",
        once: true,
        run: |plan| Box::pin(volume::measure(plan)),
    },
];
