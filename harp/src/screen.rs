//! Output and its looks: values and `--json` lines on standard
//! output, everything else on standard error.

mod text;

use std::fmt::Display;
use std::fs::File;
use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;
use std::time::Duration;

use console::Style;
use harp_client::{JobId, Json, Outcome, RemoteCall};
use harp_service::streams::Patient;
use harp_service::terminal::{self, clean};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::command_line::Shared;
use crate::duration;
use crate::event::{Event, Subject};
use crate::exit::Exit;
use crate::problem::Problem;

/// The operator's terminal, or the files in its place.
#[derive(Debug)]
pub(crate) struct Screen {
    json: bool,
    quiet: bool,
    /// With several hosts: the length of the longest name. Lines then begin with a name.
    names: Option<usize>,
    /// Word of the summary for hosts where all went well.
    good: &'static str,
    /// Hidden where there is no terminal, or one host.
    bar: ProgressBar,
}

impl Screen {
    pub(crate) fn new(shared: &Shared) -> Screen {
        Screen {
            json: shared.json,
            quiet: shared.quiet,
            names: None,
            good: Exit::Returned.word(),
            bar: ProgressBar::hidden(),
        }
    }

    /// Sets it up for several hosts; `left` if their jobs are left to themselves.
    pub(crate) fn for_hosts(mut self, hosts: &[String], left: bool) -> Screen {
        if left {
            self.good = "submitted";
        }
        self.names = hosts.iter().map(|host| host.chars().count()).max();
        if !self.quiet {
            self.bar = ProgressBar::with_draw_target(
                Some(hosts.len() as u64),
                ProgressDrawTarget::stderr(),
            );
            // A constant, and a good one.
            if let Ok(style) =
                ProgressStyle::with_template("[{bar:24}] {pos}/{len} hosts, {elapsed}{wide_msg}")
            {
                self.bar.set_style(style.progress_chars("=> "));
            }
        }
        self
    }

    /// A call was accepted. `left` is true if its id is all that was wanted.
    pub(crate) fn submitted(
        &self,
        subject: &Subject,
        call: &RemoteCall,
        left: bool,
    ) -> Result<(), Problem> {
        let existing = call.existing();
        if self.json {
            return self.event(&Event::Submitted {
                subject,
                existing,
                limits: call.limits().map(Into::into),
            });
        }
        let Some(job) = subject.job else {
            return Ok(());
        };
        let found = if existing {
            " (an earlier call with this key made it)"
        } else {
            ""
        };
        if left {
            self.value(subject, &job.to_string())?;
            if existing {
                self.note(subject, &format!("job {job}{found}"));
            }
        } else if self.names.is_none() || existing {
            self.note(subject, &format!("job {job}{found}"));
        }
        Ok(())
    }

    /// A packet has come.
    pub(crate) fn packet(
        &self,
        subject: &Subject,
        number: u64,
        data: &Json,
    ) -> Result<(), Problem> {
        if self.json {
            return self.event(&Event::Packet {
                subject,
                number,
                data,
            });
        }
        self.value(subject, &text::of(data))
    }

    /// A job has ended. With `apart` what it returned is not mixed with its packets on
    /// standard output.
    pub(crate) fn ended(
        &self,
        subject: &Subject,
        outcome: &Outcome,
        apart: bool,
        took: Option<Duration>,
    ) -> Result<(), Problem> {
        if self.json {
            return self.event(&Event::Ended { subject, outcome });
        }
        let exit = Exit::from(outcome);
        match outcome {
            Outcome::Returned(value) => {
                if !apart {
                    self.value(subject, &text::of(value))?;
                }
                let detail = if apart {
                    text::of(value).into_owned()
                } else {
                    String::new()
                };
                if self.names.is_some() {
                    self.end_line(subject, exit, took, &detail);
                } else if apart {
                    self.note(subject, &format!("returned {detail}"));
                }
            }
            Outcome::Cancelled if self.names.is_none() => {
                self.problem_line(subject, "cancelled");
            }
            Outcome::Cancelled => self.end_line(subject, exit, took, ""),
            Outcome::Exception(failure) | Outcome::Error(failure) => {
                if self.names.is_some() {
                    self.end_line(subject, exit, took, &failure.to_string());
                    return Ok(());
                }
                self.problem_line(subject, &format!("{}: {failure}", exit.word()));
                for line in failure.data.iter().flat_map(text::details) {
                    self.say(&format!("  {line}"));
                }
            }
        }
        Ok(())
    }

    /// A job goes on, and `next` is the packet that would have come.
    pub(crate) fn not_finished(&self, subject: &Subject, next: Option<u64>) -> Result<(), Problem> {
        if self.json {
            return self.event(&Event::NotFinished { subject, next });
        }
        let Some(job) = subject.job else {
            return Ok(());
        };
        let how = pick_up(job, next);
        match self.names {
            Some(_) => self.end_line(subject, Exit::NotFinished, None, &how),
            None => {
                self.say(&format!(
                    "job {job} has not ended; to pick it up again:\n  {how}"
                ));
            }
        }
        Ok(())
    }

