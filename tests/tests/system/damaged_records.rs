//! A store in which single records of live jobs are damaged: the dispatcher starts, says
//! so, ends these jobs, and all others are as they would be.

use harp_proto::JobId;
use harp_tests::Cluster;
use serde_json::json;

const QUEUE: &str = r#""queue": {"name": {"q": 1}}"#;

/// What the dispatcher logs of a job of which it cannot know where it stood.
const TOLD: &str =
    "the record of where the job stood is damaged; the job is ended with storage_error";

/// Overwrites a job's entry in a table of the store of a dispatcher that is not running.
fn damage(cluster: &Cluster, table: u8, job: &str) {
    let id: JobId = job.parse().unwrap();
    let key = [&[table][..], id.as_bytes()].concat();
    let store = sled::open(cluster.path("jobs")).unwrap();
    let old = store.insert(key, b"\x05noise").unwrap();
    assert!(old.is_some(), "there is no such entry");
    store.flush().unwrap();
}

#[test]
fn damaged_jobs_end_and_take_no_others_along() {
    let mut cluster = Cluster::builder().unkept().set("slot_grace", "1").start();
    let caller = cluster.caller();
    let ended = caller.call("web01", "count", "[3]");
    assert_eq!(caller.result(&ended), json!({"result": null}));
    let mut feed = cluster.feed("feed");
    let streaming = caller.call("web01", "feed", &feed.arguments());
    feed.send("0");
    let _ = caller.follow(&streaming, r#""since": 0"#).raw_line();
    let mut gate = cluster.feed("gate");
    let running = caller.call_with("web01", "gate", &gate.arguments(), QUEUE);
    gate.wait_read();
    let [place, call, fine] =
        ["[1]", "[2]", "[3]"].map(|arguments| caller.call_with("web01", "echo", arguments, QUEUE));
    cluster.kill_dispatcher();
    // Where a running and a waiting job stand, and what a waiting job was to call.
    damage(&cluster, b'l', &streaming);
    damage(&cluster, b'l', &place);
    damage(&cluster, b'c', &call);

    cluster.start_dispatcher();
    for job in [&streaming, &place, &call] {
        let end = caller.result(job);
        assert_eq!(end["error"]["type"], "storage_error", "{end}");
        assert!(end["harpcaller"].is_null(), "it is the job's end: {end}");
    }
    let told: Vec<_> = cluster.log().all(TOLD);
    for job in [&streaming, &place] {
        assert!(told.iter().any(|entry| entry["job"] == **job), "{told:?}");
    }
    assert_eq!(caller.read(&streaming, "").packets, ["0"]);
    assert_eq!(caller.result(&fine), json!({"result": [3]}));
    assert_eq!(caller.result(&running)["error"]["type"], "missing_result");
    assert_eq!(caller.read(&ended, "").packets, ["0", "1", "2"]);
    assert!(cluster.lines(&["list"]).is_empty(), "nothing is stuck");

    // And it stays so.
    assert_eq!(cluster.log().count(TOLD), 2);
    cluster.restart_dispatcher();
    assert_eq!(caller.result(&place)["error"]["type"], "storage_error");
    assert_eq!(cluster.log().count(TOLD), 2);
}
