use super::*;
use crate::store::sled::Batch;
use crate::store::{Checked, Problem, StoreError};

/// Writes into a store what no release would.
async fn damage(directory: &Path, changes: &[(&[u8], Option<&[u8]>)]) {
    let store = open(directory);
    let mut batch = Batch::default();
    for (key, value) in changes {
        match value {
            Some(value) => batch.insert(key, value),
            None => batch.remove(key),
        }
    }
    {
        let engine = store.shared.engine().unwrap();
        engine.apply(batch).unwrap();
    }
    store.close().await;
}

fn check(directory: &Path, repair: bool) -> (Checked, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut report = |problem| problems.push(problem);
    let checked = Store::check(directory, OPTIONS, repair, &mut report).unwrap();
    assert_eq!(checked.problems, problems.len() as u64);
    (checked, problems)
}

fn key(table: u8, job: JobId) -> Vec<u8> {
    [&[table][..], job.as_bytes()].concat()
}

/// Jobs 0 (queued), 1 (running, two segments), 2 (ended, two segments).
async fn filled(directory: &Path) {
    let store = open(directory);
    for number in 0..3 {
        let job = id(number);
        let call = call(text(5000));
        store.submit(job, &call, &queued(number)).await.unwrap();
        if number == 0 {
            continue;
        }
        store.start(job, 5).await.unwrap();
        for segments in [segment(0, &[text(10)]), segment(1, &[text(20), text(9000)])] {
            let appended = store.append(job, vec![segments]).await.unwrap();
            appended.await.unwrap();
        }
        if number == 2 {
            let end = returned(text(5000), 3);
            store.finish(job, &end, PlaceAfter::Free).await.unwrap();
        }
    }
    store.close().await;
}

#[tokio::test]
async fn a_good_store_has_no_problem() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path()).await;
    let seen = Checked {
        jobs: 3,
        live: 2,
        packets: 6,
        ..Checked::default()
    };
    assert_eq!(check(directory.path(), false), (seen, vec![]));
    assert_eq!(check(directory.path(), true), (seen, vec![]));
    let store = open(directory.path());
    assert_eq!(store.live().await.unwrap().len(), 2);
    store.close().await;
}

#[tokio::test]
async fn one_damaged_state_is_set_aside_and_can_be_ended() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path()).await;
    damage(directory.path(), &[(&key(b'l', id(1)), Some(b"noise"))]).await;
    let store = open(directory.path());
    let live = store.live().await.unwrap();
    assert_eq!(live.len(), 1);
    assert_eq!(live[0].0, id(0));
    assert_eq!(store.damaged_live().await.unwrap(), [id(1)]);
    let end = returned(text(5), 3);
    store.finish(id(1), &end, PlaceAfter::Free).await.unwrap();
    assert_eq!(store.damaged_live().await.unwrap(), []);
    assert_eq!(store.outcome(id(1)).await.unwrap(), Some(end));
    assert_eq!(packets(&store, id(1), 0).await.len(), 3);
    store.close().await;
    assert_eq!(check(directory.path(), false).1, []);
}

#[tokio::test]
async fn what_can_be_repaired_is_and_is_told() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path()).await;
    let second_segment = [&key(b'p', id(2))[..], &1_u64.to_be_bytes()].concat();
    let stranger = [&key(b'p', id(77))[..], &0_u64.to_be_bytes()].concat();
    let lone_piece = [&key(b'C', id(88))[..], &0_u32.to_be_bytes()].concat();
    let gone = id(99);
    let claim = [&b"k"[..], &[7; 32]].concat();
    let damages: [(&[u8], Option<&[u8]>); 8] = [
        (&key(b'l', id(0)), Some(b"")),
        (&key(b'c', id(1)), Some(b"\x03abc")),
        (&second_segment, Some(b"\x01\xff")),
        (&stranger, Some(b"\x01\x01")),
        (&lone_piece, Some(b"x")),
        (&key(b'q', id(2)), Some(b"?")),
        (&claim, Some(gone.as_bytes())),
        (b"n", Some(b"7 7")),
    ];
    damage(directory.path(), &damages).await;

    let (checked, problems) = check(directory.path(), false);
    let about: std::collections::BTreeSet<_> =
        problems.iter().filter_map(|problem| problem.job).collect();
    let expected = [0, 1, 2, 77, 88, 99].map(id);
    assert_eq!(about.into_iter().collect::<Vec<_>>(), expected);
    assert!(problems.iter().any(|problem| problem.job.is_none()));
    assert_eq!(checked.repairable, checked.problems);
    // Looking changes nothing.
    assert_eq!(check(directory.path(), false), (checked, problems.clone()));
    assert_eq!(check(directory.path(), true), (checked, problems));

    // What is left is the call that nobody can bring back.
    let (left, problems) = check(directory.path(), true);
    assert_eq!((left.problems, left.repairable), (1, 0));
    assert_eq!(problems[0].job, Some(id(1)));
    let store = open(directory.path());
    assert_eq!(store.live().await.unwrap(), []);
    for number in [0, 1] {
        let end = store.outcome(id(number)).await.unwrap().unwrap();
        let Outcome::Error(failure) = end.outcome else {
            panic!("{end:?}");
        };
        assert_eq!(failure.error_type, "storage_error");
    }
    let end = store.outcome(id(2)).await.unwrap().unwrap();
    assert_eq!(end, returned(text(5000), 1));
    // What could still be read is there.
    let left = store.segments(id(2), 0, 1).await.unwrap();
    assert_eq!(left, [segment(0, &[text(10)])]);
    assert!(matches!(
        store.job(id(1)).await,
        Err(StoreError::Corrupt { .. })
    ));
    store.close().await;
}
