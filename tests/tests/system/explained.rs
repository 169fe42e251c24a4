//! Errors as they are printed: harpcaller-errors(7) explains each, found by what was printed.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Output};

use harp_tests::{
    ACKNOWLEDGE, Cluster, FakeHost, Step, binary, refusing_address, repository, until,
};
use serde_json::json;

/// An entry of the page: what it is found by, and its text.
struct Entry {
    heads: Vec<Head>,
    text: String,
}

#[derive(Clone)]
enum Head {
    /// The type or code of an error.
    Type(String),
    /// Parts of a message, with what differs between them.
    Message(Vec<String>),
}

impl Head {
    fn is_in(&self, printed: &str) -> bool {
        match self {
            Head::Type(name) => printed
                .split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
                .any(|word| word == name),
            Head::Message(parts) => {
                let mut rest = printed;
                parts.iter().all(|part| {
                    let found = rest.split_once(part.as_str());
                    rest = found.map_or("", |(_, behind)| behind);
                    found.is_some()
                })
            }
        }
    }

    fn name(&self) -> String {
        match self {
            Head::Type(name) => name.clone(),
            Head::Message(parts) => parts.join("..."),
        }
    }
}

/// The entries whose fields are Meaning, Cause, Data and To do.
fn entries() -> Vec<Entry> {
    let page = fs::read_to_string(repository().join("man/harpcaller-errors.7")).unwrap();
    let items = page.split("\n.It ").skip(1);
    let items = items.filter_map(|item| item.split_once('\n'));
    let items = items.filter(|(_, text)| text.starts_with("Meaning:"));
    items
        .map(|(head, text)| Entry {
            heads: heads(head),
            text: text.split("\n.El").next().unwrap_or_default().to_owned(),
        })
        .collect()
}

fn heads(head: &str) -> Vec<Head> {
    match head.strip_prefix("Cm ") {
        Some(names) => {
            let names = names.split(" , ");
            names.map(|name| Head::Type(name.to_owned())).collect()
        }
        None => {
            let parts = head.trim_start_matches("\\&").split("...");
            let parts = parts.map(|part| part.trim().to_owned());
            let parts: Vec<_> = parts.filter(|part| !part.is_empty()).collect();
            vec![Head::Message(parts)]
        }
    }
}

/// What has been printed, and which entries have been found by it.
struct Found {
    entries: Vec<Entry>,
    names: BTreeSet<String>,
}

impl Found {
    #[track_caller]
    fn look_up(&mut self, printed: &str, expected: &str) {
        let heads = self.entries.iter().flat_map(|entry| &entry.heads);
        let mut names = heads.filter(|head| head.is_in(printed)).map(Head::name);
        assert!(
            names.any(|name| name.contains(expected)),
            "harpcaller-errors(7) is not found by this ({expected}): {printed}"
        );
        self.names.insert(expected.to_owned());
    }
}

