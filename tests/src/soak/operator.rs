//! What an operator does while all that goes on: one thing at a time, each again and
//! again.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::clients::QUEUES;
use super::fleet::{Fleet, entry};
use crate::binaries::binary;
use crate::cluster::Cluster;
use crate::crash::random::Random;
use crate::line_client::LineClient;
use crate::loopback::refusing_address;

/// The limits between which a reload changes `max_jobs`. A job that has just ended is
/// never among those that are too many.
const MAX_JOBS: [u64; 2] = [4000, 3000];

/// Older jobs are pruned, in seconds: older than any that anybody asks for.
const MAX_AGE: u64 = 90;

/// At most so many hosts in the registry that nobody calls.
const OTHER_HOSTS: u64 = 300;

#[derive(Debug)]
pub(super) struct Operator {
    fleet: Fleet,
    /// The line of the host of the ordered load.
    counting: Value,
    random: Random,
    tokens: Tokens,
    steps: usize,
}

/// The tokens file, with a line that is always there and one that is not.
#[derive(Debug)]
pub(super) struct Tokens {
    file: PathBuf,
    lasting: String,
    visitor: String,
}

/// A token and its line of the tokens file.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) text: String,
    line: String,
}

type Step = fn(&mut Operator, &mut Cluster) -> Result<(), String>;

const STEPS: &[Step] = &[
    Operator::reload,
    Operator::change_registry,
    Operator::cut_the_way,
    Operator::reload_what_is_wrong,
    Operator::change_tokens,
    Operator::break_registry_script,
    Operator::cancel_queue,
    Operator::reload_host,
    Operator::stop_one_for_a_while,
    Operator::list_all,
    Operator::restore_registry_script,
    Operator::prune,
    Operator::reopen_logs,
    Operator::list_and_leave,
];

impl Operator {
    pub(super) fn new(fleet: Fleet, counting: Value, tokens: Tokens, random: Random) -> Operator {
        Operator {
            fleet,
            counting,
            random,
            tokens,
            steps: 0,
        }
    }

    /// Does the next thing. What does not come out as it should is told.
    pub(super) fn step(&mut self, cluster: &mut Cluster) -> Result<(), String> {
        let step = STEPS[self.steps % STEPS.len()];
        self.steps += 1;
        step(self, cluster)
    }

    /// How many things have been done.
    pub(super) fn steps(&self) -> usize {
        self.steps
    }

    /// All hosts of the fleet, the moving one perhaps, and others.
    pub(super) fn change_registry(&mut self, cluster: &mut Cluster) -> Result<(), String> {
        let mut entries = self.fleet.entries();
        entries.push(cluster.entry("web01"));
        entries.push(self.counting.clone());
        if self.random.one_in(2) {
            entries.push(self.fleet.moving());
        }
        for number in 0..self.random.below(OTHER_HOSTS) {
            entries.push(entry(&format!("other{number}"), refusing_address()));
        }
        cluster.set_registry(&entries);
        Ok(())
    }

    fn cut_the_way(&mut self, _: &mut Cluster) -> Result<(), String> {
        let time = self.random.up_to(400);
        self.fleet.cut(time);
        Ok(())
    }

    fn reload(&mut self, cluster: &mut Cluster) -> Result<(), String> {
        let max_jobs = MAX_JOBS[self.steps / STEPS.len() % 2];
        cluster.set("max_jobs", &max_jobs.to_string());
        let output = cluster.reload();
        if output.status.success() {
            Ok(())
        } else {
            Err(format!("a good file was not reloaded: {output:?}"))
        }
    }

