//! The log: handlers, the file, formats and levels, and what never gets into it (daemon
//! specification, keys `log_*` and `reopen-logs`).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use harp_tests::{Cluster, PASSWORD, until};
use serde_json::{Value, json};

/// A log daemon's socket.
fn daemon(path: &Path) -> UnixDatagram {
    let socket = UnixDatagram::bind(path).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    socket
}

/// The first datagram with these words in it.
fn received(socket: &UnixDatagram, words: &str) -> String {
    let mut buffer = vec![0; 65536];
    until(words, || {
        let length = socket.recv(&mut buffer).unwrap();
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        text.contains(words).then_some(text)
    })
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn wait_for_line(path: &Path, words: &str) -> String {
    until(words, || {
        let text = text(path);
        let line = text.lines().find(|line| line.contains(words));
        line.map(str::to_owned)
    })
}

/// A cluster that can be reloaded: with the port that it has been given in its
/// configuration.
fn start() -> Cluster {
    let mut cluster = Cluster::start();
    cluster.restart_dispatcher();
    cluster
}

fn echo(cluster: &Cluster) -> String {
    let caller = cluster.caller();
    let job = caller.call("web01", "echo", "[1]");
    assert_eq!(caller.result(&job), json!({"result": [1]}));
    job
}

fn set(cluster: &mut Cluster, keys: &[(&str, Value)]) {
    for (key, value) in keys {
        cluster.set(key, &value.to_string());
    }
}

#[test]
fn a_log_file_is_private_and_reopened_after_it_was_moved() {
    let mut cluster = start();
    let (log, moved) = (cluster.path("logs/harpcallerd.log"), cluster.path("moved"));
    set(&mut cluster, &[("log_file", json!(log))]);
    cluster.restart_dispatcher();
    let first = echo(&cluster);
    let line = wait_for_line(&log, "job ended");
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["level"], "INFO");
    assert_eq!(
        line["span"],
        json!({"name": "job", "job": first, "host": "web01", "procedure": "echo"})
    );
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&log), 0o600);
    assert_eq!(mode(log.parent().unwrap()), 0o700);
    until("stderr gets it too", || {
        cluster.log().text().contains(&first).then_some(())
    });

    fs::rename(&log, &moved).unwrap();
    let second = echo(&cluster);
    let _ = wait_for_line(&moved, &second);
    assert!(!log.exists(), "nobody has asked for it");
    let _ = cluster.lines(&["reopen-logs"]);
    let third = echo(&cluster);
    let _ = wait_for_line(&log, &third);
    assert!(!text(&moved).contains(&third));
    assert_eq!(mode(&log), 0o600);
    // A reload opens it anew as well.
    fs::remove_file(&log).unwrap();
    assert!(cluster.reload().status.success());
    let fourth = echo(&cluster);
    let _ = wait_for_line(&log, &fourth);
    // The last lines get out before the process ends.
    cluster.stop_dispatcher();
    let text = text(&log);
    assert!(
        text.lines().last().unwrap().contains("\"stopped\""),
        "{text}"
    );
}

#[test]
fn a_file_that_cannot_be_opened_is_told_and_changes_nothing() {
    let mut cluster = start();
    let log = cluster.path("log");
    set(&mut cluster, &[("log_file", json!(log))]);
    assert!(cluster.reload().status.success());
    let first = echo(&cluster);
    let _ = wait_for_line(&log, &first);
    let there = cluster.path("hosts.sh").join("log");
    set(&mut cluster, &[("log_file", json!(there))]);
    let output = cluster.reload();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said.contains("log_file: ") && said.contains("hosts.sh"),
        "{said}"
    );
    let second = echo(&cluster);
    let _ = wait_for_line(&log, &second);

    // So it is with a reopening, and the file in use stays in use.
    fs::rename(&log, cluster.path("moved")).unwrap();
    fs::create_dir(&log).unwrap();
    let output = cluster.run(&["reopen-logs"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains(&log.display().to_string()), "{said}");
    let third = echo(&cluster);
    let _ = wait_for_line(&cluster.path("moved"), &third);

    cluster.stop_dispatcher();
    let said = cluster.fail_to_start();
    assert!(said.contains("hosts.sh"), "{said}");
}

