//! Whatever descends from a call belongs to it: processes with a session, a user or parents
//! of their own, daemons. They end with the call, however it ends.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::host::{Caller, Harpd, Host, PATIENCE, is_gone, wait_for};
use crate::python;

/// What each of them is in the end: a process that writes its number into a file and does
/// not care for polite requests.
const LIVE: &str = "trap '' TERM HUP; echo $$ >> members; exec sleep 1000";

/// Ways to leave a session, as far as the programs for them are here.
fn ways() -> Vec<String> {
    // The word `live` is a script that does what `LIVE` says.
    let ways = [
        ("sh", "sh live &"),
        ("setsid", "setsid sh live &"),
        ("setsid", "(setsid sh -c '(sh live &)' &)"),
        ("setsid", "setsid -f setsid -f sh live"),
        ("bash", "bash -mc 'sh live & disown -a' &"),
        ("nohup", "(nohup sh live > /dev/null 2>&1 &)"),
        (
            "script",
            "script -qc 'sh live' /dev/null < /dev/null > /dev/null &",
        ),
        ("su", "su -s /bin/sh nobody -c 'sh live' &"),
        ("su", "(setsid su -s /bin/sh nobody -c 'sh live; echo' &)"),
        (
            "perl",
            "perl -MPOSIX -e 'exit if fork; setsid; exit if fork; chdir \".\"; exec \"sh\", \"live\"'",
        ),
    ];
    let is_root = rustix::process::geteuid().is_root();
    let mut there = Vec::new();
    for (program, way) in ways {
        if program == "su" && !is_root {
            println!("skipped: only root can use su without a password");
        } else if !is_there(program) {
            println!("skipped: there is no {program}");
        } else {
            there.push(way.to_owned());
        }
    }
    there
}

fn is_there(program: &str) -> bool {
    let look = format!("command -v {program}");
    let looked = Command::new("sh")
        .args(["-c", &look])
        .stdout(Stdio::null())
        .status();
    looked.is_ok_and(|status| status.success())
}

/// A host on which other users may write down that they live.
fn host() -> Host {
    let host = Host::new().readable_by_all();
    host.write("live", LIVE);
    let members = host.write("members", "");
    std::fs::set_permissions(members, std::fs::Permissions::from_mode(0o666)).unwrap();
    host
}

/// The numbers that were written down.
fn members(harpd: &Harpd) -> Vec<Pid> {
    let text = std::fs::read_to_string(harpd.host.path("members")).unwrap();
    let numbers = text.lines().filter_map(|line| line.parse().ok());
    numbers.filter_map(Pid::from_raw).collect()
}

async fn wait_for_members(harpd: &Harpd, count: usize) {
    wait_for("all to live", || members(harpd).len() == count).await;
}

fn assert_all_gone(harpd: &Harpd) {
    for member in members(harpd) {
        assert!(is_gone(member), "process {} lives", member.as_raw_nonzero());
    }
}

/// A host whose procedure `leave` starts one process in each way and then does `then`.
fn leaving(keys: &str, then: &str) -> (Host, usize) {
    let ways = ways();
    let count = ways.len();
    let ready = format!("while [ $(wc -l < members) -lt {count} ]; do sleep 0.01; done");
    let host = host();
    let keys = format!("output = 'lines'\n{}\n{keys}", host.here());
    let body = format!("{}\n{ready}\n{then}", ways.join("\n"));
    (host.script("leave", &keys, &body), count)
}

async fn called(harpd: &Harpd) -> Caller {
    let mut caller = harpd.call("leave", json!([])).await;
    caller.acknowledged(true).await;
    caller
}

async fn last(mut caller: Caller) -> Value {
    caller.rest().await.pop().expect("an end")
}

#[tokio::test]
async fn all_end_at_a_cancel_and_that_is_proved() {
    let (host, count) = leaving("", "exec sleep 1000");
    let harpd = host.start();
    let mut caller = called(&harpd).await;
    wait_for_members(&harpd, count).await;
    caller.close().await;
    let end = last(caller).await;
    assert_all_gone(&harpd);
    assert_eq!(end["error"]["data"], json!({"processes": 0}), "{end}");
}

#[tokio::test]
async fn all_end_with_the_command() {
    let (host, count) = leaving("", "echo end");
    let harpd = host.start();
    let end = last(called(&harpd).await).await;
    assert_all_gone(&harpd);
    assert_eq!(members(&harpd).len(), count);
    assert_eq!(end, json!({"result": {"exit_code": 0}}));
}

