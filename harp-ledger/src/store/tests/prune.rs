use std::time::Duration;

use super::directories::copy;
use super::*;
use crate::store::layout::Table;
use crate::store::sled::Batch;
use crate::store::{Adopted, Contents, Keep, Pruned};

/// A job submitted at this time: calls and ends long enough for further pieces.
async fn submitted(store: &Store, time: u64) -> JobId {
    let job = JobId::submitted_at(time);
    let call = call(text(5000));
    store.submit(job, &call, &queued(time)).await.unwrap();
    let appended = store.append(job, vec![segment(0, &[text(20), text(9000)])]);
    appended.await.unwrap().await.unwrap();
    job
}

async fn ended(store: &Store, time: u64, place: PlaceAfter) -> JobId {
    let job = submitted(store, time).await;
    let end = returned(text(5000), 2);
    store.finish(job, &end, place).await.unwrap();
    job
}

/// One that ended at this time, elsewhere.
async fn adopted(store: &Store, time: u64) -> JobId {
    let job = JobId::submitted_at(time);
    let end = EndRecord {
        ended: time,
        ..returned(text(10), 0)
    };
    let state = Adopted::Ended { end, place: None };
    let adopted = store.adopt(job, &call(text(10)), &state).await.unwrap();
    assert!(adopted.await.unwrap());
    job
}

/// Prunes until there is no more to do; how many jobs went.
async fn prune(store: &Store, keep: Keep) -> u64 {
    let mut jobs = 0;
    loop {
        let pruned = store.prune(keep).await.unwrap();
        jobs += pruned.jobs;
        if !pruned.more {
            return jobs;
        }
    }
}

/// What the store says of its contents is what is there.
pub(super) fn counted(store: &Store) -> Contents {
    let engine = store.shared.engine().unwrap();
    let mut counted = Contents::count(&*engine).unwrap();
    if counted.live.is_none() {
        // The state of a job is damaged, so it cannot be counted.
        counted.live = store.contents().live;
    }
    assert_eq!(store.contents(), counted);
    counted
}

async fn exist(store: &Store, jobs: &[JobId]) -> Vec<bool> {
    let mut exist = Vec::new();
    for job in jobs {
        let found = store.job(*job).await.unwrap().is_some();
        let packets = !store.segments(*job, 0, 100_000).await.unwrap().is_empty();
        assert_eq!(found, packets);
        exist.push(found);
    }
    exist
}

#[tokio::test]
async fn old_jobs_go_whole_and_live_and_kept_ones_stay() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let empty = counted(&store);
    let jobs = [
        ended(&store, 1000, PlaceAfter::Free).await,
        submitted(&store, 2000).await,
        ended(&store, 3000, PlaceAfter::Kept).await,
        ended(&store, 3999, PlaceAfter::Free).await,
        ended(&store, 4000, PlaceAfter::Free).await,
    ];
    let keep = Keep {
        jobs: Some(2),
        ..Keep::default()
    };
    assert_eq!(
        store.prune(Keep::default()).await.unwrap(),
        Pruned::default()
    );
    assert_eq!(prune(&store, keep).await, 2);
    let kept = [false, true, true, false, true];
    assert_eq!(exist(&store, &jobs).await, kept);
    assert_eq!(store.outcome(jobs[0]).await.unwrap(), None);
    counted(&store);
    store.close().await;

    let store = open(directory.path());
    assert_eq!(exist(&store, &jobs).await, kept);
    assert_eq!(counted(&store).ended, 2);
    // What kept them is over.
    store.release_place(jobs[2]).await.unwrap();
    let end = returned(text(10), 2);
    store.finish(jobs[1], &end, PlaceAfter::Free).await.unwrap();
    let none = Keep {
        jobs: Some(0),
        ..Keep::default()
    };
    assert_eq!(prune(&store, none).await, 3);
    assert_eq!(counted(&store), empty);
    store.close().await;
}

