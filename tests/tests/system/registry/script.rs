//! The script's process: its end, its failures, what it hands down and inherits.

use std::fs;
use std::time::{Duration, Instant};

use harp_tests::{Cluster, until};
use rustix::process::{Pid, Signal, kill_process};

use super::{assert_known, assert_unknown, renamed, restless};

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
