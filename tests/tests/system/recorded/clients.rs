//! Clients: requests of every kind, good and bad.

use harp_tests::{Cluster, RawClient, until};

use super::transcript::Transcript;
use crate::assertions::NO_JOB;

#[test]
fn clients_are_told_what_they_always_were() {
    let cluster = Cluster::builder()
        .set("max_request_size", "\"1K\"")
        .set("max_queue_length", "1")
        .set("max_live_jobs", "3")
        .start();
    let address = cluster.address();
    let caller = cluster.caller();
    let mut played = Transcript::new(&cluster);

    played.about("What is no request.");
    for line in [
        "",
        "nonsense",
        "[]",
        "{}",
        r#"{"harpcaller":2,"get_status":"x"}"#,
        r#"{"harpcaller":1}"#,
        r#"{"harpcaller":1,"cancel":"x","get_status":"x"}"#,
        r#"{"harpcaller":1,"get_status":7}"#,
        r#"{"harpcaller":1,"host":"web01","procedure":"echo"}"#,
        r#"{"harpcaller":1,"host":"web01","procedure":"echo","arguments":[],"timeout":0}"#,
        r#"{"harpcaller":1,"host":"web01","procedure":"echo","arguments":[],"extra":0}"#,
        r#"{"harpcaller":1,"read_stream":"x","limit":0}"#,
    ] {
        played.ask(address, line);
    }

    played.about("What is too large.");
    let long = "x".repeat(2000);
    let call =
        format!(r#"{{"harpcaller":1,"host":"web01","procedure":"echo","arguments":["{long}"]}}"#);
    played.ask(address, &call);
    let longer = "x".repeat(80_000);
    played.sent(&longer);
    let mut client = RawClient::connect(address);
    client.try_send_bytes(longer.as_bytes());
    played.came(&client.raw_line());

    played.about("A call, and what is asked about it.");
    let echo = r#""host":"web01","procedure":"echo","arguments":["a",1.50]"#;
    let job = played.call(address, &format!(r#"{echo},"info":{{"b":[1.0]}}"#));
    let about = |operation: &str, job: &str, rest: &str| {
        format!(r#"{{"harpcaller":1,"{operation}":"{job}"{rest}}}"#)
    };
    played.ask(address, &about("get_result", &job, ""));
    for operation in ["get_status", "read_stream", "follow_stream", "cancel"] {
        played.ask(address, &about(operation, &job, ""));
    }
    played.ask(address, &about("get_result", &job, r#","wait":false"#));
    played.ask(address, &about("cancel", &job, r#","confirm":true"#));

    played.about("Packets.");
    let packets =
        r#""host":"web01","procedure":"packets","arguments":["1.50","{\"a\":[]}","null","\"x\""]"#;
    let job = played.call(address, packets);
    played.ask(address, &about("follow_stream", &job, r#","since":0"#));
    played.ask(address, &about("get_result", &job, ""));
    for rest in [
        "",
        r#","limit":2"#,
        r#","limit":4"#,
        r#","limit":5"#,
        r#","since":3"#,
        r#","since":4"#,
        r#","since":9,"limit":1"#,
        r#","recent":1"#,
        r#","recent":9,"timestamps":true"#,
        r#","since":1,"timestamps":true,"limit":1"#,
    ] {
        played.ask(address, &about("read_stream", &job, rest));
    }
    for rest in [
        "",
        r#","recent":2"#,
        r#","since":3,"timestamps":true"#,
        r#","since":7"#,
    ] {
        played.ask(address, &about("follow_stream", &job, rest));
    }

    played.about("How calls fail.");
    for rest in [
        r#""host":"nowhere","procedure":"echo","arguments":[]"#,
        r#""host":"web01","procedure":"nothing","arguments":[]"#,
        r#""host":"web01","procedure":"fail","arguments":["3","why"]"#,
        r#""host":"web01","procedure":"silent","arguments":[],"timeout":1"#,
    ] {
        let job = played.call(address, rest);
        played.ask(address, &about("get_result", &job, ""));
        played.ask(address, &about("follow_stream", &job, ""));
    }

    played.about("No job.");
    for job in [NO_JOB, "nonsense"] {
        for operation in [
            "get_result",
            "get_status",
            "read_stream",
            "follow_stream",
            "cancel",
        ] {
            played.ask(address, &about(operation, job, ""));
        }
        played.ask(address, &about("get_result", job, r#","wait":false"#));
        played.ask(address, &about("cancel", job, r#","confirm":true"#));
    }

    played.about("A key.");
    let keyed = format!(r#"{echo},"key":"k""#);
    let job = played.call(address, &keyed);
    played.ask(address, &about("get_result", &job, ""));
    played.ask(address, &format!(r#"{{"harpcaller":1,{keyed}}}"#));
    let other = keyed.replace("1.50", "1.5");
    played.ask(address, &format!(r#"{{"harpcaller":1,{other}}}"#));

    played.about("A queue, its limit and that of all jobs.");
    let queued = r#""host":"web01","procedure":"silent","arguments":[],"queue":{"name":{"q":1.0}}"#;
    let running = played.call(address, queued);
    until("it runs", || caller.has_started(&running).then_some(()));
    let waiting = played.call(address, &format!(r#"{queued},"start_by":600"#));
    played.ask(address, &format!(r#"{{"harpcaller":1,{queued}}}"#));
    let free = played.call(address, &queued.replace("1.0", "2"));
    played.ask(address, &format!(r#"{{"harpcaller":1,{echo}}}"#));
    for job in [&running, &waiting] {
        played.ask(address, &about("get_status", job, ""));
        played.ask(address, &about("get_result", job, r#","wait":false"#));
        played.ask(address, &about("read_stream", job, ""));
    }
    played.ask(address, &about("cancel", &waiting, r#","confirm":true"#));
    played.ask(address, &about("cancel", &running, r#","confirm":true"#));
    played.ask(address, &about("cancel", &free, ""));
    for job in [&running, &waiting, &free] {
        played.ask(address, &about("get_result", job, ""));
        played.ask(address, &about("follow_stream", job, ""));
    }

    played.about("One connection for all, until an error.");
    let mut client = RawClient::connect(address);
    for line in [
        r#"{"harpcaller":1,"hello":{"client":"recorded"}}"#.to_owned(),
        about("get_status", NO_JOB, "").replace("get_status", "cancel"),
        about("get_result", &running, ""),
        r#"{"harpcaller":1,"hello":{"token":"x"}}"#.to_owned(),
        about("get_result", NO_JOB, ""),
    ] {
        played.sent(&line);
        client.send(&line);
        played.came(&client.raw_line());
    }
    assert!(client.at_end());

    played.about("Draining.");
    let last = played.call(address, queued);
    until("it runs", || caller.has_started(&last).then_some(()));
    let mut drain = cluster.command().arg("drain").spawn().unwrap();
    until("no calls are taken", || {
        let answer = caller.ask(format!(r#"{{"harpcaller":1,{echo}}}"#));
        (answer["error"]["type"] == "shutdown").then_some(())
    });
    played.ask(address, &format!(r#"{{"harpcaller":1,{echo}}}"#));
    played.ask(address, &about("get_result", &last, r#","wait":false"#));
    played.ask(address, &about("cancel", &last, ""));
    assert!(drain.wait().unwrap().success());
    played.hold_against("clients.txt");
}
