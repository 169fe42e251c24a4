use harp_values::Failure;

use super::directories::copy;
use super::*;
use crate::store::{Keep, Submitted};

/// Seconds, as milliseconds since 1970, some time after the first job.
fn at(seconds: u64) -> u64 {
    1_700_000_000_000 + seconds * 1000
}

fn keyed(client: Option<&str>, key: &str, submitted: u64) -> CallRecord {
    CallRecord {
        client: client.map(str::to_owned),
        key: Some(key.to_owned()),
        submitted,
        ..call(text(5000))
    }
}

async fn submit(
    store: &Store,
    job: JobId,
    call: &CallRecord,
    unless_since: Option<u64>,
) -> Submitted {
    let live = LiveRecord {
        submitted: call.submitted,
        ..queued(1)
    };
    store
        .submit_once(job, call, &live, unless_since)
        .await
        .unwrap()
}

async fn end(store: &Store, job: JobId, outcome: Outcome) {
    let end = EndRecord {
        outcome,
        ..returned(text(5), 0)
    };
    store.finish(job, &end, PlaceAfter::Free).await.unwrap();
}

#[tokio::test]
async fn a_store_with_keys_has_no_problem_and_keeps_them() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let call = keyed(Some("token:a"), "k", at(0));
    assert_eq!(submit(&store, id(0), &call, None).await, Submitted::Now);
    store.close().await;
    for repair in [false, true] {
        let mut report = |problem| panic!("{problem:?}");
        let checked = Store::check(directory.path(), OPTIONS, repair, &mut report).unwrap();
        assert_eq!(checked.jobs, 1);
    }
    let store = open(directory.path());
    let again = submit(&store, id(1), &call, None).await;
    assert_eq!(again, Submitted::Before(id(0)));
    store.close().await;
}

#[tokio::test]
async fn jobs_are_found_by_their_keys_whoever_submitted_them() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let jobs: Vec<JobId> = (0..4).map(|n| JobId::submitted_at(at(n))).collect();
    let clients = [Some("token:a"), Some("token:b"), None, Some("token:a")];
    for ((job, client), number) in jobs.iter().zip(clients).zip(0..) {
        let call = keyed(client, "k", at(number));
        // The last one comes after a failure of the first.
        assert_eq!(submit(&store, *job, &call, Some(0)).await, Submitted::Now);
        end(&store, *job, Outcome::Error(Failure::new("x", "y"))).await;
    }
    let found = store.keyed("k").await.unwrap();
    assert_eq!((found.jobs, found.all_behind), (jobs.clone(), JobId::NONE));
    assert_eq!(store.keyed("K").await.unwrap().jobs, []);
    store.close().await;

    // What is noted of that outlives a start; without it, older jobs may have been missed.
    let store = open(directory.path());
    assert_eq!(store.keyed("k").await.unwrap().all_behind, JobId::NONE);
    store.close().await;
    std::fs::write(directory.path().join("store.json"), "").unwrap();
    let store = open(directory.path());
    let found = store.keyed("k").await.unwrap();
    assert_eq!((found.jobs, found.all_behind), (jobs.clone(), jobs[3]));
    let keep = Keep {
        jobs: Some(0),
        ..Keep::default()
    };
    while store.prune(keep).await.unwrap().more {}
    assert_eq!(store.keyed("k").await.unwrap().jobs, []);
    store.close().await;
}

#[tokio::test]
async fn a_key_has_one_job_however_many_ask_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let mut asking = Vec::new();
    for number in 0..400 {
        let store = store.clone();
        asking.push(tokio::spawn(async move {
            let call = keyed(None, &format!("k{}", number % 7), at(0));
            let job = id(number);
            (job, submit(&store, job, &call, None).await)
        }));
    }
    let mut made = Vec::new();
    let mut told = Vec::new();
    for (number, asked) in asking.into_iter().enumerate() {
        let (job, became) = asked.await.unwrap();
        match became {
            Submitted::Now => made.push((number % 7, job)),
            Submitted::Before(first) => told.push((number % 7, first)),
            Submitted::KeyTaken => panic!("it is the same call"),
        }
    }
    assert_eq!(made.len(), 7);
    assert!(told.iter().all(|answer| made.contains(answer)));
    let crashed = tempfile::tempdir().unwrap();
    copy(directory.path(), crashed.path());
    store.close().await;

    // So it is after a crash: the jobs are there, and so are their keys.
    let store = open(crashed.path());
    assert_eq!(store.live().await.unwrap().len(), 7);
    for (number, first) in made {
        let call = keyed(None, &format!("k{number}"), at(9));
        let again = submit(&store, id(1000), &call, None).await;
        assert_eq!(again, Submitted::Before(first));
    }
    store.close().await;
}

