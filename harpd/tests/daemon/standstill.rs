//! A harpd that stands still for a while (SIGSTOP, a suspended machine) and finds all its
//! limits passed.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use tokio::io::AsyncReadExt;

use crate::host::Host;

/// Longer than the limits in these tests.
const STANDSTILL: Duration = Duration::from_millis(2500);

#[tokio::test]
async fn a_procedure_that_has_ended_meanwhile_has_ended_in_time() {
    let harpd = Host::new()
        .script(
            "returns",
            "output = 'json'\ntimeout = 1",
            "sleep 0.5; echo 1",
        )
        .script(
            "talks",
            "output = 'lines'\ntimeout = 1",
            "for i in 1 2 3 4; do sleep 0.1; echo $i; done",
        )
        .script(
            "fails",
            "output = 'text'\ntimeout = 1",
            "sleep 0.5; echo why >&2; exit 3",
        )
        .script("hangs", "output = 'text'\ntimeout = 1", "exec sleep 1000")
        .start();
    let mut callers = Vec::new();
    for procedure in ["returns", "talks", "fails", "hangs"].repeat(5) {
        let mut caller = harpd.call(procedure, json!([])).await;
        caller.acknowledged(procedure == "talks").await;
        callers.push((procedure, caller));
    }
    harpd.signal(Signal::STOP);
    tokio::time::sleep(STANDSTILL).await;
    harpd.signal(Signal::CONT);
    for (procedure, mut caller) in callers {
        let answers = caller.rest().await;
        let end = answers.last().unwrap();
        match procedure {
            "returns" => assert_eq!(*end, json!({"result": 1})),
            "talks" => assert_eq!(
                (answers.len(), end),
                (5, &json!({"result": {"exit_code": 0}}))
            ),
            "fails" => assert_eq!(end["exception"]["message"], "why"),
            _ => assert_eq!(end["error"]["type"], "timeout"),
        }
    }
}

#[tokio::test]
async fn a_caller_that_takes_what_it_can_has_not_stalled() {
    let harpd = Host::new()
        .set("stall_timeout = 1")
        .script("flood", "output = 'lines'", "seq 1 1000000")
        .start();
    let mut caller = harpd.call("flood", json!([])).await;
    caller.acknowledged(true).await;
    harpd.signal(Signal::STOP);
    let until = tokio::time::Instant::now() + STANDSTILL;
    // It takes all that is on its way, and then nothing comes for longer than it may stall.
    let mut got = Vec::new();
    while let Ok(read) = tokio::time::timeout_at(until, caller.stream.read_buf(&mut got)).await {
        assert!(read.unwrap() > 0);
    }
    harpd.signal(Signal::CONT);
    caller.stream.read_to_end(&mut got).await.unwrap();
    let got = String::from_utf8(got).unwrap();
    assert!(got.ends_with("\n{\"result\":{\"exit_code\":0}}\n"));
    assert_eq!(got.lines().count(), 1_000_001);
}
