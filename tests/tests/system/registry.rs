//! The hosts registry: its script and its cache (daemon specification, "Hosts registry").

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use harp_tests::{Cluster, ClusterBuilder, until};
use rustix::process::{Pid, Signal, kill_process};
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
    assert_refused("printf '# the hosts\\n\\n[]\\n{\"hostname\": \"web01\"'");
}

/// The script is at its end when its process is, whoever holds its output.
fn assert_ends_with_its_process(cluster: &Cluster, script: &str) {
    cluster.set_registry_script(script);
    let begun = Instant::now();
    let told = cluster.run(&["hosts-refresh"]);
    assert!(told.status.success(), "{script}: {told:?}");
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(10), "{script}: {took:?}");
    let child = fs::read_to_string(cluster.path("child")).unwrap_or_default();
    if let Some(child) = child.trim().parse().ok().and_then(Pid::from_raw) {
        // One that has made itself independent is ended by nobody else.
        if script.contains("setsid") {
            kill_process(child, Signal::KILL).unwrap();
        }
        until("the child is gone", || {
            let stat = format!("/proc/{}/stat", child.as_raw_nonzero());
            let stat = fs::read_to_string(stat).unwrap_or_default();
            (stat.is_empty() || stat.contains(") Z ")).then_some(())
        });
    }
}

#[test]
fn the_end_of_the_scripts_process_is_the_end_of_its_output() {
    let cluster = Cluster::start();
    let entry = cluster.entry("web01");
    let print = |name: &str| format!("echo '{}'", renamed(&entry, name));
    let child = r#"echo $! > "$(dirname "$0")/child""#;
    for (number, script) in [
        // A child that holds everything, one that has a session of its own, one that holds
        // standard error alone, and one without a word of the script's own.
        format!("sleep 600 & {child}; HOST"),
        format!("setsid sleep 600 & {child}; HOST"),
        format!("sleep 600 >/dev/null & {child}; HOST"),
        format!("sleep 600 2>/dev/null & {child}; HOST"),
        // A filter and a child that are a little later than the script.
        "(sleep 0.4; HOST) & exit 0".to_owned(),
        "{ HOST; } | sed 's/^/ /' & exit 0".to_owned(),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("web{number}");
        let _ = fs::remove_file(cluster.path("child"));
        let script = script.replace("HOST", &print(&name));
        assert_ends_with_its_process(&cluster, &script);
        assert_known(&cluster, &name);
    }
}

#[test]
fn a_script_that_ends_badly_changes_nothing_whoever_holds_its_output() {
    let cluster = Cluster::start();
    let other = renamed(&cluster.entry("web01"), "web02");
    for end in ["exit 1", "kill -TERM $$", "kill -KILL $$"] {
        cluster.set_registry_script(&format!("sleep 5 & echo '{other}'; {end}"));
        let told = cluster.run(&["hosts-refresh"]);
        assert_eq!(told.status.code(), Some(1), "{told:?}");
        assert_known(&cluster, "web01");
        assert_unknown(&cluster, "web02");
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
