//! A cancelled call leaves nothing behind, and says so.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::host::{Harpd, Host, is_gone, wait_for};

const PROOF: &str = "cancelled";

/// A shell with a child, both told of; the child of a child, too.
const FAMILY: &str = "echo $$; sleep 1000 & echo $!; sh -c 'echo $$; sleep 1000; :' ";

fn host() -> Host {
    Host::new()
        .script("family", "output = 'lines'", FAMILY)
        .script(
            "deaf",
            "output = 'lines'",
            &format!("trap '' TERM; {FAMILY} & while :; do sleep 1000; done"),
        )
}

async fn cancelled(harpd: &Harpd, procedure: &str, rudely: bool) -> Duration {
    let mut caller = harpd.call(procedure, json!([])).await;
    caller.acknowledged(true).await;
    let mut family = Vec::new();
    for _ in 0..3 {
        family.push(caller.pid().await);
    }
    let began = Instant::now();
    if rudely {
        caller.close_rudely().await;
    } else {
        caller.close().await;
    }
    let rest = caller.rest().await;
    assert_eq!(rest.len(), 1, "{rest:?}");
    assert_eq!(rest[0]["harp"], 1);
    assert_eq!(rest[0]["error"]["type"], PROOF);
    assert_eq!(rest[0]["error"]["data"], json!({"processes": 0}));
    assert!(family.into_iter().all(is_gone));
    began.elapsed()
}

#[tokio::test]
async fn a_close_notify_ends_the_whole_session() {
    let harpd = host().start();
    cancelled(&harpd, "family", false).await;
    let line = harpd.logged("call ended").await;
    assert_eq!(line["type"], PROOF);
}

#[tokio::test]
async fn groups_of_their_own_end_with_the_call() {
    // GNU timeout and a shell with job control make process groups for what they run.
    let harpd = Host::new()
        .script(
            "family",
            "output = 'lines'",
            "echo $$; timeout 1000 sh -c 'echo $$; sleep 1000; :' &\n\
             bash -mc 'sleep 1000 & echo $!; wait'",
        )
        .start();
    cancelled(&harpd, "family", false).await;
}

#[tokio::test]
async fn so_do_those_that_ignore_sigterm() {
    let harpd = Host::new()
        .script(
            "family",
            "output = 'lines'",
            "echo $$; trap '' TERM\n\
             bash -mc 'sh -c \"echo \\$\\$; sleep 1000; :\" & sleep 1000 & echo $!; wait'",
        )
        .start();
    let took = cancelled(&harpd, "family", false).await;
    assert!(took >= Duration::from_secs(1), "{took:?}");
}

#[tokio::test]
async fn so_does_an_end_of_file() {
    let harpd = host().start();
    cancelled(&harpd, "family", true).await;
}

#[tokio::test]
async fn who_ignores_sigterm_is_killed_after_the_grace() {
    let harpd = host().start();
    let took = cancelled(&harpd, "deaf", false).await;
    assert!(took >= Duration::from_secs(1), "{took:?}");
}

#[tokio::test]
async fn a_stopped_process_ends_too() {
    let harpd = Host::new()
        .script("stopped", "output = 'lines'", "echo $$; kill -STOP $$")
        .start();
    let mut caller = harpd.call("stopped", json!([])).await;
    caller.acknowledged(true).await;
    let pid = caller.pid().await;
    caller.close().await;
    assert_eq!(caller.rest().await[0]["error"]["type"], PROOF);
    assert!(is_gone(pid));
}

#[tokio::test]
async fn there_is_time_to_clean_up() {
    let host = Host::new();
    let here = format!("output = 'lines'\n{}", host.here());
    let harpd = host
        .script(
            "tidy",
            &here,
            "trap 'echo bye; echo bye >&2; echo done > tidied; exit' TERM; echo ready; \
             while :; do sleep 0.05; done",
        )
        .start();
    let mut caller = harpd.call("tidy", json!([])).await;
    caller.acknowledged(true).await;
    assert_eq!(caller.packet().await, "ready");
    caller.close().await;
    assert_eq!(caller.rest().await.last().unwrap()["error"]["type"], PROOF);
    assert!(harpd.host.path("tidied").exists());
}

