//! Running `harp` and looking at what it did.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;

use harp_tests::{Cluster, binary, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A command line of `harp`, with none of the surroundings of whoever runs the tests.
pub(crate) struct Harp {
    pub(crate) command: Command,
    input: String,
}

/// What a run of `harp` did.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A run that is watched.
pub(crate) struct Running {
    child: Child,
    /// `None` once nobody reads it any more.
    out: Option<BufReader<ChildStdout>>,
    err: Option<thread::JoinHandle<String>>,
}

impl Harp {
    /// Without a dispatcher.
    pub(crate) fn new(arguments: &[&str]) -> Harp {
        let mut command = Command::new(binary("harp"));
        for name in [
            "HARPCALLER",
            "HARPCALLER_URL",
            "HARP_USER",
            "HARP_PASSWORD",
            "HOME",
            "NO_COLOR",
            "CLICOLOR",
            "CLICOLOR_FORCE",
        ] {
            command.env_remove(name);
        }
        command
            .args(arguments)
            .env("XDG_CONFIG_HOME", "/nonexistent")
            .env("TERM", "xterm");
        Harp {
            command,
            input: String::new(),
        }
    }

    /// With the dispatcher of this cluster.
    pub(crate) fn of(cluster: &Cluster, arguments: &[&str]) -> Harp {
        Harp::new(arguments).env("HARPCALLER", &cluster.address().to_string())
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Harp {
        self.command.env(name, value);
        self
    }

    pub(crate) fn input(mut self, text: &str) -> Harp {
        text.clone_into(&mut self.input);
        self
    }

    /// Lets a shell do something before it becomes the command, as to set limits.
    pub(crate) fn after(mut self, script: &str) -> Harp {
        let direct = std::mem::replace(&mut self.command, Command::new("sh"));
        self.command
            .args(["-c", &format!("{script} && exec \"$@\""), "sh"])
            .arg(direct.get_program())
            .args(direct.get_args());
        for (name, value) in direct.get_envs() {
            match value {
                Some(value) => self.command.env(name, value),
                None => self.command.env_remove(name),
            };
        }
        self
    }

    /// Runs it to its end.
    pub(crate) fn run(self) -> Done {
        self.start().finish()
    }

    /// Starts it; no terminal is near.
    pub(crate) fn start(mut self) -> Running {
        let mut child = self
            .command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("harp can be run");
        let mut stdin = child.stdin.take().expect("a pipe");
        // Whether it is read at all is a matter of the command.
        let _ = stdin.write_all(self.input.as_bytes());
        let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        let err = thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text);
            text
        });
        Running {
            out: child.stdout.take().map(BufReader::new),
            child,
            err: Some(err),
        }
    }
}

impl Running {
    /// The next line of standard output, without its newline.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        let out = self.out.as_mut().expect("it is being read");
        out.read_line(&mut line).expect("text");
        assert!(line.ends_with('\n'), "{line:?} is no whole line");
        line.pop();
        line
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = Pid::from_raw(self.child.id().cast_signed()).expect("a process id");
        kill_process(id, signal).expect("a process of our own");
    }

    /// Sends a signal again and again, as a hand on Ctrl-C does, until the end.
    pub(crate) fn signal_until_the_end(mut self, signal: Signal) -> Done {
        until("harp gives up", || {
            self.signal(signal);
            self.child.try_wait().expect("a process of our own")
        });
        self.finish()
    }

    /// Closes the reading end of standard output.
    pub(crate) fn stop_reading(&mut self) {
        self.out = None;
    }

    /// Waits for its end.
    pub(crate) fn finish(mut self) -> Done {
        let mut out = String::new();
        if let Some(rest) = &mut self.out {
            rest.read_to_string(&mut out).expect("text");
        }
        let status = until("harp ends", || {
            self.child.try_wait().expect("a process of our own")
        });
        let err = self.err.take().map(|err| err.join().expect("text"));
        Done {
            code: status.code().expect("an exit code"),
            out,
            err: err.unwrap_or_default(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Only of interest if the test failed before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Done {
    /// Asserts the exit code; shows everything if it is another.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Done {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }

    /// Asserts that standard error has all of these in it.
    #[track_caller]
    pub(crate) fn says(self, parts: &[&str]) -> Done {
        for part in parts {
            assert!(self.err.contains(part), "no {part:?} in {self:#?}");
        }
        self
    }

    /// The lines of `--json`.
    #[track_caller]
    pub(crate) fn events(&self) -> Vec<Value> {
        let lines = self.out.lines();
        let parse = |line| serde_json::from_str(line);
        lines
            .map(|line| parse(line).unwrap_or_else(|error| panic!("{error}: {self:#?}")))
            .collect()
    }
}

/// The id of a job that a line of standard error names.
#[track_caller]
pub(crate) fn job_in(text: &str) -> String {
    let word = text
        .split_whitespace()
        .find(|word| word.len() == 36 && word.matches('-').count() == 4);
    word.unwrap_or_else(|| panic!("no job id in {text:?}"))
        .to_owned()
}

/// Submits a call and gives its job's id.
pub(crate) fn detached(cluster: &Cluster, arguments: &[&str]) -> String {
    let arguments = [&["call", "--detach"], arguments].concat();
    let done = Harp::of(cluster, &arguments).run().expect(0);
    done.out.trim_end().to_owned()
}

/// The path that the procedures `feed` and `gate` take as their argument.
pub(crate) fn path(feed: &harp_tests::Feed) -> String {
    let [path] = serde_json::from_str(&feed.arguments()).expect("one path");
    path
}
