//! A store whose file system fails while the dispatcher runs, and comes back: full, not
//! writable, not taking what it had accepted (section 7, `storage_error`).
//!
//! Each test breaks something else and mends it; what clients must see is the same.

use std::fs;
use std::path::Path;

use harp_tests::disk::{self, Mount, run};
use harp_tests::{Caller, Cluster, ClusterBuilder, Page, packet, until};
use serde_json::{Value, json};

use crate::assertions::assert_refused;

const QUEUE: &str = r#""queue": {"name": {"q": 1}, "concurrency": 1}"#;

/// A call whose record needs room of its own.
fn try_to_call(caller: Caller) -> Value {
    caller.ask(json!({
        "harpcaller": 1, "host": "web01", "procedure": "echo", "arguments": ["x".repeat(200_000)],
    }))
}

/// Everything that a client can know about jobs, as text.
fn everything(caller: Caller, jobs: &[&String]) -> Vec<String> {
    jobs.iter()
        .flat_map(|job| {
            [
                json!({"harpcaller": 1, "get_result": job, "wait": false}),
                json!({"harpcaller": 1, "get_status": job}),
                json!({"harpcaller": 1, "read_stream": job, "timestamps": true}),
            ]
        })
        .flat_map(|request| caller.send(request).rest())
        .collect()
}

