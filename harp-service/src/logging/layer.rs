//! From tracing's events and spans to entries.
//!
//! A layer of our own, since those of the crates panic when they are exchanged while
//! there are spans that they have not seen begin. This one stays; what a reload changes is
//! behind it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::SystemTime;

use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::entry::{Entry, Fields, Span};
use super::writer::Writer;

/// Collects fields, hands entries to the writer.
#[derive(Debug)]
pub(super) struct Collector {
    pub(super) writer: Writer,
    pub(super) least: Arc<Least>,
}

/// The least important level that is logged; may change at any time.
#[derive(Debug)]
pub(super) struct Least(AtomicU8);

/// The levels in the order of their numbers in [`Least`].
const LEVELS: [LevelFilter; 6] = [
    LevelFilter::OFF,
    LevelFilter::ERROR,
    LevelFilter::WARN,
    LevelFilter::INFO,
    LevelFilter::DEBUG,
    LevelFilter::TRACE,
];

impl Least {
    pub(super) fn new(level: LevelFilter) -> Least {
        Least(AtomicU8::new(number(level)))
    }

    /// Changes it, everywhere and at once.
    pub(super) fn set(&self, level: LevelFilter) {
        if self.0.swap(number(level), Ordering::Relaxed) != number(level) {
            tracing::callsite::rebuild_interest_cache();
        }
    }

    fn get(&self) -> LevelFilter {
        LEVELS[usize::from(self.0.load(Ordering::Relaxed)) % LEVELS.len()]
    }

    /// Spans up to info are there at any level: a warning says, too, which job it is about.
    fn of_spans(&self) -> LevelFilter {
        self.get().max(LevelFilter::INFO)
    }
}

fn number(level: LevelFilter) -> u8 {
    let position = LEVELS.iter().position(|other| *other == level);
    // Fewer than 256.
    position.unwrap_or_default() as u8
}

impl<S> Layer<S> for Collector
where
    S: Subscriber + for<'s> LookupSpan<'s>,
{
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        if metadata.is_span() {
            *metadata.level() <= self.least.of_spans()
        } else {
            *metadata.level() <= self.least.get()
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.least.of_spans())
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            let name = span.name();
            span.extensions_mut()
                .replace(Arc::new(Span { name, fields }));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(kept) = span.extensions_mut().get_mut::<Arc<Span>>()
        {
            values.record(&mut Arc::make_mut(kept).fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let scope = context.event_scope(event);
        let spans = scope.into_iter().flat_map(|scope| scope.from_root());
        let kept = spans.filter_map(|span| span.extensions().get::<Arc<Span>>().cloned());
        self.writer.write(Entry {
            time: SystemTime::now(),
            level: *event.metadata().level(),
            target: event.metadata().target(),
            event: fields,
            spans: kept.collect(),
        });
    }
}
