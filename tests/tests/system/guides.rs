//! The commands and configurations of README.md and MIGRATION.md, run out of their text.

mod devices;
mod migration;
mod readme;
mod units;

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use harp_tests::{Daemon, Log, binary, repository};
use tempfile::TempDir;

/// A machine on which a guide is followed: its directories are below a temporary one.
struct Machine {
    directory: TempDir,
    /// What stands in the guide, and what takes its place here.
    places: Vec<(String, String)>,
}

impl Machine {
    fn new() -> Machine {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
        let places = [
            ("/etc/harpd", at("harpd")),
            ("/etc/harpcaller", at("harpcaller")),
            ("/var/lib/harpcaller", at("lib")),
            ("/run/harpcaller-new", at("run")),
        ];
        for (_, place) in &places {
            fs::create_dir(place).unwrap();
        }
        let places = places.map(|(there, here)| (there.to_owned(), here));
        Machine {
            directory,
            places: places.to_vec(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// From now on this stands in the place of that.
    fn put(&mut self, there: &str, here: impl ToString) {
        self.places.insert(0, (there.to_owned(), here.to_string()));
    }

    fn here(&self, text: &str) -> String {
        let places = self.places.iter();
        places.fold(text.to_owned(), |text, (there, here)| {
            text.replace(there, here)
        })
    }

    /// What a guide has a shell run.
    fn shell(&self, text: &str) -> Command {
        shell(&self.here(text), self.directory.path())
    }

    /// Runs it, and it has to succeed; what it prints.
    fn run(&self, text: &str) -> String {
        let output = self.shell(text).output().unwrap();
        assert!(output.status.success(), "{text}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command that goes on.
    fn watch(&self, text: &str) -> Watched {
        Watched::start(self.shell(&format!("exec {text}")))
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), self.here(text)).unwrap();
    }

    /// Writes a program.
    fn write_program(&self, name: &str, text: &str) {
        self.write(name, text);
        let executable = fs::Permissions::from_mode(0o700);
        fs::set_permissions(self.path(name), executable).unwrap();
    }

    /// Starts a daemon, which logs JSON to its standard error; where it listens.
    fn start(&self, program: &str, words: &[&str]) -> (Daemon, SocketAddr) {
        let log = Log::new(program);
        let mut command = Command::new(binary(program));
        command.args(words);
        let mut daemon = Daemon::start(command, &log);
        let address = daemon.listening();
        (daemon, address)
    }
}

/// A shell in a directory, which knows the project's programs.
pub(crate) fn shell(text: &str, directory: &Path) -> Command {
    let programs = binary("harp");
    let programs = programs.parent().unwrap().display();
    let path = std::env::var("PATH").unwrap_or_default();
    let mut shell = Command::new("sh");
    shell
        .args(["-e", "-c", text])
        .env("PATH", format!("{programs}:{path}"))
        .env("HOME", directory)
        .env_remove("XDG_CONFIG_HOME")
        .current_dir(directory)
        .stdin(Stdio::null());
    shell
}

/// A command that goes on, whose output is read as it comes. Dropping it ends it.
pub(crate) struct Watched {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Watched {
    pub(crate) fn start(mut command: Command) -> Watched {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Watched { child, output }
    }

    /// Reads up to a line that has these words.
    pub(crate) fn wait_for(&mut self, words: &str) {
        let mut text = String::new();
        while !text.lines().last().is_some_and(|line| line.contains(words)) {
            let read = self.output.read_line(&mut text).unwrap();
            assert!(read > 0, "it has ended without {words:?}: {text}");
        }
    }

    /// Waits for its end, which has to be a good one.
    fn finish(mut self) {
        let mut rest = String::new();
        while self.output.read_line(&mut rest).unwrap() > 0 {}
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}: {rest}");
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The indented blocks of a page, each without its indentation.
pub(crate) fn blocks(page: &str) -> Vec<String> {
    let text = fs::read_to_string(repository().join(page)).unwrap();
    let mut blocks = vec![String::new()];
    for line in text.lines() {
        match line.strip_prefix("    ") {
            Some(line) => *blocks.last_mut().unwrap() += &format!("{line}\n"),
            None if line.is_empty() && blocks.last().is_some_and(|block| !block.is_empty()) => {
                blocks.last_mut().unwrap().push('\n');
            }
            None => blocks.push(String::new()),
        }
    }
    blocks.retain(|block| !block.trim().is_empty());
    blocks
}

pub(crate) fn block<'b>(blocks: &'b [String], beginning: &str) -> &'b str {
    let found = blocks
        .iter()
        .find(|block| block.trim().starts_with(beginning));
    found.unwrap_or_else(|| panic!("no block begins with {beginning}"))
}

pub(crate) fn is_there(program: &str) -> bool {
    let tried = Command::new(program).arg("--version").output();
    if tried.is_err() {
        println!("skipped: {program} is not there");
    }
    tried.is_ok()
}

const LOG: &str = "log_handlers = ['stderr']\nlog_format = 'json'\n";

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}