/// What clients see when the store breaks, while it is broken, and once it is mended.
fn goes_through_an_outage(
    mut cluster: Cluster,
    break_it: impl FnOnce(&Cluster),
    mend_it: impl FnOnce(&Cluster),
) {
    let caller = cluster.caller();
    let kept = caller.call("web01", "count", "[10]");
    assert_eq!(caller.result(&kept), json!({"result": null}));
    let mut feed = cluster.feed("feed");
    let streaming = caller.call("web01", "feed", &feed.arguments());
    feed.send("0");
    let mut follower = caller.follow(&streaming, r#""since": 0"#);
    assert_eq!(packet(&follower.raw_line()), Some((0, "0")));
    let gates = ["first", "second", "third"].map(|name| cluster.feed(name));
    let [first, second, third] = &gates;
    let queued =
        |gate: &harp_tests::Feed| caller.call_with("web01", "gate", &gate.arguments(), QUEUE);
    let (first, second, third) = (queued(first), queued(second), queued(third));
    let [mut first_gate, second_gate, third_gate] = gates;
    first_gate.wait_read();
    let before = everything(caller, &[&kept]);

    break_it(&cluster);
    // The first one may be found out in the middle of writing, the later ones are
    // certainly refused.
    let refused = until("a call is refused", || {
        let answer = try_to_call(caller);
        answer["error"].is_object().then_some(answer)
    });
    let outcome = refused["error"]["data"]["outcome"].as_str().unwrap();
    assert!(matches!(outcome, "none" | "unknown"), "{refused}");
    let data = json!({"outcome": outcome});
    assert_refused(&refused, "storage_error", &data);
    until("a call is certainly refused", || {
        let answer = try_to_call(caller);
        assert_eq!(answer["error"]["type"], "storage_error", "{answer}");
        (answer["error"]["data"]["outcome"] == "none").then_some(())
    });
    let _ = cluster
        .log()
        .wait_for("writing to the job store failed; calls are refused until it succeeds again");
    // Reads go on, of jobs that live, too. The engine may have been stopped in the middle
    // of dividing a page, and then cannot read what is there: after some seconds that is
    // said, and no more. Whoever waits for a job is not told.
    let mut patient = [
        caller.follow(&kept, r#""since": 0"#),
        caller.send(json!({"harpcaller": 1, "get_result": kept, "wait": true})),
    ];
    let cannot_be_read = |answer: &str| answer.contains("the job store cannot be read at present");
    let now = everything(caller, &[&kept]);
    if !now.iter().any(|line| cannot_be_read(line)) {
        assert_eq!(now, before);
    }
    for (job, has_started) in [(&first, true), (&second, false)] {
        let status = caller.status(job);
        if !cannot_be_read(&status.to_string()) {
            assert_eq!(status["time"]["start"].is_null(), !has_started, "{status}");
        }
    }
    // What ends now is not said to have ended, what is printed now is not shown.
    feed.send("1");
    feed.finish();
    first_gate.send("\"first\"");
    first_gate.finish();
    until("the ends cannot be recorded", || {
        let tried = "the end of the job cannot be recorded, trying again";
        (cluster.log().count(tried) >= 2).then_some(())
    });
    for job in [&streaming, &first] {
        let answer = caller.result_now(job);
        assert_eq!(answer, json!({"no_result": true}));
    }
    assert!(follower.is_quiet());
    let cancel = caller.ask(json!({"harpcaller": 1, "cancel": third}));
    assert_eq!(cancel["error"]["type"], "storage_error", "{cancel}");

    mend_it(&cluster);
    // Everything goes on where it was.
    let [followed, waited] = &mut patient;
    assert_eq!(Page::read(followed).packets.len(), 10);
    assert_eq!(waited.line(), json!({"result": null}));
    let rest = Page::read(&mut follower);
    assert_eq!((rest.first, rest.packets), (Some(1), vec!["1".to_owned()]));
    assert_eq!(rest.last, json!({"result": null}));
    assert_eq!(caller.result(&first), json!({"result": "first"}));
    assert_eq!(everything(caller, &[&kept]), before);
    let _ = cluster.log().wait_for("the job store can be written again");
    let again = until("calls are taken again", || {
        let answer = try_to_call(caller);
        answer["job_id"].as_str().map(str::to_owned)
    });
    assert_eq!(
        caller.result(&again),
        json!({"result": ["x".repeat(200_000)]})
    );
    assert_eq!(caller.result(&third), json!({"cancelled": true}));
    drop(third_gate);
    let mut second_gate = second_gate;
    second_gate.send("\"second\"");
    second_gate.finish();
    assert_eq!(caller.result(&second), json!({"result": "second"}));

    // A call that was found out in the middle of writing may have become a job late.
    for refused in cluster.log().all("job not recorded") {
        let _ = caller.result(refused["job"].as_str().unwrap());
    }
    until("what came late has ended too", || {
        cluster.lines(&["list"]).is_empty().then_some(())
    });
    // All of it is on disk.
    let jobs = [&kept, &streaming, &first, &second, &third, &again];
    let shown = everything(caller, &jobs);
    cluster.kill_dispatcher();
    cluster.start_dispatcher();
    assert_eq!(everything(caller, &jobs), shown);
    // No job is there that nobody knows of and that never ends.
    cluster.stop_dispatcher();
    cluster.start_dispatcher();
    assert!(!cluster.log().text().contains("ended with missing_result"));
}

/// Sets how long files of the dispatcher may become.
pub(crate) fn limit_files(cluster: &Cluster, limit: Option<u64>) {
    disk::limit_files(cluster.dispatcher_id(), limit);
}

#[test]
fn a_store_that_takes_no_byte() {
    goes_through_an_outage(
        Cluster::start(),
        |cluster| limit_files(cluster, Some(1)),
        |cluster| limit_files(cluster, None),
    );
}

#[test]
fn a_store_that_cannot_grow() {
    // Here the directory takes small files all the time, so it is tried again and again.
    goes_through_an_outage(
        Cluster::start(),
        |cluster| {
            let length = fs::metadata(cluster.path("jobs/db")).unwrap().len();
            limit_files(cluster, Some(length.max(1024 * 1024)));
            // What room there is in the file is soon used up.
            until("it is full", || {
                try_to_call(cluster.caller())["error"]
                    .is_object()
                    .then_some(())
            });
        },
        |cluster| limit_files(cluster, None),
    );
}

fn cluster_in(directory: &Path) -> ClusterBuilder {
    let jobs = directory.join("jobs");
    Cluster::builder().set("stream_directory", &json!(jobs).to_string())
}

#[test]
fn a_full_disk() {
    let directory = tempfile::tempdir().unwrap();
    let Some(disk) = Mount::tmpfs("48m", &directory.path().join("disk")) else {
        return;
    };
    let cluster = cluster_in(disk.at()).start();
    goes_through_an_outage(cluster, |_| disk.fill(), |_| disk.make_room());
}

#[test]
fn a_disk_that_loses_what_it_had_accepted() {
    // The file system takes the writes; below it there is no room, which comes out when
    // they are to be synced.
    let directory = tempfile::tempdir().unwrap();
    let Some(below) = Mount::tmpfs("64m", &directory.path().join("below")) else {
        return;
    };
    let image = below.at().join("image");
    let Some(disk) = Mount::in_file(&image, &directory.path().join("disk")) else {
        return;
    };
    let cluster = cluster_in(disk.at()).start();
    goes_through_an_outage(cluster, |_| below.fill(), |_| below.make_room());
}

#[test]
fn a_file_that_may_not_be_written() {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("image");
    let Some(disk) = Mount::in_file(&image, &directory.path().join("disk")) else {
        return;
    };
    let db = disk.at().join("jobs/db");
    let cluster = cluster_in(disk.at()).start();
    let change = |mode: &str| run("chattr", &[mode], db.to_str().unwrap());
    if change("+i").and_then(|_| change("-i")).is_none() {
        return;
    }
    goes_through_an_outage(
        cluster,
        |_| drop(change("+i").unwrap()),
        |_| drop(change("-i").unwrap()),
    );
}

#[test]
fn a_read_only_disk_is_told_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let Some(disk) = Mount::tmpfs("48m", &directory.path().join("disk")) else {
        return;
    };
    let mut cluster = cluster_in(disk.at()).start();
    let caller = cluster.caller();
    let kept = caller.call("web01", "count", "[10]");
    assert_eq!(caller.result(&kept), json!({"result": null}));
    cluster.stop_dispatcher();
    let remount = |option: &str| run("mount", &["-o", option], disk.at().to_str().unwrap());
    remount("remount,ro").unwrap();
    let told = cluster.fail_to_start();
    let jobs = disk.at().join("jobs");
    assert!(
        told.contains(&format!("job store {}", jobs.display())) && told.contains("Read-only"),
        "{told}"
    );
    remount("remount,rw").unwrap();
    cluster.start_dispatcher();
    assert_eq!(caller.result_now(&kept), json!({"result": null}));
}

#[test]
fn a_store_cut_short_is_refused_and_not_taken_for_an_empty_one() {
    let mut cluster = Cluster::start();
    let caller = cluster.caller();
    let kept = caller.call("web01", "count", "[10]");
    assert_eq!(caller.result(&kept), json!({"result": null}));
    cluster.stop_dispatcher();
    let path = cluster.path("jobs/db");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let told = cluster.fail_to_start();
    assert!(
        told.contains("damaged") && told.contains("check-store"),
        "{told}"
    );
    fs::write(&path, &whole).unwrap();
    cluster.start_dispatcher();
    assert_eq!(caller.read(&kept, "").packets.len(), 10);
}
