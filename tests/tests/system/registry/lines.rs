//! What of the script's output is an entry, and what is not.

use std::fs;

use harp_tests::Cluster;
use serde_json::{Value, json};

use super::{assert_known, assert_unknown, renamed, restless};

#[test]
fn lines_that_are_no_entry_are_ignored() {
    let cluster = restless().start();
    let entry = cluster.entry("web01");
    let without = |key: &str| {
        let mut entry = renamed(&entry, &format!("without {key}"));
        entry.as_object_mut().unwrap().remove(key);
        entry.to_string()
    };
    let with = |key: &str, value: Value| {
        let mut entry = renamed(&entry, &format!("bad {key}"));
        entry[key] = value;
        entry.to_string()
    };
    let lines = [
        "# the web servers".to_owned(),
        String::new(),
        renamed(&entry, "first").to_string(),
        "nonsense {".to_owned(),
        "[]".to_owned(),
        "null".to_owned(),
        without("address"),
        without("port"),
        without("credentials"),
        with("port", json!(70000)),
        with("port", json!("4306")),
        with("credentials", json!({"user": "u"})),
        with("fingerprint", json!("no hexadecimal")),
        with("tls_name", json!(7)),
        format!("  {}  ", renamed(&entry, "indented")),
        {
            let mut more = renamed(&entry, "with more");
            more["rack"] = json!(7);
            more.to_string()
        },
    ];
    let last = renamed(&entry, "last without its end");
    fs::write(
        cluster.path("lines"),
        format!("{}\n{last}", lines.join("\n")),
    )
    .unwrap();
    cluster.set_registry_script(r#"exec cat "$(dirname "$0")/lines""#);
    cluster.wait_for_refresh();
    for host in ["first", "indented", "with more", "last without its end"] {
        assert_known(&cluster, host);
    }
    for host in [
        "web01",
        "without address",
        "without port",
        "without credentials",
        "bad port",
        "bad credentials",
        "bad fingerprint",
        "bad tls_name",
    ] {
        assert_unknown(&cluster, host);
    }
    // Counted and logged, with no secret among it.
    let ignored = cluster
        .log()
        .wait_for("lines of the hosts registry ignored");
    assert!(
        ignored["lines"].as_u64().is_some_and(|lines| lines >= 11),
        "{ignored}"
    );
    assert!(!cluster.log().text().contains(harp_tests::PASSWORD));
}

#[test]
fn an_entry_is_an_object_and_so_are_its_credentials() {
    let cluster = restless().start();
    let entry = cluster.entry("web01");
    let credentials = json!([harp_tests::USER, harp_tests::PASSWORD]);
    let mut listed_credentials = renamed(&entry, "listed credentials");
    listed_credentials["credentials"] = credentials.clone();
    cluster.set_registry(&[
        json!(["list", entry["address"], entry["port"], credentials]),
        json!([
            "list of all keys",
            entry["address"],
            entry["port"],
            entry["credentials"],
            null,
            null
        ]),
        listed_credentials,
        renamed(&entry, "web02"),
    ]);
    cluster.wait_for_refresh();
    assert_known(&cluster, "web02");
    for host in ["list", "list of all keys", "listed credentials"] {
        assert_unknown(&cluster, host);
    }
}

#[test]
fn no_secret_of_a_line_that_is_no_entry_is_logged() {
    for (key, value) in [
        ("credentials", json!("rpc:SECRET")),
        (
            "credentials",
            json!({"user": "rpc", "password": ["SECRET"]}),
        ),
        ("port", json!("SECRET")),
        ("fingerprint", json!("SECRET")),
    ] {
        let mut entry = json!({
            "hostname": "web01", "address": "127.0.0.1", "port": 4306,
            "credentials": {"user": "rpc", "password": "SECRET"},
        });
        entry[key] = value;
        let cluster = Cluster::builder()
            .hosts(0)
            .set("log_level", "\"debug\"")
            .entry(entry.clone())
            .start();
        assert_unknown(&cluster, "web01");
        let ignored = cluster
            .log()
            .wait_for("lines of the hosts registry ignored");
        assert_eq!(ignored["lines"], 1, "{ignored}");
        let log = cluster.log().text();
        assert!(!log.contains("SECRET"), "{entry}: {log}");
    }
}
