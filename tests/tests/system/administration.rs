//! The commands of a running dispatcher and its administrative socket (daemon
//! specification, "Commands" and "Administrative socket").

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use harp_tests::{Cluster, Daemon, Log, binary, until};
use serde_json::{Value, json};

use crate::assertions::{NO_JOB, keys};

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
fn status_tells_by_word_and_exit_code() {
    let mut cluster = Cluster::builder().hosts(0).start();
    let running = cluster.run(&["status"]);
    assert_eq!(running.status.code(), Some(0));
    assert_eq!(running.stdout, b"harpcallerd is running\n");
    assert_eq!(cluster.run(&["status", "--wait"]).stdout, running.stdout);
    cluster.stop_dispatcher();
    for arguments in [&["status"][..], &["status", "--wait", "--timeout", "0"]] {
        let stopped = cluster.run(arguments);
        assert_eq!(stopped.status.code(), Some(1));
        assert_eq!(stopped.stdout, b"harpcallerd is stopped\n");
    }
    // The others say what is the matter.
    for arguments in [&["list"][..], &["reload"], &["drain"], &["info", NO_JOB]] {
        let told = complaint(&cluster.run(arguments), 1);
        assert!(
            told.contains("not running") && told.contains("control"),
            "{told}"
        );
    }
    assert!(cluster.run(&["stop"]).status.success(), "it is stopped");
}

#[test]
fn a_start_can_be_waited_for_and_stopped() {
    let mut cluster = Cluster::builder().hosts(0).start();
    cluster.stop_dispatcher();
    fs::remove_file(cluster.path("hosts.cache")).unwrap();
    cluster.set_registry_script(
        "cd \"$(dirname \"$0\")\"; touch begun; while ! [ -e go ]; do sleep 0.02; done",
    );
    let start = || {
        let log = Log::new("harpcallerd");
        let mut command = cluster.command();
        command.arg("start").arg("--config").arg(cluster.config());
        let daemon = Daemon::start(command, &log);
        until("the script runs", || {
            cluster.path("begun").exists().then_some(())
        });
        (daemon, log)
    };
    let waiting = |arguments: &[&str]| {
        let mut command = cluster.command();
        command.args(arguments).stdout(Stdio::piped());
        command.spawn().unwrap()
    };
    let (mut daemon, _log) = start();
    assert_eq!(cluster.run(&["status"]).status.code(), Some(1));
    let told = cluster.run(&["status", "--wait", "--timeout", "0"]);
    assert_eq!(told.status.code(), Some(1));
    for arguments in [&["list"][..], &["reload"]] {
        let told = complaint(&cluster.run(arguments), 1);
        assert!(told.contains("starting"), "{told}");
    }
    let patient = waiting(&["status", "--wait", "--timeout", "60"]);
    assert!(cluster.run(&["stop"]).status.success());
    assert!(daemon.wait().success());

    // It waits on for the next start.
    fs::remove_file(cluster.path("begun")).unwrap();
    let (mut daemon, _log) = start();
    fs::write(cluster.path("go"), "").unwrap();
    let told = patient.wait_with_output().unwrap();
    assert_eq!(told.stdout, b"harpcallerd is running\n");
    assert!(cluster.run(&["status"]).status.success());
    daemon.terminate();
    assert!(daemon.wait().success());
}

#[test]
fn jobs_are_listed_shown_and_cancelled() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let arguments = r#"[{"text":"\u00e9 1e5","n":1.50}]"#;
    let ended = caller.call("web01", "echo", arguments);
    let _ = caller.result(&ended);
    let queue = r#""queue": {"name": {"q": "list"}, "concurrency": 1}"#;
    let running = caller.call_with("web01", "silent", "[]", queue);
    let queued = caller.call_with("web01", "silent", "[]", queue);
    until("it runs", || caller.has_started(&running).then_some(()));

    let live = objects(&cluster.lines(&["list"]));
    assert_eq!(live.len(), 2, "{live:?}");
    assert_eq!(live[0]["job"], running.as_str());
    assert_eq!(live[1]["job"], queued.as_str());
    for job in &live {
        assert_eq!(keys(job), ["call", "job", "time"]);
        assert_eq!(keys(&job["call"]), ["arguments", "host", "procedure"]);
        assert_eq!(keys(&job["time"]), ["end", "start", "submit"]);
        assert_eq!(job["call"]["procedure"], "silent");
        assert!(job["time"]["end"].is_null());
    }
    assert!(live[0]["time"]["start"].is_u64() && live[1]["time"]["start"].is_null());

    let all = cluster.lines(&["list", "--all", "--queue"]);
    assert_eq!(all.len(), 3, "{all:?}");
    assert!(
        all[0].contains(arguments),
        "arguments are copied: {}",
        all[0]
    );
    let all = objects(&all);
    assert_eq!(all[0]["job"], ended.as_str());
    assert!(all[0]["queue"].is_null() && all[0].get("queue").is_some());
    assert!(all[0]["time"]["end"].is_u64());
    assert_eq!(all[1]["queue"], json!({"q": "list"}));
    assert_eq!(objects(&cluster.lines(&["list", "--all"]))[1], live[0]);

    let info = cluster.lines(&["info", &running]);
    assert_eq!(objects(&info), [live[0].clone()]);
    assert!(cluster.run(&["cancel", &queued]).status.success());
    assert_eq!(caller.result(&queued), json!({"cancelled": true}));
    assert!(cluster.run(&["cancel", &running]).status.success());
    assert_eq!(caller.result(&running), json!({"cancelled": true}));
    let late = cluster.run(&["cancel", &running]);
    assert!(late.status.success());
    assert!(complaint(&late, 0).contains("had ended"), "{late:?}");
    for arguments in [["info", NO_JOB], ["cancel", NO_JOB], ["info", "nonsense"]] {
        let told = complaint(&cluster.run(&arguments), 1);
        assert_eq!(told, "harpcallerd: no such job\n");
    }
}

