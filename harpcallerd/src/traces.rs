//! Traces: which calls are part of one, and spans for a collector (OpenTelemetry). Nothing
//! waits for the collector; what it does not take is lost and counted.

#[cfg(feature = "traces")]
mod export;
#[cfg(feature = "traces")]
mod otlp;
mod settings;
pub mod span;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use harp_jobs::record::{CallRecord, EndRecord};
use harp_proto::JobId;
use harp_time::clock;
use harp_values::traceparent::{SpanId, Traceparent};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::{mpsc, oneshot};

pub use self::settings::{Endpoint, TraceSettings};

use self::span::{Kind, Span, Value};
use crate::hosts::Host;

/// Spans that wait for the collector at most.
const WAITING: usize = 2048;

/// Takes spans. Cheap to clone; without a collector it does nothing.
#[derive(Debug, Clone, Default)]
pub struct Traces(Option<Arc<Sender>>);

#[derive(Debug)]
struct Sender {
    orders: mpsc::Sender<Order>,
    sample: f64,
    lost: Arc<AtomicU64>,
}

/// What the task that sends is told.
#[derive(Debug)]
enum Order {
    Send(Box<Span>),
    /// Say when everything before this has gone, or is lost.
    Finish(oneshot::Sender<()>),
}

/// A request that is being answered.
#[derive(Debug, Clone)]
pub struct Request {
    place: Traceparent,
    parent: Option<SpanId>,
    begun: u64,
}

impl Traces {
    /// Sends spans to a collector, in a task among `tasks`.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    #[cfg(feature = "traces")]
    #[must_use]
    pub fn start(settings: &TraceSettings, tasks: &harp_service::tasks::Tasks) -> Traces {
        let (orders, inbox) = mpsc::channel(WAITING);
        let lost = Arc::new(AtomicU64::new(0));
        let sending = export::send(settings.clone(), inbox, Arc::clone(&lost));
        tasks.spawn("traces", sending);
        Traces(Some(Arc::new(Sender {
            orders,
            sample: settings.sample,
            lost,
        })))
    }

    /// Without it there is no collector.
    #[cfg(not(feature = "traces"))]
    #[must_use]
    pub fn start(_: &TraceSettings, _: &harp_service::tasks::Tasks) -> Traces {
        Traces::default()
    }

    /// True if there is a collector.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// How many spans were lost since the start.
    #[must_use]
    pub fn lost(&self) -> u64 {
        let sender = self.0.as_ref();
        sender.map_or(0, |sender| sender.lost.load(Ordering::Relaxed))
    }

    /// A request begins, which came with this `traceparent`, if with any; `None` if nothing is
    /// told of it.
    #[must_use]
    pub fn request(&self, parent: Option<&str>) -> Option<Request> {
        let sender = self.0.as_ref()?;
        let parent = parent.and_then(|parent| parent.parse::<Traceparent>().ok());
        let is_sampled = match parent {
            Some(parent) => parent.is_sampled,
            None => sender.begins(),
        };
        is_sampled.then(|| Request {
            place: Traceparent {
                trace: parent.map_or_else(chance, |parent| parent.trace),
                span: chance(),
                is_sampled,
            },
            parent: parent.map(|parent| parent.span),
            begun: clock::now(),
        })
    }

    /// A request was answered. `has_failed` says that this was our fault.
    pub fn answered(
        &self,
        request: Request,
        name: String,
        attributes: Vec<(&'static str, Value)>,
        has_failed: bool,
    ) {
        const NANOSECONDS: u64 = 1_000_000;
        self.send(Span {
            trace: request.place.trace,
            id: request.place.span,
            parent: request.parent,
            name,
            kind: Kind::Server,
            start: request.begun.saturating_mul(NANOSECONDS),
            end: clock::now().saturating_mul(NANOSECONDS),
            attributes,
            has_failed,
        });
    }

    /// A job has ended. `host` is its host, as the registry has it now.
    pub fn ended(&self, job: JobId, call: &CallRecord, end: &EndRecord, host: Option<&Host>) {
        if self.is_on() {
            for span in span::of_job(job, call, end, host) {
                self.send(span);
            }
        }
    }

    /// Jobs have ended of which nothing can be told any more.
    pub fn missed(&self, jobs: u64) {
        if let Some(sender) = &self.0 {
            sender.lost.fetch_add(jobs, Ordering::Relaxed);
        }
    }

    /// Waits until everything so far has gone to the collector, or is lost. Cancel safe.
    pub async fn finish(&self) {
        if let Some(sender) = &self.0 {
            let (done, told) = oneshot::channel();
            if sender.orders.send(Order::Finish(done)).await.is_ok() {
                let _ = told.await;
            }
        }
    }

    fn send(&self, span: Span) {
        if let Some(sender) = &self.0
            && sender.orders.try_send(Order::Send(Box::new(span))).is_err()
        {
            sender.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Request {
    /// What is asked for by this request is part of this trace.
    #[must_use]
    pub fn traceparent(&self) -> String {
        self.place.to_string()
    }
}

impl Sender {
    /// Whether one that brings no trace begins one.
    fn begins(&self) -> bool {
        let part = u32::from_be_bytes(chance());
        f64::from(part) < self.sample * (f64::from(u32::MAX) + 1.0)
    }
}

/// Bytes of chance, not all of them 0.
fn chance<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // A system without chance has had no TLS either. 1 is a number as good as others then.
    if SystemRandom::new().fill(&mut bytes).is_err() || bytes == [0; N] {
        bytes[N - 1] = 1;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traces(sample: f64) -> (Traces, mpsc::Receiver<Order>) {
        let (orders, inbox) = mpsc::channel(2);
        let lost = Arc::default();
        let sender = Sender {
            orders,
            sample,
            lost,
        };
        (Traces(Some(Arc::new(sender))), inbox)
    }

    #[test]
    fn a_request_goes_on_with_the_trace_that_it_brings() {
        let (traces, _inbox) = traces(0.0);
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let request = traces.request(Some(parent)).unwrap();
        assert_eq!(request.traceparent()[..36], parent[..36]);
        assert_ne!(request.traceparent(), parent);
        assert!(
            traces
                .request(Some(&parent.replace("-01", "-00")))
                .is_none()
        );
        assert!(traces.request(None).is_none());
        assert!(traces.request(Some("x")).is_none(), "as good as none");
        assert!(Traces::default().request(Some(parent)).is_none());
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let (traces, _inbox) = traces(1.0);
        for _ in 0..5 {
            let request = traces.request(None).unwrap();
            traces.answered(request, "x".to_owned(), Vec::new(), false);
        }
        assert_eq!(traces.lost(), 3);
    }
}
