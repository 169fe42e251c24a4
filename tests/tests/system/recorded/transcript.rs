//! A conversation as it is written down and held against the recorded one.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::net::UnixStream;

use harp_tests::{Cluster, RawClient};

/// Lines longer than this are shown by their beginning.
const SHOWN: usize = 1000;

/// What has been said so far.
pub(super) struct Transcript {
    text: String,
    /// What differs between runs, with its name.
    names: Vec<(String, String)>,
}

impl Transcript {
    pub(super) fn new(cluster: &Cluster) -> Transcript {
        let directory = cluster.path("").display().to_string();
        let directory = directory.trim_end_matches('/').to_owned();
        let mut names = vec![(directory, "DIR".to_owned())];
        let pid = cluster.dispatcher_id();
        names.push((format!("\"pid\":\"{pid}\""), "\"pid\":\"PID\"".to_owned()));
        let server = |version: &str| format!("harpcallerd/{version}");
        names.push((server(env!("CARGO_PKG_VERSION")), server("VERSION")));
        Transcript {
            text: String::new(),
            names,
        }
    }

    pub(super) fn about(&mut self, what: &str) {
        let _ = writeln!(self.text, "\n# {what}");
    }

    /// Gives a text that differs between runs a name.
    pub(super) fn name(&mut self, text: &str, name: &str) {
        self.names.push((text.to_owned(), name.to_owned()));
    }

    /// Gives a job a name.
    pub(super) fn job(&mut self, id: &str) {
        let jobs = self
            .names
            .iter()
            .filter(|(_, name)| name.starts_with("JOB"));
        let name = format!("JOB{}", jobs.count() + 1);
        self.name(id, &name);
    }

    pub(super) fn sent(&mut self, line: &str) {
        self.line('>', line);
    }

    pub(super) fn came(&mut self, line: &str) {
        self.line('<', line);
    }

    fn line(&mut self, direction: char, line: &str) {
        let mut line = line.to_owned();
        for (text, name) in &self.names {
            line = line.replace(text, name);
        }
        let line = without_times(&line);
        let _ = if line.len() > SHOWN {
            writeln!(
                self.text,
                "{direction} {}... {} bytes",
                &line[..40],
                line.len()
            )
        } else {
            writeln!(self.text, "{direction} {line}")
        };
    }

    /// Sends a line on a connection of its own and writes down all that comes; the first
    /// line that comes.
    pub(super) fn ask(&mut self, address: std::net::SocketAddr, line: &str) -> String {
        let mut client = RawClient::connect(address);
        self.sent(line);
        client.send(line);
        let lines = client.rest();
        if let Some(id) = lines.first().and_then(|line| new_job(line)) {
            self.job(&id);
        }
        for line in &lines {
            self.came(line);
        }
        lines.into_iter().next().unwrap_or_default()
    }

    /// Asks for a call and returns its job.
    pub(super) fn call(&mut self, address: std::net::SocketAddr, rest: &str) -> String {
        let answer = self.ask(address, &format!("{{\"harpcaller\":1,{rest}}}"));
        new_job(&answer).unwrap_or_else(|| panic!("refused: {answer}"))
    }

    /// Sends a line to the administrative socket and writes down so many lines that come.
    pub(super) fn administer(
        &mut self,
        socket: &mut BufReader<UnixStream>,
        line: &str,
        replies: usize,
    ) {
        self.sent(line);
        writeln!(socket.get_mut(), "{line}").unwrap();
        for _ in 0..replies {
            let mut reply = String::new();
            socket.read_line(&mut reply).unwrap();
            assert!(reply.ends_with('\n'), "{line}: {reply:?}");
            self.came(reply.trim_end_matches('\n'));
        }
    }

    /// Compares with what is recorded.
    pub(super) fn hold_against(&self, name: &str) {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/system/recorded");
        let recorded = fs::read_to_string(format!("{directory}/{name}")).unwrap_or_default();
        if recorded == self.text {
            return;
        }
        let played = std::env::temp_dir().join(format!("played-{name}"));
        fs::write(&played, &self.text).unwrap();
        let mut lines = self.text.lines().zip(1..);
        let mut known = recorded.lines();
        let first = lines.find(|(line, _)| known.next() != Some(line));
        panic!(
            "not as recorded in {directory}/{name}, first at {first:?}; all of it is in {}",
            played.display()
        );
    }
}

/// The id in the answer to a call that has made a job.
pub(super) fn new_job(answer: &str) -> Option<String> {
    let rest = answer.strip_prefix("{\"harpcaller\":1,\"job_id\":\"")?;
    let id = rest.get(..36)?;
    (rest.get(36..) == Some("\"}")).then(|| id.to_owned())
}

/// Numbers of ten digits and more are times, those behind `"port":` ports; how many jobs were
/// pruned depends on time.
fn without_times(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line;
    while let Some(begin) = rest.find(|character: char| character.is_ascii_digit()) {
        let (before, number) = rest.split_at(begin);
        let end = number.find(|character: char| !character.is_ascii_digit());
        let (number, behind) = number.split_at(end.unwrap_or(number.len()));
        text.push_str(before);
        text.push_str(match number.len() {
            10.. => "TIME",
            _ if before.ends_with("\"port\":") => "PORT",
            // A job whose host is not done with it stays.
            _ if before.ends_with("\"jobs_pruned\":") => "COUNT",
            _ => number,
        });
        rest = behind;
    }
    text + rest
}
