use harp_jobs::record::Stage;

use super::*;
use crate::store::{Finished, StoreError};

#[tokio::test]
async fn a_job_goes_through_its_life_and_is_there_after_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let (job, call) = (id(0), call("[1e5]".parse().unwrap()));
    assert_eq!(store.job(job).await.unwrap(), None);

    store.submit(job, &call, &queued(7)).await.unwrap();
    let record = store.job(job).await.unwrap().unwrap();
    assert_eq!(record.stage, Stage::Queued { sequence: 7 });
    assert_eq!(record.call, call);

    store.start(job, 1_700_000_000_500).await.unwrap();
    store.start(job, 1_700_000_000_999).await.unwrap();
    let running = Stage::Running {
        started: 1_700_000_000_500,
    };
    assert_eq!(store.job(job).await.unwrap().unwrap().stage, running);
    assert_eq!(store.outcome(job).await.unwrap(), None);

    let one = store.append(job, vec![segment(0, &[text(10), text(20)])]);
    let one = one.await.unwrap();
    let two = store
        .append(job, vec![segment(2, &[text(30)])])
        .await
        .unwrap();
    assert_eq!(two.await.unwrap(), 3);
    assert_eq!(one.await.unwrap(), 2);
    assert_eq!(store.packet_count(job).await.unwrap(), 3);

    let end = returned(text(100), 3);
    assert_eq!(
        store.finish(job, &end, PlaceAfter::Free).await.unwrap(),
        Finished::Now
    );
    store.close().await;

    let store = open(directory.path());
    let record = store.job(job).await.unwrap().unwrap();
    let ended = Stage::Ended {
        started: end.started,
        ended: end.ended,
    };
    assert_eq!((record.call, record.stage), (call, ended));
    assert_eq!(store.outcome(job).await.unwrap(), Some(end));
    assert_eq!(store.live().await.unwrap(), []);
    assert_eq!(
        packets(&store, job, 1).await,
        [(1, text(20)), (2, text(30))]
    );
    assert_eq!(packets(&store, job, 3).await, []);
    assert_eq!(store.packet_count(job).await.unwrap(), 3);
    store.close().await;
}

#[tokio::test]
async fn long_text_comes_back_whole() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let long = 3 * 1024 * 1024;
    for (number, len) in [3999, 4000, 4001, 8000, long].into_iter().enumerate() {
        let job = id(number as u64);
        let call = call(text(len));
        store.submit(job, &call, &queued(0)).await.unwrap();
        assert_eq!(store.job(job).await.unwrap().unwrap().call, call);

        let long_ones = vec![segment(0, &[text(len)]), segment(1, &[text(len), text(9)])];
        let appended = store.append(job, long_ones).await.unwrap();
        assert_eq!(appended.await.unwrap(), 3);
        let all = [(0, text(len)), (1, text(len)), (2, text(9))];
        assert_eq!(packets(&store, job, 0).await, all);

        let end = returned(text(len), 3);
        store.finish(job, &end, PlaceAfter::Free).await.unwrap();
        assert_eq!(store.outcome(job).await.unwrap(), Some(end));
    }
    // A call longer than the whole budget for writes is taken too.
    let call = call(text(super::super::WRITE_BUDGET + 1));
    store.submit(id(9), &call, &queued(0)).await.unwrap();
    assert_eq!(store.job(id(9)).await.unwrap().unwrap().call, call);
    store.close().await;
}

#[tokio::test]
async fn an_end_is_written_once() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let call = call(Json::NULL);
    store.submit(id(0), &call, &queued(0)).await.unwrap();
    // At once, so that they meet in a batch, and once more afterwards.
    let first = returned(text(10), 0);
    let second = returned(text(9000), 0);
    let (one, two) = tokio::join!(
        store.finish(id(0), &first, PlaceAfter::Free),
        store.finish(id(0), &second, PlaceAfter::Free)
    );
    assert_eq!(one.unwrap(), Finished::Now);
    assert_eq!(two.unwrap(), Finished::Before(first.clone()));
    let again = store
        .finish(id(0), &returned(text(5), 0), PlaceAfter::Free)
        .await
        .unwrap();
    assert_eq!(again, Finished::Before(first.clone()));
    assert_eq!(store.outcome(id(0)).await.unwrap(), Some(first));
    store.close().await;
}

#[tokio::test]
async fn writes_that_come_twice_change_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let job = id(0);
    let call = call("[1]".parse().unwrap());
    store.submit(job, &call, &queued(1)).await.unwrap();
    let other = super::call("[2]".parse().unwrap());
    store.submit(job, &other, &queued(2)).await.unwrap();
    assert_eq!(store.job(job).await.unwrap().unwrap().call, call);

    for (first, packets) in [(0, vec![text(5), text(6)]), (0, vec![text(5), text(6)])] {
        let appended = store.append(job, vec![segment(first, &packets)]);
        assert_eq!(appended.await.unwrap().await.unwrap(), 2);
    }
    // Half of it is new; cut otherwise after a restart, too.
    store.close().await;
    let store = open(directory.path());
    let appended = store.append(job, vec![segment(1, &[text(6), text(7)])]);
    assert_eq!(appended.await.unwrap().await.unwrap(), 3);
    let all = [(0, text(5)), (1, text(6)), (2, text(7))];
    assert_eq!(packets(&store, job, 0).await, all);
    store.close().await;
}

