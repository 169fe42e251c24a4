//! No call runs twice, and one that certainly never ran runs after all.

use std::time::{Duration, Instant};

use harp_tests::{Cluster, ClusterBuilder, Way, until};
use serde_json::json;

use super::{address_of, behind_a_proxy, count, error_data, streaming};

/// The arguments of `trace` for this cluster.
fn trace(cluster: &Cluster, name: &str) -> String {
    json!([cluster.path("trace"), name]).to_string()
}

fn runs(cluster: &Cluster, name: &str) -> usize {
    count(&cluster.path("trace"), &format!("start {name}"))
}

fn warm_up(cluster: &Cluster) {
    let job = cluster.caller().call("far", "echo", "[]");
    assert_eq!(cluster.caller().result(&job), json!({"result": []}));
}

#[test]
fn a_request_that_was_recorded_and_never_sent_runs_after_the_start() {
    // With what is known of the host, and without.
    for is_known in [true, false] {
        let builder = Cluster::builder().set("max_idle_connections", "0");
        let (mut cluster, proxy) = behind_a_proxy(builder);
        let caller = cluster.caller();
        if is_known {
            warm_up(&cluster);
        }
        let taken = proxy.taken();
        proxy.set(Way::Swallowing);
        let job = caller.call("far", "trace", &trace(&cluster, "once"));
        until("it is on its way", || {
            (proxy.taken() > taken && caller.has_started(&job)).then_some(())
        });
        cluster.kill_dispatcher();
        proxy.cut();
        proxy.set(Way::Open);
        cluster.start_dispatcher();
        assert_eq!(caller.result(&job), json!({"result": null}), "{is_known}");
        assert_eq!(runs(&cluster, "once"), 1, "{is_known}");
    }
}

#[test]
fn a_request_that_is_overtaken_by_an_attach_never_runs() {
    let builder = Cluster::builder().set("connect_timeout", "1");
    let (cluster, proxy) = behind_a_proxy(builder);
    let caller = cluster.caller();
    warm_up(&cluster);
    let taken = proxy.taken();
    proxy.hold();
    let job = caller.call("far", "trace", &trace(&cluster, "once"));
    assert_eq!(caller.result(&job), json!({"result": null}));
    assert!(proxy.taken() > taken, "over another connection");
    proxy.release();
    // Whatever comes over the first one has come by now.
    warm_up(&cluster);
    warm_up(&cluster);
    assert_eq!(runs(&cluster, "once"), 1);
}

#[test]
fn a_request_that_is_older_than_its_lease_never_runs() {
    let builder = Cluster::builder().set("keep_for", "4");
    let (cluster, proxy) = behind_a_proxy(builder);
    let caller = cluster.caller();
    // Longer than anything else that is sent meanwhile.
    let long = "x".repeat(8 * 1024);
    let arguments = json!([cluster.path("trace"), "late", long]).to_string();
    let (job, taken) = until("a request goes out on a connection that was kept", || {
        warm_up(&cluster);
        // A host that is not told that its end has come closes the connection.
        until("the end of that has been fetched", || {
            cluster.host_calls("web01").is_empty().then_some(())
        });
        let taken = proxy.taken();
        proxy.set(Way::HoldingCaller);
        let job = caller.call("far", "trace", &arguments);
        let is_out = until("it goes out, or another connection is made for it", || {
            if proxy.holds(long.len() / 2) {
                return Some(true);
            }
            (proxy.taken() > taken).then_some(false)
        });
        if is_out {
            return Some((job, proxy.taken()));
        }
        // A machine that is busy was too late for it.
        assert!(caller.cancel(&job));
        proxy.set(Way::Open);
        None
    });
    let data = error_data(&caller.result(&job), "network_error");
    assert_eq!(data["kept_for"], 4);
    proxy.set(Way::Open);
    until("the request has arrived, and is refused", || {
        let refused = cluster.host_log("web01").all("request refused");
        let mut types = refused.iter().map(|entry| entry["type"].clone());
        types.any(|it| it == "keep_over").then_some(())
    });
    assert!(proxy.taken() > taken, "the host was asked for it meanwhile");
    warm_up(&cluster);
    assert_eq!(runs(&cluster, "late"), 0);
}

