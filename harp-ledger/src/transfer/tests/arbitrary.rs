//! Whatever jobs there are, an export has them all, and an import brings them back.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use harp_jobs::record::Remarks;
use harp_values::Evidence;

use super::*;
use crate::store::Adopted;

/// A job as it may be found in a store.
#[derive(Debug, Clone)]
struct Job {
    call: CallRecord,
    live: LiveRecord,
    packets: Vec<(u64, Json)>,
    end: Option<(EndRecord, bool)>,
}

/// JSON text that a parser and a writer of JSON would change.
const ODD: [&str; 7] = [
    "null",
    "1e5",
    "-0.0",
    "184467440737095516160",
    r#"{"b":1,"a":{"b":[]},"b":2.50}"#,
    r#""\u0041\ud800\/""#,
    "[ 1 ,\t{ \"a\" : [ ] } ]",
];

/// JSON text: of odd form, of any characters, short, and longer than an entry.
fn any_json() -> impl Strategy<Value = Json> {
    prop_oneof![
        proptest::sample::select(&ODD).prop_map(json),
        any::<String>().prop_map(|text| Json::encode(&text).unwrap()),
        (3000_usize..14_000).prop_map(|length| json(&format!("\"{}\"", "z".repeat(length)))),
    ]
}

fn any_queue() -> impl Strategy<Value = Option<QueueRecord>> {
    let queue = (any::<String>(), 1_u64..=u64::MAX).prop_map(|(name, concurrency)| {
        let name = serde_json::json!({"n": name}).to_string();
        QueueRecord {
            name: name.parse().unwrap(),
            concurrency,
        }
    });
    option::of(queue)
}

prop_compose! {
    fn any_call()(
        names in any::<[String; 2]>(),
        arguments in any_json(),
        info in any_json(),
        limits in any::<[Option<u64>; 2]>(),
        queue in any_queue(),
        client in any::<Option<String>>(),
        key in any::<Option<String>>(),
        (start_by, trace) in any::<(Option<u64>, Option<String>)>(),
        submitted in any::<u64>(),
    ) -> CallRecord {
        let [host, procedure] = names;
        let [timeout, max_exec_time] = limits;
        CallRecord {
            host, procedure, arguments, info, timeout, max_exec_time, endless: false, queue, client, key,
            start_by, trace, submitted,
        }
    }
}

fn any_outcome() -> impl Strategy<Value = Outcome> {
    let texts = any::<[String; 2]>();
    let failed = (texts, option::of(any_json()), any::<bool>());
    let failed = failed.prop_map(|([error_type, message], data, is_exception)| {
        let failure = Failure {
            error_type,
            message,
            data,
        };
        if is_exception {
            Outcome::Exception(failure)
        } else {
            Outcome::Error(failure)
        }
    });
    prop_oneof![
        Just(Outcome::Cancelled),
        any_json().prop_map(Outcome::Returned),
        failed,
    ]
}

prop_compose! {
    fn any_job()(
        call in any_call(),
        packets in vec((any::<u64>(), any_json()), 0..6),
        started in any::<Option<u64>>(),
        start_by in any::<Option<u64>>(),
        end in option::of((any::<u64>(), any_outcome(), any::<bool>())),
        (worker, violations) in any::<(Option<String>, u64)>(),
        printed in any::<Option<(String, String)>>(),
    ) -> Job {
        let live = LiveRecord {
            sequence: 0,
            queue: call.queue.clone(),
            started,
            start_by,
            submitted: call.submitted,
            ..LiveRecord::UNKNOWN
        };
        let end = end.map(|(ended, outcome, place_is_kept)| {
            let packets = packets.len() as u64;
            let evidence = printed.map(|(stdout, stderr)| Evidence { stdout, stderr });
            let remarks = Remarks { worker: worker.clone(), violations, evidence };
            (EndRecord { started, ended, outcome, packets, remarks }, place_is_kept)
        });
        Job { call, live, packets, end }
    }
}

impl Job {
    /// Records it under this number, by way of what an import does.
    async fn record(&self, store: &Store, number: u64) -> JobId {
        let id = JobId::from_bytes(u128::from(number).to_be_bytes());
        for (index, (time, data)) in self.packets.iter().enumerate() {
            let mut segment = SegmentBuilder::new(index as u64);
            segment.push(*time, data.as_bytes());
            let appended = store.adopt_packets(id, vec![segment.finish()]).await;
            appended.unwrap().await.unwrap();
        }
        let live = LiveRecord {
            sequence: number,
            ..self.live.clone()
        };
        let state = match self.end.clone() {
            None => Adopted::Live(live),
            Some((end, place_is_kept)) => Adopted::Ended {
                end,
                place: place_is_kept.then_some(live),
            },
        };
        let adopted = store.adopt(id, &self.call, &state).await.unwrap();
        assert!(adopted.await.unwrap());
        id
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().unwrap();
    runtime.block_on(future)
}

proptest! {
    // Each makes two stores on disk.
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_jobs_come_back(jobs in vec(any_job(), 0..5)) {
        run(async {
            let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let (store, copy) = (open(old.path()), open(new.path()));
            let mut ids = Vec::new();
            for (number, job) in jobs.iter().enumerate() {
                ids.push(job.record(&store, number as u64 + 1).await);
            }
            let (file, moved) = exported(&store).await;
            assert_eq!(moved.jobs, jobs.len() as u64);
            import(&copy, &file[..]).await.unwrap();
            for (id, job) in ids.iter().zip(&jobs) {
                assert_eq!(copy.job(*id).await.unwrap().unwrap().call, job.call);
                let end = copy.outcome(*id).await.unwrap();
                assert_eq!(end, job.end.clone().map(|(end, _)| end));
            }
            assert_eq!(everything(&copy, &ids).await, everything(&store, &ids).await);
            assert_eq!(copy.contents().ended, store.contents().ended);
            copy.close().await;
            store.close().await;
            let mut report = |problem| panic!("{problem:?}");
            Store::check(new.path(), StoreOptions::default(), false, &mut report).unwrap();
        });
    }
}
