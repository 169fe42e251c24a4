//! The hosts registry: its script and its cache (daemon specification, "Hosts registry").

use std::fs;
use std::os::unix::fs::PermissionsExt;

use harp_tests::{Cluster, ClusterBuilder, until};
use serde_json::{Value, json};

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
fn lines_that_are_no_entry_are_ignored() {
    let cluster = restless().start();
    let entry = cluster.entry("web01");
    let without = |key: &str| {
        let mut entry = renamed(&entry, &format!("without {key}"));
        entry.as_object_mut().unwrap().remove(key);
        entry.to_string()
    };
    let with = |key: &str, value: Value| {
        let mut entry = renamed(&entry, &format!("bad {key}"));
        entry[key] = value;
        entry.to_string()
    };
    let lines = [
        "# the web servers".to_owned(),
        String::new(),
        renamed(&entry, "first").to_string(),
        "nonsense {".to_owned(),
        "[]".to_owned(),
        "null".to_owned(),
        without("address"),
        without("port"),
        without("credentials"),
        with("port", json!(70000)),
        with("port", json!("4306")),
        with("credentials", json!({"user": "u"})),
        with("fingerprint", json!("no hexadecimal")),
        with("tls_name", json!(7)),
        format!("  {}  ", renamed(&entry, "indented")),
        {
            let mut more = renamed(&entry, "with more");
            more["rack"] = json!(7);
            more.to_string()
        },
    ];
    let last = renamed(&entry, "last without its end");
    fs::write(
        cluster.path("lines"),
        format!("{}\n{last}", lines.join("\n")),
    )
    .unwrap();
    cluster.set_registry_script(r#"exec cat "$(dirname "$0")/lines""#);
    cluster.wait_for_refresh();
    for host in ["first", "indented", "with more", "last without its end"] {
        assert_known(&cluster, host);
    }
    for host in [
        "web01",
        "without address",
        "without port",
        "without credentials",
        "bad port",
        "bad credentials",
        "bad fingerprint",
        "bad tls_name",
    ] {
        assert_unknown(&cluster, host);
    }
    // Counted and logged, with no secret among it.
    let ignored = cluster
        .log()
        .wait_for("lines of the hosts registry ignored");
    assert!(
        ignored["lines"].as_u64().is_some_and(|lines| lines >= 11),
        "{ignored}"
    );
    assert!(!cluster.log().text().contains(harp_tests::PASSWORD));
}

#[test]
fn an_entry_is_an_object_and_so_are_its_credentials() {
    let cluster = restless().start();
    let entry = cluster.entry("web01");
    let credentials = json!([harp_tests::USER, harp_tests::PASSWORD]);
    let mut listed_credentials = renamed(&entry, "listed credentials");
    listed_credentials["credentials"] = credentials.clone();
    cluster.set_registry(&[
        json!(["list", entry["address"], entry["port"], credentials]),
        json!([
            "list of all keys",
            entry["address"],
            entry["port"],
            entry["credentials"],
            null,
            null
        ]),
        listed_credentials,
        renamed(&entry, "web02"),
    ]);
    cluster.wait_for_refresh();
    assert_known(&cluster, "web02");
    for host in ["list", "list of all keys", "listed credentials"] {
        assert_unknown(&cluster, host);
    }
}

#[test]
fn no_secret_of_a_line_that_is_no_entry_is_logged() {
    for (key, value) in [
        ("credentials", json!("rpc:SECRET")),
        (
            "credentials",
            json!({"user": "rpc", "password": ["SECRET"]}),
        ),
        ("port", json!("SECRET")),
        ("fingerprint", json!("SECRET")),
    ] {
        let mut entry = json!({
            "hostname": "web01", "address": "127.0.0.1", "port": 4306,
            "credentials": {"user": "rpc", "password": "SECRET"},
        });
        entry[key] = value;
        let cluster = Cluster::builder()
            .hosts(0)
            .set("log_level", "\"debug\"")
            .entry(entry.clone())
            .start();
        assert_unknown(&cluster, "web01");
        let ignored = cluster
            .log()
            .wait_for("lines of the hosts registry ignored");
        assert_eq!(ignored["lines"], 1, "{ignored}");
        let log = cluster.log().text();
        assert!(!log.contains("SECRET"), "{entry}: {log}");
    }
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
    // Printing nothing is a way of saying that there are no hosts.
    cluster.set_registry(&[]);
    cluster.wait_for_refresh();
    assert_unknown(&cluster, "web03");
}

/// A script that fails leaves registry and cache as they were; one that works again is
/// heard again.
fn assert_changes_nothing(failing: &str) {
    const MESSAGE: &str = "hosts registry not refreshed, it stays as it was";
    let cluster = restless().set("host_db_script_timeout", "1").start();
    let cached = || fs::read(cluster.path("hosts.cache")).unwrap();
    let cache = cached();
    let other = renamed(&cluster.entry("web01"), "web02");
    cluster.set_registry_script(&failing.replace("PRINT", &format!("echo '{other}'")));
    let _ = cluster.log().wait_for(MESSAGE);
    assert_known(&cluster, "web01");
    assert_unknown(&cluster, "web02");
    assert!(cached() == cache, "{failing}");
    cluster.set_registry(&[other]);
    cluster.set_registry_script(r#"exec cat "$(dirname "$0")/hosts.jsonl""#);
    cluster.wait_for_refresh();
    assert_known(&cluster, "web02");
    assert_unknown(&cluster, "web01");
}

#[test]
fn a_script_that_exits_badly_changes_nothing() {
    assert_changes_nothing("PRINT; exit 1");
}

#[test]
fn a_script_that_is_killed_changes_nothing() {
    assert_changes_nothing("PRINT; kill -TERM $$");
}

#[test]
fn a_script_that_runs_too_long_changes_nothing() {
    assert_changes_nothing("PRINT; exec sleep 600");
    // It has closed its output, and still does not end.
    assert_changes_nothing("PRINT; exec >&- 2>&-; exec sleep 600");
}

#[test]
fn a_script_that_cannot_be_run_changes_nothing() {
    let cluster = restless().start();
    fs::remove_file(cluster.path("hosts.sh")).unwrap();
    let _ = cluster
        .log()
        .wait_for("hosts registry not refreshed, it stays as it was");
    assert_known(&cluster, "web01");
}

#[test]
fn a_script_that_hangs_is_killed_with_all_its_children() {
    let cluster = restless().set("host_db_script_timeout", "1").start();
    cluster.set_registry_script(
        "sleep 600 & echo $! > \"$(dirname \"$0\")/child.new\"
        mv \"$(dirname \"$0\")/child.new\" \"$(dirname \"$0\")/child\"; wait",
    );
    let child = until("the script runs", || {
        fs::read_to_string(cluster.path("child")).ok()
    });
    let process = format!("/proc/{}/stat", child.trim());
    until("its child is gone", || {
        // Gone, or waiting for whoever inherited it.
        let stat = fs::read_to_string(&process).unwrap_or_default();
        (stat.is_empty() || stat.contains(") Z ")).then_some(())
    });
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

/// What the dispatcher may do beyond its user is not for the script.
#[test]
fn the_script_inherits_no_capabilities() {
    // Capabilities are a thread's, and its children's.
    let told = std::thread::spawn(|| {
        use rustix::thread as t;
        let kept = t::CapabilitySet::CHOWN;
        let mut sets = t::capabilities(None)?;
        sets.inheritable |= kept;
        t::set_capabilities(None, sets)?;
        t::configure_capability_in_ambient_set(kept, true)?;
        let cluster = restless().start();
        cluster.set_registry_script(
            r#"here=$(dirname "$0"); grep -E '^Cap(Inh|Amb)' /proc/self/status > "$here/new"
            mv "$here/new" "$here/capabilities"; exec cat "$here/hosts.jsonl""#,
        );
        let file = cluster.path("capabilities");
        rustix::io::Result::Ok(until("the script has run", || {
            fs::read_to_string(&file).ok()
        }))
    });
    match told.join().unwrap() {
        Ok(told) => {
            let none = "0000000000000000";
            assert_eq!(told, format!("CapInh:\t{none}\nCapAmb:\t{none}\n"));
        }
        Err(error) => println!("skipped: cannot set capabilities: {error}"),
    }
}
