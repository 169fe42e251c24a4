//! Files on a file system that does not answer: whatever asks for one waits, or is told so after a
//! while; nobody else does, and a stop is heard.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use harp_tests::hung::Hung;
use harp_tests::{Cluster, Log, PATIENCE, RawClient, until};
use serde_json::json;

use crate::access::identity::{Files, hello, listeners, with_tokens};
use crate::assertions::NO_JOB;

/// Long beside what has to be done at once, and short beside what hangs.
const SOON: Duration = Duration::from_secs(20);

/// More than there are threads that work.
const MANY: usize = 40;

#[test]
fn tokens_that_cannot_be_read_keep_only_those_waiting_who_need_them() {
    let files = Files::new();
    let token = files.new_token("shop");
    let mut cluster = with_tokens(&files)
        .hosts(1)
        .tables("[[listener]]\naddress = '127.0.0.1:0'")
        .start();
    let address = listeners(&cluster)[0];
    let mut known = RawClient::connect(address);
    known.send(hello(&token));
    assert!(known.line()["server"].is_string());
    let Some(hung) = Hung::mount(&cluster.path("hung")) else {
        return;
    };
    hung.swallow(&files.path("tokens"));
    let mut waiting: Vec<_> = (0..MANY)
        .map(|_| {
            let mut client = RawClient::connect(address);
            client.send(hello(&token));
            client
        })
        .collect();
    known.send(json!({"harpcaller": 1, "get_status": NO_JOB}));
    let caller = cluster.caller();
    let begun = Instant::now();
    let job = caller.call("web01", "echo", "[1]");
    assert_eq!(caller.result(&job), json!({"result": [1]}));
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    // Neither let in, nor told that the token is wrong.
    for client in waiting.iter_mut().chain([&mut known]) {
        let answer = client.line();
        assert_eq!(answer["error"]["type"], "unauthorized", "{answer}");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains("does not answer"), "{message}");
    }
    // A file that can be read again is.
    fs::remove_file(files.path("tokens")).unwrap();
    let token = files.new_token("shop");
    // Looks that hang are over when the file system says that it is gone.
    drop(hung);
    let mut client = RawClient::connect(address);
    client.send(hello(&token));
    assert!(client.line()["server"].is_string());
    cluster.stop_dispatcher();
}

#[test]
fn trust_files_that_cannot_be_read_are_no_hosts_fault() {
    let mut cluster = Cluster::builder()
        .set("connect_timeout", "2")
        .set("connect_patience", "1")
        .start();
    let Some(hung) = Hung::mount(&cluster.path("hung")) else {
        return;
    };
    let caller = cluster.caller();
    let job = caller.call("web01", "echo", "[1]");
    assert_eq!(caller.result(&job), json!({"result": [1]}));
    let config = fs::read_to_string(cluster.config()).unwrap();
    let trust = ["known_certs_file", "ca_file"].into_iter().find_map(|key| {
        let line = config.lines().find(|line| line.starts_with(key))?;
        let (_, path) = line.split_once('=')?;
        Some(path.trim().trim_matches(['"', '\'']).to_owned())
    });
    hung.swallow(trust.expect("the cluster's trust file").as_ref());
    let jobs: Vec<_> = (0..MANY)
        .map(|_| caller.call("web01", "echo", "[1]"))
        .collect();
    for job in jobs {
        let answer = caller.result(&job);
        assert_eq!(answer["error"]["type"], "os_error", "{answer}");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains("trust files"), "{message}");
        assert_eq!(answer["error"]["data"]["code"], "etimedout", "{answer}");
    }
    // A stop is heard while one waits.
    let _waits = caller.call("web01", "echo", "[1]");
    let begun = Instant::now();
    cluster.stop_dispatcher();
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
}

#[test]
fn a_reload_and_a_start_that_cannot_read_their_files_hear_a_stop() {
    let mut cluster = Cluster::builder().hosts(0).start();
    let Some(hung) = Hung::mount(&cluster.path("hung")) else {
        return;
    };
    let config = fs::read_to_string(cluster.config()).unwrap();
    hung.swallow(&cluster.config());
    let mut reload = cluster
        .command()
        .arg("reload")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Others are served meanwhile.
    assert!(cluster.run(&["status"]).status.success());
    let unknown = json!({"harpcaller": 1, "get_status": NO_JOB});
    let answer = cluster.caller().ask(unknown);
    assert_eq!(answer["error"]["type"], "invalid_jobid", "{answer}");
    let begun = Instant::now();
    cluster.stop_dispatcher();
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    reload.wait().unwrap();

    // The trust file of a start.
    let trust = cluster.path("trust");
    fs::remove_file(cluster.config()).unwrap();
    hung.swallow(&trust);
    fs::write(
        cluster.config(),
        format!(
            "known_certs_file = {}\n{}",
            json!(trust),
            without(&config, "known_certs_file")
        ),
    )
    .unwrap();
    let log = Log::new("harpcallerd");
    let mut command = cluster.command();
    command.arg("start").arg("--config").arg(cluster.config());
    let mut daemon = harp_tests::Daemon::start(command, &log);
    until("the administrative socket is there", || {
        let asked = cluster.run(&["status"]);
        String::from_utf8_lossy(&asked.stdout)
            .contains("stopped")
            .then_some(())
    });
    let begun = Instant::now();
    daemon.terminate();
    daemon.wait();
    assert!(
        begun.elapsed() < SOON.min(PATIENCE),
        "{:?}",
        begun.elapsed()
    );
}

fn without(config: &str, key: &str) -> String {
    let lines = config.lines().filter(|line| !line.starts_with(key));
    lines.fold(String::new(), |text, line| text + line + "\n")
}

#[test]
fn a_procedure_that_cannot_be_read_keeps_only_its_own_callers_waiting() {
    let mut cluster = Cluster::builder()
        .procedure("away", "output = 'json'\narguments = 'argv'", "echo 1")
        .start();
    let Some(hung) = Hung::mount(&cluster.path("hung")) else {
        return;
    };
    let caller = cluster.caller();
    let job = caller.call("web01", "away", "[]");
    assert_eq!(caller.result(&job), json!({"result": 1}));
    let script = find(&cluster.path(""), "away").expect("the script");
    hung.swallow(&script);
    let waiting: Vec<_> = (0..8).map(|_| caller.call("web01", "away", "[]")).collect();
    for number in 0..20 {
        let job = caller.call("web01", "echo", &format!("[{number}]"));
        assert_eq!(caller.result(&job), json!({"result": [number]}));
    }
    // They end when somebody cancels them.
    for job in &waiting {
        assert!(caller.cancel(job));
        assert_eq!(caller.result(job), json!({"cancelled": true}));
    }
    let begun = Instant::now();
    cluster.stop_host("web01");
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
}

fn find(directory: &std::path::Path, name: &str) -> Option<std::path::PathBuf> {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.ends_with("hung") {
            continue;
        }
        if path.is_dir() {
            if let Some(found) = find(&path, name) {
                return Some(found);
            }
        } else if path.file_name().is_some_and(|file| file == name) {
            return Some(path);
        }
    }
    None
}
