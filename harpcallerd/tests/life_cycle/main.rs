//! The life cycle of jobs as a state machine: the real dispatcher over a real store, with a
//! host that does what it is told, under random interleavings of submissions, cancels, ends,
//! broken connections, time, stops and crashes. The clock stands still but for the steps that
//! move it.
//!
//! What is done together in a batch meets in any order. Then the test waits until nothing
//! moves any more, and what has to be so then is checked (`life/rest.rs`), as is at the end what
//! became of every job (`book.rs`). The invariants are listed in TESTING.md, "Models".

#[path = "../set_up/acceptor.rs"]
mod acceptor;
mod book;
mod host;
#[path = "../set_up/inside.rs"]
mod inside;
mod life;
#[path = "../set_up/limits.rs"]
mod limits;

use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::Config;
use tokio::runtime::{Builder, Runtime};

use book::Book;
use host::{Host, Order};
use life::{Life, Next};

/// The queues by their concurrency. Calls with another number are calls without a queue.
pub(crate) const QUEUES: [u64; 2] = [1, 2];

/// One thing that happens. Numbers choose among what there is.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Submit {
        queue: usize,
        start_by: Option<u64>,
        with_key: bool,
    },
    /// A call with a key is submitted once more.
    SubmitAgain(usize),
    Cancel {
        which: usize,
        confirm: bool,
    },
    CancelQueue(usize),
    /// The host does something with a call.
    Order(usize, Order),
    /// A second goes by.
    Second,
    /// So much time goes by that no host is waited for any more.
    SlotGrace,
}

/// How a life of the dispatcher ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Death {
    /// At once, wherever its tasks stand after so many turns of the last batch.
    Crash { turns: usize },
    /// In order.
    Stop,
}

/// What happens while one dispatcher lives, batch by batch, and its death.
type LifeStory = (Vec<Vec<Step>>, Death);

fn any_step() -> impl Strategy<Value = Step> {
    let order = prop_oneof![
        4 => Just(Order::Finish),
        2 => Just(Order::Break),
        2 => Just(Order::Packet),
        2 => Just(Order::Release),
    ];
    prop_oneof![
        10 => (0..3_usize, proptest::option::weighted(0.3, 1..4_u64), any::<bool>())
            .prop_map(|(queue, start_by, with_key)| Step::Submit { queue, start_by, with_key }),
        1 => any::<usize>().prop_map(Step::SubmitAgain),
        3 => (any::<usize>(), any::<bool>()).prop_map(|(which, confirm)| Step::Cancel { which, confirm }),
        1 => (0..QUEUES.len()).prop_map(Step::CancelQueue),
        8 => (any::<usize>(), order).prop_map(|(which, order)| Step::Order(which, order)),
        2 => Just(Step::Second),
        1 => Just(Step::SlotGrace),
    ]
}

fn any_life() -> impl Strategy<Value = LifeStory> {
    let death = prop_oneof![
        3 => (0..400_usize).prop_map(|turns| Death::Crash { turns }),
        1 => Just(Death::Stop),
    ];
    let batch = proptest::collection::vec(any_step(), 1..6);
    (proptest::collection::vec(batch, 1..8), death)
}

fn config() -> Config {
    // A case takes about a quarter of a second.
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => Config::default(),
        None => Config::with_cases(24),
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_accepted_job_ends_once_and_in_its_turn(
        lives in proptest::collection::vec(any_life(), 1..4),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let host = Arc::new(Host::default());
        let book = Arc::new(Book::default());
        for (batches, death) in lives {
            live(directory.path(), &host, &book, Next::Story(batches, death));
            host.crash();
            book.crashed();
        }
        live(directory.path(), &host, &book, Next::EndAll);
        let broken = host.all_broken();
        prop_assert!(broken.is_empty(), "{:#?}\n{:#?}", broken, book);
    }
}

/// One life of a dispatcher.
fn live(directory: &Path, host: &Arc<Host>, book: &Arc<Book>, next: Next) {
    let runtime = runtime();
    // Otherwise the clock would move whenever everybody waits for a socket or the disk.
    let (still, moves) = std::sync::mpsc::channel::<()>();
    runtime.spawn_blocking(move || moves.recv().is_ok());
    runtime.block_on(async {
        let mut life = Life::start(directory, Arc::clone(host), Arc::clone(book)).await;
        life.run(next).await;
    });
    drop(still);
    runtime.shutdown_background();
}

fn runtime() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_all().start_paused(true).build().unwrap()
}