#[tokio::test]
async fn a_key_belongs_to_its_client_and_stands_for_one_call() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let first = keyed(None, "k", at(0));
    assert_eq!(submit(&store, id(0), &first, None).await, Submitted::Now);
    for (number, client) in [(1, "a"), (2, "b"), (3, "")] {
        let call = keyed(Some(client), "k", at(0));
        assert_eq!(
            submit(&store, id(number), &call, None).await,
            Submitted::Now
        );
    }
    let others: [fn(&mut CallRecord); 3] = [
        |call| call.host.push('x'),
        |call| call.procedure.push('x'),
        |call| call.arguments = text(5001),
    ];
    for other in others {
        let mut call = first.clone();
        other(&mut call);
        assert_eq!(
            submit(&store, id(9), &call, None).await,
            Submitted::KeyTaken
        );
        let again = submit(&store, id(9), &call, Some(1)).await;
        assert_eq!(again, Submitted::KeyTaken);
    }
    // The rest of a call may differ.
    let mut call = first;
    call.info = text(9);
    call.timeout = Some(77);
    call.queue = None;
    let again = submit(&store, id(9), &call, None).await;
    assert_eq!(again, Submitted::Before(id(0)));
    assert_eq!(store.job(id(9)).await.unwrap(), None);
    store.close().await;
}

#[tokio::test]
async fn unless_since_counts_what_lives_or_has_returned() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let failure = || Failure::new("t", "m");
    let cases = [
        (None, true),
        (Some(Outcome::Returned(text(5000))), true),
        (Some(Outcome::Exception(failure())), false),
        (Some(Outcome::Error(failure())), false),
        (Some(Outcome::Cancelled), false),
    ];
    for (number, (outcome, counts)) in (0_u64..).zip(cases) {
        let key = format!("k{number}");
        let first = id(number * 10);
        submit(&store, first, &keyed(None, &key, at(0)), None).await;
        let live = outcome.is_none();
        if let Some(outcome) = outcome {
            end(&store, first, outcome).await;
        }
        // Whatever the wall clock shows: within an hour, not within no time at all.
        let call = keyed(None, &key, at(9_000_000));
        let next = id(number * 10 + 1);
        let expected = if counts {
            Submitted::Before(first)
        } else {
            Submitted::Now
        };
        assert_eq!(
            submit(&store, next, &call, Some(3600)).await,
            expected,
            "{key}"
        );
        let second = id(number * 10 + 2);
        let again = submit(&store, second, &call, Some(0)).await;
        let expected = match (live, counts) {
            (true, _) => Submitted::Before(first),
            (false, true) => Submitted::Now,
            // The one of just now lives.
            (false, false) => Submitted::Before(next),
        };
        assert_eq!(again, expected, "{key}");
    }
    // Without it every earlier job counts, the last one.
    let call = keyed(None, "k4", at(1000));
    end(&store, id(41), Outcome::Cancelled).await;
    let again = submit(&store, id(99), &call, None).await;
    assert_eq!(again, Submitted::Before(id(41)));
    // A clock that was set back does not make the job of just now an old one.
    let call = keyed(None, "k1", at(50));
    let again = submit(&store, id(99), &call, Some(1)).await;
    assert_eq!(again, Submitted::Before(id(12)));
    store.close().await;
}

#[tokio::test]
async fn a_pruned_job_takes_its_key_along_but_not_that_of_a_later_one() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let key = "k".repeat(6000);
    let old = JobId::submitted_at(at(0));
    submit(&store, old, &keyed(None, &key, at(0)), None).await;
    let overtaken = JobId::submitted_at(at(1));
    submit(&store, overtaken, &keyed(None, "o", at(1)), None).await;
    end(&store, old, Outcome::Returned(text(5))).await;
    end(&store, overtaken, Outcome::Cancelled).await;
    let later = JobId::submitted_at(at(20));
    let call = keyed(None, "o", at(20));
    assert_eq!(submit(&store, later, &call, Some(0)).await, Submitted::Now);

    let keep = Keep {
        jobs: Some(0),
        ..Keep::default()
    };
    while store.prune(keep).await.unwrap().more {}
    let engine = store.shared.engine().unwrap();
    let (from, to) = crate::store::layout::Table::Keys.bounds();
    let mut left = Vec::new();
    engine
        .scan(&from, &to, |_, job| {
            left.extend(job.first_chunk::<16>().copied());
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    drop(engine);
    // Once for its client, once for whoever looks for its key.
    assert_eq!(left, [*later.as_bytes(); 2]);
    let new = JobId::submitted_at(at(30));
    let call = keyed(None, &key, at(30));
    assert_eq!(submit(&store, new, &call, None).await, Submitted::Now);
    let again = submit(&store, id(9), &keyed(None, "o", at(30)), None).await;
    assert_eq!(again, Submitted::Before(later));
    store.close().await;
}
