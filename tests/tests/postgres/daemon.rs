//! The dispatcher over a database: what its users would notice.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use harp_tests::postgres::Database;
use harp_tests::{Cluster, HttpRequest, binary, until};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::relay::Relay;

const QUEUE: &str = r#""queue": {"name": {"q": 1}}"#;

/// A database with what a configuration names of it.
pub(crate) struct Kept {
    pub(crate) database: Database,
    directory: TempDir,
}

impl Kept {
    pub(crate) fn new() -> Option<Kept> {
        let database = Database::new()?;
        let directory = tempfile::tempdir().unwrap();
        let kept = Kept {
            database,
            directory,
        };
        kept.set_url(&kept.database.url(), 0o600);
        let config = format!(
            "listen = ['127.0.0.1:0']\nhost_db_script = '/bin/true'\nhost_db = '{}'\n{}",
            kept.path("hosts.json").display(),
            kept.table()
        );
        fs::write(kept.path("harpcaller.toml"), config).unwrap();
        Some(kept)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn set_url(&self, url: &str, mode: u32) {
        let file = self.path("cluster.url");
        fs::write(&file, format!("{url}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn table(&self) -> String {
        self.table_of("alpha")
    }

    /// The table `[cluster]` of a node.
    pub(crate) fn table_of(&self, node: &str) -> String {
        let file = self.path("cluster.url");
        format!(
            "[cluster]\nengine = \"postgres\"\nurl_file = '{}'\nnode = \"{node}\"\ncopies = 1\n",
            file.display()
        )
    }

    /// Runs a command of `harpcallerd` that takes a configuration file.
    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(binary("harpcallerd"));
        command.arg("--socket").arg(self.path("socket"));
        command.args(arguments).arg("--config");
        command.arg(self.path("harpcaller.toml")).output().unwrap()
    }

    #[track_caller]
    pub(crate) fn init(&self) {
        let made = self.run(&["cluster", "init"]);
        assert!(made.status.success(), "{made:?}");
    }

    pub(crate) fn cluster(&self) -> Cluster {
        let http = "[[listen_http]]\naddress = '127.0.0.1:0'\nrequire_authentication = false\n";
        Cluster::builder()
            .set("stream_directory", "")
            .tables(&format!("{}{http}", self.table()))
            .start()
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn lines(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn jobs_in_a_database_outlive_their_dispatcher() {
    let Some(kept) = Kept::new() else { return };
    kept.init();
    let mut cluster = kept.cluster();
    let caller = cluster.caller();
    let job = caller.call("web01", "echo", r#"[1.0,{"b":1,"a":"\ud800\/"}]"#);
    let echoed = caller.raw_result(&job);
    // One runs, and three wait behind it.
    let mut feed = cluster.feed("feed");
    let running = caller.call_with("web01", "feed", &feed.arguments(), QUEUE);
    feed.send("1");
    let trace = cluster.path("trace");
    let waiting: Vec<String> = ["one", "two", "three"]
        .iter()
        .map(|word| {
            let arguments = json!([trace, word]).to_string();
            caller.call_with("web01", "trace", &arguments, QUEUE)
        })
        .collect();
    let mut following = caller.follow(&running, r#""since": 0"#);
    assert_eq!(following.raw_line(), r#"{"packet":0,"data":1}"#);
    let get = |path: &str| {
        let asked = HttpRequest::get(&format!("/api/v1/queues{path}"));
        asked.ask(cluster.http_address()).json()
    };
    let queue = get("")["queues"][0].clone();
    let expected = json!({"name": {"q": 1}, "concurrency": 1, "running": 1, "queued": 3, "kept": 0,
                          "oldest": queue["oldest"]});
    assert_eq!(queue, expected);
    let (mut listed, mut next) = (Vec::new(), Some(String::new()));
    while let Some(cursor) = next {
        let page = get(&format!("/jobs?name=%7B%22q%22:1%7D&limit=1{cursor}"));
        let jobs = page["jobs"].as_array().unwrap().iter();
        listed.extend(jobs.map(|job| job["id"].as_str().unwrap().to_owned()));
        next = page["next"].as_str().map(|next| format!("&cursor={next}"));
    }
    assert_eq!(listed, [std::slice::from_ref(&running), &waiting].concat());
    cluster.kill_dispatcher();
    cluster.start_dispatcher();
    let caller = cluster.caller();
    assert_eq!(caller.raw_result(&job), echoed);
    assert!(caller.cancel(&waiting[1]));
    feed.send("2");
    let mut following = caller.follow(&running, r#""since": 0"#);
    for line in [r#"{"packet":0,"data":1}"#, r#"{"packet":1,"data":2}"#] {
        assert_eq!(following.raw_line(), line);
    }
    cluster.restart_dispatcher();
    let caller = cluster.caller();
    feed.finish();
    for job in [&waiting[0], &waiting[2]] {
        let _ = caller.raw_result(job);
    }
    assert_eq!(caller.raw_result(&waiting[1]), r#"{"cancelled":true}"#);
    let begun: Vec<_> = lines(&trace).into_iter().step_by(2).collect();
    assert_eq!(begun, ["start one", "start three"]);
    until("nothing is left that lives", || {
        let left = "select (select count(*) from harp.live) + (select count(*) from harp.debt) \
                    + (select count(*) from harp.queue)";
        (kept.database.ask(left) == "0").then_some(())
    });
    let listed = cluster.lines(&["list", "--all"]);
    assert_eq!(listed.len(), 5, "{listed:#?}");
    assert!(cluster.lines(&["queue-list"]).is_empty());
}

#[test]
fn a_database_that_is_away_delays_what_runs_and_refuses_what_comes() {
    let Some(kept) = Kept::new() else { return };
    kept.init();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let relay = runtime.block_on(async { Relay::new(&kept.database) });
    kept.set_url(&kept.database.url_by(relay.directory()), 0o600);
    let cluster = kept.cluster();
    let caller = cluster.caller();
    let mut feed = cluster.feed("feed");
    let running = caller.call("web01", "feed", &feed.arguments());
    feed.send("1");
    let mut following = caller.follow(&running, r#""since": 0"#);
    assert_eq!(following.raw_line(), r#"{"packet":0,"data":1}"#);
    relay.set_down(true);
    let submit = |key: &str| -> Value {
        let request = json!({"harpcaller": 1, "procedure": "echo", "host": "web01",
                             "arguments": [7], "key": key});
        caller.ask(request)
    };
    until("an accept is refused", || {
        let answer = submit("away");
        (answer["error"]["type"] == "storage_error").then_some(())
    });
    feed.send("2");
    relay.set_down(false);
    let again = until("calls are taken again", || {
        let answer = submit("back");
        answer["job_id"].as_str().map(str::to_owned)
    });
    assert_eq!(caller.raw_result(&again), r#"{"result":[7]}"#);
    assert_eq!(following.raw_line(), r#"{"packet":1,"data":2}"#);
    feed.finish();
    let _ = caller.raw_result(&running);
}

#[test]
fn a_start_that_cannot_be_right_is_refused() {
    let Some(kept) = Kept::new() else { return };
    let refused = said(&kept.run(&["start"]));
    assert!(refused.contains("harpcallerd cluster init"), "{refused}");
    kept.init();
    kept.init();
    let cluster = kept.cluster();
    let refused = said(&kept.run(&["start"]));
    assert!(refused.contains("named \"alpha\" is running"), "{refused}");
    let job = cluster.caller().call("web01", "echo", "[1]");
    assert_eq!(cluster.caller().raw_result(&job), r#"{"result":[1]}"#);
    drop(cluster);
    let _ = kept.database.ask("update harp.meta set layout = 9");
    let refused = said(&kept.run(&["start"]));
    assert!(refused.contains("layout 9"), "{refused}");
    let refused = said(&kept.run(&["cluster", "init"]));
    assert!(refused.contains("layout 9"), "{refused}");
    // The address has a password in it.
    kept.set_url(&kept.database.url(), 0o644);
    let checked = said(&kept.run(&["check-config"]));
    assert!(checked.contains("may be read by others"), "{checked}");
}

#[test]
fn the_schema_can_be_looked_at_before() {
    let printing = |arguments: &[&str]| {
        let mut command = Command::new(binary("harpcallerd"));
        let output = command
            .args(["cluster", "init", "--print"])
            .args(arguments)
            .output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    let printed = printing(&[]);
    assert!(
        printed.contains("create schema if not exists harp;"),
        "{printed}"
    );
    assert!(!printed.contains("grant "));
    assert!(printing(&["--for", "nodes"]).contains("to \"nodes\";"));
}
