//! What becomes of single jobs whose turn, end or record falls into a time in which the
//! store cannot be written. What everybody sees of such a time is in `storage_faults`.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::Duration;

use harp_tests::{ACKNOWLEDGE, Cluster, FakeHost, Step, until};
use rustix::fs::{CWD, Mode, OFlags, mkfifoat};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::storage_faults::limit_files;

fn queue(number: u64) -> String {
    format!(r#""queue": {{"name": {{"q": {number}}}, "concurrency": 1}}"#)
}

/// Lets no byte of the store be written any more, and has the dispatcher find that out.
fn break_store(cluster: &Cluster) {
    limit_files(cluster, Some(1));
    let refused = cluster.caller().ask(json!({
        "harpcaller": 1, "host": "nowhere", "procedure": "p", "arguments": [],
    }));
    assert_eq!(refused["error"]["type"], "storage_error", "{refused}");
}

/// An audit log that no limit of files concerns: a pipe, which the test reads.
struct AuditPipe {
    directory: TempDir,
    reader: File,
    /// What has come of it.
    text: Vec<u8>,
}

impl AuditPipe {
    fn new() -> AuditPipe {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit");
        mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).unwrap();
        let reader = File::options()
            .read(true)
            .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
            .open(path)
            .unwrap();
        AuditPipe {
            directory,
            reader,
            text: Vec::new(),
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("audit")
    }

    /// The lines about a job that have been written by now.
    fn about(&mut self, job: &str) -> Vec<Value> {
        if let Err(error) = self.reader.read_to_end(&mut self.text) {
            assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
        }
        let lines = self.text.split_inclusive(|byte| *byte == b'\n');
        lines
            .filter(|line| line.ends_with(b"\n"))
            .map(|line| serde_json::from_slice(line).unwrap())
            .filter(|line: &Value| line["job"] == job)
            .collect()
    }
}

#[test]
fn a_call_of_unknown_outcome_is_one_job() {
    let mut audit = AuditPipe::new();
    let cluster = Cluster::builder()
        .set("audit_file", &json!(audit.path()).to_string())
        .start();
    let caller = cluster.caller();
    let trace = cluster.path("trace");
    let call = json!({
        "harpcaller": 1, "host": "web01", "procedure": "trace", "arguments": [trace, "x"],
        "key": "k", "queue": {"name": {"q": 1}, "concurrency": 1},
    });
    limit_files(&cluster, Some(1));
    // The first write that fails is the one of this call.
    let refused = caller.ask(&call);
    assert_eq!(refused["error"]["data"]["outcome"], "unknown", "{refused}");
    let told = cluster.log().wait_for("job not recorded");
    let job = told["job"].as_str().unwrap().to_owned();
    limit_files(&cluster, None);
    // Without anybody asking for it again, it is recorded and done, once.
    until("the job is known", || {
        let answer = caller.result(&job);
        (answer == json!({"result": null})).then_some(())
    });
    // The audit log says when nobody knew, and that it became a job.
    let lines = until("the end is in the audit log", || {
        let lines = audit.about(&job);
        lines
            .iter()
            .any(|line| line["event"] == "ended")
            .then_some(lines)
    });
    let events: Vec<_> = lines.iter().map(|line| &line["event"]).collect();
    assert_eq!(events, ["unknown", "accepted", "ended"]);
    for line in &lines {
        assert_eq!(
            (&line["host"], &line["procedure"]),
            (&json!("web01"), &json!("trace"))
        );
    }
    let again = caller.ask(&call);
    assert_eq!(
        again,
        json!({"harpcaller": 1, "job_id": job, "existing": true})
    );
    // Its place in the queue is free.
    let next = caller.call_with("web01", "echo", "[1]", &queue(1));
    assert_eq!(caller.result(&next), json!({"result": [1]}));
    assert_eq!(fs::read_to_string(trace).unwrap(), "start x\nend x\n");
}

#[test]
fn a_call_that_never_became_a_job_is_unknown_in_the_audit_log_and_no_more() {
    let mut audit = AuditPipe::new();
    let mut cluster = Cluster::builder()
        .set("audit_file", &json!(audit.path()).to_string())
        .start();
    limit_files(&cluster, Some(1));
    let call = json!({"harpcaller": 1, "host": "web01", "procedure": "echo", "arguments": []});
    let refused = cluster.caller().ask(&call);
    assert_eq!(refused["error"]["data"]["outcome"], "unknown", "{refused}");
    let told = cluster.log().wait_for("job not recorded");
    let job = told["job"].as_str().unwrap().to_owned();
    // It dies before the store can be written again.
    until("that is in the audit log", || {
        (audit.about(&job).len() == 1).then_some(())
    });
    cluster.kill_dispatcher();
    cluster.start_dispatcher();
    let answer = cluster.caller().result_now(&job);
    assert_eq!(answer["error"]["type"], "invalid_jobid", "{answer}");
    // What comes later stands behind all about it.
    let later = cluster.caller().call("web01", "echo", "[]");
    until("a later call is in the audit log", || {
        (!audit.about(&later).is_empty()).then_some(())
    });
    let lines = audit.about(&job);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0]["event"], "unknown");
}

