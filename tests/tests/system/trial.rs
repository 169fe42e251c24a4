//! `harpcallerd try`: a newcomer's first minute.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use harp_tests::{HttpRequest, LineClient, binary, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::guides::{Watched, block, blocks, is_there, shell};

/// What runs, and what it has said.
struct Trial {
    child: Child,
    said: Vec<String>,
}

impl Trial {
    fn start(directory: &Path) -> Trial {
        let mut command = Command::new(binary("harpcallerd"));
        command.arg("try").arg(directory);
        Trial::run(command)
    }

    /// Runs it until it has said all that there is to say.
    fn run(mut command: Command) -> Trial {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let mut trial = Trial {
            child,
            said: Vec::new(),
        };
        for line in BufReader::new(stdout).lines() {
            let line = line.unwrap();
            let is_last = line.starts_with("Ctrl-C");
            trial.said.push(line);
            if is_last {
                return trial;
            }
        }
        panic!("it has ended: {:#?}", trial.said);
    }

    /// The address of the page.
    fn page(&self) -> &str {
        let mut lines = self.said.iter().map(|line| line.trim());
        lines.find(|line| line.starts_with("http://")).unwrap()
    }

    fn http(&self) -> SocketAddr {
        let address = self.page().trim_start_matches("http://");
        address.split('/').next().unwrap().parse().unwrap()
    }

    fn signal(&self, signal: Signal) {
        let id = Pid::from_raw(self.child.id().cast_signed()).unwrap();
        kill_process(id, signal).unwrap();
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        self.signal(Signal::TERM);
        let _ = self.child.wait();
    }
}

fn get(trial: &Trial, token: &str, path: &str) -> harp_tests::HttpAnswer {
    HttpRequest::get(path).token(token).ask(trial.http())
}

#[test]
fn one_command_shows_live_output_and_goes_on_with_what_it_has_kept() {
    // As README.md has it.
    let readme = blocks("README.md");
    let first = block(&readme, "cargo build &&");
    let (_, first) = first.trim().split_once(" && ").unwrap();
    let words = first.strip_prefix("target/debug/harpcallerd ").unwrap();
    let parent = tempfile::tempdir().unwrap();
    let mut command = Command::new(binary("harpcallerd"));
    command.args(words.split(' ')).current_dir(parent.path());
    let mut trial = Trial::run(command);
    let directory = parent.path().join("harpcaller-try");
    let token = fs::read_to_string(directory.join("token")).unwrap();
    let token = token.trim();
    assert!(trial.said.iter().any(|line| line.trim() == token));
    type_what_it_says(&trial, parent.path());

    // The page, and the job that it is to show, which runs.
    let index = HttpRequest::get("/").ask(trial.http());
    assert_eq!(index.status(), 200);
    let job = trial.page().rsplit('/').next().unwrap().to_owned();
    let stranger = HttpRequest::get(&format!("/api/v1/jobs/{job}")).ask(trial.http());
    assert_eq!(stranger.status(), 401);
    let packets = format!("/api/v1/jobs/{job}/packets?wait=30");
    let shown = get(&trial, token, &packets);
    assert_eq!(
        shown.json()["packets"][0]["data"],
        "\u{1b}[1mdeploying release-7\u{1b}[0m"
    );

    // The socket of this user takes calls, and the other procedures do what they are for.
    let result = |procedure: &str, arguments: serde_json::Value| {
        let call = json!({"host": "demo", "procedure": procedure, "arguments": arguments});
        let made = HttpRequest::post("/api/v1/jobs?wait=30", call).token(token);
        made.ask(trial.http()).json()["end"].clone()
    };
    assert_eq!(
        result("migrate", json!([]))["exception"]["type"],
        "exit_status"
    );
    assert_eq!(
        result("backup", json!({"database": "orders", "keep_days": 7})),
        json!({"result": {"would_back_up": {"database": "orders", "keep_days": 7}}})
    );
    // What the page makes fields of.
    let known = get(&trial, token, "/api/v1/hosts/demo/procedures").json();
    let known = known["procedures"].as_array().unwrap();
    let backup = known.iter().find(|one| one["name"] == "backup").unwrap();
    assert_eq!(
        backup["arguments_schema"]["required"],
        json!(["database", "keep_days"])
    );
    let mut client = LineClient::local(&directory.join("socket")).unwrap();
    let hello = client
        .ask(json!({"harpcaller": 1, "get_status": job}))
        .unwrap();
    assert_eq!(hello["call"]["host"], "demo");

    // A second one would have the same store.
    let again = Command::new(binary("harpcallerd"))
        .arg("try")
        .arg(&directory)
        .output()
        .unwrap();
    let why = String::from_utf8_lossy(&again.stderr);
    assert!(
        !again.status.success() && why.contains("runs already"),
        "{why}"
    );

    trial.signal(Signal::INT);
    let status = trial.child.wait().unwrap();
    assert!(status.success(), "{status}");
    assert!(
        TcpStream::connect(trial.http()).is_err(),
        "it still listens"
    );
    std::mem::forget(trial);

    // What was kept is there.
    let trial = Trial::start(&directory);
    let shown = get(&trial, token, &format!("/api/v1/jobs/{job}/packets"));
    assert_eq!(shown.json()["packets"][0]["packet"], 0);
    // Its host has ended it with itself.
    let ended = get(&trial, token, &format!("/api/v1/jobs/{job}/result?wait=30"));
    assert_eq!(ended.status(), 200, "{}", ended.text());
    // Nothing is called by itself any more.
    let listed = get(&trial, token, "/api/v1/jobs");
    assert_eq!(listed.json()["jobs"].as_array().unwrap().len(), 5);

    // A host that is gone is no reason to go on.
    let harpd = until("harpd is there", || {
        let children = format!("/proc/{0}/task/{0}/children", trial.child.id());
        let children = fs::read_to_string(children).ok()?;
        children.split(' ').find_map(|id| {
            let name = fs::read_to_string(format!("/proc/{id}/comm")).ok()?;
            (name.trim() == "harpd").then(|| id.parse().ok())?
        })
    });
    kill_process(Pid::from_raw(harpd).unwrap(), Signal::KILL).unwrap();
    let mut trial = trial;
    assert_eq!(trial.child.wait().unwrap().code(), Some(1));
    std::mem::forget(trial);
}

/// Each command that is said to be typed next does what it is for.
fn type_what_it_says(trial: &Trial, directory: &Path) {
    let said = trial.said.iter();
    let said = said.skip_while(|line| !line.starts_with("Or type"));
    let lines = said.filter_map(|line| line.strip_prefix("    "));
    let (exports, commands): (Vec<&str>, Vec<&str>) =
        lines.partition(|line| line.starts_with("export "));
    assert_eq!((exports.len(), commands.len()), (1, 4), "{:?}", trial.said);
    let shows = |command: &str, words: &str| {
        let typed = shell(&format!("{}\nexec {command}", exports[0]), directory);
        Watched::start(typed).wait_for(words);
    };
    shows(commands[0], "deploying release-8");
    shows(commands[1], "migration 12 of 14");
    shows(commands[2], "deploy");
    assert!(commands[3].starts_with("curl "), "{commands:?}");
    if is_there("curl") {
        shows(commands[3], "deploying release-7");
    }
}

#[test]
fn a_directory_of_somebody_else_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("thesis"), "years").unwrap();
    let refused = Command::new(binary("harpcallerd"))
        .arg("try")
        .arg(directory.path())
        .output()
        .unwrap();
    let why = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{why}");
    assert!(why.contains("has other files in it"), "{why}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}
