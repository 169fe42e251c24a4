//! A call on one host, or on several at once.

use std::cell::RefCell;
use std::collections::BTreeSet;

use futures_util::StreamExt;
use harp_client::JobId;

use crate::command_line::OnInterrupt;
use crate::descriptors;
use crate::event::Subject;
use crate::exit::Exit;
use crate::interrupt::{Order, Orders, supervise};
use crate::problem::Problem;
use crate::screen::Screen;
use crate::watch::{Source, Watched};

/// How many hosts are called at the same time unless told otherwise.
pub(crate) const PARALLEL: u16 = 32;

/// Calls these hosts, at most `parallel` of them at a time and as many as this process has
/// descriptors for, and shows what becomes of
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
    let parallel = enough(screen, hosts.len(), parallel);
    let under_way = RefCell::new(UnderWay::default());
    let one = async |host: &String, orders: &Orders| {
        if orders.current() != Order::GoOn {
            screen.not_called(&Subject::host(host))?;
            return Ok(Exit::NotFinished);
        }
        under_way.borrow_mut().begin(host, screen);
        let ended = match start(host).await {
            Ok(watched) => {
                if let Some(job) = watched.subject.job {
                    under_way.borrow_mut().jobs.push((host.clone(), job));
                }
                let is_left = matches!(watched.source, Source::Nowhere);
                let ended = watched.watch(screen, &mut orders.clone()).await;
                if ended.is_ok() && !is_left {
                    under_way.borrow_mut().forget_job(host);
                }
                ended
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
    let done = supervise(
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
                .buffer_unordered(parallel);
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
    .await;
    if let Err(problem) = &done {
        let under_way = under_way.borrow();
        screen.cut_off(problem, under_way.called, hosts.len(), &under_way.jobs);
    }
    done
}

/// How many calls are made at the same time: no more than there are descriptors for, which is
/// said if fewer hosts are called at once by it.
fn enough(screen: &Screen, hosts: usize, parallel: u16) -> usize {
    let parallel = usize::from(parallel);
    match descriptors::enough_for_calls() {
        Some((calls, limit)) if calls < parallel.min(hosts) as u64 => {
            screen.warn(format_args!(
                "{calls} hosts are called at the same time, not {parallel}: this process may \
                 have {limit} files open (ulimit -Hn)"
            ));
            // Less than a number of this type.
            usize::try_from(calls).unwrap_or(parallel)
        }
        _ => parallel,
    }
}

/// The calls that have not ended.
#[derive(Debug, Default)]
struct UnderWay {
    hosts: BTreeSet<String>,
    called: usize,
    ended: usize,
    /// Those that have been accepted, and whose end was not shown.
    jobs: Vec<(String, JobId)>,
}

impl UnderWay {
    fn begin(&mut self, host: &str, screen: &Screen) {
        self.hosts.insert(host.to_owned());
        self.called += 1;
        self.show(screen);
    }

    fn end(&mut self, host: &str, screen: &Screen) {
        self.hosts.remove(host);
        self.ended += 1;
        self.show(screen);
    }

    /// Its job needs nobody to look after it.
    fn forget_job(&mut self, host: &str) {
        self.jobs.retain(|(of, _)| of != host);
    }

    fn show(&self, screen: &Screen) {
        let hosts: Vec<&str> = self.hosts.iter().map(String::as_str).collect();
        screen.progress(self.ended, &hosts);
    }

    fn question(&self, hosts: usize) -> String {
        match (hosts, self.jobs.last()) {
            (1, Some((_, job))) => format!("Job {job} has not ended."),
            (1, None) => "The call is being submitted.".to_owned(),
            _ => format!("{} of {hosts} hosts have not ended.", hosts - self.ended),
        }
    }
}
