//! A job's call, times and info (section 5).

use std::time::{SystemTime, UNIX_EPOCH};

use harp_tests::Cluster;
use serde_json::{Value, json};

use crate::assertions::keys;

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

#[test]
fn a_status_says_what_was_called_and_when() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let before = now();
    let mut feed = cluster.feed("feed");
    let more = r#""info": {"ticket": [17]}, "queue": {"name": {"q": 1}}"#;
    let running = caller.call_with("web01", "gate", &feed.arguments(), more);
    let queued = caller.call_with("web01", "echo", r#"{"k":1}"#, more);

    let status = caller.status(&running);
    assert_eq!(keys(&status), ["call", "info", "time"]);
    assert_eq!(keys(&status["call"]), ["arguments", "host", "procedure"]);
    assert_eq!(keys(&status["time"]), ["end", "start", "submit"]);
    assert_eq!(status["call"]["host"], "web01");
    assert_eq!(status["call"]["procedure"], "gate");
    assert_eq!(status["info"], json!({"ticket": [17]}));
    assert!(status["time"]["start"].is_u64(), "{status}");
    assert_eq!(status["time"]["end"], Value::Null);

    let status = caller.status(&queued);
    assert_eq!(
        status["call"],
        json!({"host": "web01", "procedure": "echo", "arguments": {"k": 1}})
    );
    assert!(status["time"]["submit"].is_u64(), "{status}");
    assert_eq!(status["time"]["start"], Value::Null);
    assert_eq!(status["time"]["end"], Value::Null);

    feed.send("1");
    feed.finish();
    assert_eq!(caller.result(&queued), json!({"result": {"k": 1}}));
    for job in [&running, &queued] {
        let time = &caller.status(job)["time"];
        let times = ["submit", "start", "end"].map(|key| time[key].as_u64().expect("a time"));
        assert!(times.is_sorted(), "{times:?}");
        assert!(
            before <= times[0] && times[2] <= now(),
            "{times:?} in seconds since 1970"
        );
    }
}

#[test]
fn info_is_null_unless_given_and_comes_back_untouched() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    for (more, info) in [
        ("", json!(null)),
        (r#""info": null"#, json!(null)),
        (r#""info": false"#, json!(false)),
        (r#""info": "text""#, json!("text")),
        (r#""info": {"a": {"b": []}}"#, json!({"a": {"b": []}})),
    ] {
        let job = caller.call_with("web01", "echo", "[]", more);
        assert_eq!(caller.status(&job)["info"], info);
        assert_eq!(caller.result(&job), json!({"result": []}));
        assert_eq!(caller.status(&job)["info"], info);
    }
}
