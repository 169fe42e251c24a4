//! What a procedure gets of harpd's privileges, streams and limits, and of its user's login.

use std::process::Command;

use serde_json::{Value, json};

use crate::host::{Harpd, Host};
use crate::python;

/// A module whose procedures tell what they have.
const MODULE: &str = "\
import atexit, os, subprocess, sys, tempfile, logging
from harpd.proc import procedure, streaming_procedure
KEPT = tempfile.TemporaryDirectory()
atexit.register(lambda: open('import cleaned up', 'w').close())
def capabilities():
    lines = open('/proc/self/status').read().splitlines()
    return [line.split()[1] for line in lines if line[:6] in ('CapInh', 'CapPrm', 'CapEff', 'CapAmb')]
@procedure
def plain():
    return capabilities()
@procedure(uid='daemon', gid='daemon')
def as_daemon():
    return capabilities()
@procedure(uid='daemon')
def streams():
    for name in ('/dev/stdout', '/dev/stderr'):
        open(name, 'w').close()
    return [os.environ.get(name) for name in ('USER', 'LOGNAME', 'HOME', 'SHELL')]
@procedure
def leaves(code):
    sys.exit(code)
@streaming_procedure
def leaves_streaming():
    yield 1
    sys.exit()
@procedure
def cleans_up():
    made = tempfile.TemporaryDirectory()
    cleans_up.kept = made
    atexit.register(lambda: open('call cleaned up', 'w').close())
    return [made.name, KEPT.name]
@procedure
def core_of_module():
    return subprocess.run('ulimit -c', shell=True, stdout=subprocess.PIPE).stdout.decode()
";

const NONE: &str = "0000000000000000";

fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        println!("skipped: only root may become other users");
    }
    is_root
}

async fn result(harpd: &Harpd, procedure: &str, arguments: Value) -> Value {
    let mut end = harpd.end(procedure, arguments).await;
    assert!(end.get("result").is_some(), "{procedure}: {end}");
    end["result"].take()
}

#[tokio::test]
async fn capabilities_of_harpd_are_its_own() {
    let options = "--inh-caps +setuid,+setgid,+chown --ambient-caps +setuid,+setgid,+chown";
    let given = Command::new("setpriv")
        .args(["--reuid", "nobody", "--regid", "nogroup", "--clear-groups"])
        .args(options.split(' '))
        .args(["grep", "-q", "^CapAmb:.*c1$", "/proc/self/status"])
        .status();
    if !given.is_ok_and(|status| status.success()) {
        println!("skipped: setpriv cannot give ambient capabilities here");
        return;
    }
    let Some(host) = python::host(MODULE) else {
        return;
    };
    let body = "sed -n 's/^Cap\\(Inh\\|Prm\\|Eff\\|Amb\\):.//p' /proc/self/status";
    let harpd = host
        .script("command", "output = 'lines'", body)
        .script("command-as", "output = 'lines'\nuser = 'daemon'", body)
        .readable_by_all()
        .started_by("nobody")
        .with_privileges(options)
        .start();
    for procedure in ["command", "command-as"] {
        let answers = harpd.answers(procedure, json!([])).await;
        let sets: Vec<_> = answers[1..answers.len() - 1]
            .iter()
            .map(|packet| &packet["stream"])
            .collect();
        assert_eq!(sets, [NONE; 4], "{procedure}: {answers:?}");
    }
    for procedure in ["plain", "as_daemon"] {
        assert_eq!(
            result(&harpd, procedure, json!([])).await,
            Value::from(vec![NONE; 4]),
            "{procedure}"
        );
    }
}

