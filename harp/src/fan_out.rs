//! A call on one host, or on several at once.

use std::cell::RefCell;
use std::collections::BTreeSet;

use futures_util::StreamExt;

use crate::command_line::OnInterrupt;
use crate::event::Subject;
use crate::exit::Exit;
use crate::interrupt::{Order, Orders, supervise};
use crate::problem::Problem;
use crate::screen::Screen;
use crate::watch::Watched;

/// How many hosts are called at the same time unless told otherwise.
pub(crate) const PARALLEL: u16 = 32;

/// Calls these hosts, at most `parallel` of them at a time, and shows what becomes of
/// it. `start` makes the call of one host. Of several hosts the exit code is the
/// greatest.
///
/// # Errors
///
/// If standard output cannot be written, or the operator gave up.
pub(crate) async fn call(
    screen: &Screen,
    hosts: &[String],
    parallel: u16,
    policy: OnInterrupt,
    start: impl AsyncFn(&str) -> Result<Watched, Problem>,
) -> Result<Exit, Problem> {
    let under_way = RefCell::new(UnderWay::default());
    let one = async |host: &String, orders: &Orders| {
        if orders.current() != Order::GoOn {
            screen.not_called(&Subject::host(host))?;
            return Ok(Exit::NotFinished);
        }
        under_way.borrow_mut().begin(host, screen);
        let ended = match start(host).await {
            Ok(watched) => {
                under_way.borrow_mut().job = watched.subject.job.map(|job| job.to_string());
                watched.watch(screen, &mut orders.clone()).await
            }
            Err(problem) if problem.exit == Exit::Output => Err(problem),
            Err(problem) => {
                screen.failed(&Subject::host(host), &problem);
                Ok(problem.exit)
            }
        };
        under_way.borrow_mut().end(host, screen);
        ended
    };
    supervise(
        screen,
        policy,
        || under_way.borrow().question(hosts.len()),
        async |orders| {
            if let ([host], false) = (hosts, screen.has_summary()) {
                return one(host, &orders).await;
            }
            let mut ends = Vec::with_capacity(hosts.len());
            let mut calls = futures_util::stream::iter(hosts)
                .map(async |host| one(host, &orders).await.map(|exit| (host.clone(), exit)))
                .buffer_unordered(usize::from(parallel));
            while let Some(end) = calls.next().await {
                ends.push(end?);
            }
            drop(calls);
            ends.sort();
            screen.summary(&ends)?;
            let exits = ends.into_iter().map(|(_, exit)| exit);
            Ok(exits.max().unwrap_or(Exit::Returned))
        },
    )
    .await
}

/// The calls that have not ended.
#[derive(Debug, Default)]
struct UnderWay {
    hosts: BTreeSet<String>,
    ended: usize,
    /// The newest.
    job: Option<String>,
}

impl UnderWay {
    fn begin(&mut self, host: &str, screen: &Screen) {
        self.hosts.insert(host.to_owned());
        self.show(screen);
    }

    fn end(&mut self, host: &str, screen: &Screen) {
        self.hosts.remove(host);
        self.ended += 1;
        self.show(screen);
    }

    fn show(&self, screen: &Screen) {
        let hosts: Vec<&str> = self.hosts.iter().map(String::as_str).collect();
        screen.progress(self.ended, &hosts);
    }

    fn question(&self, hosts: usize) -> String {
        match (hosts, &self.job) {
            (1, Some(job)) => format!("Job {job} has not ended."),
            (1, None) => "The call is being submitted.".to_owned(),
            _ => format!("{} of {hosts} hosts have not ended.", hosts - self.ended),
        }
    }
}
