//! A dispatcher whose own system fails it: `os_error` and `storage_error` (section 7).

use harp_tests::{Cluster, RawClient, until};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};

use crate::assertions::assert_ended;

/// Sets a soft limit of the running dispatcher and returns the one before.
fn set_limit(cluster: &Cluster, resource: Resource, limit: Option<u64>) -> Option<u64> {
    let id = Pid::from_raw(cluster.dispatcher_id().cast_signed());
    let now = rustix::process::getrlimit(resource);
    let new = Rlimit {
        current: limit,
        maximum: now.maximum,
    };
    prlimit(id, resource, new)
        .expect("a limit of a process of our own")
        .current
}

/// The number that the dispatcher's next descriptor gets.
fn next_descriptor(cluster: &Cluster) -> u64 {
    let folder = format!("/proc/{}/fd", cluster.dispatcher_id());
    let open: Vec<u64> = std::fs::read_dir(folder)
        .expect("a running dispatcher")
        .map(|entry| {
            entry
                .unwrap()
                .file_name()
                .to_str()
                .unwrap()
                .parse()
                .unwrap()
        })
        .collect();
    (0..)
        .find(|number| !open.contains(number))
        .expect("a free number")
}

fn greet(cluster: &Cluster) -> RawClient {
    let mut client = cluster.caller().send(json!({"harpcaller": 1, "hello": {}}));
    assert!(client.line()["server"].is_string());
    client
}

fn call_on(client: &mut RawClient) -> String {
    client.send(r#"{"harpcaller":1,"host":"web01","procedure":"echo","arguments":[]}"#);
    client.line()["job_id"].as_str().expect("a job").to_owned()
}

fn call_and_wait(client: &mut RawClient) -> Value {
    let job = call_on(client);
    client.send(json!({"harpcaller": 1, "get_result": job}));
    client.line()
}

#[track_caller]
fn assert_out_of_descriptors(answer: &Value) {
    let data = answer["error"]["data"].clone();
    assert_ended(answer, "os_error", &data);
    assert_eq!(data["code"], "emfile", "{answer}");
}

#[test]
fn without_descriptors_calls_fail_as_os_error_and_accepting_pauses() {
    // Each call needs a connection of its own.
    let cluster = Cluster::builder().unkept().start();
    let caller = cluster.caller();
    let mut client = greet(&cluster);
    // Everything that is opened once, has been.
    let job = call_on(&mut client);
    assert_eq!(caller.result(&job), json!({"result": []}));

    // What other connections leave behind goes away in a moment.
    let mut next = u64::MAX;
    until("the dispatcher is at rest", || {
        let before = std::mem::replace(&mut next, next_descriptor(&cluster));
        (before == next).then_some(())
    });
    // Room for one descriptor is not enough either, unless it is for the socket.
    let before = set_limit(&cluster, Resource::Nofile, Some(next + 1));
    let answer = call_and_wait(&mut client);
    if answer != json!({"result": []}) {
        assert_out_of_descriptors(&answer);
    }
    set_limit(&cluster, Resource::Nofile, Some(next));
    assert_out_of_descriptors(&call_and_wait(&mut client));

    // A client that comes now waits, and is served when there is room again.
    let mut waiting = caller.send(json!({"harpcaller": 1, "get_result": job, "wait": false}));
    client.send(json!({"harpcaller": 1, "get_status": job}));
    assert!(client.line()["time"].is_object());
    set_limit(&cluster, Resource::Nofile, before);
    assert_eq!(waiting.line(), json!({"result": []}));
    let job = caller.call("web01", "echo", "[]");
    assert_eq!(caller.result(&job), json!({"result": []}));
}

#[test]
fn administrators_come_in_where_no_descriptor_is_left() {
    let cluster = Cluster::builder().hosts(0).start();
    let limits = rustix::process::getrlimit(Resource::Nofile);
    let before = set_limit(&cluster, Resource::Nofile, Some(next_descriptor(&cluster)));
    assert_eq!(before, limits.maximum, "the soft limit is the hard one");
    // One more client than there is room for.
    let _waiting = cluster.caller().connect();
    let status = cluster.run(&["status"]);
    assert!(status.status.success(), "{status:?}");
    set_limit(&cluster, Resource::Nofile, before);
}

#[test]
fn a_full_disk_is_a_storage_error_and_loses_nothing() {
    let mut cluster = Cluster::start();
    let caller = cluster.caller();
    let kept = caller.call("web01", "count", "[10]");
    assert_eq!(caller.result(&kept), json!({"result": null}));
    // Writes beyond the first byte of a file fail from now on.
    set_limit(&cluster, Resource::Fsize, Some(1));
    let call = json!({"harpcaller": 1, "host": "web01", "procedure": "echo", "arguments": []});
    let answer = caller.ask(&call);
    assert_eq!(answer["harpcaller"], 1, "{answer}");
    assert_eq!(answer["error"]["type"], "storage_error", "{answer}");
    let outcome = answer["error"]["data"]["outcome"].as_str();
    assert!(matches!(outcome, Some("none" | "unknown")), "{answer}");
    // The dispatcher is still there, and says of what it knows either that or why not.
    let answer = caller.result_now(&kept);
    let refused = answer["error"]["type"] == "storage_error" && answer["harpcaller"] == 1;
    assert!(answer == json!({"result": null}) || refused, "{answer}");
    cluster.kill_dispatcher();
    cluster.start_dispatcher();
    assert_eq!(caller.result_now(&kept), json!({"result": null}));
    assert_eq!(caller.read(&kept, "").packets.len(), 10);
    let job = caller.call("web01", "echo", "[]");
    assert_eq!(caller.result(&job), json!({"result": []}));
}