#[tokio::test]
async fn the_oldest_go_until_their_number_and_size_fit() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let mut jobs = Vec::new();
    for time in 0..100 {
        jobs.push(ended(&store, 1000 + time, PlaceAfter::Free).await);
    }
    let all = counted(&store);
    assert_eq!(all.ended, 100);
    let most = |jobs| Keep {
        jobs: Some(jobs),
        ..Keep::default()
    };
    assert_eq!(prune(&store, most(100)).await, 0);
    assert_eq!(prune(&store, most(70)).await, 30);
    assert_eq!(
        exist(&store, &jobs[28..32]).await,
        [false, false, true, true]
    );

    let size = Keep {
        bytes: Some(all.bytes / 2),
        ..Keep::default()
    };
    assert_eq!(prune(&store, size).await, 20);
    assert_eq!(exist(&store, &jobs[49..51]).await, [false, true]);
    assert!(counted(&store).bytes <= all.bytes / 2);
    store.close().await;
}

#[tokio::test]
async fn a_large_job_goes_in_pieces_which_a_crash_does_not_stop() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("store");
    let store = open(&directory);
    let empty = counted(&store);
    let job = JobId::submitted_at(1000);
    let call = call(text(10));
    store.submit(job, &call, &queued(0)).await.unwrap();
    for first in 0..1000 {
        let appended = store.append(job, vec![segment(first, &[text(3000)])]);
        drop(appended.await.unwrap());
    }
    let end = returned(text(10), 1000);
    store.finish(job, &end, PlaceAfter::Free).await.unwrap();
    let younger = ended(&store, 2000, PlaceAfter::Free).await;

    let keep = Keep {
        jobs: Some(1),
        ..Keep::default()
    };
    let begun = store.prune(keep).await.unwrap();
    assert_eq!(
        begun,
        Pruned {
            more: true,
            ..Pruned::default()
        }
    );
    assert_eq!(store.job(job).await.unwrap(), None);
    assert_eq!(store.outcome(job).await.unwrap(), None);
    let left = counted(&store);
    assert_eq!(left.ended, 1);
    assert!(left.bytes > 2_000_000);
    let crashed = parent.path().join("crashed");
    copy(&directory, &crashed);
    store.close().await;

    let store = open(&crashed);
    assert_eq!(counted(&store), left);
    // It has been decided: what is to be kept by now does not matter.
    assert_eq!(prune(&store, Keep::default()).await, 1);
    assert_eq!(exist(&store, &[job, younger]).await, [false, true]);
    let none = Keep {
        jobs: Some(0),
        ..Keep::default()
    };
    assert_eq!(prune(&store, none).await, 1);
    assert_eq!(counted(&store), empty);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn others_write_in_between() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let mut jobs = Vec::new();
    for time in 0..300 {
        jobs.push(adopted(&store, 1000 + time).await);
    }
    let pruning = tokio::spawn({
        let store = store.clone();
        async move {
            let keep = Keep {
                max_age: Some(Duration::from_secs(3600)),
                by_wall_clock: u64::MAX,
                ..Keep::default()
            };
            prune(&store, keep).await
        }
    });
    let mut younger = Vec::new();
    for time in 0..50 {
        younger.push(ended(&store, 5000 + time, PlaceAfter::Free).await);
    }
    assert_eq!(pruning.await.unwrap(), 300);
    assert_eq!(counted(&store).ended, 50);
    assert_eq!(exist(&store, &younger).await, [true; 50]);
    store.close().await;
}

#[tokio::test]
async fn those_behind_what_cannot_be_pruned_have_their_turn() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let mut jobs = Vec::new();
    for time in 0..300 {
        jobs.push(ended(&store, 1000 + time, PlaceAfter::Free).await);
    }
    // More than one piece has an end, and is live at the same time.
    let stuck = 270;
    let mut batch = Batch::default();
    for job in &jobs[..stuck] {
        batch.insert(&Table::Live.key(*job), b"\x05noise");
    }
    store.shared.engine().unwrap().apply(batch).unwrap();
    let keep = Keep {
        max_age: Some(Duration::ZERO),
        ..Keep::default()
    };
    assert_eq!(prune(&store, keep).await, 30);
    assert_eq!(counted(&store).ended, stuck as u64);
    assert_eq!(prune(&store, keep).await, 0);
    store.close().await;
}
