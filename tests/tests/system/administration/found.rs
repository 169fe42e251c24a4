//! Jobs that are looked for by what they are, and where they stand.

use harp_tests::{Cluster, until};
use serde_json::{Value, json};

use super::{complaint, objects};

fn ids(lines: &[Value]) -> Vec<&str> {
    let lines = lines.iter();
    lines
        .filter_map(|line| line["job"].as_str().or_else(|| line["id"].as_str()))
        .collect()
}

#[test]
fn jobs_are_found_by_host_procedure_queue_outcome_and_time() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let returned = caller.call("web01", "echo", "[1.50]");
    let failed = caller.call("nowhere", "echo", "[]");
    let queue = r#""queue": {"name": {"q": 1}}"#;
    let holder = caller.call_with("web01", "silent", "[]", queue);
    let queued = caller.call_with("web01", "silent", "[]", queue);
    for job in [&returned, &failed] {
        let _ = caller.result(job);
    }
    until("it runs", || caller.has_started(&holder).then_some(()));
    let list = |words: &[&str]| {
        let words = [&["list"], words].concat();
        objects(&cluster.lines(&words))
    };
    for (words, expected) in [
        (&["--host", "web*"][..], vec![&holder, &queued]),
        (
            &["--host", "web*", "--all"],
            vec![&returned, &holder, &queued],
        ),
        (&["--host", "no*", "--all"], vec![&failed]),
        (&["--host", "!web*", "--host", "!x", "--all"], vec![&failed]),
        (
            &["--procedure", "echo", "--procedure", "none", "--all"],
            vec![&returned, &failed],
        ),
        (&["--queue={\"q\": 1}"], vec![&holder, &queued]),
        (&["--queue=none", "--all"], vec![&returned, &failed]),
        (&["--outcome", "error"], vec![&failed]),
        (
            &["--outcome", "returned", "--outcome", "error"],
            vec![&returned, &failed],
        ),
        (&["--client", "somebody", "--all"], vec![]),
        (&["--since", "yesterday"], vec![&holder, &queued]),
        (
            &["--since", "-2h", "--outcome", "returned"],
            vec![&returned],
        ),
        (&["--json"], vec![&holder, &queued]),
    ] {
        assert_eq!(ids(&list(words)), expected, "{words:?}");
    }
    // The form is that of a list without filters.
    let plain = list(&["--all"]);
    for line in &list(&["--all", "--since", "yesterday"]) {
        assert!(plain.contains(line), "{line}");
    }
    let text = cluster.lines(&["list", "--outcome", "returned"]).concat();
    assert!(text.contains("[1.50]"), "arguments are copied: {text}");
    let job = &list(&["--queue={\"q\": 1}", "--json"])[1];
    assert_eq!(
        (&job["ahead"], &job["holders"]),
        (&json!(1), &json!([holder]))
    );
    assert_eq!(job["waiting_for"], "queue");

    for (words, problem) in [
        (&["list", "--since", "whenever"][..], "--since: must be"),
        (&["list", "--queue={"], "queue"),
    ] {
        let told = complaint(&cluster.run(words), 1);
        assert!(told.contains(problem), "{told}");
    }
    assert_eq!(
        cluster.run(&["list", "--outcome", "good"]).status.code(),
        Some(2)
    );

    let info = |job: &str| objects(&cluster.lines(&["info", job])).remove(0);
    let of_failed = info(&failed);
    assert_eq!(
        (
            &of_failed["state"],
            &of_failed["outcome"],
            &of_failed["error_type"]
        ),
        (&json!("ended"), &json!("error"), &json!("unknown_host"))
    );
    let of_queued = info(&queued);
    assert_eq!(of_queued["queue"], json!({"q": 1}));
    assert_eq!(
        (&of_queued["ahead"], &of_queued["holders"]),
        (&json!(1), &json!([holder]))
    );

    let table = cluster.harp(&["jobs", "--host", "no*", "--since", "yesterday"]);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 2, "{table}");
    assert!(
        lines[1].starts_with(&failed) && lines[1].contains("error unknown_host"),
        "{table}"
    );
    let table = cluster.harp(&["jobs", "--queue", r#"{"q":1}"#, "--procedure", "silent"]);
    assert_eq!(table.lines().count(), 3, "{table}");
    let table = cluster.harp(&["status", &queued]);
    for line in [
        r#"queue      {"q":1}, 1 at once"#.to_owned(),
        format!("place      behind 1 jobs; held by {holder}"),
        "outcome    -".to_owned(),
    ] {
        assert!(table.lines().any(|told| told == line), "{line}: {table}");
    }
    let status: Value =
        serde_json::from_str(&cluster.harp(&["status", "--json", &failed])).unwrap();
    assert_eq!(
        (&status["outcome"], &status["error_type"]),
        (&json!("error"), &json!("unknown_host"))
    );
}

#[test]
fn a_call_that_waits_at_its_host_is_told_everywhere() {
    let cluster = Cluster::builder().set_host("max_calls", "1").start();
    let caller = cluster.caller();
    let mut feed = cluster.feed("gate");
    let first = caller.call("web01", "gate", &feed.arguments());
    until("it runs", || feed.is_read().then_some(()));
    let second = caller.call("web01", "echo", "[2]");
    let waits = |job: &str| {
        let info = objects(&cluster.lines(&["info", job])).remove(0);
        info["waiting_for"] == "host"
    };
    until("its host says that it waits", || {
        waits(&second).then_some(())
    });
    assert!(!waits(&first));
    assert!(
        cluster
            .harp(&["jobs"])
            .contains("running, waits at its host")
    );
    let told = cluster.harp(&["status", &second]);
    assert!(
        told.contains("at its host") && told.contains("max_calls"),
        "{told}"
    );
    let calls = cluster.host_log("web01");
    let waiting = calls.all("call waits: as many run as max_calls of harpd allows");
    assert_eq!(waiting.len(), 1);
    assert_eq!(waiting[0]["call"], second.as_str());

    feed.finish();
    assert_eq!(caller.result(&first), json!({"result": null}));
    assert_eq!(caller.result(&second), json!({"result": [2]}));
    assert!(!waits(&second));
    until("harpd tells the end", || {
        let ended = calls.all("call ended");
        let is_told = ended.iter().any(|line| line["call"] == second.as_str());
        is_told.then_some(())
    });
    assert_eq!(calls.count("call has waited"), 1);
}