    /// The command ends early, for this problem, after `called` of `hosts` hosts were called.
    /// Says so, and how to see the jobs that go on without it. Of one call whose reader has
    /// seen enough there is nothing to say.
    pub(crate) fn cut_off(
        &self,
        problem: &Problem,
        called: usize,
        hosts: usize,
        jobs: &[(String, JobId)],
    ) {
        self.bar.finish_and_clear();
        if self.names.is_some() {
            let not_called = hosts.saturating_sub(called);
            self.say(&format!(
                "harp: ended early: {called} of {hosts} hosts were called, {not_called} were not"
            ));
        } else if problem.is_broken_pipe() {
            return;
        }
        for (host, job) in jobs {
            self.goes_on(host, *job);
        }
    }

    /// A job goes on, and nobody is told of its end.
    pub(crate) fn goes_on(&self, host: &str, job: JobId) {
        let host = clean(host);
        let how = pick_up(job, None);
        self.say(&format!("harp: the job on {host} goes on: {how}"));
    }

    /// A host was not called.
    pub(crate) fn not_called(&self, subject: &Subject) -> Result<(), Problem> {
        if self.json {
            return self.event(&Event::NotCalled { subject });
        }
        self.end_line(subject, Exit::NotFinished, None, "not called");
        Ok(())
    }

    /// There is no outcome to be had.
    pub(crate) fn failed(&self, subject: &Subject, problem: &Problem) {
        if self.json {
            // If this cannot be written either, the exit code still tells.
            let _ = self.event(&Event::Failed {
                subject,
                reason: problem.exit.word(),
                message: &problem.message,
                phase: problem.phase,
                error: problem.failure.as_deref(),
            });
        }
        if self.names.is_some() && subject.host.is_some() && !self.json {
            self.end_line(subject, problem.exit, None, &problem.message);
        } else {
            // It concerns no host that there is no dispatcher.
            self.problem_line(&Subject::default(), &problem.message);
            if let Some(advice) = &problem.advice {
                self.say(&format!("  {}", clean(advice)));
            }
        }
    }

    /// Something that does not stop the command.
    pub(crate) fn warn(&self, message: impl Display) {
        let warning = Style::new().yellow().for_stderr().apply_to("warning:");
        self.say(&format!("harp: {warning} {}", clean(&message.to_string())));
    }

    /// A few words about what goes on.
    pub(crate) fn note(&self, subject: &Subject, message: &str) {
        if self.quiet || self.json {
            return;
        }
        let dim = Style::new().dim().for_stderr();
        let message = clean(message);
        match (&subject.host, self.names) {
            (Some(host), Some(_)) => {
                let host = clean(host);
                self.say(&dim.apply_to(format!("{host}: {message}")));
            }
            _ => self.say(&dim.apply_to(message)),
        }
    }

    /// True if several hosts are called, or a list of one: then a summary is due.
    pub(crate) fn has_summary(&self) -> bool {
        self.names.is_some()
    }

    /// How many of several hosts came to which end, with their names where that is not
    /// the good one.
    pub(crate) fn summary(&self, ends: &[(String, Exit)]) -> Result<(), Problem> {
        self.bar.finish_and_clear();
        let mut by_exit: std::collections::BTreeMap<Exit, Vec<&str>> = Default::default();
        for (host, exit) in ends {
            by_exit.entry(*exit).or_default().push(host);
        }
        if self.json {
            let ends = by_exit
                .iter()
                .map(|(exit, hosts)| (self.word(*exit), hosts.len()));
            return self.event(&Event::Summary {
                hosts: by_exit.values().map(Vec::len).sum(),
                ends: ends.collect(),
            });
        }
        if self.quiet {
            return Ok(());
        }
        let mut parts = Vec::new();
        for (exit, hosts) in &by_exit {
            let word = style(*exit).apply_to(self.word(*exit).replace('_', " "));
            parts.push(match exit {
                Exit::Returned => format!("{} {word}", hosts.len()),
                _ => format!("{} {word} ({})", hosts.len(), clean(&hosts.join(", "))),
            });
        }
        let hosts = if ends.len() == 1 { "host" } else { "hosts" };
        self.say(&format!("{} {hosts}: {}", ends.len(), parts.join(", ")));
        Ok(())
    }

