//! What readers, and jobs that wait, see of a store that cannot be written for a while.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::*;
use crate::audit::Audit;
use crate::changes::Changes;
use crate::dispatcher::{Dispatcher, Parts};
use crate::hosts::Hosts;
use crate::rules::{ExecutionLimits, Rules};
use crate::store::StoreError;
use crate::store::contents::Contents;
use crate::store::sled::Engine;
use crate::store::writer::alone;
use harp_jobs::output::OutputLimits;

/// Longer than anything here takes, unless it never comes.
const PATIENCE: Duration = Duration::from_secs(20);

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

/// A dispatcher that knows no host.
async fn dispatcher(store: &Store) -> Arc<Dispatcher> {
    let second = Duration::from_secs(1);
    let rules = Rules {
        limits: ExecutionLimits {
            default_timeout: second,
            max_exec_time: second,
            connect_timeout: second,
            connect_patience: Duration::ZERO,
            break_grace: Duration::ZERO,
            slot_grace: second,
            last_words: second,
            max_packet_size: 1000,
            host_memory: 32 << 20,
            output: OutputLimits::default(),
            keep_calls: false,
            keep_for: Duration::from_secs(300),
            max_idle_connections: 8,
        },
        trust: harp_host::tls::Trust::new(harp_host::tls::TrustFiles::default()).unwrap(),
        memory: harp_budget::Budget::new(32 << 20),
    };
    let (_, limits) = watch::channel(Arc::new(rules.limits.of_runs()));
    let (_, rules) = watch::channel(Arc::new(rules));
    let parts = Parts {
        store: store.clone(),
        hosts: Arc::new(Hosts::default()),
        rules,
        limits,
        audit: Audit::default(),
        changes: Changes::default(),
        resume_queued: true,
        unaware_until: None,
    };
    Dispatcher::open(parts).await.unwrap()
}

/// How a job ended that was resumed.
async fn end_of(store: &Store, job: JobId) -> Outcome {
    let ended = async {
        loop {
            if let Some(end) = store.outcome(job).await.unwrap() {
                return end.outcome;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, ended).await.unwrap()
}

fn error_type(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Error(failure) => &failure.error_type,
        _ => "none",
    }
}

#[tokio::test]
async fn a_job_that_waited_and_whose_call_is_damaged_ends() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let mut record = queued(1);
    record.queue = None;
    store.submit(id(1), &call(text(10)), &record).await.unwrap();
    {
        let mut batch = crate::store::sled::Batch::default();
        batch.insert(&crate::store::layout::Table::Calls.key(id(1)), b"\x05noise");
        store.shared.engine().unwrap().apply(batch).unwrap();
    }
    let _dispatcher = dispatcher(&store).await;
    assert_eq!(error_type(&end_of(&store, id(1)).await), "storage_error");
    store.close().await;
}