#[test]
fn jobs_whose_turn_comes_in_an_outage_wait_and_can_be_cancelled() {
    // A host that is not done with a call that was given up, so that its place in the
    // queue is kept for a while.
    let host = FakeHost::start(&[
        Step::Handshake,
        Step::Request,
        ACKNOWLEDGE,
        Step::Dawdle(Duration::from_secs(60)),
    ]);
    let mut cluster = Cluster::builder()
        .set("slot_grace", "2")
        .fake_host("slow", &host)
        .start();
    let caller = cluster.caller();
    let first: Vec<_> = (0..3)
        .map(|number| caller.call_with("slow", "p", "[]", &queue(number)))
        .collect();
    host.wait_for_lines(3);
    let next = |number: u64, more: &str| {
        let more = format!("{}{more}", queue(number));
        caller.call_with("web01", "echo", "[]", &more)
    };
    let waiting = next(0, "");
    let cancelled = next(1, "");
    let late = next(2, r#", "start_by": 4"#);
    for job in &first {
        assert!(caller.cancel(job));
    }
    break_store(&cluster);
    // Their turn comes, and their start cannot be recorded; the one that is late has an
    // end that cannot be recorded.
    let tried = "the end of the job cannot be recorded, trying again";
    until("the time to start is over", || {
        let tried = cluster.log().all(tried);
        tried
            .iter()
            .any(|entry| entry["job"] == *late)
            .then_some(())
    });
    let mut client = caller.send(json!({"harpcaller": 1, "cancel": cancelled}));
    let answer = client.line();
    assert_eq!(answer["error"]["type"], "storage_error", "{answer}");
    for job in [&waiting, &cancelled, &late] {
        assert_eq!(caller.result_now(job), json!({"no_result": true}));
    }
    let tried = cluster.log().all(tried);
    assert!(tried.iter().all(|entry| entry["job"] != *waiting));

    limit_files(&cluster, None);
    assert_eq!(caller.result(&waiting), json!({"result": []}));
    assert_eq!(caller.result(&cancelled), json!({"cancelled": true}));
    let end = caller.result(&late);
    assert_eq!(end["error"]["data"]["limit"], "start_by", "{end}");
    // The places that were to be given back meanwhile are free after a crash, too.
    until("the places are free on disk", || {
        cluster.lines(&["queue-list"]).is_empty().then_some(())
    });
    cluster.kill_dispatcher();
    cluster.start_dispatcher();
    let ends: Vec<_> = [&waiting, &cancelled]
        .map(|job| caller.result_now(job))
        .into();
    assert_eq!(ends, [json!({"result": []}), json!({"cancelled": true})]);
}

#[test]
fn a_queue_that_is_cancelled_in_an_outage_is_cancelled() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let mut gate = cluster.feed("gate");
    let running = caller.call_with("web01", "gate", &gate.arguments(), &queue(1));
    gate.wait_read();
    let waiting: Vec<_> = (0..5)
        .map(|_| caller.call_with("web01", "echo", "[]", &queue(1)))
        .collect();
    break_store(&cluster);
    let told = cluster.run(&["queue-cancel", r#"{"q": 1}"#]);
    assert!(!told.status.success(), "the ends cannot be recorded");
    let told = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(told.contains("cannot be recorded at present"), "{told}");
    for job in waiting.iter().chain([&running]) {
        assert_eq!(caller.result_now(job), json!({"no_result": true}));
    }
    limit_files(&cluster, None);
    for job in waiting.iter().chain([&running]) {
        assert_eq!(caller.result(job), json!({"cancelled": true}));
    }
    let next = caller.call_with("web01", "echo", "[1]", &queue(1));
    assert_eq!(caller.result(&next), json!({"result": [1]}));
}