    /// Shows how far several hosts have come, where there is a terminal.
    pub(crate) fn progress(&self, ended: usize, waiting_for: &[&str]) {
        const SHOWN: usize = 3;
        let names = waiting_for[..waiting_for.len().min(SHOWN)].join(", ");
        let names = terminal::one_line(&names);
        let more = waiting_for.len().saturating_sub(SHOWN);
        self.bar.set_position(ended as u64);
        self.bar.set_message(match (waiting_for.len(), more) {
            (0, _) => String::new(),
            (_, 0) => format!(", waiting for {names}"),
            (_, more) => format!(", waiting for {names} and {more} more"),
        });
    }

    /// A line on standard output, in place of what is for people.
    pub(crate) fn event(&self, event: &impl Serialize) -> Result<(), Problem> {
        let mut line =
            serde_json::to_vec(event).map_err(|error| Problem::output(&io::Error::other(error)))?;
        line.push(b'\n');
        // Programs have what was sent, as it was sent.
        if io::stdout().is_terminal() {
            let line = String::from_utf8_lossy(&line);
            return self.write(terminal::json(&line).as_bytes());
        }
        self.write(&line)
    }

    /// True if there is to be nothing but values and errors.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// True if lines are for programs.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// A value on standard output, each of its lines under its host's name if there are
    /// several.
    pub(crate) fn value(&self, subject: &Subject, text: &str) -> Result<(), Problem> {
        let mut out = String::with_capacity(text.len() + 1);
        match (&subject.host, self.names) {
            (Some(host), Some(_)) => {
                for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
                    let line = text::of_one_of_many(line);
                    out.extend([&clean(host), ": ", &*line, "\n"]);
                }
            }
            _ => {
                out.push_str(text);
                if !text.ends_with('\n') {
                    out.push('\n');
                }
            }
        }
        self.write(out.as_bytes())
    }

    /// A question, after which the cursor stays. The bar is out of the way until
    /// [`answered`](Screen::answered).
    pub(crate) fn ask(&self, question: &str) {
        self.bar.set_draw_target(ProgressDrawTarget::hidden());
        // Nobody to ask if this fails; then nobody answers.
        let mut stderr = io::stderr().lock();
        let _ = write!(stderr, "\n{question} ");
        let _ = stderr.flush();
    }

    /// The question is over; `broken_off` if the cursor still stands behind it.
    pub(crate) fn answered(&self, broken_off: bool) {
        if broken_off {
            self.say(&"");
        }
        if self.names.is_some() && !self.quiet {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
    }

    /// Lines on standard error.
    pub(crate) fn say(&self, lines: &impl Display) {
        // There is no other place to complain at.
        self.bar.suspend(|| {
            let _ = Patient(io::stderr().lock()).write_all(format!("{lines}\n").as_bytes());
        });
    }

    fn word(&self, exit: Exit) -> &'static str {
        match exit {
            Exit::Returned => self.good,
            _ => exit.word(),
        }
    }

    fn problem_line(&self, subject: &Subject, message: &str) {
        let name = Style::new().red().bold().for_stderr().apply_to("harp:");
        let message = clean(message);
        match &subject.host {
            Some(host) => self.say(&format!("{name} {}: {message}", clean(host))),
            None => self.say(&format!("{name} {message}")),
        }
    }

    /// The line of one of several hosts at its end.
    fn end_line(&self, subject: &Subject, exit: Exit, took: Option<Duration>, detail: &str) {
        if self.quiet && exit == Exit::Returned {
            return;
        }
        let host = clean(subject.host.as_deref().unwrap_or("-"));
        let width = self.names.unwrap_or_default();
        let word = style(exit).apply_to(format!("{:<12}", exit.word().replace('_', " ")));
        let took = took.map(duration::short).unwrap_or_default();
        let mut line = format!(
            "{word} {host:<width$} {took:>7}  {}",
            text::one_line(detail)
        );
        if let (Exit::Exception | Exit::Error, Some(job)) = (exit, subject.job) {
            line += &format!(" (job {job})");
        }
        self.say(&line.trim_end());
    }

    fn write(&self, text: &[u8]) -> Result<(), Problem> {
        self.bar.suspend(|| {
            // Standard output keeps what it was given when it cannot be written, and says
            // that it was not taken; a file does not.
            let stdout = io::stdout().as_fd().try_clone_to_owned().map(File::from);
            let written = stdout.and_then(|stdout| Patient(stdout).write_all(text));
            written.map_err(|error| Problem::output(&error))
        })
    }
}

/// The command that picks a job up where it was left.
fn pick_up(job: JobId, next: Option<u64>) -> String {
    match next {
        None | Some(0) => format!("harp follow {job}"),
        Some(next) => format!("harp follow {job} --since {next}"),
    }
}

fn style(exit: Exit) -> Style {
    let style = Style::new().for_stderr();
    match exit {
        Exit::Returned => style.green(),
        Exit::Cancelled | Exit::NotFinished => style.yellow(),
        _ => style.red(),
    }
}