#[tokio::test]
async fn all_end_at_a_time_limit() {
    let (host, count) = leaving("timeout = 3", "exec sleep 1000");
    let harpd = host.start();
    let end = last(called(&harpd).await).await;
    assert_all_gone(&harpd);
    assert_eq!(members(&harpd).len(), count);
    assert_eq!(end["error"]["type"], "timeout", "{end}");
}

#[tokio::test]
async fn all_end_when_harpd_stops() {
    let (host, count) = leaving("", "exec sleep 1000");
    let mut harpd = host.start();
    let caller = called(&harpd).await;
    wait_for_members(&harpd, count).await;
    harpd.signal(Signal::TERM);
    let end = last(caller).await;
    assert_all_gone(&harpd);
    assert_eq!(end["error"]["type"], "shutdown", "{end}");
    assert_eq!(harpd.exit_code().await, Some(0));
}

#[tokio::test]
async fn those_of_one_call_are_told_from_those_of_another() {
    let host = host();
    let keys = format!("output = 'lines'\n{}", host.here());
    // The one whose number is told has lost its parents, and with them any mark of its call.
    let body = "(setsid -f sh -c 'echo $$; exec sleep 1000'); exec sleep 1000";
    let harpd = host.script("daemon", &keys, body).start();
    let mut calls = Vec::new();
    for _ in 0..5 {
        let mut caller = harpd.call("daemon", json!([])).await;
        caller.acknowledged(true).await;
        let daemon = caller.pid().await;
        calls.push((caller, daemon));
    }
    while let Some((mut caller, daemon)) = calls.pop() {
        assert!(!is_gone(daemon));
        caller.close().await;
        let end = last(caller).await;
        assert_eq!(end["error"]["data"], json!({"processes": 0}), "{end}");
        assert!(is_gone(daemon));
        assert!(calls.iter().all(|(_, daemon)| !is_gone(*daemon)));
    }
}

#[tokio::test]
async fn who_has_time_to_clean_up_has_it_outside_the_session_too() {
    let host = host();
    let keys = format!("output = 'lines'\n{}", host.here());
    let harpd = host
        .script(
            "tidy",
            &keys,
            "setsid sh -c 'trap \"echo done > tidied; exit\" TERM; echo ready; \
             while :; do sleep 0.05; done' & exec sleep 1000",
        )
        .start();
    let mut caller = harpd.call("tidy", json!([])).await;
    caller.acknowledged(true).await;
    assert_eq!(caller.packet().await, "ready");
    caller.close().await;
    assert_eq!(last(caller).await["error"]["type"], "cancelled");
    assert!(harpd.host.path("tidied").exists());
}

#[tokio::test]
async fn who_forks_away_from_the_signals_is_caught() {
    let host = host();
    let keys = format!("output = 'lines'\n{}", host.here());
    // Each has a session of its own, a child, and a short life.
    host.write(
        "runner",
        "trap '' TERM HUP; echo $$ > running; setsid sh runner & exit",
    );
    let harpd = host
        .script("run", &keys, "sh runner; echo away; exec sleep 1000")
        .start();
    let mut caller = harpd.call("run", json!([])).await;
    caller.acknowledged(true).await;
    assert_eq!(caller.packet().await, "away");
    caller.close().await;
    let end = last(caller).await;
    assert_eq!(end["error"]["data"], json!({"processes": 0}), "{end}");
    let path = harpd.host.path("running");
    let runner = std::fs::read_to_string(&path).unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(std::fs::read_to_string(&path).unwrap(), runner);
}

#[tokio::test]
async fn a_call_that_kills_its_keeper_leaves_nothing_either() {
    let (host, count) = leaving("", "kill -9 $PPID; exec sleep 1000");
    let harpd = host
        .script("other", "output = 'lines'", "echo $$; exec sleep 1000")
        .start();
    let mut other = harpd.call("other", json!([])).await;
    other.acknowledged(true).await;
    let unconcerned = other.pid().await;
    let end = last(called(&harpd).await).await;
    assert_all_gone(&harpd);
    assert_eq!(members(&harpd).len(), count);
    assert_eq!(end["exception"]["data"]["signal"], "SIGKILL", "{end}");
    assert!(!is_gone(unconcerned));
}

