//! The Python client's exchanges (section 10): the lines that it sends, byte for byte as
//! its `json.dumps` makes them, one a connection.

use harp_tests::{Cluster, Page};
use serde_json::{Value, json};

fn job_id(answer: &Value) -> String {
    answer["job_id"]
        .as_str()
        .unwrap_or_else(|| panic!("{answer}"))
        .to_owned()
}

#[test]
fn positional_arguments() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let job = job_id(&caller.ask(
        r#"{"harpcaller": 1, "host": "web01", "procedure": "echo", "arguments": [1, "a"], "info": null}"#,
    ));
    let answer = caller.ask(format!(
        r#"{{"harpcaller": 1, "get_result": "{job}", "wait": true}}"#
    ));
    assert_eq!(answer, json!({"result": [1, "a"]}));
}

#[test]
fn named_arguments_with_every_option() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let job = job_id(&caller.ask(
        r#"{"harpcaller": 1, "host": "web01", "procedure": "echo", "arguments": {"k": 1}, "info": {"x": 1}, "queue": {"name": {"q": 1}, "concurrency": 2}, "timeout": 5, "max_exec_time": 60}"#,
    ));
    let answer = caller.ask(format!(
        r#"{{"harpcaller": 1, "get_result": "{job}", "wait": true}}"#
    ));
    assert_eq!(answer, json!({"result": {"k": 1}}));
    let status = caller.ask(format!(r#"{{"harpcaller": 1, "get_status": "{job}"}}"#));
    assert_eq!(status["info"], json!({"x": 1}));
    for time in ["submit", "start", "end"] {
        assert!(status["time"][time].is_u64(), "{status}");
    }
    assert_eq!(status["call"]["host"], "web01");
    assert_eq!(status["call"]["procedure"], "echo");
    assert_eq!(status["call"]["arguments"], json!({"k": 1}));
}

#[test]
fn key_order_of_an_old_python() {
    // A dict of Python 2 has an order of its own, and non-ASCII text is escaped.
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let job = job_id(&caller.ask(
        r#"{"info": null, "host": "web01", "procedure": "echo", "harpcaller": 1, "arguments": ["\u017c\u00f3\u0142\u0107 \ud83d\ude00"]}"#,
    ));
    let answer = caller.ask(format!(
        r#"{{"wait": true, "get_result": "{job}", "harpcaller": 1}}"#
    ));
    assert_eq!(answer, json!({"result": ["żółć 😀"]}));
}

#[test]
fn following_and_reading() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let mut feed = cluster.feed("feed");
    let arguments = feed.arguments();
    let job = job_id(&caller.ask(format!(
        r#"{{"harpcaller": 1, "host": "web01", "procedure": "feed", "arguments": {arguments}, "info": null}}"#
    )));
    feed.send("0");
    feed.send("1");
    let ask = |operation: &str, more: &str| {
        caller.send(format!(
            r#"{{"harpcaller": 1, "{operation}": "{job}"{more}}}"#
        ))
    };
    let mut following = ask("follow_stream", r#", "since": 0"#);
    assert_eq!(following.raw_line(), r#"{"packet":0,"data":0}"#);
    assert_eq!(following.raw_line(), r#"{"packet":1,"data":1}"#);

    for (more, packets) in [
        ("", vec!["0", "1"]),
        (r#", "since": 1"#, vec!["1"]),
        (r#", "recent": 1"#, vec!["1"]),
    ] {
        let mut reading = ask("read_stream", more);
        let page = Page::read(&mut reading);
        assert_eq!(
            (page.packets, page.last),
            (
                packets.into_iter().map(str::to_owned).collect(),
                json!({"continue": true}),
            )
        );
        assert!(reading.at_end());
    }
    // It asks without waiting, too: result() of a job that goes on.
    let answer = caller.ask(format!(
        r#"{{"harpcaller": 1, "get_result": "{job}", "wait": false}}"#
    ));
    assert_eq!(answer, json!({"no_result": true}));

    let mut recent = ask("follow_stream", r#", "recent": 1"#);
    assert_eq!(recent.raw_line(), r#"{"packet":1,"data":1}"#);
    feed.send("2");
    feed.finish();
    for client in [&mut following, &mut recent] {
        assert_eq!(
            client.rest(),
            [r#"{"packet":2,"data":2}"#, r#"{"result":null}"#]
        );
    }
    let page = Page::read(&mut ask("read_stream", r#", "since": 0"#));
    assert_eq!(page.packets, ["0", "1", "2"]);
    assert_eq!(page.last, json!({"result": null}));
    assert_eq!(ask("follow_stream", "").rest(), [r#"{"result":null}"#]);
}

#[test]
fn cancelling() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let feed = cluster.feed("feed");
    let arguments = feed.arguments();
    let job = job_id(&caller.ask(format!(
        r#"{{"harpcaller": 1, "host": "web01", "procedure": "gate", "arguments": {arguments}, "info": null}}"#
    )));
    let cancel = format!(r#"{{"harpcaller": 1, "cancel": "{job}"}}"#);
    assert_eq!(caller.ask(&cancel), json!({"cancelled": true}));
    assert_eq!(caller.ask(&cancel), json!({"cancelled": false}));
    let answer = caller.ask(format!(
        r#"{{"harpcaller": 1, "get_result": "{job}", "wait": true}}"#
    ));
    assert_eq!(answer, json!({"cancelled": true}));
}

#[test]
fn what_it_takes_for_the_end_of_a_stream_is_one() {
    // Any line without "packet" ends a stream for it, and is the job's result.
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let job = caller.call("web01", "fail_streaming", r#"[1, "went wrong"]"#);
    let lines = caller
        .send(format!(
            r#"{{"harpcaller": 1, "follow_stream": "{job}", "since": 0}}"#
        ))
        .rest();
    let (last, packets) = lines.split_last().unwrap();
    assert_eq!(
        packets,
        [
            r#"{"packet":0,"data":"one"}"#,
            r#"{"packet":1,"data":"two"}"#
        ]
    );
    let last: Value = serde_json::from_str(last).unwrap();
    assert_eq!(last["exception"]["type"], "exit_status");
    assert_eq!(last, caller.result(&job));
}

#[test]
fn the_same_lines_work_over_ipv4_when_every_address_is_listened_on() {
    let cluster = Cluster::builder().set("listen", r#"["*:0"]"#).start();
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], cluster.address().port()));
    let caller = harp_tests::Caller::new(address);
    let job = job_id(&caller.ask(
        r#"{"harpcaller": 1, "host": "web01", "procedure": "echo", "arguments": [], "info": null}"#,
    ));
    assert_eq!(caller.result(&job), json!({"result": []}));
}
