//! What becomes of the words behind the procedure's name.

use harp_tests::{Cluster, until};
use serde_json::{Value, json};

use crate::command::{Harp, detached, path};

#[test]
fn every_form_of_argument_reaches_the_procedure() {
    let cluster = Cluster::start();
    for (words, arguments) in [
        (&[][..], "[]"),
        (
            &["nginx", "7", "1.5", "1.10", "12e4567", "true", "null"],
            r#"["nginx",7,1.5,"1.10","12e4567",true,null]"#,
        ),
        (
            &["[1, 2]", r#"{"a": 1}"#, r#""7""#],
            r#"[[1,2],{"a":1},"7"]"#,
        ),
        (&["-5"], "[-5]"),
        (&["--", "-n", "--lines=3"], r#"["-n","--lines=3"]"#),
        (
            &["service=nginx", "times=7"],
            r#"{"service":"nginx","times":7}"#,
        ),
        (
            &["list:=[1, 2]", r#"text:="7""#],
            r#"{"list":[1,2],"text":"7"}"#,
        ),
        (&["--strings", "7", "{", "null"], r#"["7","{","null"]"#),
        (&["--args", r#"{"a": [1, 1.0]}"#], r#"{"a":[1,1.0]}"#),
        (&["--args", "-"], r#"["from","stdin"]"#),
    ] {
        let line = [&["call", "web01", "echo"], words].concat();
        let harp = Harp::of(&cluster, &line).input("[\"from\",\n \"stdin\"]\n");
        let done = harp.run().expect(0);
        assert_eq!(done.out, format!("{arguments}\n"), "{words:?}");
    }
}

#[test]
fn options_of_a_call_reach_the_dispatcher() {
    let cluster = Cluster::start();
    let feed = cluster.feed("feed");
    let in_queue = ["--queue", "nginx", "--info", r#"{"ticket": 7}"#];
    let first = detached(
        &cluster,
        &[&in_queue[..], &["web01", "gate", &path(&feed)]].concat(),
    );
    let second = detached(
        &cluster,
        &[
            "--queue",
            r#"{"name": "nginx"}"#,
            "--info",
            "who asked",
            "web01",
            "echo",
        ],
    );
    let status = |job: &str| -> Value {
        let done = Harp::of(&cluster, &["status", job, "--json"]).run();
        done.expect(0).events().remove(0)
    };
    assert_eq!(status(&first)["info"], json!({"ticket": 7}));
    assert_eq!(status(&second)["info"], "who asked");
    // The name and the object are one queue, with one place.
    assert_eq!(status(&second)["state"], "queued");
    feed.finish();
    Harp::of(&cluster, &["result", "--wait", &second])
        .run()
        .expect(0);

    let limited = |option: &str, procedure: &str| {
        let line = ["call", option, "1s", "web01", procedure];
        Harp::of(&cluster, &line).run().expect(3)
    };
    limited("--timeout", "silent").says(&["timeout: reading result timed out"]);
    limited("--max-exec-time", "busy").says(&["timeout: maximum execution time exceeded"]);
}

#[test]
fn a_call_with_a_key_is_made_once() {
    let cluster = Cluster::builder().hosts(2).start();
    let line = ["call", "--json", "--key", "deploy 7", "web01", "echo", "1"];
    let call = |line: &[&str]| Harp::of(&cluster, line).run().expect(0).events();
    let (first, second) = (call(&line), call(&line));
    assert_eq!(first[0]["existing"], false);
    assert_eq!(second[0]["existing"], true);
    assert_eq!(first[0]["job"], second[0]["job"]);
    assert_eq!(second[1]["result"], json!([1]));

    let other = ["call", "--key", "deploy 7", "web01", "echo", "2"];
    Harp::of(&cluster, &other)
        .run()
        .expect(7)
        .says(&["invalid_request", "key"]);

    // Of several hosts each has its own.
    let several = [
        "call",
        "--json",
        "--key",
        "k",
        "--hosts",
        "web01,web02",
        "echo",
    ];
    let submitted = call(&several);
    let submitted = submitted
        .iter()
        .filter(|event| event["event"] == "submitted");
    assert!(submitted.clone().all(|event| event["existing"] == false));
    assert_eq!(submitted.count(), 2);
    let again = call(&several);
    assert!(
        again.iter().all(|event| event["existing"] != false),
        "{again:?}"
    );
}

#[test]
fn a_call_is_made_again_unless_it_was_lately() {
    let cluster = Cluster::start();
    let existing = |age: &str, key: &str, code: i32, procedure: &[&str]| {
        let line = [
            "call",
            "--json",
            "--key",
            key,
            "--unless-since",
            age,
            "web01",
        ];
        let done = Harp::of(&cluster, &[&line, procedure].concat()).run();
        done.expect(code).events()[0]["existing"].as_bool().unwrap()
    };
    assert!(!existing("1h", "done", 0, &["echo"]));
    assert!(existing("1h", "done", 0, &["echo"]));
    until("it was longer than a second ago", || {
        (!existing("1s", "done", 0, &["echo"])).then_some(())
    });
    // What failed was not done.
    assert!(!existing("1h", "failed", 1, &["fail", "3", "oh no"]));
    assert!(!existing("1h", "failed", 1, &["fail", "3", "oh no"]));
}

#[test]
fn a_job_that_cannot_start_in_time_ends() {
    let cluster = Cluster::start();
    let feed = cluster.feed("feed");
    detached(&cluster, &["--queue", "q", "web01", "gate", &path(&feed)]);
    let line = ["call", "--queue", "q", "--start-by", "1s", "web01", "echo"];
    Harp::of(&cluster, &line).run().expect(3).says(&["timeout"]);
}
