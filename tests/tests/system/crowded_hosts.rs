//! Hosts that answer a request with `overloaded`: they are there, and have no room at the moment.

use harp_tests::{ACKNOWLEDGE, Cluster, FakeHost, Step};
use serde_json::json;

use Step::{Close, Handshake, Hang, Request};

/// What harpd says then.
const CROWDED: &str = r#"{"harp":1,"error":{"type":"overloaded","message":"no room"}}"#;

/// What the dispatcher logs.
const NO_ROOM: &str = "the host has no room at the moment; its calls wait";

#[test]
fn a_host_without_room_is_asked_again_although_nothing_was_heard_of_it_before() {
    let crowded = [Handshake, Request, Step::line(CROWDED), Close];
    let end = Step::line(r#"{"result":1}"#);
    let answers = [Handshake, Request, ACKNOWLEDGE, end.clone()];
    let plain = FakeHost::start_each(&[&crowded, &crowded, &answers]);
    // One that keeps calls says its life first, and that it has no room then.
    let life = r#"{"harp":1,"error":{"type":"wrong_boot","message":"m","data":{"boot":"a"}}}"#;
    let begun = [Handshake, Request, Step::line(life)];
    let crowded = [&begun[..], &crowded[1..]].concat();
    let taken = r#"{"harp":1,"stream_result":false,"boot":"a","keep":300,"up":1.5}"#;
    let taken = [Handshake, Request, Step::line(taken), end, Hang];
    let keeping = FakeHost::keeping(&[&crowded, &taken]);
    for (host, visits) in [(plain, 3), (keeping, 2)] {
        let cluster = Cluster::around(&host).start();
        let caller = cluster.caller();
        let job = caller.call("fake", "p", "[]");
        assert_eq!(caller.result(&job), json!({"result": 1}));
        assert_eq!(host.visits().len(), visits);
        let told = cluster.log().wait_for(NO_ROOM);
        assert_eq!(told["level"], "WARN", "{told}");
    }
    // One whose patience is over is told what its host has said.
    let crowded = FakeHost::start(&[Handshake, Request, Step::line(CROWDED), Close]);
    let cluster = Cluster::around(&crowded)
        .set("connect_patience", "1")
        .start();
    let caller = cluster.caller();
    let end = caller.result(&caller.call("fake", "p", "[]"));
    assert_eq!(end["error"]["type"], "overloaded", "{end}");
    let message = end["error"]["message"].as_str().unwrap();
    assert!(message.contains("no room; tried"), "{message}");
    assert!(crowded.visits().len() > 1);
}