#[test]
fn a_reload_changes_level_format_and_handlers() {
    let mut cluster = start();
    let log = cluster.path("log");
    let change = |cluster: &mut Cluster, keys: &[(&str, Value)]| {
        set(cluster, keys);
        let output = cluster.reload();
        assert!(output.status.success(), "{output:?}");
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(!told.contains("restart"), "{output:?}");
    };
    // A session and a job that live through all of it.
    let caller = cluster.caller();
    let mut kept = caller.send(json!({"harpcaller": 1, "hello": {}}));
    assert!(kept.line()["server"].is_string());
    let mut feed = cluster.feed("feed");
    let lasting = caller.call("web01", "gate", &feed.arguments());
    feed.wait_read();

    change(
        &mut cluster,
        &[("log_file", json!(log)), ("log_format", json!("text"))],
    );
    let job = echo(&cluster);
    let line = wait_for_line(&log, "job ended");
    let expected = format!(
        "  INFO job{{job={job} host=web01 procedure=echo}}: job ended outcome=returned seconds="
    );
    assert!(line.contains(&expected), "{line}\n{expected}");
    let accepted = wait_for_line(&log, "job accepted");
    let listener = cluster.address();
    assert!(
        accepted.contains(" client{peer=127.")
            && accepted.contains(&format!("listener={listener}}}")),
        "{accepted}"
    );

    change(&mut cluster, &[("log_level", json!("debug"))]);
    kept.send(json!({"harpcaller": 1, "get_status": 1}));
    let _ = wait_for_line(&log, "DEBUG");
    change(&mut cluster, &[("log_level", json!("warn"))]);
    let unseen = echo(&cluster);
    change(
        &mut cluster,
        &[
            ("log_level", json!("info")),
            ("log_format", json!("json")),
            ("log_handlers", json!([])),
        ],
    );
    feed.send("1");
    feed.finish();
    assert_eq!(caller.result(&lasting), json!({"result": 1}));
    let line = wait_for_line(&log, &format!("\"job\":\"{lasting}\""));
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["message"], "job ended");
    assert_eq!(line["span"]["procedure"], "gate");
    assert!(!text(&log).contains(&unseen));
    // Standard error has no handler any more.
    let told = cluster.log().text();
    assert!(
        told.contains(&job) && !told.contains(&format!("job{{job={lasting}")),
        "{told}"
    );
}

#[test]
fn syslog_and_journald_get_datagrams() {
    let mut cluster = start();
    let (syslog, journal) = (cluster.path("syslog"), cluster.path("journal"));
    let (at_syslog, at_journal) = (daemon(&syslog), daemon(&journal));
    let handlers = json!([
        "stderr",
        format!("syslog:{}", syslog.display()),
        format!("journald:{}", journal.display())
    ]);
    set(
        &mut cluster,
        &[("log_handlers", handlers), ("log_format", json!("text"))],
    );
    assert!(cluster.reload().status.success());
    let job = echo(&cluster);
    let id = cluster.dispatcher_id();
    let datagram = received(&at_syslog, "job ended");
    assert!(datagram.starts_with("<30>"), "{datagram}");
    assert!(
        datagram.contains(&format!(" harpcallerd[{id}]: job{{job={job} host=web01 ")),
        "{datagram}"
    );
    let datagram = received(&at_journal, "job ended");
    for field in [
        "PRIORITY=6",
        "SYSLOG_IDENTIFIER=harpcallerd",
        &format!("HARP_JOB={job}"),
        "HARP_HOST=web01",
        "HARP_PROCEDURE=echo",
        "HARP_OUTCOME=returned",
    ] {
        assert!(
            datagram.lines().any(|line| line == field),
            "{field}: {datagram}"
        );
    }
    // One that is started anew is found again; calls go on meanwhile.
    drop(at_syslog);
    fs::remove_file(&syslog).unwrap();
    let _ = echo(&cluster);
    let _ = received(&at_journal, "job ended");
    let again = daemon(&syslog);
    let job = echo(&cluster);
    let _ = received(&again, &job);
}

#[test]
fn a_log_daemon_that_hangs_holds_up_no_call() {
    let mut cluster = start();
    let hanging = cluster.path("hanging");
    let _daemon = UnixDatagram::bind(&hanging).unwrap();
    let handlers = json!([format!("syslog:{}", hanging.display())]);
    set(
        &mut cluster,
        &[("log_handlers", handlers), ("log_level", json!("trace"))],
    );
    assert!(cluster.reload().status.success());
    let begun = std::time::Instant::now();
    for _ in 0..300 {
        let _ = echo(&cluster);
    }
    assert!(
        begun.elapsed() < Duration::from_secs(60),
        "{:?}",
        begun.elapsed()
    );
    wait_for_stderr(&cluster, "cannot log to syslog at");
    assert_eq!(
        cluster.log().text().matches("cannot log to").count(),
        1,
        "said once"
    );
}