#[test]
fn a_queue_is_listed_and_cancelled_as_a_whole() {
    let cluster = Cluster::builder()
        .procedure(
            "cling",
            "output = 'json'\narguments = 'argv'",
            "echo $2 >> $1; exec sleep 600",
        )
        .start();
    let caller = cluster.caller();
    assert!(cluster.lines(&["queue-list"]).is_empty());
    let queue = r#""queue": {"name": {"n": 1.0, "a": "x"}, "concurrency": 2}"#;
    let trace = cluster.path("trace");
    let jobs: Vec<_> = (0..40)
        .map(|number| {
            let arguments = json!([trace, number.to_string()]).to_string();
            caller.call_with("web01", "cling", &arguments, queue)
        })
        .collect();
    let other = caller.call_with(
        "web01",
        "silent",
        "[]",
        r#""queue": {"name": {"other": 1}, "concurrency": 1}"#,
    );
    let started = || {
        fs::read_to_string(&trace)
            .unwrap_or_default()
            .lines()
            .count()
    };
    until("two run", || (started() == 2).then_some(()));

    let names = cluster.lines(&["queue-list"]);
    assert_eq!(names, [r#"{"a":"x","n":1.0}"#, r#"{"other":1}"#]);
    // Equal by value, whatever its form.
    let name = r#"{ "a": "\u0078", "n": 1.0 }"#;
    let listed = objects(&cluster.lines(&["queue-list", name]));
    let of = |job: &Value| job["job"].as_str().unwrap().to_owned();
    assert_eq!(listed.iter().map(of).collect::<Vec<_>>(), jobs);
    let running = listed.iter().filter(|job| job["running"] == true).count();
    assert_eq!((running, listed[39]["running"].clone()), (2, json!(false)));
    assert!(
        cluster
            .lines(&["queue-list", r#"{"no": "such"}"#])
            .is_empty()
    );

    assert!(cluster.run(&["queue-cancel", name]).status.success());
    for job in &jobs {
        assert_eq!(caller.result_now(job), json!({"cancelled": true}));
        let started = !caller.status(job)["time"]["start"].is_null();
        assert_eq!(started, jobs[..2].contains(job), "none starts in between");
    }
    until("the hosts are done", || {
        (cluster.lines(&["queue-list"]) == [r#"{"other":1}"#]).then_some(())
    });
    assert_eq!(started(), 2);
    assert!(caller.has_started(&other));
    assert_eq!(caller.result_now(&other), json!({"no_result": true}));
    for wrong in ["name", "[]", "{"] {
        let told = complaint(&cluster.run(&["queue-cancel", wrong]), 1);
        assert!(told.contains("queue's name"), "{told}");
    }
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
fn a_stop_is_waited_for() {
    let mut cluster = Cluster::builder().set("stop_grace", "60").start();
    let caller = cluster.caller();
    let mut feed = cluster.feed("gate");
    let _ = caller.call("web01", "gate", &feed.arguments());
    until("it runs", || feed.is_read().then_some(()));
    let id = cluster.dispatcher_id().to_string();
    let stop = cluster.run(&["stop", "--timeout", "1", "--print-pid"]);
    let told = complaint(&stop, 1);
    assert!(told.contains("not ended within 1 s"), "{told}");
    assert_eq!(String::from_utf8_lossy(&stop.stdout).trim(), id);
    let mut patient = cluster.command().arg("stop").spawn().unwrap();
    assert!(cluster.run(&["status"]).status.success(), "it still runs");
    assert!(patient.try_wait().unwrap().is_none());
    drop(feed);
    assert!(patient.wait().unwrap().success());
    assert!(!cluster.socket().exists(), "the socket is gone");
    assert!(cluster.wait_dispatcher_ended().success());
}

#[test]
fn a_second_daemon_is_refused_and_what_is_stale_replaced() {
    let mut cluster = Cluster::builder().hosts(0).start();
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(cluster.socket()), 0o600);
    let start = |cluster: &Cluster, socket: &str| {
        let config = cluster.config();
        let mut command = Command::new(binary("harpcallerd"));
        command.arg("--socket").arg(cluster.path(socket));
        command.arg("start").arg("--config").arg(config);
        command.output().unwrap()
    };
    let told = complaint(&start(&cluster, "control"), 1);
    assert!(told.contains("already running"), "{told}");
    assert!(cluster.run(&["status"]).status.success());
    // The configuration's port is 0: what is refused is the store.
    let text = fs::read_to_string(cluster.config()).unwrap();
    assert!(text.contains(":0\""), "{text}");
    let told = complaint(&start(&cluster, "other"), 1);
    assert!(
        told.contains("jobs") && told.contains("in use by another process"),
        "{told}"
    );
    assert!(!cluster.path("other").exists());

    let open = cluster.path("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o1777)).unwrap();
    let told = complaint(&start(&cluster, "open/control"), 1);
    assert!(told.contains("chmod go-w"), "{told}");

    cluster.kill_dispatcher();
    assert!(cluster.socket().exists(), "left behind by the crash");
    assert_eq!(cluster.run(&["status"]).status.code(), Some(1));
    cluster.start_dispatcher();
    assert!(cluster.run(&["status", "--wait"]).status.success());
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
    let reply = ask(&cluster, r#"{"command": "list_queues"}"#);
    assert_eq!(reply, json!({"result": "ok", "queues": []}));
    let reply = ask(&cluster, r#"{"command": "refresh_hosts"}"#);
    assert_eq!(reply, json!({"result": "ok"}));
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
fn a_list_without_end_stops_with_its_reader() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    for _ in 0..600 {
        let _ = caller.call("nowhere", "echo", "[]");
    }
    until("all have ended", || {
        cluster.lines(&["list"]).is_empty().then_some(())
    });
    assert_eq!(cluster.lines(&["list", "--all"]).len(), 600);
    // Nobody reads on after the first line.
    let mut list = cluster.command();
    list.args(["list", "--all"]).stdout(Stdio::piped());
    let mut list = list.spawn().unwrap();
    let mut first = String::new();
    let mut lines = BufReader::new(list.stdout.take().unwrap());
    lines.read_line(&mut first).unwrap();
    assert!(first.starts_with(r#"{"job":"#), "{first}");
    drop(lines);
    assert!(list.wait().unwrap().success());
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

/// An old socket that nobody listens on any more, and one that somebody else has.
#[test]
fn a_foreign_listener_is_not_replaced() {
    let mut cluster = Cluster::builder().hosts(0).start();
    cluster.stop_dispatcher();
    let _listener = UnixListener::bind(cluster.socket()).unwrap();
    let mut command = cluster.command();
    command.arg("start").arg("--config").arg(cluster.config());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut told = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut told)
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(told.contains("already running"), "{told}");
}

/// A hundred thousand ended jobs would take minutes to make; what counts is that the
/// first line does not wait for the last.
#[test]
fn the_first_line_of_a_list_does_not_wait_for_the_last() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let long = json!(["x".repeat(200_000)]).to_string();
    for _ in 0..100 {
        let _ = caller.call("nowhere", "echo", &long);
    }
    until("all have ended", || {
        cluster.lines(&["list"]).is_empty().then_some(())
    });
    let socket = UnixStream::connect(cluster.socket()).unwrap();
    writeln!(
        &socket,
        r#"{{"command": "list_jobs", "list_all": true, "stream": true}}"#
    )
    .unwrap();
    let mut lines = BufReader::new(&socket);
    let mut first = String::new();
    lines.read_line(&mut first).unwrap();
    assert!(first.starts_with(r#"{"job":"#));
    // The rest is not read, and stays in the dispatcher's store, not in its memory.
    let memory = || {
        let status = fs::read_to_string(format!("/proc/{}/status", cluster.dispatcher_id()));
        let status = status.unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kilobytes = line.unwrap().split_whitespace().nth(1).unwrap();
        kilobytes.parse::<u64>().unwrap()
    };
    let before = memory();
    let asked = Instant::now();
    let mut others = Vec::new();
    for _ in 0..5 {
        let socket = UnixStream::connect(cluster.socket()).unwrap();
        writeln!(
            &socket,
            r#"{{"command": "list_jobs", "list_all": true, "stream": true}}"#
        )
        .unwrap();
        let mut first = [0; 1];
        (&socket).read_exact(&mut first).unwrap();
        others.push(socket);
    }
    assert!(asked.elapsed() < Duration::from_secs(10));
    let grown = memory().saturating_sub(before);
    assert!(grown < 60_000, "five lists of 20 MB each took {grown} KB");
}
