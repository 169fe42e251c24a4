//! The page in a browser (the HTTP contract, sections 14 and 16, 21 to 30), where Chromium is
//! installed.

mod accessibility;
mod acting;
mod choices;
mod clicks;
mod connection;
mod devices;
mod firefox;
mod hostile;
mod live;
mod login;
mod million;
mod numbers;
mod prefix;
mod states;
mod tabs;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use harp_tests::{Chromium, Cluster, ClusterBuilder, HttpRequest, binary};
use serde_json::{Value, json};

/// A listener for everybody on loopback.
const OPEN: &str = "[[listen_http]]\naddress = '127.0.0.1:0'\nrequire_authentication = false\n";

/// A cluster whose page is open to everybody.
fn open() -> ClusterBuilder {
    Cluster::builder().tables(OPEN)
}

/// A cluster whose page asks for a token.
struct Closed {
    cluster: Cluster,
    token: String,
    /// The file of tokens, in a directory of its own.
    tokens: PathBuf,
    _directory: tempfile::TempDir,
}

fn closed() -> Closed {
    let made = Command::new(binary("harpcallerd"))
        .args(["new-token", "ann"])
        .output()
        .unwrap();
    let text = String::from_utf8(made.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let directory = tempfile::tempdir().unwrap();
    let tokens = directory.path().join("tokens");
    fs::write(&tokens, format!("{}\n", lines[3])).unwrap();
    fs::set_permissions(&tokens, fs::Permissions::from_mode(0o600)).unwrap();
    let cluster = Cluster::builder()
        .set("tokens_file", &json!(tokens).to_string())
        .tables("[[listen_http]]\naddress = '127.0.0.1:0'\n")
        .start();
    Closed {
        cluster,
        token: lines[1].to_owned(),
        tokens,
        _directory: directory,
    }
}

/// The address of a screen.
fn url(cluster: &Cluster, hash: &str) -> String {
    format!("http://{}/{hash}", cluster.http_address())
}

/// Submits a call to `web01`; the id of its job.
#[track_caller]
fn submit(cluster: &Cluster, procedure: &str, arguments: Value) -> String {
    let call = json!({"host": "web01", "procedure": procedure, "arguments": arguments});
    submit_call(cluster, &call)
}

#[track_caller]
fn submit_call(cluster: &Cluster, call: &Value) -> String {
    let answer = HttpRequest::post("/api/v1/jobs", call).ask(cluster.http_address());
    assert_eq!(answer.status(), 201, "{}", answer.text());
    answer.json()["id"].as_str().unwrap().to_owned()
}

/// Submits a call and waits for its end; the id of its job.
#[track_caller]
fn finished(cluster: &Cluster, procedure: &str, arguments: Value) -> String {
    let job = submit(cluster, procedure, arguments);
    loop {
        let path = format!("/api/v1/jobs/{job}/result?wait=30");
        if HttpRequest::get(&path).ask(cluster.http_address()).status() == 200 {
            return job;
        }
    }
}

/// How many jobs there are.
fn jobs(cluster: &Cluster) -> usize {
    let answer = HttpRequest::get("/api/v1/jobs").ask(cluster.http_address());
    answer.json()["jobs"].as_array().unwrap().len()
}

/// Clicks what a selector names, once it is there and can be used.
fn click(browser: &mut Chromium, selector: &str) {
    let selector = json!(selector);
    browser.wait_for(&format!(
        "(element => element !== null && !element.disabled)(document.querySelector({selector}))"
    ));
    browser.evaluate(&format!("document.querySelector({selector}).click()"));
}

/// Clicks the button or link with these words.
fn click_words(browser: &mut Chromium, words: &str) {
    let find = format!(
        "[...document.querySelectorAll('button, a, summary')]\
         .filter(it => it.checkVisibility()).findLast(it => it.textContent.trim() === {})",
        json!(words)
    );
    browser.wait_for(&format!("{find} !== undefined && !{find}.disabled"));
    browser.evaluate(&format!("{find}.click()"));
}

/// Puts a text into a field, as if it were typed.
fn fill(browser: &mut Chromium, selector: &str, text: &str) {
    let selector = json!(selector);
    browser.wait_for(&format!("document.querySelector({selector}) !== null"));
    browser.evaluate(&format!(
        "(field => {{ field.focus(); field.select(); }})(document.querySelector({selector}))"
    ));
    browser.insert(text);
}

/// Waits until the page shows these words.
fn wait_for_words(browser: &mut Chromium, words: &str) {
    browser.wait_for(&format!(
        "document.body.innerText.includes({})",
        json!(words)
    ));
}

/// Numbers of the packets that are in the document, in order.
fn numbers(browser: &mut Chromium) -> Vec<u64> {
    let numbers = browser.evaluate(
        "[...document.querySelectorAll('[data-packet]')].map(row => Number(row.dataset.packet))",
    );
    let numbers = numbers.as_array().cloned().unwrap_or_default();
    numbers.iter().filter_map(Value::as_u64).collect()
}

/// Holds what the browser has told of a page against what it may: requests to its own origin,
/// no exception, nothing that its policy has kept from it.
#[track_caller]
fn assert_well_behaved(browser: &mut Chromium, origin: &str) {
    for request in browser.told("Network.requestWillBeSent") {
        let url = request["params"]["request"]["url"].as_str().unwrap();
        assert!(url.starts_with(origin) || url == "about:blank", "{url}");
    }
    let thrown = browser.told("Runtime.exceptionThrown");
    assert!(thrown.is_empty(), "{thrown:?}");
    for entry in browser.told("Log.entryAdded") {
        let entry = &entry["params"]["entry"];
        let text = entry["text"].as_str().unwrap();
        assert_ne!(entry["source"], "security", "{text}");
        assert!(!text.contains("Policy"), "{text}");
    }
}
