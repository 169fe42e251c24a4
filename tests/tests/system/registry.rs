//! The hosts registry: its script and its cache (daemon specification, "Hosts registry").

use std::fs;
use std::os::unix::fs::PermissionsExt;

use harp_tests::{Cluster, ClusterBuilder, until};
use serde_json::{Value, json};

mod discovery;
mod lines;
mod script;

/// A cluster that runs the registry script every second.
fn restless() -> ClusterBuilder {
    Cluster::builder().set("host_db_refresh", "1")
}

/// How a call to this host ends: `None` for a result, else the error's type.
fn error_of(cluster: &Cluster, host: &str) -> Option<String> {
    let caller = cluster.caller();
    let answer = caller.result(&caller.call(host, "echo", "[]"));
    assert!(
        answer["result"].is_array() || answer["error"].is_object(),
        "{answer}"
    );
    answer["error"]["type"].as_str().map(str::to_owned)
}

#[track_caller]
fn assert_known(cluster: &Cluster, host: &str) {
    assert_eq!(error_of(cluster, host), None, "{host}");
}

#[track_caller]
fn assert_unknown(cluster: &Cluster, host: &str) {
    assert_eq!(
        error_of(cluster, host).as_deref(),
        Some("unknown_host"),
        "{host}"
    );
}

fn renamed(entry: &Value, name: &str) -> Value {
    let mut entry = entry.clone();
    entry["hostname"] = json!(name);
    entry
}

#[test]
fn a_refresh_replaces_the_registry_whole() {
    let cluster = restless().hosts(2).start();
    assert_known(&cluster, "web01");
    assert_known(&cluster, "web02");
    cluster.set_registry(&[renamed(&cluster.entry("web01"), "web03")]);
    cluster.wait_for_refresh();
    assert_known(&cluster, "web03");
    assert_unknown(&cluster, "web01");
    assert_unknown(&cluster, "web02");
}

