//! The thread that writes the log. A thread that logs hands an entry over and goes on: a full
//! disk, a terminal that is not read or a log daemon that hangs holds up no call.
//!
//! What comes in quick succession is written together: to wake a thread for each line
//! would cost those who log more than the line.

use std::io;
use std::iter;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use super::entry::Entry;
use super::sink::{self, Sink};
use super::{LogFormat, LogSettings};

/// Entries that may wait to be written; further ones are counted and lost.
const LONGEST_QUEUE: usize = 10_000;

/// Entries that are written together at most.
const MOST_AT_ONCE: usize = 1_000;

/// How long the thread sleeps after writing, so that more can come together.
const GATHERING: Duration = Duration::from_millis(2);

/// Outputs that entries go to, opened.
#[derive(Debug)]
pub(super) struct Outlets {
    sinks: Vec<Sink>,
    format: LogFormat,
}

impl Outlets {
    /// Opens what the settings name. Log daemons are looked for when there is something to
    /// write.
    ///
    /// # Errors
    ///
    /// If the file cannot be opened; the message has its name.
    pub(super) fn open(settings: &LogSettings) -> io::Result<Outlets> {
        let file = settings.file.as_deref().map(Sink::file).transpose()?;
        let sinks = settings.handlers.iter().map(Sink::of).chain(file);
        Ok(Outlets {
            sinks: sinks.collect(),
            format: settings.format,
        })
    }
}

/// The way to the thread.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    orders: Sender<Order>,
    queue: Arc<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: AtomicUsize,
    lost: AtomicU64,
    /// All that were ever lost.
    lost_in_all: AtomicU64,
}

#[derive(Debug)]
enum Order {
    Write(Entry),
    /// From here on entries go there.
    Change(Outlets),
    /// Say when all before this is written.
    Tell(Sender<()>),
}

impl Writer {
    /// Starts the thread, for as long as the process lives.
    pub(super) fn start(outlets: Outlets, ident: &'static str) -> io::Result<Writer> {
        let (orders, inbox) = channel();
        let queue = Arc::new(Queue::default());
        let writer = Writer {
            orders,
            queue: Arc::clone(&queue),
        };
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || run(&inbox, &queue, outlets, ident))?;
        Ok(writer)
    }

    /// Hands an entry over.
    pub(super) fn write(&self, entry: Entry) {
        if self.queue.waiting.fetch_add(1, Ordering::Relaxed) < LONGEST_QUEUE {
            self.order(Order::Write(entry));
        } else {
            self.queue.waiting.fetch_sub(1, Ordering::Relaxed);
            self.queue.lost.fetch_add(1, Ordering::Relaxed);
            self.queue.lost_in_all.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Has later entries go elsewhere.
    pub(super) fn change(&self, outlets: Outlets) {
        self.order(Order::Change(outlets));
    }

    /// How many lines were lost since the start, of each place that they were for.
    pub(super) fn lost(&self) -> u64 {
        self.queue.lost_in_all.load(Ordering::Relaxed)
    }

    /// Waits until all entries so far are written, at most so long.
    pub(super) fn flush(&self, patience: Duration) {
        let (done, told) = channel();
        self.order(Order::Tell(done));
        // Too late is as good as never.
        let _ = told.recv_timeout(patience);
    }

    fn order(&self, order: Order) {
        // The thread takes orders for as long as there is somebody to give them.
        let _ = self.orders.send(order);
    }
}

fn run(inbox: &Receiver<Order>, queue: &Queue, mut outlets: Outlets, ident: &str) {
    let mut entries = Vec::new();
    while let Ok(first) = inbox.recv() {
        for order in iter::once(first).chain(inbox.try_iter()) {
            match order {
                Order::Write(entry) => {
                    entries.push(entry);
                    if entries.len() >= MOST_AT_ONCE {
                        write(&mut outlets, &mut entries, queue, ident);
                    }
                }
                Order::Change(other) => {
                    write(&mut outlets, &mut entries, queue, ident);
                    outlets = other;
                }
                Order::Tell(done) => {
                    write(&mut outlets, &mut entries, queue, ident);
                    // A caller that does not wait any more does not need the answer.
                    let _ = done.send(());
                }
            }
        }
        write(&mut outlets, &mut entries, queue, ident);
        thread::sleep(GATHERING);
    }
}

/// Writes the entries, and takes them out.
fn write(outlets: &mut Outlets, entries: &mut Vec<Entry>, queue: &Queue, ident: &str) {
    if entries.is_empty() {
        return;
    }
    queue.waiting.fetch_sub(entries.len(), Ordering::Relaxed);
    let lost = queue.lost.swap(0, Ordering::Relaxed);
    if lost > 0 {
        entries.push(sink::lost(lost));
    }
    for sink in &mut outlets.sinks {
        let lost = sink.write(entries, outlets.format, ident);
        queue.lost_in_all.fetch_add(lost, Ordering::Relaxed);
    }
    entries.clear();
}