fn printed(output: &Output) -> String {
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn harp(cluster: &Cluster, words: &[&str]) -> String {
    let output = Command::new(binary("harp"))
        .args(words)
        .args(["--dispatcher", &cluster.address().to_string()])
        .env("HOME", cluster.path(""))
        .env_remove("XDG_CONFIG_HOME")
        .output();
    printed(&output.unwrap())
}

#[test]
fn every_entry_says_what_it_means_why_what_it_brings_and_what_to_do() {
    let entries = entries();
    assert!(entries.len() > 60, "{}", entries.len());
    for entry in entries {
        let heads: Vec<_> = entry.heads.iter().map(Head::name).collect();
        for field in ["Meaning:", "Cause:", "Data:", "To do:"] {
            let mut lines = entry.text.lines();
            assert!(
                lines.any(|line| line.starts_with(field)),
                "{heads:?}: {field}"
            );
        }
    }
}

#[test]
fn what_is_printed_is_found_in_the_page() {
    let mut found = Found {
        entries: entries(),
        names: BTreeSet::new(),
    };
    jobs(&mut found);
    requests(&mut found);
    commands(&mut found);
    files(&mut found);
    assert!(found.names.len() >= 30, "{:?}", found.names);
}

/// Jobs that end with an error or an exception, as `harp` prints it.
fn jobs(found: &mut Found) {
    let gibberish = FakeHost::start(&[Step::Handshake, Step::Request, Step::line("gibberish")]);
    let strange = FakeHost::start(&[
        Step::Handshake,
        Step::Request,
        ACKNOWLEDGE,
        Step::line(r#"{"harp":1,"error":{"type":"system_error","message":"out of processes"}}"#),
    ]);
    let mut cluster = Cluster::builder()
        .other_host("refusing", refusing_address())
        .fake_host("gibberish", &gibberish)
        .fake_host("strange", &strange)
        .procedure("killed", "output = 'json'", "kill -TERM $$")
        .procedure("chatter", "output = 'json'", "echo this is no JSON")
        .procedure("failing", "output = 'json'", "exit 9")
        .procedure(
            "large",
            "output = 'json'\nmax_output = 10",
            "echo '\"0123456789\"'",
        )
        .start();
    let mut entries = vec![cluster.entry("web01")];
    for (name, host) in [("gibberish", &gibberish), ("strange", &strange)] {
        let mut entry = cluster.entry("web01");
        entry["hostname"] = json!(name);
        entry["port"] = json!(host.address().port());
        entries.push(entry);
    }
    let mut refusing = cluster.entry("web01");
    refusing["hostname"] = json!("refusing");
    refusing["address"] = json!(refusing_address().ip());
    refusing["port"] = json!(refusing_address().port());
    let mut stranger = cluster.entry("web01");
    stranger["hostname"] = json!("stranger");
    stranger["credentials"]["user"] = json!("stranger");
    entries.extend([refusing, stranger]);
    cluster.set_registry(&entries);
    cluster.restart_dispatcher();
    assert!(cluster.run(&["hosts-refresh"]).status.success());
    for (words, expected) in [
        (&["nowhere", "echo"][..], "unknown_host"),
        (&["refusing", "echo"], "network_error"),
        (&["gibberish", "echo"], "protocol_error"),
        (&["strange", "echo"], "system_error"),
        (&["stranger", "echo"], "auth_error"),
        (&["web01", "nothing"], "no_such_procedure"),
        (&["web01", "killed"], "signal"),
        (&["web01", "chatter"], "invalid_output"),
        (&["web01", "failing"], "exit_status"),
        (&["web01", "large"], "output_too_large"),
        (&["web01", "silent", "--max-exec-time", "1"], "timeout"),
    ] {
        let words = [&["call"], words].concat();
        found.look_up(&harp(&cluster, &words), expected);
    }
    let json = harp_json(&cluster, &["call", "refusing", "echo"]);
    found.look_up(&json, "econnrefused");
}

/// The lines of `harp --json`.
fn harp_json(cluster: &Cluster, words: &[&str]) -> String {
    let output = Command::new(binary("harp"))
        .arg("--json")
        .args(words)
        .args(["--dispatcher", &cluster.address().to_string()])
        .env("HOME", cluster.path(""))
        .env_remove("XDG_CONFIG_HOME")
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Requests that are refused.
fn requests(found: &mut Found) {
    let cluster = Cluster::builder()
        .hosts(0)
        .set("max_request_size", "'1K'")
        .set("max_live_jobs", "1")
        .tables(
            "[[listener]]\naddress = '127.0.0.1:0'\nrequire_authentication = false\n\
             [[allow]]\nclient = 'anonymous'\nhost = 'web*'\noperations = ['call', 'read']\n",
        )
        .start();
    let caller = cluster.caller();
    let call = |more: &str| {
        format!(r#"{{"harpcaller":1,"host":"web01","procedure":"echo","arguments":[]{more}}}"#)
    };
    let large = format!(r#","info":"{}""#, "x".repeat(2000));
    for (line, expected) in [
        ("nonsense".to_owned(), "parse_error"),
        (
            r#"{"harpcaller":2,"hello":{}}"#.to_owned(),
            "invalid_protocol",
        ),
        (call(r#","time_out":1"#), "invalid_request"),
        (call(&large), "request_too_large"),
        (call("").replace("web01", "db01"), "forbidden"),
        (
            format!(
                r#"{{"harpcaller":1,"get_result":"{}"}}"#,
                crate::assertions::NO_JOB
            ),
            "invalid_jobid",
        ),
    ] {
        found.look_up(&caller.ask_raw(&line), expected);
    }
}

/// Commands that have nothing to speak to, or are given what they cannot use.
fn commands(found: &mut Found) {
    let mut cluster = Cluster::start();
    let caller = cluster.caller();
    let job = caller.call("web01", "echo", "[]");
    let _ = caller.result(&job);
    let jobs = cluster.path("jobs");
    let jobs = jobs.to_str().unwrap();
    let config = cluster.config();
    let config = config.to_str().unwrap();
    let file = cluster.path("file");
    let file = file.to_str().unwrap();
    for (words, expected) in [
        (&["start", "--config", config][..], "is already running"),
        (
            &["export", "--store", jobs, file],
            "is in use by another process",
        ),
        (&["info", crate::assertions::NO_JOB], "no such job"),
        (&["cancel", &job], "the job has ended"),
        (&["queue-list", "backup"], "the queue's name"),
        (
            &["check-config", "--config", "/nowhere/at-all"],
            "cannot read",
        ),
    ] {
        found.look_up(&printed(&cluster.run(words)), expected);
    }
    let none = cluster.path("none");
    let none = none.to_str().unwrap();
    let export = cluster.run(&["export", "--store", none, file]);
    found.look_up(&printed(&export), "there is no job store in");
    fs::write(
        file,
        "a text that is certainly no gzip file, however long\n",
    )
    .unwrap();
    let import = cluster.run(&["import", "--store", none, file]);
    found.look_up(&printed(&import), "this is no export of harpcallerd");
    assert!(cluster.run(&["export", "--online", file]).status.success());
    let whole = fs::read(file).unwrap();
    fs::write(file, &whole[..whole.len() / 2]).unwrap();
    let import = cluster.run(&["import", "--store", none, file]);
    found.look_up(&printed(&import), "the export is cut short");

    cluster.set_registry_script("true");
    let refreshed = cluster.run(&["hosts-refresh"]);
    found.look_up(&printed(&refreshed), "ended well and told of no host");
    let logged = "hosts registry not refreshed, it stays as it was";
    until("it is logged", || {
        (cluster.log().count(logged) > 0).then_some(())
    });
    found.look_up(&cluster.log().text(), logged);

    cluster.halt_dispatcher();
    let status = cluster.run(&["status", "--timeout", "0"]);
    cluster.thaw_dispatcher();
    let told = String::from_utf8_lossy(&status.stdout).into_owned();
    found.look_up(&told, "the daemon has not answered within");

    found.look_up(&harp(&cluster, &["call", "web01"]), "PROCEDURE is missing");
    let filter = harp(&cluster, &["jobs", "running"]);
    found.look_up(&filter, "is no filter: NAME=VALUE");
    cluster.stop_dispatcher();
    let list = cluster.run(&["list"]);
    found.look_up(&printed(&list), "harpcallerd is not running");
}

/// Configurations that are wrong.
fn files(found: &mut Found) {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let check = |text: &str| {
        let file = path("harpcaller.toml");
        fs::write(&file, text).unwrap();
        let checked = Command::new(binary("harpcallerd"))
            .args(["check-config", "--config", &file])
            .output()
            .unwrap();
        let told = [checked.stdout, checked.stderr].concat();
        String::from_utf8_lossy(&told).into_owned()
    };
    let known = "stream_directory = '/tmp/x'\nhost_db_script = '/bin/true'\nhost_db = '/tmp/y'\n";
    let misspelt = check(&format!("{known}host_db_refrsh = 1\n"));
    found.look_up(&misspelt, "unknown key, ignored; did you mean");
    found.look_up(&check(&format!("{known}max_age = 'x'\n")), "must be");
    found.look_up(&check("host_db = '/tmp/y'\n"), "missing, must be set");
    let yaml = path("harpd.yaml");
    fs::write(&yaml, "---\nnetwork:\n  - port: 4306\n").unwrap();
    let harpd = Command::new(binary("harpd"))
        .args(["--config", &yaml])
        .output();
    found.look_up(&printed(&harpd.unwrap()), "is YAML");
}
