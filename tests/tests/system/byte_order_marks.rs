//! A byte order mark, which some editors put in front of UTF-8, is part of no file's content.

use std::fs;
use std::path::Path;
use std::process::Command;

use harp_tests::{Cluster, LineClient, binary};
use serde_json::json;

use crate::access::identity::Files;

const MARK: &str = "\u{feff}";

/// Puts the mark in front of what is in a file.
fn mark(file: &Path) {
    let text = fs::read_to_string(file).unwrap();
    fs::write(file, format!("{MARK}{text}")).unwrap();
}

#[test]
fn every_file_of_a_dispatcher_and_a_host_may_begin_with_one() {
    let files = Files::new();
    let token = files.new_token("shop");
    mark(&files.path("tokens"));
    let mut cluster = Cluster::builder()
        .hosts(2)
        .set("tokens_file", &json!(files.path("tokens")).to_string())
        .start();
    // The registry of the script, with a mark before each file that it puts together.
    let entries = ["web01", "web02"].map(|host| format!("{MARK}{}\n", cluster.entry(host)));
    fs::write(cluster.path("hosts.jsonl"), entries.concat()).unwrap();
    let told = cluster.lines(&["hosts-refresh"]);
    assert_eq!(told, ["2 hosts: 0 added, 0 removed"]);
    let mut client = LineClient::plain(cluster.address()).unwrap();
    let hello = json!({"harpcaller": 1, "hello": {"token": token}});
    assert_eq!(client.ask(&hello).unwrap()["error"], json!(null));

    // So it is with the cache, and the configuration.
    cluster.stop_dispatcher();
    mark(&cluster.path("hosts.cache"));
    cluster.set_registry_script("exit 1");
    cluster.start_dispatcher();
    mark(&cluster.config());
    let told = cluster.run(&["reload"]);
    assert!(told.status.success(), "{told:?}");

    // The host's: its certificate and key, its users and its configuration.
    for name in ["users.txt", "harpd.cert.pem", "harpd.key.pem", "web01.toml"] {
        mark(&cluster.path(name));
    }
    let told = Command::new(binary("harpd"))
        .args(["--test", "--config"])
        .arg(cluster.path("web01.toml"))
        .output()
        .unwrap();
    assert!(told.status.success(), "{told:?}");
    let caller = cluster.caller();
    for host in ["web01", "web02"] {
        let job = caller.call(host, "echo", "[1]");
        assert_eq!(caller.result(&job), json!({"result": [1]}), "{host}");
    }
}
