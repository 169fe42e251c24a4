//! Packets: reading them, following them, and where a reader starts (section 6).

use harp_tests::{Cluster, Page, until};
use serde_json::{Value, json};

use crate::assertions::keys;

const CONTINUE: &str = r#"{"continue":true}"#;

fn as_value(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn numbers(range: std::ops::Range<u64>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

#[test]
fn a_page_starts_where_the_reader_wants_it() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let mut feed = cluster.feed("feed");
    let running = caller.call("web01", "feed", &feed.arguments());
    for number in numbers(0..5) {
        feed.send(&number);
    }
    until("all packets are there", || {
        (caller.read(&running, "").packets.len() == 5).then_some(())
    });
    let ended = caller.call("web01", "count", "[5]");
    assert_eq!(caller.result(&ended), json!({"result": null}));

    for (more, packets) in [
        ("", 0..5),
        (r#""since": 0"#, 0..5),
        (r#""since": 3"#, 3..5),
        (r#""since": 4"#, 4..5),
        (r#""since": 5"#, 0..0),
        (r#""since": 6"#, 0..0),
        (r#""since": 18446744073709551615"#, 0..0),
        (r#""recent": 0"#, 0..0),
        (r#""recent": 2"#, 3..5),
        (r#""recent": 5"#, 0..5),
        (r#""recent": 6"#, 0..5),
        (r#""recent": 18446744073709551615"#, 0..5),
        (r#""since": 2, "recent": null"#, 2..5),
    ] {
        for (job, last) in [(&running, CONTINUE), (&ended, r#"{"result":null}"#)] {
            let page = caller.read(job, more);
            assert_eq!(page.packets, numbers(packets.clone()), "{more}");
            let first = (!packets.is_empty()).then_some(packets.start);
            assert_eq!(page.first, first, "{more}");
            assert_eq!(page.last, as_value(last), "{more}");
        }
    }
}

#[test]
fn following_an_ended_job_replays_it() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let job = caller.call("web01", "count", "[5]");
    assert_eq!(caller.result(&job), json!({"result": null}));
    for (more, packets) in [
        ("", 0..0),
        (r#""since": 0"#, 0..5),
        (r#""since": 3"#, 3..5),
        (r#""since": 99"#, 0..0),
        (r#""recent": 0"#, 0..0),
        (r#""recent": 2"#, 3..5),
        (r#""recent": 99"#, 0..5),
    ] {
        let mut client = caller.follow(&job, more);
        let page = Page::read(&mut client);
        assert!(client.at_end());
        assert_eq!(page.packets, numbers(packets), "{more}");
        assert_eq!(page.last, json!({"result": null}), "{more}");
    }
}

#[test]
fn a_follower_gets_what_was_there_and_what_comes() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let mut feed = cluster.feed("feed");
    let job = caller.call("web01", "feed", &feed.arguments());
    for number in numbers(0..5) {
        feed.send(&number);
    }
    until("the packets are there", || {
        (caller.read(&job, "").packets.len() == 5).then_some(())
    });
    let mut followers: Vec<_> = [
        ("", 5),
        (r#""since": 0"#, 0),
        (r#""since": 3"#, 3),
        (r#""since": 5"#, 5),
        (r#""since": 7"#, 7),
        (r#""since": 12"#, 12),
        (r#""recent": 0"#, 5),
        (r#""recent": 2"#, 3),
        (r#""recent": 99"#, 0),
    ]
    .map(|(more, first)| (caller.follow(&job, more), more, first))
    .into();
    // A follower is at its place when this one is, which came last.
    let mut witness = caller.follow(&job, r#""since": 4"#);
    assert_eq!(witness.raw_line(), r#"{"packet":4,"data":4}"#);
    for number in numbers(5..10) {
        feed.send(&number);
    }
    for number in 5..10 {
        assert_eq!(
            witness.raw_line(),
            format!(r#"{{"packet":{number},"data":{number}}}"#)
        );
    }
    feed.finish();
    for (client, more, first) in &mut followers {
        let page = Page::read(client);
        assert!(client.at_end());
        assert_eq!(page.last, json!({"result": null}));
        assert_eq!(
            page.packets.last().map(String::as_str),
            (*first < 10).then_some("9"),
            "{more}"
        );
        // Those that start at "now" may have been told of it a little later than asked.
        let from = page.first.unwrap_or(*first);
        assert!(
            from >= *first && (from == *first || *first == 5),
            "{more}: from {from}"
        );
    }
}

#[test]
fn a_procedure_that_does_not_stream_has_no_packets() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let job = caller.call("web01", "echo", "[1]");
    let page = Page::read(&mut caller.follow(&job, r#""since": 0"#));
    assert_eq!((page.packets, page.last), (vec![], json!({"result": [1]})));
    let page = caller.read(&job, "");
    assert_eq!((page.packets, page.last), (vec![], json!({"result": [1]})));
}

#[test]
fn a_stream_ends_with_however_the_job_ends() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let exception = json!({"exception": {
        "type": "exit_status", "message": "went wrong",
        "data": {"exit_code": 2, "stderr": "went wrong\n"},
    }});
    let failed = caller.call("web01", "fail_streaming", r#"[2, "went wrong"]"#);
    let page = Page::read(&mut caller.follow(&failed, r#""since": 0"#));
    assert_eq!(page.packets, [r#""one""#, r#""two""#]);
    assert_eq!(page.last, exception);
    assert_eq!(caller.read(&failed, "").last, exception);

    let mut feed = cluster.feed("feed");
    let cancelled = caller.call("web01", "feed", &feed.arguments());
    let mut following = caller.follow(&cancelled, r#""since": 0"#);
    feed.send("1");
    assert_eq!(following.raw_line(), r#"{"packet":0,"data":1}"#);
    assert!(caller.cancel(&cancelled));
    assert_eq!(following.rest(), [r#"{"cancelled":true}"#]);
    let page = caller.read(&cancelled, "");
    assert_eq!(
        (page.packets, page.last),
        (vec!["1".to_owned()], json!({"cancelled": true}))
    );
}

#[test]
fn a_queued_job_can_be_followed_and_waited_for() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let feed = cluster.feed("feed");
    let queue = r#""queue": {"name": {}}"#;
    let first = caller.call_with("web01", "gate", &feed.arguments(), queue);
    let second = caller.call_with("web01", "count", "[3]", queue);
    let page = caller.read(&second, "");
    assert_eq!(
        (page.packets, page.last),
        (vec![], json!({"continue": true}))
    );
    let mut following = caller.follow(&second, "");
    let mut waiting = caller.send(json!({"harpcaller": 1, "get_result": second}));
    assert!(caller.cancel(&first));
    let page = Page::read(&mut following);
    assert_eq!(
        (page.packets, page.last),
        (numbers(0..3), json!({"result": null}))
    );
    assert_eq!(waiting.rest(), [r#"{"result":null}"#]);
    drop(feed);
}

#[test]
fn timestamps_say_when_each_packet_was_received() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let milliseconds = || {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        u64::try_from(now.as_millis()).unwrap()
    };
    let before = milliseconds();
    let job = caller.call("web01", "count", "[3]");
    let operations = [
        json!({"harpcaller": 1, "follow_stream": job, "since": 0, "timestamps": true}),
        json!({"harpcaller": 1, "read_stream": job, "timestamps": true}),
    ];
    let mut seen = Vec::new();
    for operation in &operations {
        let lines: Vec<Value> = caller
            .send(operation)
            .rest()
            .iter()
            .map(|line| as_value(line))
            .collect();
        assert_eq!(lines.len(), 4);
        let mut last = before;
        for (number, line) in lines[..3].iter().enumerate() {
            assert_eq!(keys(line), ["data", "packet", "time"]);
            assert_eq!(line["packet"], number);
            let time = line["time"].as_u64().expect("milliseconds");
            assert!(last <= time && time <= milliseconds(), "{line}");
            last = time;
        }
        assert_eq!(lines[3], json!({"result": null}));
        seen.push(lines);
    }
    assert_eq!(seen[0], seen[1], "the same times for everybody");
    let line = caller
        .follow(&job, r#""since": 0, "timestamps": false"#)
        .raw_line();
    assert_eq!(line, r#"{"packet":0,"data":0}"#);
}

#[test]
fn a_limit_ends_the_page() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let job = caller.call("web01", "count", "[5]");
    assert_eq!(caller.result(&job), json!({"result": null}));
    let result = json!({"result": null});
    let more = json!({"continue": true});
    for (keys, packets, last) in [
        (r#""limit": 2"#, 0..2, &more),
        (r#""limit": 2, "since": 2"#, 2..4, &more),
        (r#""limit": 2, "recent": 3"#, 2..4, &more),
        // Also when the last packet of the page is the job's last.
        (r#""limit": 5"#, 0..5, &more),
        (r#""limit": 1, "since": 4"#, 4..5, &more),
        (r#""limit": 6"#, 0..5, &result),
        (r#""limit": 1, "since": 5"#, 0..0, &result),
        (r#""limit": 1, "since": 99"#, 0..0, &result),
        (
            r#""limit": 18446744073709551615, "since": 3"#,
            3..5,
            &result,
        ),
        (r#""limit": null"#, 0..5, &result),
    ] {
        let page = caller.read(&job, keys);
        assert_eq!(page.packets, numbers(packets), "{keys}");
        assert_eq!(&page.last, last, "{keys}");
    }
}

#[test]
fn big_packets_and_results_pass_whole() {
    const MIB: usize = 1024 * 1024;
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let sizes = [MIB, 2, 16 * MIB, 3];
    let job = caller.call("web01", "blob", &json!(sizes).to_string());
    let mut following = caller.follow(&job, r#""since": 0"#);
    let page = Page::read(&mut following);
    assert_eq!(page.last, json!({"result": null}));
    let lengths: Vec<usize> = page.packets.iter().map(String::len).collect();
    assert_eq!(lengths, sizes);
    assert!(
        page.packets[2]
            .bytes()
            .skip(1)
            .take(16 * MIB - 2)
            .all(|byte| byte == b'x')
    );
    assert_eq!(
        caller.read(&job, r#""recent": 3"#).packets,
        page.packets[1..]
    );

    let job = caller.call("web01", "big_result", &format!("[{}]", 16 * MIB));
    assert_eq!(
        caller.raw_result(&job).len(),
        16 * MIB + r#"{"result":}"#.len()
    );
}

#[test]
fn two_hundred_thousand_packets_arrive_in_order() {
    const PACKETS: u64 = 200_000;
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let job = caller.call("web01", "count", &format!("[{PACKETS}]"));
    let mut following = caller.follow(&job, r#""since": 0"#);
    for number in 0..PACKETS {
        assert_eq!(
            following.raw_line(),
            format!(r#"{{"packet":{number},"data":{number}}}"#)
        );
    }
    assert_eq!(following.rest(), [r#"{"result":null}"#]);
    assert_eq!(caller.read(&job, "").packets.len() as u64, PACKETS);
    assert_eq!(caller.read(&job, r#""since": 199999"#).packets, ["199999"]);
}