#[tokio::test]
async fn streams_can_be_opened_by_name_and_a_login_is_known() {
    if !is_root() {
        return;
    }
    let body = "echo out > /dev/stdout; echo err > /dev/stderr; \
                echo \"$USER $LOGNAME $HOME $SHELL\"";
    let keys = "output = 'text'\nuser = 'daemon'";
    let configured = format!("{keys}\nenvironment = {{ HOME = '/elsewhere' }}");
    let (host, with_module) = match python::host(MODULE) {
        Some(host) => (host, true),
        None => (Host::new(), false),
    };
    let harpd = host
        .readable_by_all()
        .script("daemon", keys, body)
        .script("configured", &configured, body)
        .script("nobodys", "output = 'text'", body)
        .start();
    let entry = std::fs::read_to_string("/etc/passwd").unwrap();
    let entry = entry.lines().find(|line| line.starts_with("daemon:"));
    let entry = entry.map(|line| line.split(':').collect::<Vec<_>>());
    let Some([.., home, shell]) = entry.as_deref() else {
        println!("skipped: there is no user daemon");
        return;
    };
    let told = result(&harpd, "daemon", json!([])).await;
    assert_eq!(told, format!("out\ndaemon daemon {home} {shell}\n"));
    let told = result(&harpd, "configured", json!([])).await;
    assert_eq!(told, format!("out\ndaemon daemon /elsewhere {shell}\n"));
    let told = result(&harpd, "nobodys", json!([])).await;
    assert_eq!(told, "out\n   \n");
    if with_module {
        let told = result(&harpd, "streams", json!([])).await;
        assert_eq!(told, json!(["daemon", "daemon", home, shell]));
    }
}

#[tokio::test]
async fn a_successful_exit_of_python_is_a_return() {
    let Some(host) = python::host(MODULE) else {
        return;
    };
    let harpd = host.start();
    for code in [json!(0), json!(null), json!(false)] {
        let end = harpd.end("leaves", json!([code])).await;
        assert_eq!(end, json!({"result": null}), "{code}");
    }
    for code in [json!(1), json!("no"), json!(true)] {
        let end = harpd.end("leaves", json!([code])).await;
        assert_eq!(end["exception"]["type"], "SystemExit", "{code}: {end}");
    }
    let answers = harpd.answers("leaves_streaming", json!([])).await;
    assert_eq!(
        answers[1..],
        [json!({"stream": 1}), json!({"result": null})]
    );
}

#[tokio::test]
async fn a_call_cleans_up_what_it_made_and_nothing_of_the_module() {
    let Some(host) = python::host(MODULE) else {
        return;
    };
    let harpd = host.start();
    for _ in 0..2 {
        let directories = result(&harpd, "cleans_up", json!([])).await;
        let exists = |at: usize| std::path::Path::new(directories[at].as_str().unwrap()).exists();
        assert!(!exists(0), "{directories}");
        assert!(exists(1), "{directories}");
        let marker = harpd.host.path("call cleaned up");
        assert!(marker.exists());
        std::fs::remove_file(marker).unwrap();
        assert!(!harpd.host.path("import cleaned up").exists());
    }
}

#[tokio::test]
async fn harpd_makes_no_core_dump_and_its_procedures_may() {
    let (host, with_module) = match python::host(MODULE) {
        Some(host) => (host, true),
        None => (Host::new(), false),
    };
    let harpd = host
        .before_start("ulimit -S -c 4096")
        .script("core", "output = 'text'", "ulimit -c")
        .start();
    let limits = format!("/proc/{}/limits", harpd.pid().as_raw_nonzero());
    let limits = std::fs::read_to_string(limits).unwrap();
    let own = limits
        .lines()
        .find(|line| line.starts_with("Max core"))
        .unwrap();
    let own: u64 = own.split_whitespace().nth(4).unwrap().parse().unwrap();
    assert!(own <= 1, "{limits}");
    // In blocks of 512 or 1024 bytes, as the shell likes it: the same as was set.
    assert_eq!(result(&harpd, "core", json!([])).await, "4096\n");
    if with_module {
        assert_eq!(result(&harpd, "core_of_module", json!([])).await, "4096\n");
    }
}

#[tokio::test]
async fn limits_hold_for_each_process() {
    let keys =
        "output = 'text'\nlimits = { memory = '256M', cpu = 7, open_files = 33, processes = 4000 }";
    let harpd = Host::new()
        .script(
            "limited",
            keys,
            "ulimit -v; ulimit -t; ulimit -n; awk '/Max processes/ { print $3 }' /proc/self/limits",
        )
        .script("busy", "limits = { cpu = 1 }", "while :; do :; done")
        .start();
    assert_eq!(
        result(&harpd, "limited", json!([])).await,
        "262144\n7\n33\n4000\n"
    );
    let end = harpd.end("busy", json!([])).await;
    assert_eq!(end["exception"]["data"]["signal"], "SIGXCPU", "{end}");
    let wrong = Host::new().script("wrong", "limits = { memry = '1M' }", "");
    let told = wrong.harpd(&["--test"]);
    assert!(!told.status.success());
    assert!(
        String::from_utf8_lossy(&told.stderr).contains("memry"),
        "{told:?}"
    );
}
