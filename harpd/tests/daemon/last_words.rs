//! Output that comes late: behind the exit of the command, or behind its end by SIGTERM.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::host::{Harpd, Host, is_gone, wait_for};

/// What a shell with process substitution is needed for; none where there is no bash.
fn bash(host: Host, name: &str, keys: &str, script: &str) -> Host {
    host.command(name, keys, &["bash", "-c", script])
}

fn has_bash() -> bool {
    let found = std::process::Command::new("bash")
        .arg("-c")
        .arg(":")
        .status();
    if found.is_err() {
        eprintln!("skipped: no bash");
    }
    found.is_ok()
}

fn packets(answers: &[Value]) -> Vec<&str> {
    let packets = answers
        .iter()
        .filter_map(|answer| answer["stream"].as_str());
    packets.collect()
}

#[tokio::test]
async fn a_filter_behind_the_command_says_its_last_lines() {
    if !has_bash() {
        return;
    }
    let stamps = "exec > >(while read -r line; do sleep 0.1; echo \"$(date +%s) $line\"; done)";
    let harpd = bash(
        Host::new(),
        "sed",
        "output = 'lines'",
        "exec > >(sed 's/^/x /') 2>&1; echo FATAL; exit 1",
    );
    let harpd = bash(
        harpd,
        "stamps",
        "output = 'lines'",
        &format!("{stamps}; for i in 1 2 3 4 5; do echo line $i; done"),
    );
    let harpd = bash(
        harpd,
        "text",
        "output = 'text'",
        "exec > >(sleep 0.3; tr a-z A-Z); echo one; echo two",
    );
    // What has come by the exit is JSON, and not the answer.
    let harpd = bash(
        harpd,
        "json",
        "output = 'json'",
        "exec > >(cat; sleep 0.3; echo ', 2]'); echo '[1'",
    );
    let harpd = bash(
        harpd,
        "shorter",
        "output = 'json'",
        "exec > >(sleep 0.2; cat; sleep 0.3; echo 3); printf 12",
    );
    let harpd = bash(
        harpd,
        "json_lines",
        "output = 'json-lines'",
        "exec > >(sleep 0.3; sed 's/$/0/'); echo 1; echo 2",
    );
    let harpd = bash(
        harpd,
        "harp",
        "output = 'harp'\nstream = true",
        "exec > >(sleep 0.3; cat); echo '{\"stream\": 1}'; echo '{\"result\": 2}'",
    );
    let harpd = bash(
        harpd,
        "stderr",
        "output = 'lines'",
        "exec 2> >(sleep 0.3; sed 's/^/x /' >&2); echo 'the cause' >&2; exit 3",
    );
    let harpd = harpd.start();

    let answers = harpd.answers("sed", json!([])).await;
    assert_eq!(packets(&answers), ["x FATAL"]);
    assert_eq!(answers.last().unwrap()["exception"]["data"]["exit_code"], 1);
    let answers = harpd.answers("stamps", json!([])).await;
    let lines = packets(&answers);
    assert_eq!(lines.len(), 5, "{lines:?}");
    assert!(lines[4].ends_with(" line 5"));
    assert_eq!(
        harpd.end("text", json!([])).await,
        json!({"result": "ONE\nTWO\n"})
    );
    assert_eq!(
        harpd.end("json", json!([])).await,
        json!({"result": [1, 2]})
    );
    assert_eq!(
        harpd.end("shorter", json!([])).await,
        json!({"result": 123})
    );
    let answers = harpd.answers("json_lines", json!([])).await;
    assert_eq!(
        answers[1..3],
        [json!({"stream": 10}), json!({"stream": 20})]
    );
    let answers = harpd.answers("harp", json!([])).await;
    assert_eq!(answers[1..], [json!({"stream": 1}), json!({"result": 2})]);
    let end = harpd.end("stderr", json!([])).await;
    assert_eq!(end["exception"]["message"], "x the cause");
    assert_eq!(end["exception"]["data"]["stderr"], "x the cause\n");
}

#[tokio::test]
async fn a_child_that_outlives_the_command_is_heard_while_it_speaks() {
    let harpd = Host::new()
        .script(
            "child",
            "output = 'lines'",
            "(for i in 1 2 3; do sleep 0.4; echo $i; done) & echo begin",
        )
        .start();
    let answers = harpd.answers("child", json!([])).await;
    assert_eq!(packets(&answers), ["begin", "1", "2", "3"]);
}

