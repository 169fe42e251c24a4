//! What is answered while the dispatcher starts, and sockets that the service manager hands
//! over (sections 1, 7 and 13; acceptance 15).

use std::fs;
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::{Child, Command};

use harp_tests::{Cluster, HttpClient, HttpRequest, binary, until};
use serde_json::json;

use super::{api, assert_problem, call, open};

/// Starts the dispatcher with a socket for HTTP as systemd would.
fn start(cluster: &Cluster, socket: &TcpListener) -> Child {
    // The socket comes as standard input, and goes where systemd puts it.
    let hand_over = "exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" \"$@\"";
    Command::new("sh")
        .args(["-c", hand_over])
        .arg(binary("harpcallerd"))
        .arg("--socket")
        .arg(cluster.socket())
        .args(["start", "--config"])
        .arg(cluster.config())
        .stdin(OwnedFd::from(socket.try_clone().unwrap()))
        .stderr(fs::File::create(cluster.path("log")).unwrap())
        .spawn()
        .unwrap()
}

/// A cluster whose dispatcher is not started, and whose registry script waits for the file
/// `go`; and the socket that is its listener's for HTTP.
fn held_up() -> (Cluster, TcpListener, SocketAddr) {
    let mut cluster = open().start();
    cluster.stop_dispatcher();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let text = fs::read_to_string(cluster.config()).unwrap();
    let there = "[[listen_http]]\naddress = '127.0.0.1:0'";
    assert!(text.contains(there), "{text}");
    let here = format!("[[listen_http]]\naddress = '{address}'");
    fs::write(cluster.config(), text.replace(there, &here)).unwrap();
    let cache = text
        .lines()
        .find_map(|line| line.strip_prefix("host_db = "));
    let cache: String = serde_json::from_str(&cache.unwrap().replace('\'', "\"")).unwrap();
    fs::remove_file(cache).unwrap();
    let (go, hosts) = (cluster.path("go"), cluster.path("hosts.jsonl"));
    cluster.set_registry_script(&format!(
        "while [ ! -e '{}' ]; do sleep 0.05; done; cat '{}'",
        go.display(),
        hosts.display()
    ));
    (cluster, socket, address)
}

#[test]
fn a_start_is_said_and_streams_are_held() {
    let (cluster, socket, address) = held_up();
    let mut child = start(&cluster, &socket);
    // The socket is open already, so this waits for the first answer.
    let health = HttpRequest::get("/healthz").ask(address);
    assert_eq!(health.json(), json!({"status": "ok"}));
    assert_problem(&HttpRequest::get("/readyz").ask(address), 503, "starting");
    let refused = HttpRequest::post(&api("/jobs"), call("echo", json!([]))).ask(address);
    assert_problem(&refused, 503, "starting");
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(refused.header("cache-control"), "no-store");
    assert_problem(&HttpRequest::get("/").ask(address), 503, "starting");
    let elsewhere = HttpRequest::get(&api("/jobs")).header("Host", "evil.example");
    assert_problem(&elsewhere.ask(address), 421, "misdirected");

    let mut stream = HttpClient::connect(address);
    stream.send(&HttpRequest::get(&api("/events")));
    // One connection is answered before and after.
    let mut kept = HttpClient::connect(address);
    let asked = HttpRequest::get("/readyz");
    assert_eq!(kept.ask(&asked).status(), 503);
    fs::write(cluster.path("go"), "").unwrap();
    let mut stream = stream.stream("GET");
    assert_eq!(stream.head.status, 200);
    let mut begun = [0; 40];
    stream.read_exact(&mut begun).unwrap();
    assert!(String::from_utf8_lossy(&begun).contains("event: ready"));
    assert_eq!(kept.ask(&asked).json(), json!({"status": "ready"}));
    let job = HttpRequest::post(&api("/jobs?wait=30"), call("echo", json!([1]))).ask(address);
    assert_eq!(job.json()["end"], json!({"result": [1]}));

    // The address is that of the configuration, and the client protocol's is open beside it.
    let log = || fs::read_to_string(cluster.path("log")).unwrap();
    assert!(log().contains("\"message\":\"listening\""), "{}", log());
    assert!(cluster.run(&["reload"]).status.success());
    assert_eq!(kept.ask(&asked).status(), 200);
    assert_eq!(asked.ask(address).status(), 200);
    assert!(cluster.run(&["stop"]).status.success());
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_start_that_is_given_up_ends_with_those_who_wait() {
    let (cluster, socket, address) = held_up();
    let mut child = start(&cluster, &socket);
    assert_eq!(HttpRequest::get("/healthz").ask(address).status(), 200);
    let mut stream = HttpClient::connect(address);
    stream.send(&HttpRequest::get(&api("/events")));
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    until("the dispatcher has ended", || child.try_wait().unwrap());
    drop(socket);
    assert!(stream.at_end());
}
