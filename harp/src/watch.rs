//! One call from its acceptance to its end, as this command sees it.

use std::future::Future;
use std::pin::Pin;
use std::time::Instant;

use harp_client::{DirectCall, Error, Json, Outcome, Packets, RemoteCall};

use crate::event::Subject;
use crate::exit::Exit;
use crate::interrupt::{Order, Orders};
use crate::problem::Problem;
use crate::screen::Screen;

/// A call that is under way.
pub(crate) struct Watched {
    pub(crate) subject: Subject,
    pub(crate) source: Source,
    /// The dispatcher's address came from here; see [`Problem::of_dispatcher`].
    pub(crate) origin: String,
}

/// Source of a call's news.
pub(crate) enum Source {
    /// The packets of a job, and then its outcome.
    Job(RemoteCall, Box<Packets>),
    /// The outcome of a job alone.
    Outcome(RemoteCall, Waiting<Result<Outcome, Error>>),
    /// The packets of a direct call, and then its outcome. So many have come.
    Direct(Box<DirectCall>, u64),
    /// Nowhere: that it was accepted is all that was wanted.
    Nowhere,
}

type Waiting<T> = Pin<Box<dyn Future<Output = T>>>;

/// News of a call.
enum News {
    Packet(u64, Json),
    /// `None` if the job has not ended, and no more is to be waited for.
    End(Option<Outcome>),
}

impl Source {
    /// Waits for a job's outcome.
    pub(crate) fn outcome_of(job: RemoteCall) -> Source {
        let waiting = job.clone();
        Source::Outcome(job, Box::pin(async move { waiting.wait().await }))
    }

    /// Cancel safe.
    async fn next(&mut self) -> Result<News, Error> {
        match self {
            Source::Job(_, packets) => match packets.next().await {
                Some(packet) => packet.map(|packet| News::Packet(packet.number, packet.data)),
                None => Ok(News::End(packets.outcome().cloned())),
            },
            Source::Outcome(_, waiting) => Ok(News::End(Some(waiting.await?))),
            Source::Direct(call, number) => match call.next().await {
                Some(data) => {
                    let packet = News::Packet(*number, data?);
                    *number += 1;
                    Ok(packet)
                }
                None => Ok(News::End(call.outcome().cloned())),
            },
            Source::Nowhere => Ok(News::End(None)),
        }
    }
}

impl Watched {
    /// Shows what comes, until the end or an order to leave. What is left then shows how
    /// to pick it up again. A direct call is cancelled by leaving it.
    ///
    /// # Errors
    ///
    /// If standard output cannot be written. Everything else is shown, and told by the
    /// exit code.
    pub(crate) async fn watch(
        mut self,
        screen: &Screen,
        orders: &mut Orders,
    ) -> Result<Exit, Problem> {
        let started = Instant::now();
        let mut next_packet = None;
        let mut cancelling: Option<Waiting<Result<bool, Error>>> = None;
        let mut order = orders.newest();
        loop {
            match order {
                Order::GoOn => {}
                Order::Cancel => match self.job() {
                    Some(job) => {
                        let job = job.clone();
                        cancelling = Some(Box::pin(async move { job.cancel().await }));
                    }
                    None => return self.cancelled_directly(screen),
                },
                Order::Detach if matches!(self.source, Source::Direct(..)) => {
                    return self.cancelled_directly(screen);
                }
                Order::Detach => {
                    screen.not_finished(&self.subject, next_packet)?;
                    return Ok(Exit::NotFinished);
                }
            }
            order = Order::GoOn;
            let news = tokio::select! {
                biased;
                new = orders.next() => {
                    order = new;
                    continue;
                }
                cancelled = pending_or(&mut cancelling) => {
                    cancelling = None;
                    if let Err(error) = cancelled {
                        screen.warn(format_args!("cannot cancel: {error}"));
                    }
                    continue;
                }
                news = self.source.next() => news,
            };
            match news {
                Ok(News::Packet(number, data)) => {
                    screen.packet(&self.subject, number, &data)?;
                    next_packet = Some(number + 1);
                }
                Ok(News::End(Some(outcome))) => {
                    let apart = next_packet.is_some();
                    let took = Some(started.elapsed());
                    screen.ended(&self.subject, &outcome, apart, took)?;
                    return Ok((&outcome).into());
                }
                Ok(News::End(None)) if matches!(self.source, Source::Nowhere) => {
                    return Ok(Exit::Returned);
                }
                Ok(News::End(None)) => {
                    screen.not_finished(&self.subject, next_packet)?;
                    return Ok(Exit::NotFinished);
                }
                Err(error) => {
                    let problem = self.problem(&error);
                    screen.failed(&self.subject, &problem);
                    if problem.exit == Exit::Unreachable && self.job().is_some() {
                        screen.not_finished(&self.subject, next_packet)?;
                    }
                    return Ok(problem.exit);
                }
            }
        }
    }

    fn job(&self) -> Option<&RemoteCall> {
        match &self.source {
            Source::Job(job, _) | Source::Outcome(job, _) => Some(job),
            Source::Direct(..) | Source::Nowhere => None,
        }
    }

    fn problem(&self, error: &Error) -> Problem {
        match self.source {
            Source::Direct(..) => Problem::of_host(error),
            _ => Problem::of_dispatcher(error, &self.origin),
        }
    }

    /// The host ends the call when its connection closes.
    fn cancelled_directly(self, screen: &Screen) -> Result<Exit, Problem> {
        if matches!(self.source, Source::Nowhere) {
            return Ok(Exit::Returned);
        }
        screen.ended(&self.subject, &Outcome::Cancelled, true, None)?;
        Ok(Exit::Cancelled)
    }
}

async fn pending_or<T>(future: &mut Option<Waiting<T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