/// That this output of a script that ends well leaves the registry as it was, whether it came
/// from the script or from the cache.
fn assert_refused(output: &str) {
    let mut cluster = Cluster::start();
    cluster.set_registry_script(output);
    let refused = |cluster: &Cluster| {
        let told = cluster.run(&["hosts-refresh"]);
        assert_eq!(told.status.code(), Some(1), "{output}: {told:?}");
        let told = String::from_utf8_lossy(&told.stderr).into_owned();
        assert!(told.contains("host_db_allow_empty"), "{told}");
        assert_known(cluster, "web01");
    };
    refused(&cluster);
    let logged = cluster
        .log()
        .wait_for("hosts registry not refreshed, it stays as it was");
    assert_eq!(logged["level"], "ERROR", "{logged}");
    cluster.restart_dispatcher();
    refused(&cluster);
    cluster.set("host_db_allow_empty", "true");
    let _ = cluster.reload();
    let told = cluster.lines(&["hosts-refresh"]).concat();
    assert!(told.starts_with("0 hosts"), "{told}");
    assert_unknown(&cluster, "web01");
    // From none to none, and to some.
    cluster.set("host_db_allow_empty", "false");
    let _ = cluster.reload();
    assert!(cluster.run(&["hosts-refresh"]).status.success());
    cluster.set_registry_script(r#"exec cat "$(dirname "$0")/hosts.jsonl""#);
    let told = cluster.lines(&["hosts-refresh"]);
    assert_eq!(told, ["1 hosts: 1 added, 0 removed"]);
    assert_known(&cluster, "web01");
}

#[test]
fn an_empty_output_empties_no_registry_unless_it_may() {
    assert_refused("exit 0");
}

#[test]
fn an_output_without_a_host_empties_no_registry_unless_it_may() {
    assert_refused("printf '# the hosts\\n\\n[]\\n{\"hostname\": \"web01\"}\\n'");
}

#[test]
fn an_output_that_is_cut_off_replaces_no_registry() {
    let cluster = Cluster::builder().hosts(2).start();
    for cut in [1, 20, 100] {
        let length = std::fs::metadata(cluster.path("hosts.jsonl"))
            .unwrap()
            .len();
        // Without its newline alone it is whole.
        let bytes = length - cut - 1;
        cluster.set_registry_script(&format!(
            r#"exec head -c {bytes} "$(dirname "$0")/hosts.jsonl""#
        ));
        let told = cluster.run(&["hosts-refresh"]);
        assert_eq!(told.status.code(), Some(1), "{cut}: {told:?}");
        let told = String::from_utf8_lossy(&told.stderr).into_owned();
        assert!(told.contains("cut off"), "{told}");
        assert_known(&cluster, "web01");
        assert_known(&cluster, "web02");
    }
}

#[test]
fn commands_say_in_numbers_what_they_did() {
    let mut cluster = Cluster::builder().hosts(2).start();
    let (first, second) = (cluster.entry("web01"), cluster.entry("web02"));
    let lines = [
        first.to_string(),
        "# a comment".to_owned(),
        renamed(&first, "web03").to_string(),
        second.to_string().replace("web02", "web03"),
        "nonsense".to_owned(),
    ];
    fs::write(cluster.path("hosts.jsonl"), lines.join("\n")).unwrap();
    let told = cluster.lines(&["hosts-refresh"]);
    assert_eq!(
        told,
        [
            "2 hosts: 1 added, 1 removed; 2 lines ignored (the log has the first); \
          1 lines overruled by later ones"
        ]
    );
    let logged = cluster
        .log()
        .wait_for("lines of the hosts registry ignored");
    assert_eq!((&logged["lines"], &logged["first"]), (&json!(2), &json!(2)));
    assert!(logged["fault"].as_str().unwrap().starts_with("not JSON"));

    // From now on at an address that is in the configuration.
    cluster.restart_dispatcher();
    cluster.set("no_such_key_at_all", "7");
    cluster.set_registry(&[first]);
    let told = String::from_utf8(cluster.reload().stdout).unwrap();
    let told: Vec<_> = told.lines().collect();
    assert!(told[0].contains("no_such_key_at_all"), "{told:?}");
    assert_eq!(
        told[1..],
        [
            "reloaded: 1 listeners, 0 rules, 0 tokens, 1 warnings",
            "1 hosts: 0 added, 1 removed"
        ]
    );
    cluster.set_registry_script("exit 7");
    let told = cluster.reload();
    assert!(told.status.success(), "the configuration is in force");
    let told = String::from_utf8(told.stderr).unwrap();
    assert!(
        told.contains("stays as it was") && told.contains('7'),
        "{told}"
    );

    let caller = cluster.caller();
    for _ in 0..3 {
        let job = caller.call("web01", "echo", "[]");
        assert_eq!(caller.result(&job), json!({"result": []}));
    }
    until("all are pruned", || {
        let told = cluster.lines(&["prune-jobs", "--age", "0"]).concat();
        (told == "0 jobs pruned").then_some(())
    });
    assert!(cluster.lines(&["list", "--all"]).is_empty());
}

#[test]
fn the_cache_is_used_at_the_next_start_and_is_private() {
    let mut cluster = Cluster::start();
    let cache = cluster.path("hosts.cache");
    assert_known(&cluster, "web01");
    let mode = fs::metadata(&cache).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // Fresh enough that the script is not asked; it would say otherwise.
    cluster.set_registry_script("exit 1");
    cluster.restart_dispatcher();
    assert_known(&cluster, "web01");
    assert_eq!(cluster.log().count("hosts registry refreshed"), 1);
}

#[test]
fn an_old_cache_is_better_than_none() {
    let mut cluster = Cluster::start();
    cluster.stop_dispatcher();
    let cache = fs::File::options()
        .append(true)
        .open(cluster.path("hosts.cache"))
        .unwrap();
    cache.set_modified(std::time::UNIX_EPOCH).unwrap();
    cluster.set_registry_script("exit 1");
    cluster.start_dispatcher();
    assert_known(&cluster, "web01");
    // At the start, since it is older than half the interval.
    let _ = cluster
        .log()
        .wait_for("hosts registry not refreshed, it stays as it was");
}

#[test]
fn a_broken_cache_and_a_failing_script_leave_a_dispatcher_that_runs() {
    let mut cluster = restless().start();
    cluster.stop_dispatcher();
    fs::write(cluster.path("hosts.cache"), b"\xff\xfe nonsense").unwrap();
    cluster.set_registry_script("exit 1");
    cluster.start_dispatcher();
    assert_unknown(&cluster, "web01");
    cluster.set_registry_script(r#"exec cat "$(dirname "$0")/hosts.jsonl""#);
    cluster.wait_for_refresh();
    assert_known(&cluster, "web01");
    // Whatever it was, it may be somebody's, and is not written over.
    let kept = |name: &str| fs::read(cluster.path(name)).unwrap();
    assert_eq!(kept("hosts.cache.orig"), b"\xff\xfe nonsense");
    let told = cluster.log().text();
    assert!(told.contains("has another name now"), "{told}");

    // Nor is what was kept first.
    cluster.stop_dispatcher();
    fs::write(cluster.path("hosts.cache"), "more").unwrap();
    cluster.start_dispatcher();
    let kept = |name: &str| fs::read(cluster.path(name)).unwrap();
    assert_eq!(kept("hosts.cache.orig"), b"\xff\xfe nonsense");
    assert_eq!(kept("hosts.cache.orig.1"), b"more");
}

#[test]
fn the_registry_of_the_moment_decides_when_a_job_starts() {
    let cluster = restless().start();
    let caller = cluster.caller();
    let feed = cluster.feed("feed");
    let queue = r#""queue": {"name": {}}"#;
    let first = caller.call_with("web01", "gate", &feed.arguments(), queue);
    let second = caller.call_with("web02", "echo", "[]", queue);
    let third = caller.call_with("web01", "echo", "[]", queue);
    cluster.set_registry(&[renamed(&cluster.entry("web01"), "web02")]);
    cluster.wait_for_refresh();
    assert!(caller.cancel(&first));
    assert_eq!(caller.result(&second), json!({"result": []}));
    assert_eq!(caller.result(&third)["error"]["type"], "unknown_host");
}