    fn reload_what_is_wrong(&mut self, cluster: &mut Cluster) -> Result<(), String> {
        cluster.set("default_timeout", r#""soon""#);
        let output = cluster.reload();
        cluster.set("default_timeout", "600");
        if output.status.success() {
            Err("a wrong file was reloaded".to_owned())
        } else {
            Ok(())
        }
    }

    fn change_tokens(&mut self, _: &mut Cluster) -> Result<(), String> {
        let knows_visitor = self.random.one_in(2);
        self.tokens.write(knows_visitor);
        Ok(())
    }

    fn break_registry_script(&mut self, cluster: &mut Cluster) -> Result<(), String> {
        const SCRIPTS: [&str; 4] = [
            "exit 3",
            "sleep 600 & sleep 600",
            "exec yes '{\"hostname\": \"endless\"}'",
            // Wrong lines are no reason to forget the others.
            "cat \"$(dirname \"$0\")/hosts.jsonl\"; echo '{\"hostname\": 7}'; echo nonsense",
        ];
        let script = SCRIPTS[self.random.below(SCRIPTS.len() as u64) as usize];
        cluster.set_registry_script(script);
        Ok(())
    }

    fn restore_registry_script(&mut self, cluster: &mut Cluster) -> Result<(), String> {
        cluster.set_registry_script(r#"exec cat "$(dirname "$0")/hosts.jsonl""#);
        Ok(())
    }

    fn cancel_queue(&mut self, cluster: &mut Cluster) -> Result<(), String> {
        let queue = json!({"shared": self.random.below(QUEUES)});
        ask(cluster, json!({"command": "cancel_queue", "queue": queue})).map(drop)
    }

    fn reload_host(&mut self, cluster: &mut Cluster) -> Result<(), String> {
        let process = Pid::from_raw(cluster.host_id("web01").cast_signed());
        let process = process.ok_or("no process")?;
        kill_process(process, Signal::HUP).map_err(|error| error.to_string())
    }

    fn stop_one_for_a_while(&mut self, cluster: &mut Cluster) -> Result<(), String> {
        let time = self.random.up_to(1500);
        if self.random.one_in(2) {
            cluster.freeze_dispatcher();
            thread::sleep(time);
            cluster.thaw_dispatcher();
        } else {
            cluster.freeze_host("web01");
            thread::sleep(time);
            cluster.thaw_host("web01");
        }
        Ok(())
    }

    fn list_all(&mut self, cluster: &mut Cluster) -> Result<(), String> {
        let request = json!({"command": "list_jobs", "list_all": true});
        let reply = ask(cluster, request)?;
        match reply["jobs"].as_array() {
            Some(jobs) if !jobs.is_empty() => Ok(()),
            _ => Err(format!("the list of all jobs: {reply}")),
        }
    }

    fn list_and_leave(&mut self, cluster: &mut Cluster) -> Result<(), String> {
        let request = json!({"command": "list_jobs", "list_all": true, "stream": true});
        ask(cluster, request).map(drop)
    }

    fn prune(&mut self, cluster: &mut Cluster) -> Result<(), String> {
        ask(
            cluster,
            json!({"command": "prune_jobs", "max_age": MAX_AGE}),
        )
        .map(drop)
    }

    fn reopen_logs(&mut self, cluster: &mut Cluster) -> Result<(), String> {
        ask(cluster, json!({"command": "reopen_logs"})).map(drop)
    }
}

impl Tokens {
    /// Makes the tokens, and the file with both in it.
    pub(super) fn make(directory: &Path) -> (Tokens, [Token; 2]) {
        let made = ["soak", "visitor"].map(Token::make);
        let tokens = Tokens {
            file: directory.join("tokens"),
            lasting: made[0].line.clone(),
            visitor: made[1].line.clone(),
        };
        tokens.write(true);
        (tokens, made)
    }

    fn write(&self, knows_visitor: bool) {
        let visitor = if knows_visitor { &self.visitor } else { "" };
        crate::cluster::replace(&self.file, &format!("{}\n{visitor}\n", self.lasting), 0o600);
    }
}

impl Token {
    fn make(name: &str) -> Token {
        let made = Command::new(binary("harpcallerd"))
            .args(["new-token", name])
            .output();
        let made = made.expect("a program that was built").stdout;
        let made = String::from_utf8(made).expect("text");
        let lines: Vec<&str> = made.lines().collect();
        Token {
            text: lines[1].trim().to_owned(),
            line: lines[3].trim().to_owned(),
        }
    }
}

/// One request to the administrative socket; its first line of answer.
pub(super) fn ask(cluster: &Cluster, request: Value) -> Result<Value, String> {
    let asked = LineClient::local(&cluster.socket()).and_then(|mut it| it.ask(&request));
    match asked {
        Ok(reply) if reply["result"] != "error" => Ok(reply),
        Ok(reply) => Err(format!("{request} was answered {reply}")),
        Err(error) => Err(format!("{request} was not answered: {error}")),
    }
}
