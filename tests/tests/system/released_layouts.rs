//! A store as an earlier release has left it, served by the dispatcher of this one. The
//! fixtures are those of `harp-ledger/tests/released_layouts.rs`, made and described by
//! `harp-ledger/examples/store_fixture.rs`.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use flate2::read::GzDecoder;
use harp_tests::{Cluster, ClusterBuilder, until};
use serde_json::json;

use crate::assertions::assert_refused;

fn job(number: u64) -> String {
    format!("018bcfe5-6800-7000-8000-{number:012x}")
}

/// The text of a long value.
fn long(letter: &str) -> String {
    format!("\"{}\"", letter.repeat(9000))
}

/// A cluster whose dispatcher has been started with this fixture as its store.
fn start(layout: &str, builder: ClusterBuilder) -> Cluster {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../harp-ledger/tests/fixtures");
    let mut cluster = builder.set("slot_grace", "1").start();
    cluster.stop_dispatcher();
    let store = cluster.path("jobs");
    fs::remove_dir_all(&store).unwrap();
    fs::create_dir(&store).unwrap();
    for entry in fs::read_dir(fixture.join(layout)).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "gz") {
            let mut file = File::create(store.join(path.file_stem().unwrap())).unwrap();
            io::copy(&mut GzDecoder::new(File::open(path).unwrap()), &mut file).unwrap();
        }
    }
    cluster.start_dispatcher();
    cluster
}

#[test]
fn layout_1_is_served_and_its_jobs_go_on() {
    is_served_and_its_jobs_go_on("layout-1");
}

#[test]
fn layout_2_is_served_and_its_jobs_go_on() {
    is_served_and_its_jobs_go_on("layout-2");
}

fn is_served_and_its_jobs_go_on(layout: &str) {
    let cluster = start(layout, Cluster::builder().unkept());
    let caller = cluster.caller();
    let [
        waits,
        waits_briefly,
        waits_with_much,
        ran,
        returned,
        cancelled,
        exception,
        error,
        never_started,
    ] = std::array::from_fn(|index| job(index as u64 + 1));

    // What had ended is as it was.
    let texts = [
        r#"{"b":[],"a":1.50}"#.to_owned(),
        "null".to_owned(),
        long("p"),
    ];
    assert_eq!(caller.read(&returned, "").packets, texts);
    assert_eq!(
        caller.raw_result(&returned),
        format!(r#"{{"result":{}}}"#, long("r"))
    );
    assert_eq!(caller.status(&returned)["info"], "i".repeat(9000));
    let times = json!({"submit": 1_700_000_005, "start": 1_700_000_005, "end": 1_700_000_005});
    assert_eq!(caller.status(&returned)["time"], times);
    assert_eq!(caller.read(&cancelled, "").packets, texts[..1]);
    assert_eq!(caller.result(&cancelled), json!({"cancelled": true}));
    assert_eq!(caller.result(&never_started), json!({"cancelled": true}));
    assert_eq!(caller.status(&never_started)["time"]["start"], json!(null));
    let failure = |error_type| {
        json!({
            "type": error_type, "message": "why it failed: \"quoted\", ü",
            "data": {"at": [1.5, null], "seconds": 60},
        })
    };
    assert_eq!(
        caller.result(&exception),
        json!({"exception": failure("overheated")})
    );
    assert_eq!(caller.read(&exception, "").packets, texts[..2]);
    assert_eq!(caller.result(&error), json!({"error": failure("timeout")}));

    // What ran has no result, and its packets.
    assert_eq!(caller.result(&ran)["error"]["type"], "missing_result");
    assert_eq!(caller.read(&ran, "").packets, texts);
    let again = caller.ask(
        r#"{"harpcaller": 1, "host": "web01", "procedure": "echo", "arguments": [], "key": "nightly"}"#,
    );
    assert_eq!(
        again,
        json!({"harpcaller": 1, "job_id": ran, "existing": true})
    );

    // What waited runs, behind the place that was kept.
    let first = r#"[1e5,{"b":1,"a":2,"b":[]},"\u0041\ud800"]"#;
    assert_eq!(
        caller.raw_result(&waits),
        format!(r#"{{"result":{first}}}"#)
    );
    let much = format!(r#"{{"result":[{}]}}"#, long("a"));
    assert_eq!(caller.raw_result(&waits_with_much), much);
    assert_eq!(caller.result(&waits_briefly)["error"]["type"], "timeout");
}

#[test]
fn pruning_lets_the_old_jobs_go_and_keeps_the_rest() {
    let cluster = start("layout-1", Cluster::builder().unkept());
    let caller = cluster.caller();
    // (By `max_age` nothing goes yet: for all the dispatcher knows its clock is years ahead.)
    let pruned = cluster.run(&["prune-jobs", "--age", "0"]);
    assert!(pruned.status.success(), "{pruned:?}");
    for old in [5, 7, 8, 9].map(job) {
        until("the job is pruned", || {
            let answer = caller.result_now(&old);
            (answer["error"]["type"] == "invalid_jobid").then_some(())
        });
        for request in ["get_result", "get_status", "read_stream", "follow_stream"] {
            let answer = caller.ask(json!({"harpcaller": 1, request: old}));
            assert_refused(&answer, "invalid_jobid", &json!(null));
        }
        let cancel = caller.ask(json!({"harpcaller": 1, "cancel": old}));
        assert!(cancel["cancelled"] != true, "{cancel}");
    }
    // Not one whose place in its queue was kept, nor what is of today.
    assert_eq!(caller.result(&job(6)), json!({"cancelled": true}));
    let new = caller.call("web01", "echo", "[]");
    assert_eq!(caller.result(&new), json!({"result": []}));
}
