//! Many calls at once: how many hosts are attached to together, and how many connections are
//! kept without a call.

use harp_tests::{Cluster, Way, until};
use serde_json::{Value, json};

use super::behind_a_proxy;

/// So many hosts are attached to at once after a start.
const AT_ONCE: u64 = 64;

#[test]
fn after_a_start_so_many_are_attached_to_at_once_and_new_calls_wait_for_none() {
    let names: Vec<String> = (0..AT_ONCE + 6)
        .map(|number| format!("far{number}"))
        .collect();
    let builder = Cluster::builder()
        .set_host("max_calls", "100")
        .set("connect_timeout", "600");
    let (mut cluster, proxy) = behind_a_proxy(builder);
    let mut entries = vec![cluster.entry("web01")];
    entries.extend(names.iter().map(|name| {
        let mut entry = cluster.entry("web01");
        entry["hostname"] = json!(name);
        entry["address"] = json!(proxy.address().ip());
        entry["port"] = json!(proxy.address().port());
        entry
    }));
    cluster.set_registry(&entries);
    let _ = cluster.lines(&["hosts-refresh"]);
    let caller = cluster.caller();
    let mut gate = cluster.feed("gate");
    let jobs: Vec<String> = names
        .iter()
        .map(|name| caller.call(name, "silent", "[]"))
        .collect();
    let last = caller.call(&names[0], "gate", &gate.arguments());
    gate.wait_read();
    let connected =
        |cluster: &Cluster| cluster.host_calls("web01").matches("\tconnected\t").count();
    until("all run", || {
        (connected(&cluster) == jobs.len() + 1).then_some(())
    });

    cluster.kill_dispatcher();
    proxy.set(Way::Swallowing);
    until("nobody is connected", || (proxy.live() == 0).then_some(()));
    cluster.start_dispatcher();
    until("as many are attached to as may be", || {
        (proxy.live() == AT_ONCE).then_some(())
    });
    let new = caller.call("web01", "echo", "[5]");
    assert_eq!(caller.result(&new), json!({"result": [5]}));
    assert_eq!(proxy.live(), AT_ONCE, "no more than that");

    proxy.set(Way::Open);
    proxy.cut();
    until("all are attached to", || {
        (connected(&cluster) == jobs.len() + 1).then_some(())
    });
    gate.send("42");
    gate.finish();
    assert_eq!(caller.result(&last), json!({"result": 42}));
    for job in &jobs {
        assert_eq!(caller.result_now(job), json!({"no_result": true}));
    }
}

#[test]
fn so_many_connections_are_kept_without_a_call() {
    let builder = Cluster::builder().set("max_idle_connections", "2");
    let (cluster, proxy) = behind_a_proxy(builder);
    let caller = cluster.caller();
    let calls: Vec<_> = (0..5)
        .map(|number| {
            let mut feed = cluster.feed(&format!("feed{number}"));
            let job = caller.call("far", "gate", &feed.arguments());
            feed.wait_read();
            (job, feed)
        })
        .collect();
    assert_eq!(proxy.live(), 5);
    for (job, mut feed) in calls {
        feed.send("1");
        feed.finish();
        assert_eq!(caller.result(&job), json!({"result": 1}));
    }
    until("the others are closed", || {
        (proxy.live() == 2).then_some(())
    });
    let job = caller.call("far", "echo", "[]");
    assert_eq!(caller.result(&job), json!({"result": []}));
    assert_eq!((proxy.live(), proxy.taken()), (2, 5));
}

#[test]
fn where_calls_are_not_to_be_kept_each_has_a_connection() {
    let (cluster, proxy) = behind_a_proxy(Cluster::builder().unkept());
    let caller = cluster.caller();
    for number in 1..=3 {
        let job = caller.call("far", "echo", "[1]");
        assert_eq!(caller.result(&job), json!({"result": [1]}));
        assert_eq!(proxy.taken(), number);
    }
    let status: Value = caller.status(&caller.call("far", "echo", "[1]"));
    assert!(status["time"].is_object(), "{status}");
}
