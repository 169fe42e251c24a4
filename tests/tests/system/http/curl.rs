//! With curl, as an operator would: TLS, certificates, HTTP/2, Unix sockets (sections 1 and 2).

use std::process::{Command, Output};

use harp_tests::Cluster;
use harp_tests::certificates::Authority;
use serde_json::{Value, json};

use super::{address, api, call};
use crate::access::identity::Files;

/// Runs curl; `None` if it is not there, or cannot do what is wanted of it.
fn curl(feature: &str, arguments: &[&str]) -> Option<Output> {
    let version = Command::new("curl").arg("--version").output();
    let can = version.is_ok_and(|version| {
        String::from_utf8_lossy(&version.stdout)
            .split_whitespace()
            .any(|word| word.eq_ignore_ascii_case(feature))
    });
    if !can {
        println!("skipped: there is no curl that knows {feature}");
        return None;
    }
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "30"])
        .args(arguments)
        .output();
    Some(output.expect("a program that is there"))
}

fn answer(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

#[test]
fn a_certificate_says_who_asks_and_both_versions_are_spoken() {
    let files = Files::new();
    let clients = Authority::new("clients");
    let tables = files
        .tls_listener(&clients)
        .replace("[[listener]]", "[[listen_http]]");
    let cluster = Cluster::builder().hosts(0).tables(&tables).start();
    let url = format!("https://{}{}", address(&cluster), api("/session"));
    let ca = files.write("ca.pem", &Authority::shared().pem());
    let ca = ca.to_str().unwrap();
    let shop = clients.issue_to("shop");
    let certificate = files.write("shop.pem", &shop.pem);
    let key = files.write("shop.key", &shop.key_pem);
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    for (feature, version) in [("https", "--http1.1"), ("HTTP2", "--http2")] {
        let told = ["--write-out", "\n%{http_version} %{http_code}"];
        let stranger = [version, "--cacert", ca, &url];
        let Some(output) = curl(feature, &[&told[..], &stranger[..]].concat()) else {
            continue;
        };
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let wanted = if feature == "HTTP2" {
            "\n2 401"
        } else {
            "\n1.1 401"
        };
        assert!(text.ends_with(wanted), "{text} {output:?}");
        let known = [
            version,
            "--cacert",
            ca,
            "--cert",
            certificate,
            "--key",
            key,
            &url,
        ];
        let Some(output) = curl(feature, &known) else {
            continue;
        };
        let shown = answer(&output);
        assert_eq!(
            (&shown["identity"], &shown["method"]),
            (&json!("cert:shop"), &json!("certificate"))
        );
    }
}

#[test]
fn a_unix_socket_says_who_asks() {
    let files = Files::new();
    let path = files.path("http");
    let tables = format!("[[listen_http]]\npath = {path:?}\nmode = '0600'\n");
    let cluster = Cluster::builder().tables(&tables).start();
    let path = path.to_str().unwrap();
    harp_tests::until("the dispatcher listens for HTTP", || {
        let entries = cluster.log().all("listening for HTTP");
        (!entries.is_empty()).then_some(())
    });
    let url = format!("http://localhost{}", api("/session"));
    let Some(output) = curl("http", &["--unix-socket", path, &url]) else {
        return;
    };
    let shown = answer(&output);
    assert_eq!(shown["method"], "unix");
    assert!(
        shown["identity"].as_str().unwrap().starts_with("uid:"),
        "{shown}"
    );
    let url = format!("http://localhost{}", api("/jobs?wait=30"));
    let body = call("echo", json!([1])).to_string();
    let made = ["--unix-socket", path, "--json", &body, &url];
    let Some(output) = curl("http", &made) else {
        return;
    };
    assert_eq!(answer(&output)["end"]["result"], json!([1]));
    let evil = ["--unix-socket", path, "http://evil.example/api/v1"];
    let Some(output) = curl("http", &evil) else {
        return;
    };
    assert_eq!(answer(&output)["status"], 421);
}

#[test]
fn a_proxy_on_a_unix_socket_is_nobody_itself() {
    let files = Files::new();
    let path = files.path("http");
    let tables =
        format!("[[listen_http]]\npath = {path:?}\nmode = '0600'\ntrusted_proxies = ['unix']\n");
    let cluster = Cluster::builder().hosts(0).tables(&tables).start();
    harp_tests::until("the dispatcher listens for HTTP", || {
        let entries = cluster.log().all("listening for HTTP");
        (!entries.is_empty()).then_some(())
    });
    let url = format!("http://localhost{}", api("/session"));
    let Some(output) = curl("http", &["--unix-socket", path.to_str().unwrap(), &url]) else {
        return;
    };
    assert_eq!(answer(&output)["status"], 401);
}