#[test]
fn a_host_that_keeps_no_calls_any_more_has_lost_what_it_ran() {
    let mut cluster = Cluster::start();
    let caller = cluster.caller();
    let (job, _feed, _following) = streaming(&cluster, "web01", "");
    cluster.kill_host("web01");
    let config = cluster.path("web01.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("keep_calls = false\n{text}")).unwrap();
    cluster.start_host("web01");
    let _ = error_data(&caller.result(&job), "missing_result");
    assert_eq!(caller.read(&job, "").packets, ["1"]);
    // Others run there, each over a connection of its own.
    warm_up_at(&cluster, "web01");
}

#[test]
fn a_first_request_that_is_lost_on_the_way_was_certainly_not_run() {
    let builder = Cluster::builder().set("connect_timeout", "2");
    let (cluster, proxy) = behind_a_proxy(builder);
    let caller = cluster.caller();
    // Nothing is known of the host yet, and so nobody there runs what comes first.
    proxy.set(Way::Greeting);
    let job = caller.call("far", "trace", &trace(&cluster, "once"));
    let data = error_data(&caller.result(&job), "network_error");
    assert_eq!(data["phase"], "acknowledge", "{data}");
    let cancelled = caller.ask(json!({"harpcaller": 1, "cancel": job, "confirm": true}));
    assert_eq!(cancelled["cancelled"], false);
    proxy.set(Way::Open);
    warm_up(&cluster);
    assert_eq!(runs(&cluster, "once"), 0);
}

#[test]
fn a_name_with_two_hosts_behind_it_runs_a_call_at_one_of_them() {
    let (cluster, proxy) = behind_a_proxy(Cluster::builder().hosts(2));
    let caller = cluster.caller();
    warm_up(&cluster);
    // The other one is asked, and nobody has run it.
    proxy.lead_to(address_of(&cluster.entry("web02")));
    proxy.cut();
    let job = caller.call("far", "trace", &trace(&cluster, "first"));
    assert_eq!(caller.result(&job), json!({"result": null}));
    assert_eq!(runs(&cluster, "first"), 1);
    // One that runs at one of them does not begin at the other.
    let (job, _feed, _following) = streaming(&cluster, "far", "");
    proxy.lead_to(address_of(&cluster.entry("web01")));
    proxy.cut();
    let data = error_data(&caller.result(&job), "missing_result");
    assert_eq!(data, json!({"host_restarted": true}));
}

#[test]
fn a_dispatcher_that_was_away_for_longer_than_anybody_remembers_runs_nothing_again() {
    let builder: ClusterBuilder = Cluster::builder()
        .set("keep_for", "1")
        .set_host("max_keep", "1")
        .procedure(
            "marked",
            "output = 'json'\narguments = 'argv'",
            "echo \"start $2\" >> \"$1\"; exec sleep 600",
        );
    let mut cluster = builder.start();
    let caller = cluster.caller();
    let job = caller.call("web01", "marked", &trace(&cluster, "once"));
    until("it runs", || (runs(&cluster, "once") == 1).then_some(()));
    cluster.kill_dispatcher();
    let begun = Instant::now();
    until("everything is forgotten", || {
        (begun.elapsed() > Duration::from_secs(5)).then_some(())
    });
    cluster.start_dispatcher();
    let answer = caller.result(&job);
    let error = answer["error"]["type"].as_str().unwrap();
    assert!(["missing_result", "keep_over"].contains(&error), "{answer}");
    warm_up_at(&cluster, "web01");
    assert_eq!(runs(&cluster, "once"), 1);
}

fn warm_up_at(cluster: &Cluster, host: &str) {
    let job = cluster.caller().call(host, "echo", "[]");
    assert_eq!(cluster.caller().result(&job), json!({"result": []}));
}
