//! What readers see of a store that cannot be written for a while.

use futures_util::FutureExt;
use tokio::time::Instant;

use super::*;
use crate::store::StoreError;
use crate::store::contents::Contents;
use crate::store::sled::Engine;
use crate::store::writer::alone;

/// Takes the engine away, as when a write has failed and it is opened anew.
fn begin_opening(store: &Store) -> Engine {
    store.shared.fail("the disk is full");
    alone(store.shared.begin_opening().unwrap())
}

fn end(store: &Store, engine: Engine) {
    let contents: Contents = store.contents();
    store.shared.opened(engine, contents);
    store.shared.recovered();
}

#[tokio::test]
async fn a_short_outage_is_not_noticed_by_readers() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let call = call(text(10));
    store.submit(id(1), &call, &queued(1)).await.unwrap();
    let engine = begin_opening(&store);
    // It could not be opened this time.
    store.shared.not_opened("the disk is still full");
    let reader = tokio::spawn({
        let store = store.clone();
        async move { store.job(id(1)).await }
    });
    tokio::task::yield_now().await;
    assert!(!reader.is_finished());
    assert!(store.shared.begin_opening().is_none());
    end(&store, engine);
    assert_eq!(reader.await.unwrap().unwrap().unwrap().call, call);
    store.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_long_outage_is_told_and_who_is_patient_waits() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store
        .submit(id(1), &call(text(10)), &queued(1))
        .await
        .unwrap();
    let engine = begin_opening(&store);
    store.shared.not_opened("the disk is still full");
    let begun = Instant::now();
    // A later reader is told at once.
    for _ in 0..2 {
        let told = store.job(id(1)).await.unwrap_err();
        assert!(matches!(told, StoreError::UnreadableNow(_)), "{told}");
        assert!(told.is_passing());
        assert_eq!(begun.elapsed().as_secs(), 5);
    }
    let mut patient = Box::pin(store.patiently(|| store.job(id(1))));
    assert!(patient.as_mut().now_or_never().is_none());
    assert!(store.shared.begin_opening().is_none());
    end(&store, engine);
    assert!(patient.await.unwrap().is_some());
    store.close().await;
    let closed = store.patiently(|| store.job(id(1))).await;
    assert_eq!(closed, Err(StoreError::Closed));
}

#[tokio::test]
async fn what_is_damaged_is_no_outage() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let before = store.contents();
    let why = || StoreError::Unreadable("a checksum does not fit".into());
    let read = store.read(|| async { Err::<(), _>(why()) }).await;
    assert_eq!(read, Err(why()));
    let patient = store.patiently(|| async { Err::<(), _>(why()) }).await;
    assert_eq!(patient, Err(why()));
    // That it works was found out by writing nothing but the mark.
    assert_eq!(store.contents(), before);
    assert_eq!(store.failure(), None);
    store.close().await;
}
