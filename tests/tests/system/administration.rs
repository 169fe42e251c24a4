//! The commands of a running dispatcher and its administrative socket (daemon
//! specification, "Commands" and "Administrative socket").

mod condition;
mod daemon;
mod found;
mod jobs;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::{Command, Output, Stdio};

use harp_tests::certificates::Authority;
use harp_tests::{Cluster, binary};
use serde_json::{Value, json};

/// What a command that failed has said.
fn complaint(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Lines that are JSON.
fn objects(lines: &[String]) -> Vec<Value> {
    let read = |line: &String| serde_json::from_str(line).expect("JSON");
    lines.iter().map(read).collect()
}

/// One request, one reply, as another program than ours would speak.
fn ask(cluster: &Cluster, request: &str) -> Value {
    let socket = UnixStream::connect(cluster.socket()).unwrap();
    writeln!(&socket, "{request}").unwrap();
    let mut line = String::new();
    BufReader::new(socket).read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap()
}

#[test]
fn hosts_are_listed_without_credentials_and_refreshed() {
    let cluster = Cluster::builder()
        .entry(
            json!({"hostname": "a", "address": "192.0.2.7", "port": 4306,
            "credentials": {"user": "u", "password": "SECRET"}}),
        )
        .start();
    let lines = cluster.lines(&["hosts-list"]);
    let entry = cluster.entry("web01");
    let expected = [
        json!({"hostname": "a", "address": "192.0.2.7", "port": 4306}),
        json!({"hostname": "web01", "address": entry["address"], "port": entry["port"]}),
    ];
    assert_eq!(objects(&lines), expected);
    assert!(!lines.concat().contains("SECRET"));
    cluster.set_registry(&[entry]);
    assert!(cluster.run(&["hosts-refresh"]).status.success());
    assert_eq!(objects(&cluster.lines(&["hosts-list"])), expected[1..]);
    cluster.set_registry_script("echo out of order >&2; exit 3");
    let told = complaint(&cluster.run(&["hosts-refresh"]), 1);
    assert!(
        told.contains("hosts.sh") && told.contains("out of order"),
        "{told}"
    );
    assert_eq!(objects(&cluster.lines(&["hosts-list"])), expected[1..]);
}

#[test]
fn other_programs_speak_to_the_socket_too() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let job = caller.call("web01", "echo", "[1]");
    let _ = caller.result(&job);
    let reply = ask(&cluster, r#"{"command": "status", "wait": false}"#);
    assert_eq!(reply, json!({"result": "running"}));
    let reply = ask(&cluster, r#"{"command": "list_jobs", "list_all": false}"#);
    assert_eq!(reply, json!({"result": "ok", "jobs": []}));
    let reply = ask(&cluster, r#"{"command": "list_jobs", "list_all": true}"#);
    assert_eq!(reply["jobs"][0]["job"], job.as_str());
    let info = ask(
        &cluster,
        &json!({"command": "job_info", "job": job}).to_string(),
    );
    assert_eq!(info["result"], "ok");
    assert_eq!(info["info"]["call"]["arguments"], json!([1]));
    let reply = ask(&cluster, r#"{"command": "cancel_job", "job": "x"}"#);
    assert_eq!(reply, json!({"result": "no_such_job"}));
    let cancel = json!({"command": "cancel_job", "job": job}).to_string();
    let reply = ask(&cluster, &cancel);
    assert_eq!(reply, json!({"result": "no_such_job", "ended": true}));
    let reply = ask(&cluster, r#"{"command": "list_queues"}"#);
    assert_eq!(reply, json!({"result": "ok", "queues": []}));
    let reply = ask(&cluster, r#"{"command": "refresh_hosts"}"#);
    assert_eq!(
        (&reply["result"], &reply["registry"]["hosts"]),
        (&json!("ok"), &json!(1))
    );
    for wrong in [r#"{"command": "dance"}"#, "[]", "nonsense", ""] {
        let reply = ask(&cluster, wrong);
        assert_eq!(reply["result"], "error", "{wrong}");
        assert!(reply["message"].is_string(), "{reply}");
    }
    // One connection serves many requests, and one that is too long gets its answer.
    let socket = UnixStream::connect(cluster.socket()).unwrap();
    let mut replies = BufReader::new(&socket).lines();
    for _ in 0..2 {
        writeln!(&socket, r#"{{"command": "status"}}"#).unwrap();
        assert_eq!(replies.next().unwrap().unwrap(), r#"{"result":"running"}"#);
    }
    writeln!(&socket, "{}", "x".repeat(70_000)).unwrap();
    assert!(replies.next().unwrap().unwrap().contains("one line"));
}

#[test]
fn what_is_erlangs_is_refused_with_a_reason() {
    for verb in ["dist-erl-start", "dist-erl-stop"] {
        let output = Command::new(binary("harpcallerd")).arg(verb).output();
        let told = complaint(&output.unwrap(), 1);
        assert!(told.contains("Erlang"), "{told}");
    }
}

#[test]
fn the_command_line_is_described() {
    let say = |arguments: &[&str]| {
        let output = Command::new(binary("harpcallerd")).args(arguments).output();
        output.unwrap()
    };
    let help = say(&["--help"]);
    let text = String::from_utf8_lossy(&help.stdout).into_owned();
    for word in [
        "start",
        "queue-cancel",
        "--socket",
        "/var/run/harpcaller/control",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let completions = say(&["completions", shell]);
        assert!(completions.status.success());
        let text = String::from_utf8_lossy(&completions.stdout).into_owned();
        assert!(text.contains("queue-cancel"), "{shell}");
        // Where the shell is there, it understands them.
        if shell == "bash" {
            let mut bash = Command::new("bash");
            bash.args(["-n"]).stdin(Stdio::piped());
            match bash.spawn() {
                Ok(mut bash) => {
                    let mut stdin = bash.stdin.take().unwrap();
                    stdin.write_all(text.as_bytes()).unwrap();
                    drop(stdin);
                    assert!(bash.wait().unwrap().success());
                }
                Err(error) => println!("skipped: bash cannot be run: {error}"),
            }
        }
    }
    for wrong in [&["dance"][..], &[], &["list", "--al"], &["info"]] {
        assert_eq!(say(wrong).status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn the_days_that_certificates_of_listeners_have_left_are_told() {
    const DAY: u64 = 24 * 60 * 60;
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let listener = |table: &str, name: &str, days: u64| {
        // Days are whole ones.
        let seconds = days * DAY + DAY / 2;
        let certificate = Authority::shared().issue_for(&["127.0.0.1"], seconds);
        fs::write(at(name), &certificate.pem).unwrap();
        let key = at(&format!("{name}.key"));
        fs::write(&key, &certificate.key_pem).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        format!(
            "[[{table}]]\naddress = '127.0.0.1:0'\nrequire_authentication = false\n\
             certificate = {:?}\nprivate_key = {key:?}\n",
            at(name)
        )
    };
    let cluster = Cluster::builder()
        .tables(&listener("listener", "for-clients", 12))
        .tables(&listener("listen_http", "for-browsers", 400))
        .start();
    let config = cluster.config();
    let told = cluster.lines(&[
        "check-config",
        "--hosts",
        "--config",
        config.to_str().unwrap(),
    ]);
    let of = |name: &str, days: &str| {
        format!(
            "{}: its certificate ends in {days} days",
            at(name).display()
        )
    };
    let soon = format!("warning: {}", of("for-clients", "12"));
    assert!(told.contains(&soon), "{told:?}");
    assert!(told.contains(&of("for-browsers", "400")), "{told:?}");
}

#[test]
fn hosts_that_would_fail_are_named_before_they_do() {
    let cluster = Cluster::builder()
        .other_host("gone", harp_tests::refusing_address())
        .start();
    let mut wrong = cluster.entry("web01");
    wrong["hostname"] = json!("misnamed");
    wrong["tls_name"] = json!("other.example.net");
    let mut good = cluster.entry("web01");
    good["hostname"] = json!("web02");
    let check = || {
        let config = cluster.config();
        cluster.run(&[
            "check-config",
            "--hosts",
            "--config",
            config.to_str().unwrap(),
        ])
    };
    cluster.set_registry(&[cluster.entry("web01"), good.clone()]);
    let output = check();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{output:?}");
    assert!(text.contains("2 of 2 hosts"), "{text}");
    for name in ["web01", "web02"] {
        let line = text
            .lines()
            .find(|line| line.starts_with(&format!("{name}: ")));
        let line = line.unwrap_or_else(|| panic!("{name}: {text}"));
        assert!(
            line.contains("certificate ends in") && line.ends_with(" days"),
            "{line}"
        );
    }

    let mut gone = good.clone();
    gone["hostname"] = json!("gone");
    gone["port"] = json!(harp_tests::refusing_address().port());
    gone["address"] = json!(harp_tests::refusing_address().ip());
    cluster.set_registry(&[cluster.entry("web01"), wrong, gone]);
    let output = check();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("1 of 3 hosts"), "{text}");
    let of = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.unwrap_or_else(|| panic!("{name}: {text}")).to_owned()
    };
    assert!(of("misnamed:").contains("other.example.net"), "{text}");
    assert!(of("gone:").contains("refused"), "{text}");
}