fn wait_for_stderr(cluster: &Cluster, words: &str) {
    until(words, || cluster.log().text().contains(words).then_some(()));
}

#[test]
fn handlers_have_the_originals_names_and_others_are_refused() {
    let mut cluster = start();
    let originals = json!(["harpcaller_stdout_h", "harpcaller_syslog_h", "stderr"]);
    set(&mut cluster, &[("log_handlers", originals)]);
    let output = cluster.reload();
    assert!(output.status.success(), "{output:?}");
    let _ = echo(&cluster);
    set(&mut cluster, &[("log_handlers", json!(["syslogd"]))]);
    let output = cluster.reload();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("log_handlers: \"syslogd\": not a log handler"),
        "{said}"
    );
}

/// Two lines for a call and none for a packet; nothing in them that the caller or the
/// host said, and no credentials at any level.
#[test]
fn calls_are_two_lines_each_without_arguments_results_and_credentials() {
    const SECRETS: [&str; 4] = [
        "ARGUMENT-marker",
        "INFO-marker",
        "PACKET-marker",
        "WRONG-marker",
    ];
    let mut cluster = start();
    let log = cluster.path("log");
    set(&mut cluster, &[("log_file", json!(log))]);
    assert!(cluster.reload().status.success());
    let calls = |cluster: &Cluster| {
        let caller = cluster.caller();
        let call = |procedure, arguments| {
            let more = r#""info": "INFO-marker""#;
            let job = caller.call_with("web01", procedure, arguments, more);
            let _ = caller.result(&job);
            job
        };
        let jobs = vec![
            call("echo", r#"["ARGUMENT-marker"]"#),
            call("say", r#"["PACKET-marker", "PACKET-marker", "3"]"#),
            call("fail", r#"["3", "ARGUMENT-marker"]"#),
            call("nonexistent", r#"["ARGUMENT-marker"]"#),
        ];
        // Wrong credentials, in the registry and in a request that is refused.
        let mut entry = cluster.entry("web01");
        entry["credentials"]["password"] = json!("WRONG-marker");
        cluster.set_registry(&[entry]);
        let _ = cluster.lines(&["hosts-refresh"]);
        let refused = call("echo", r#"["ARGUMENT-marker"]"#);
        let _ = caller.ask(r#"{"harpcaller": 1, "host": 1, "arguments": ["ARGUMENT-marker"]}"#);
        cluster.set_registry(&[cluster.entry("web01")]);
        let _ = cluster.lines(&["hosts-refresh"]);
        let ended = caller.call("web01", "echo", "[]");
        let _ = caller.result(&ended);
        let _ = wait_for_line(&log, &format!("\"job\":\"{ended}\",\"host\":\"web01\""));
        (jobs, refused)
    };
    let (jobs, refused) = calls(&cluster);
    let info = text(&log);
    for secret in SECRETS.into_iter().chain([PASSWORD]) {
        assert!(!info.contains(secret), "{secret} at info");
    }
    for job in jobs.iter().chain([&refused]) {
        let lines = info.lines().filter(|line| line.contains(job.as_str()));
        assert_eq!(lines.count(), 2, "{job}: {info}");
    }
    let end = info.lines().rfind(|line| line.contains(&refused)).unwrap();
    assert!(
        end.contains(r#""outcome":"auth_error""#),
        "why it failed is told: {end}"
    );

    set(&mut cluster, &[("log_level", json!("trace"))]);
    assert!(cluster.reload().status.success());
    let _ = calls(&cluster);
    for secret in ["WRONG-marker", PASSWORD] {
        assert!(!text(&log).contains(secret), "{secret} at debug");
    }
}

#[test]
fn a_call_is_found_in_the_logs_of_both_ends() {
    for keeps in [true, false] {
        let cluster = Cluster::builder()
            .set("keep_calls", &keeps.to_string())
            .start();
        let job = echo(&cluster);
        let ended = until("the dispatcher tells the end", || {
            let ended = cluster.log().all("job ended");
            ended.into_iter().find(|entry| entry["span"]["job"] == job)
        });
        let called = until("the host tells the end", || {
            let mut ended = cluster.host_log("web01").all("call ended");
            ended.pop()
        });
        if keeps {
            assert_eq!(called["call"], json!(job));
        } else {
            assert_eq!(called["peer"], ended["span"]["from"], "{ended}");
            assert!(called.get("call").is_none(), "{called}");
        }
    }
}
