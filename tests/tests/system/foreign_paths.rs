//! Paths that others can change: links are not followed where something is written, named
//! pipes are not waited for, and nobody's file is touched.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use harp_tests::{Cluster, Daemon, Log, RawClient};
use rustix::fs::{CWD, Mode, mkfifoat};
use serde_json::json;

use crate::access::identity::{Files, hello, listeners, with_tokens};

/// What is done at once takes less than this even on a machine that is busy.
const AT_ONCE: Duration = Duration::from_secs(20);

/// Puts a named pipe that nobody writes to in the place of a file.
fn put_pipe(path: &Path) {
    if path.exists() {
        fs::remove_file(path).unwrap();
    }
    mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_named_pipe_in_the_place_of_a_file_freezes_nothing() {
    let files = Files::new();
    let token = files.new_token("shop");
    let mut cluster = with_tokens(&files)
        .tables("[[listener]]\naddress = '127.0.0.1:0'")
        .start();
    let begun = Instant::now();
    let address = listeners(&cluster)[0];
    put_pipe(&files.path("tokens"));
    // The last good reading stays, for whoever comes.
    for _ in 0..3 {
        let mut client = RawClient::connect(address);
        client.send(hello(&token));
        assert!(client.line()["server"].is_string());
    }
    let told = cluster
        .log()
        .wait_for("tokens file unusable, its last good reading stays in force");
    let why = told["error"].as_str().unwrap();
    assert!(why.contains("named pipe"), "{why}");
    // A reload reads both, and refuses both.
    let refused = cluster.run(&["reload"]);
    assert_eq!(refused.status.code(), Some(1));
    let config = fs::read_to_string(cluster.config()).unwrap();
    put_pipe(&cluster.config());
    let refused = cluster.run(&["reload"]);
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{why}");
    assert!(why.contains("named pipe"), "{why}");
    cluster.stop_dispatcher();

    // Nor does a start wait for any of them.
    let start = |pidfile: &Path| {
        let output = cluster
            .command()
            .arg("start")
            .arg("--config")
            .arg(cluster.config())
            .arg("--pidfile")
            .arg(pidfile)
            .output()
            .unwrap();
        assert!(!output.status.success(), "it has started");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let pidfile = cluster.path("pid");
    let told = start(&pidfile);
    assert!(told.contains("named pipe"), "{told}");
    fs::remove_file(cluster.config()).unwrap();
    fs::write(cluster.config(), config).unwrap();
    let told = start(&pidfile);
    assert!(told.contains("named pipe"), "the tokens: {told}");
    fs::remove_file(files.path("tokens")).unwrap();
    fs::write(files.path("tokens"), "").unwrap();
    put_pipe(&pidfile);
    let told = start(&pidfile);
    assert!(told.contains("cannot write the process id"), "{told}");
    // Nor for somebody who reads what is written.
    fs::remove_file(&pidfile).unwrap();
    let config = fs::read_to_string(cluster.config()).unwrap();
    for (key, named) in [("log_file", "log file"), ("audit_file", "audit log")] {
        let pipe = cluster.path(key);
        put_pipe(&pipe);
        let with_pipe = format!("{key} = {}\n{config}", json!(pipe));
        fs::write(cluster.config(), with_pipe).unwrap();
        let told = start(&pidfile);
        assert!(told.contains(&format!("cannot open the {named}")), "{told}");
    }
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
}

#[test]
fn what_links_name_keeps_its_content_owner_and_mode() {
    let mut cluster = Cluster::builder().hosts(0).start();
    cluster.stop_dispatcher();
    let dear = cluster.path("dear");
    fs::write(&dear, "dear").unwrap();
    fs::set_permissions(&dear, fs::Permissions::from_mode(0o600)).unwrap();

    let place = cluster.path("clients");
    symlink(&dear, &place).unwrap();
    let listener = json!(place);
    let config = fs::read_to_string(cluster.config()).unwrap();
    let with_listener = format!("{config}\n[[listener]]\npath = {listener}\nmode = \"0666\"\n");
    fs::write(cluster.config(), with_listener).unwrap();
    let start = |pidfile: &Path| {
        let mut command = cluster.command();
        command.arg("start").arg("--config").arg(cluster.config());
        command.arg("--pidfile").arg(pidfile);
        command
    };
    let refused = start(&cluster.path("pid")).output().unwrap();
    assert!(!refused.status.success());
    fs::remove_file(&place).unwrap();

    let link = cluster.path("pid link");
    symlink(&dear, &link).unwrap();
    let refused = start(&link).output().unwrap();
    assert!(!refused.status.success());
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(told.contains("symbolic link"), "{told}");
    assert!(!place.exists(), "a start that fails leaves no socket");

    assert_eq!(fs::read(&dear).unwrap(), b"dear");
    assert_eq!(mode(&dear), 0o600);

    // What a daemon that was killed has left is replaced; it says who may connect.
    drop(std::os::unix::net::UnixListener::bind(&place).unwrap());
    let log = Log::new("harpcallerd");
    let mut daemon = Daemon::start(start(&cluster.path("pid")), &log);
    let _ = daemon.listening();
    assert_eq!(mode(&place), 0o666);
    UnixStream::connect(&place).unwrap();
    daemon.terminate();
    assert!(daemon.wait().success());
    assert!(!place.exists());
}