#[tokio::test]
async fn a_call_that_waits_for_a_slot_is_cancelled_at_once() {
    let harpd = Host::new()
        .script(
            "one",
            "output = 'lines'\nmax_calls = 1",
            "echo $$; exec sleep 1000",
        )
        .start();
    let mut first = harpd.call("one", json!([])).await;
    first.acknowledged(true).await;
    let pid = first.pid().await;
    let mut second = harpd.call("one", json!([])).await;
    second.acknowledged(true).await;
    second.close().await;
    let rest = second.rest().await;
    assert_eq!(rest[0]["error"]["data"], json!({"processes": 0}));
    assert!(!is_gone(pid));
    // The slot comes free with the first call's end, for a third.
    first.close().await;
    first.rest().await;
    let mut third = harpd.call("one", json!([])).await;
    third.acknowledged(true).await;
    third.pid().await;
}

#[tokio::test]
async fn before_the_request_is_whole_there_is_nothing_to_cancel() {
    let host = Host::new();
    let here = host.here();
    let harpd = host
        .script("mark", &here, "echo started >> marks; echo 1")
        .start();
    let line = crate::host::request("mark", &json!([]));
    for sent in [0, 1, line.len()] {
        let mut caller = harpd.connect().await;
        caller.send(&line.as_bytes()[..sent]).await;
        caller.close().await;
        // Nothing is said to who did not ask, not even good-bye.
        let mut answer = Vec::new();
        let _ = tokio::io::AsyncReadExt::read_to_end(&mut caller.stream, &mut answer).await;
        assert_eq!(answer, b"");
    }
    assert_eq!(harpd.end("mark", json!([])).await, json!({"result": 1}));
    let marks = std::fs::read_to_string(harpd.host.path("marks")).unwrap();
    assert_eq!(marks, "started\n");
}

#[tokio::test]
async fn after_the_command_has_exited_what_it_left_is_killed_and_proved() {
    let host = Host::new();
    let here = format!("output = 'lines'\n{}", host.here());
    let harpd = host
        .script(
            "leaves",
            &here,
            "sh -c 'trap \"\" TERM; echo $$; touch ready; while :; do sleep 1000; done' & \
             while [ ! -e ready ]; do sleep 0.01; done",
        )
        .start();
    let mut caller = harpd.call("leaves", json!([])).await;
    caller.acknowledged(true).await;
    let left = caller.pid().await;
    caller.close().await;
    let rest = caller.rest().await;
    assert_eq!(
        rest[0]["error"]["data"],
        json!({"processes": 0}),
        "{rest:?}"
    );
    assert!(is_gone(left));
}

#[tokio::test]
async fn a_result_that_is_being_sent_is_sent_whole() {
    let harpd = Host::new()
        .script(
            "large",
            "output = 'text'",
            "head -c 8M /dev/zero | tr '\\0' x",
        )
        .start();
    let mut caller = harpd.call("large", json!([])).await;
    harpd.logged("call ended").await;
    caller.close().await;
    let answers = caller.rest().await;
    assert_eq!(answers[1]["result"].as_str().unwrap().len(), 8 << 20);
}

#[tokio::test]
async fn a_caller_that_takes_nothing_does_not_keep_its_slot() {
    let harpd = Host::new()
        .set("stall_timeout = 1\nmax_calls = 1")
        .script("flood", "output = 'lines'", "echo $$; yes")
        .script("one", "", "echo 1")
        .start();
    let mut caller = harpd.call("flood", json!([])).await;
    caller.acknowledged(true).await;
    let pid = caller.pid().await;
    assert_eq!(harpd.end("one", json!([])).await, json!({"result": 1}));
    assert!(is_gone(pid));
    // It learns why when it reads at last.
    let rest = caller.rest().await;
    let end = rest.last().unwrap();
    assert_eq!(end["error"]["type"], PROOF);
    let message = end["error"]["message"].as_str().unwrap();
    assert!(message.contains("took nothing"), "{message}");
}

#[tokio::test]
async fn a_caller_that_vanishes_while_it_reads_nothing_cancels_too() {
    let harpd = Host::new()
        .script("flood", "output = 'lines'", "echo $$; yes")
        .start();
    let mut caller = harpd.call("flood", json!([])).await;
    caller.acknowledged(true).await;
    let pid = caller.pid().await;
    drop(caller);
    wait_for("the flood to end", || is_gone(pid)).await;
}

#[tokio::test]
async fn many_cancels_at_once_are_all_proved() {
    let harpd = std::sync::Arc::new(host().start());
    let calls: Vec<_> = (0..40)
        .map(|number| {
            let harpd = std::sync::Arc::clone(&harpd);
            let procedure = if number % 4 == 0 { "deaf" } else { "family" };
            tokio::spawn(async move { cancelled(&harpd, procedure, number % 2 == 0).await })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
}