#[tokio::test]
async fn calls_of_a_python_module_keep_theirs_too() {
    let module = "import subprocess\n\
        from harpd.proc import procedure, streaming_procedure\n\
        LIVE = 'echo $$ >> members; exec sleep 1000'\n\
        @streaming_procedure\n\
        def stays():\n\
        \x20   subprocess.run(['setsid', '-f', 'sh', '-c', LIVE], check=True)\n\
        \x20   yield 'there'\n\
        \x20   subprocess.run(['sleep', '1000'])\n\
        @procedure\n\
        def ends():\n\
        \x20   subprocess.run(['setsid', '-f', 'sh', '-c', LIVE], check=True)\n\
        @procedure\n\
        def add(one):\n\
        \x20   return one + 1\n";
    let Some(host) = python::host(module) else {
        return;
    };
    host.write("members", "");
    let harpd = host.start();
    let mut first = harpd.call("stays", json!([])).await;
    first.acknowledged(true).await;
    assert_eq!(first.packet().await, "there");
    wait_for_members(&harpd, 1).await;
    assert_eq!(harpd.end("ends", json!([])).await, json!({"result": null}));
    let [of_first, rest @ ..] = &members(&harpd)[..] else {
        panic!("there were members");
    };
    // The end of one call is none of another's.
    assert!(!is_gone(*of_first) && rest.iter().all(|member| is_gone(*member)));
    first.close().await;
    let end = last(first).await;
    assert_eq!(end["error"]["data"], json!({"processes": 0}), "{end}");
    assert_all_gone(&harpd);
    assert_eq!(harpd.end("add", json!([1])).await, json!({"result": 2}));
}

/// A program that lets everybody become anybody, as `su` and `sudo` do for some.
fn as_root(host: &Host) -> Option<PathBuf> {
    let copy = host.path("as-root");
    let install = Command::new("sh")
        .args(["-c", "install -m 4755 \"$(command -v setpriv)\" \"$0\""])
        .arg(&copy)
        .status();
    install.is_ok_and(|status| status.success()).then_some(copy)
}

#[tokio::test]
async fn what_may_not_be_ended_is_never_taken_for_gone() {
    if !rustix::process::geteuid().is_root() || !is_there("setpriv") {
        println!("skipped: needs root and setpriv");
        return;
    }
    let host = host();
    let Some(as_root) = as_root(&host) else {
        println!("skipped: cannot install a program with the set-user-ID bit");
        return;
    };
    let keys = "output = 'lines'\nmax_calls = 1";
    let body = format!(
        "{} --reuid 0 sleep 1000 & echo $!; exec sleep 1000",
        as_root.display()
    );
    for file in ["cert.pem", "key.pem", "users"] {
        let open = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(host.path(file), open).unwrap();
    }
    let harpd = host
        .script("stuck", keys, &body)
        .started_by("nobody")
        .start();
    let mut caller = harpd.call("stuck", json!([])).await;
    caller.acknowledged(true).await;
    let stuck = caller.pid().await;
    let status = format!("/proc/{}/status", stuck.as_raw_nonzero());
    wait_for("its start", || {
        let status = std::fs::read_to_string(&status).unwrap_or_default();
        status.contains("sleep")
    })
    .await;
    if !std::fs::read_to_string(&status)
        .unwrap()
        .contains("Uid:\t0\t0\t")
    {
        kill_process(stuck, Signal::KILL).unwrap();
        println!("skipped: the set-user-ID bit counts for nothing here");
        return;
    }
    caller.close().await;
    harpd.logged("may not signal").await;
    // Neither a proof nor the place.
    let mut second = harpd.call("stuck", json!([])).await;
    second.acknowledged(true).await;
    let silent = tokio::time::timeout(Duration::from_secs(2), caller.next()).await;
    assert!(silent.is_err(), "{silent:?}");
    let silent = tokio::time::timeout(Duration::from_millis(100), second.next()).await;
    assert!(silent.is_err(), "{silent:?}");
    kill_process(stuck, Signal::KILL).unwrap();
    let began = Instant::now();
    let end = last(caller).await;
    assert_eq!(end["error"]["data"], json!({"processes": 0}), "{end}");
    assert!(began.elapsed() < PATIENCE);
    kill_process(second.pid().await, Signal::KILL).unwrap();
}