#[tokio::test]
async fn a_silent_holder_of_the_pipe_delays_by_a_second_at_most() {
    let harpd = Host::new()
        .script(
            "holder",
            "output = 'lines'\ntimeout = 1",
            "sleep 1000 & echo $!",
        )
        .script(
            "closed",
            "output = 'lines'",
            "sleep 1000 > /dev/null 2>&1 & echo $!",
        )
        .start();
    for (procedure, most) in [
        ("holder", Duration::from_secs(6)),
        ("closed", Duration::from_millis(900)),
    ] {
        let mut caller = harpd.call(procedure, json!([])).await;
        caller.acknowledged(true).await;
        let holder = caller.pid().await;
        let began = Instant::now();
        assert_eq!(caller.rest().await, [json!({"result": {"exit_code": 0}})]);
        assert!(began.elapsed() < most, "{procedure}: {:?}", began.elapsed());
        assert!(is_gone(holder));
    }
}

#[tokio::test]
async fn a_holder_that_goes_on_talking_is_bounded_by_the_timeout() {
    let harpd = Host::new()
        .script(
            "talker",
            "output = 'lines'\ntimeout = 1",
            "(while :; do echo tick; sleep 0.1; done) & echo begin",
        )
        .start();
    let end = harpd.end("talker", json!([])).await;
    assert_eq!(end["error"]["type"], "timeout", "{end}");
}

#[tokio::test]
async fn a_holder_that_logs_for_ever_takes_no_result_along() {
    let logs = "(while :; do echo tick >&2; sleep 0.1; done) &";
    let harpd = Host::new()
        .script("json", "output = 'json'", &format!("{logs} echo 5"))
        .script(
            "lines",
            "output = 'lines'\ntimeout = 1",
            &format!("{logs} echo begin"),
        )
        // Nobody holds what makes the answer.
        .script(
            "closed",
            "output = 'text'\ntimeout = 1",
            "(while :; do echo tick >&2; sleep 0.1; done) > /dev/null & echo done",
        )
        .script(
            "fails",
            "output = 'text'\ntimeout = 1",
            &format!("{logs} sleep 0.3; exit 3"),
        )
        .script("fails_late", "output = 'json'", &format!("{logs} exit 3"))
        .start();
    for (procedure, result) in [
        ("json", json!(5)),
        ("lines", json!({"exit_code": 0})),
        ("closed", json!("done\n")),
    ] {
        let end = harpd.end(procedure, json!([])).await;
        assert_eq!(end, json!({ "result": result }), "{procedure}");
    }
    for procedure in ["fails", "fails_late"] {
        let exception = &harpd.end(procedure, json!([])).await["exception"];
        assert_eq!(exception["message"], "tick", "{procedure}");
        assert_eq!(exception["data"]["exit_code"], 3, "{procedure}");
    }
}

/// A shell that does not end at SIGTERM before it has said something, with a pause.
const TIDY: &str = "trap 'echo rolling back; sleep 0.3; printf \"rolled back\"; \
     echo why >&2; exit 1' TERM; echo ready; while :; do sleep 0.05; done";

fn tidy() -> Harpd {
    Host::new()
        .script("tidy", "output = 'lines'", TIDY)
        .script("late", "output = 'lines'\ntimeout = 1", TIDY)
        .script("text", "output = 'text'\ntimeout = 1", TIDY)
        .script(
            "long",
            "output = 'lines'\nmax_output = '1K'",
            "trap 'echo; echo rolled back; exit' TERM; head -c 2000 /dev/zero | tr '\\0' x; \
             while :; do sleep 0.05; done",
        )
        .script(
            "wrong",
            "output = 'json-lines'",
            "trap 'echo no JSON; echo 2; echo why >&2; exit' TERM; echo 1; echo wrong; \
             while :; do sleep 0.05; done",
        )
        .script(
            "harp",
            "output = 'harp'\nstream = true\ntimeout = 1",
            "trap 'echo \"{\\\"stream\\\": 2}\"; echo \"{\\\"result\\\": 3}\"; exit' TERM; \
             echo '{\"stream\": 1}'; while :; do sleep 0.05; done",
        )
        .start()
}