#[tokio::test]
async fn a_kept_place_is_there_until_it_is_released() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    for (number, place) in [
        (0, PlaceAfter::Kept),
        (1, PlaceAfter::Free),
        (2, PlaceAfter::Kept),
    ] {
        let state = LiveRecord {
            // The last has no queue, and so no place.
            queue: queued(number).queue.filter(|_| number < 2),
            ..queued(number)
        };
        let job = id(number);
        let call = call("[]".parse().unwrap());
        store.submit(job, &call, &state).await.unwrap();
        store.start(job, 7).await.unwrap();
        let end = returned(text(5), 0);
        store.finish(job, &end, place).await.unwrap();
    }
    store.close().await;
    let store = open(directory.path());
    let kept = store.kept_places().await.unwrap();
    assert_eq!(kept.len(), 1);
    let (job, stood) = &kept[0];
    assert_eq!((*job, stood.started), (id(0), Some(7)));
    assert_eq!(stood.queue, queued(0).queue);
    assert_eq!(store.live().await.unwrap(), []);

    store.release_place(id(0)).await.unwrap();
    assert_eq!(store.kept_places().await.unwrap(), []);
    store.close().await;
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let job = id(0);
    let not_live = Err(StoreError::NotLive(job));
    assert_eq!(store.start(job, 1).await, not_live);
    let appended = store.append(job, vec![segment(0, &[text(5)])]);
    assert_eq!(appended.await.unwrap().await.map(drop), not_live);
    let finished = store
        .finish(job, &returned(text(5), 0), PlaceAfter::Free)
        .await;
    assert_eq!(finished.map(drop), not_live);

    store
        .submit(job, &call(Json::NULL), &queued(0))
        .await
        .unwrap();
    let appended = store.append(job, vec![segment(1, &[text(5)])]);
    let refused = appended.await.unwrap().await;
    assert!(matches!(refused, Err(StoreError::Refused { .. })));
    assert_eq!(store.packet_count(job).await.unwrap(), 0);
    let early = store
        .finish(job, &returned(text(5), 1), PlaceAfter::Free)
        .await;
    assert!(matches!(early, Err(StoreError::Refused { .. })));

    store
        .finish(job, &returned(text(5), 0), PlaceAfter::Free)
        .await
        .unwrap();
    assert_eq!(store.start(job, 1).await, not_live);
    let appended = store.append(job, vec![segment(0, &[text(5)])]);
    assert_eq!(appended.await.unwrap().await.map(drop), not_live);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_lose_nothing() {
    const JOBS: u64 = 300;
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let tasks: Vec<_> = (0..JOBS)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move {
                let job = id(number);
                // Sequence numbers against the order of the ids.
                let live = queued(JOBS - number);
                store.submit(job, &call(text(300)), &live).await.unwrap();
                store.start(job, 5).await.unwrap();
                let mut appending = Vec::new();
                for first in 0..number % 7 {
                    let packet = [text(50 + number as usize)];
                    let segments = vec![segment(first, &packet)];
                    appending.push(store.append(job, segments).await.unwrap());
                }
                if number % 3 == 0 {
                    let end = returned(text(700), number % 7);
                    assert_eq!(
                        store.finish(job, &end, PlaceAfter::Free).await.unwrap(),
                        Finished::Now
                    );
                }
                for appended in appending {
                    appended.await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    store.close().await;

    let store = open(directory.path());
    let live = store.live().await.unwrap();
    let expected: Vec<u64> = (0..JOBS).filter(|number| number % 3 != 0).rev().collect();
    let sequences: Vec<u64> = live.iter().map(|(_, live)| JOBS - live.sequence).collect();
    assert_eq!(sequences, expected);
    assert!(live.iter().all(|(_, live)| live.started == Some(5)));
    for record in all_ended(&store, 17).await {
        let end = store.outcome(record.id).await.unwrap().unwrap();
        assert_eq!(
            packets(&store, record.id, 0).await.len() as u64,
            end.packets
        );
    }
    store.close().await;
}

#[tokio::test]
async fn ended_jobs_are_listed_in_pages() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    for number in 0..25 {
        let job = id(number);
        // Some too long for a page of many.
        let arguments = text(if number % 2 == 0 { 400_000 } else { 10 });
        store
            .submit(job, &call(arguments), &queued(0))
            .await
            .unwrap();
        if number != 13 {
            store
                .finish(job, &returned(text(10), 0), PlaceAfter::Free)
                .await
                .unwrap();
        }
    }
    let ids: Vec<_> = all_ended(&store, 10)
        .await
        .iter()
        .map(|job| job.id)
        .collect();
    assert_eq!(ids.len(), 24);
    assert!(ids.is_sorted());
    store.close().await;
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let clone = store.clone();
    assert_eq!(clone.failure(), None);
    store.close().await;
    let refused = clone.submit(id(0), &call(Json::NULL), &queued(0)).await;
    assert_eq!(refused, Err(StoreError::Closed));
    assert_eq!(clone.writable().await, Err(StoreError::Closed));
    let unread = clone.job(id(0)).await;
    assert_eq!(unread, Err(StoreError::Closed));
    assert!(clone.failure().is_some());
    clone.close().await;
}

async fn all_ended(store: &Store, limit: usize) -> Vec<harp_jobs::record::JobRecord> {
    let mut jobs: Vec<harp_jobs::record::JobRecord> = Vec::new();
    loop {
        let after = jobs.last().map(|job| job.id);
        let page = store.ended_page(after, limit).await.unwrap();
        assert!(page.len() <= limit);
        if page.is_empty() {
            return jobs;
        }
        jobs.extend(page);
    }
}
