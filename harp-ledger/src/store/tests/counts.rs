//! What the store says of its contents is what is there, whatever is done to it.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::prune::counted;
use super::*;
use crate::store::{Adopted, Keep};

/// Jobs that the steps are about.
const JOBS: u64 = 5;

/// Something that is done to a store, whether that is possible or not.
#[derive(Debug, Clone)]
enum Step {
    Submit(u64, usize),
    Start(u64),
    /// A packet with this number.
    Append(u64, u64, usize),
    Finish(u64, u64, usize, PlaceAfter),
    Adopt(u64, usize, Option<u64>),
    ReleasePlace(u64),
    Prune(Option<u64>, Option<u64>),
    Reopen,
}

/// Of a text: short, and in several pieces.
fn length() -> impl Strategy<Value = usize> {
    prop_oneof![2_usize..50, 3900_usize..13_000]
}

fn step() -> impl Strategy<Value = Step> {
    let place = prop_oneof![Just(PlaceAfter::Free), Just(PlaceAfter::Kept)];
    prop_oneof![
        3 => (0..JOBS, length()).prop_map(|(job, length)| Step::Submit(job, length)),
        1 => (0..JOBS).prop_map(Step::Start),
        5 => (0..JOBS, 0_u64..3, length())
            .prop_map(|(job, number, length)| Step::Append(job, number, length)),
        3 => (0..JOBS, 0_u64..3, length(), place)
            .prop_map(|(job, packets, length, place)| Step::Finish(job, packets, length, place)),
        1 => (0..JOBS, length(), option::of(Just(0)))
            .prop_map(|(job, length, ended)| Step::Adopt(job, length, ended)),
        1 => (0..JOBS).prop_map(Step::ReleasePlace),
        1 => (option::of(0..JOBS), option::of(0_u64..60_000))
            .prop_map(|(jobs, bytes)| Step::Prune(jobs, bytes)),
        1 => Just(Step::Reopen),
    ]
}

impl Step {
    /// Many are refused: then nothing may have been counted.
    async fn take(self, directory: &Path, store: &mut Store) {
        match self {
            Step::Submit(job, length) => {
                let call = call(text(length));
                store.submit(id(job), &call, &queued(job)).await.unwrap();
            }
            Step::Start(job) => drop(store.start(id(job), 5).await),
            Step::Append(job, number, length) => {
                let segment = segment(number, &[text(length)]);
                let appended = store.append(id(job), vec![segment]).await.unwrap();
                drop(appended.await);
            }
            Step::Finish(job, packets, length, place) => {
                let end = returned(text(length), packets);
                drop(store.finish(id(job), &end, place).await);
            }
            Step::Adopt(job, length, ended) => {
                let state = match ended {
                    None => Adopted::Live(queued(job)),
                    Some(packets) => Adopted::Ended {
                        end: returned(text(length), packets),
                        place: None,
                    },
                };
                let adopted = store.adopt(id(job), &call(text(length)), &state).await;
                let _ = adopted.unwrap().await.unwrap();
            }
            Step::ReleasePlace(job) => store.release_place(id(job)).await.unwrap(),
            Step::Prune(jobs, bytes) => {
                let keep = Keep {
                    jobs,
                    bytes,
                    ..Keep::default()
                };
                while store.prune(keep).await.unwrap().more {}
            }
            Step::Reopen => {
                store.close().await;
                *store = open(directory);
            }
        }
    }
}

proptest! {
    // Each makes a store on disk and syncs it at every step.
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn the_counts_are_what_is_there(steps in vec(step(), 1..30)) {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().unwrap();
        runtime.block_on(async {
            let directory = tempfile::tempdir().unwrap();
            let mut store = open(directory.path());
            for step in steps {
                step.take(directory.path(), &mut store).await;
                counted(&store);
            }
            store.close().await;
        });
    }
}