#[tokio::test]
async fn last_words_are_recorded_after_a_cancel() {
    let harpd = tidy();
    let mut caller = harpd.call("tidy", json!([])).await;
    caller.acknowledged(true).await;
    assert_eq!(caller.packet().await, "ready");
    caller.close().await;
    let rest = caller.rest().await;
    assert_eq!(packets(&rest), ["rolling back", "rolled back"]);
    let end = &rest.last().unwrap()["error"];
    assert_eq!(end["type"], "cancelled");
    // The proof is as it always is.
    assert_eq!(end["data"], json!({"processes": 0}));
}

#[tokio::test]
async fn a_caller_that_names_no_protocol_gets_the_proof_of_a_cancel_alone() {
    let host = Host::new();
    let here = host.here();
    let harpd = host
        .script(
            "document",
            &format!("output = 'text'\n{here}"),
            "trap 'echo rolled back; echo why >&2; exit 1' TERM; echo half done; : > begun; \
             while :; do sleep 0.05; done",
        )
        .start();
    let mut caller = harpd.call("document", json!([])).await;
    caller.acknowledged(false).await;
    let begun = harpd.host.path("begun");
    wait_for("its output", || begun.exists()).await;
    caller.close().await;
    let end = &caller.rest().await[0]["error"];
    assert_eq!(end["type"], "cancelled");
    assert_eq!(end["data"], json!({"processes": 0}));
}

#[tokio::test]
async fn last_words_are_recorded_at_a_limit_and_after_a_fault() {
    let harpd = tidy();
    let answers = harpd.answers("late", json!([])).await;
    assert_eq!(packets(&answers), ["ready", "rolling back", "rolled back"]);
    // The shell may have said of its child that it was terminated.
    let data = &answers.last().unwrap()["error"]["data"];
    assert_eq!(
        (&data["limit"], &data["seconds"]),
        (&json!("timeout"), &json!(1))
    );
    assert!(
        data["stderr"].as_str().unwrap().ends_with("why\n"),
        "{data}"
    );
    assert_eq!(data.get("stdout"), None);
    let end = harpd.end("text", json!([])).await;
    let data = &end["error"]["data"];
    assert_eq!(data["stdout"], "ready\nrolling back\nrolled back");
    assert!(
        data["stderr"].as_str().unwrap().ends_with("why\n"),
        "{data}"
    );
    let answers = harpd.answers("long", json!([])).await;
    assert_eq!(packets(&answers), ["rolled back"]);
    assert_eq!(
        answers.last().unwrap()["exception"]["type"],
        "output_too_large"
    );
    let answers = harpd.answers("wrong", json!([])).await;
    assert_eq!(answers[1..3], [json!({"stream": 1}), json!({"stream": 2})]);
    let data = &answers[3]["exception"]["data"];
    assert_eq!(data["line"], "wrong");
    assert!(
        data["stderr"].as_str().unwrap().ends_with("why\n"),
        "{data}"
    );
    let answers = harpd.answers("harp", json!([])).await;
    assert_eq!(answers[1..3], [json!({"stream": 1}), json!({"stream": 2})]);
    assert_eq!(answers[3]["error"]["type"], "timeout");
}

#[tokio::test]
async fn last_words_are_recorded_at_a_stop() {
    let harpd = tidy();
    let mut caller = harpd.call("tidy", json!([])).await;
    caller.acknowledged(true).await;
    assert_eq!(caller.packet().await, "ready");
    harpd.signal(Signal::TERM);
    let rest = caller.rest().await;
    assert_eq!(packets(&rest), ["rolling back", "rolled back"]);
    assert_eq!(rest.last().unwrap()["error"]["type"], "shutdown");
}

#[tokio::test]
async fn a_caller_that_takes_nothing_does_not_keep_anybody_from_cleaning_up() {
    let host = Host::new().set("stall_timeout = 1");
    let here = format!("output = 'lines'\n{}", host.here());
    let harpd = host
        .script(
            "flood",
            &here,
            "trap 'seq 1 20000; echo done > tidied; exit' TERM; \
             while :; do seq 1 10000; done",
        )
        .start();
    let mut caller = harpd.call("flood", json!([])).await;
    caller.acknowledged(true).await;
    harpd.logged("call ended").await;
    assert!(harpd.host.path("tidied").exists());
    assert_eq!(
        caller.rest().await.last().unwrap()["error"]["type"],
        "cancelled"
    );
}
