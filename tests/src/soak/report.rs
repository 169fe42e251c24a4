//! What a soak has found.

use std::collections::BTreeMap;
use std::fmt;

use super::usage::{Sample, Usage, Window};

/// The parts of the time that are compared, in hundredths: everything has been used by
/// the first of them.
const EARLY: (usize, usize) = (25, 40);
const LATE: (usize, usize) = (85, 100);

/// How much more memory may be usual in the late part than in the early one, in KiB. A
/// leak of 10 KiB a job would be more within a minute, one of 200 bytes in twenty.
const MORE_MEMORY: u64 = 12 * 1024;

/// How many more descriptors. Clients and calls come and go, so it is never quite the same.
const MORE_DESCRIPTORS: u64 = 40;

/// How many more descriptors, and threads, may be left when all clients are gone than
/// there were before the first came: a file of the store or the log, perhaps.
const MORE_LEFT: u64 = 8;

/// What has been done, what was used, and what was found.
#[derive(Debug, Default)]
pub struct Report {
    /// How long the load lasted.
    pub seconds: u64,
    /// What an operator did meanwhile.
    pub operations: usize,
    /// Jobs that clients were told of.
    pub jobs: u64,
    /// Jobs of which clients were told how they ended.
    pub ended: u64,
    /// Jobs in the audit log.
    pub audited: u64,
    /// How many of a kind ended how.
    pub kinds: BTreeMap<(&'static str, String), u64>,
    /// Before the load.
    pub idle: Window,
    /// Each tenth of the time, for readers who want to see how it came to that.
    pub tenths: Vec<Window>,
    /// When the load had gone on for a while.
    pub early: Window,
    /// At its end.
    pub late: Window,
    /// When all clients were gone.
    pub left: Window,
    /// Jobs that did not end once, or are in one account and not in the other.
    pub unaccounted: Vec<String>,
    /// Whatever else was not as promised.
    pub problems: Vec<String>,
}

impl Report {
    pub(super) fn take_windows(&mut self, samples: &[Sample]) {
        self.early = Window::of(samples, EARLY.0, EARLY.1);
        self.late = Window::of(samples, LATE.0, LATE.1);
        let tenths = (0..100).step_by(10);
        self.tenths = tenths
            .map(|from| Window::of(samples, from, from + 10))
            .collect();
    }

    /// Everything that is wrong, each in words.
    #[must_use]
    pub fn all_problems(&self) -> Vec<String> {
        let growth = self.growth();
        let all = self.unaccounted.iter().chain(&self.problems);
        all.cloned().chain(growth).collect()
    }

    /// What grew between the two parts of the time.
    fn growth(&self) -> Vec<String> {
        let daemons = [
            ("harpcallerd", self.early.dispatcher, self.late.dispatcher),
            ("harpd", self.early.harpd, self.late.harpd),
        ];
        let mut problems = Vec::new();
        for (daemon, early, late) in daemons {
            let figures = [
                ("KiB of memory", early.memory, late.memory, MORE_MEMORY),
                (
                    "descriptors",
                    early.descriptors,
                    late.descriptors,
                    MORE_DESCRIPTORS,
                ),
                ("threads", early.threads, late.threads, MORE_DESCRIPTORS),
            ];
            for (what, early, late, more) in figures {
                if late > early + more {
                    problems.push(format!("{daemon}: {what} grew from {early} to {late}"));
                }
            }
        }
        problems
    }

    /// What the daemons still use that they did not use before the load.
    pub(super) fn left_more_than_idle(&self) -> Vec<String> {
        let daemons = [
            ("harpcallerd", self.idle.dispatcher, self.left.dispatcher),
            ("harpd", self.idle.harpd, self.left.harpd),
        ];
        let mut problems = Vec::new();
        for (daemon, idle, left) in daemons {
            let figures = [
                ("descriptors", idle.descriptors, left.descriptors, MORE_LEFT),
                ("threads", idle.threads, left.threads, MORE_LEFT),
                ("processes", idle.children, left.children, 0),
            ];
            for (what, idle, left, more) in figures {
                if left > idle + more {
                    problems.push(format!("{daemon}: {left} {what} are left, {idle} before"));
                }
            }
        }
        problems
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} s of load, {} jobs, {} ended, {} in the audit log, {} unaccounted for; \
             {} operations",
            self.seconds,
            self.jobs,
            self.ended,
            self.audited,
            self.unaccounted.len(),
            self.operations
        )?;
        writeln!(
            f,
            "\n| | jobs | harpcallerd: memory, KiB | descriptors | threads \
             | harpd: memory, KiB | descriptors | threads | processes |\n\
             | --- | --: | --: | --: | --: | --: | --: | --: | --: |"
        )?;
        row(f, "before the load", &self.idle)?;
        for tenth in &self.tenths {
            row(
                f,
                &format!("usual from {} s to {} s", tenth.from, tenth.to),
                tenth,
            )?;
        }
        row(f, "when all clients were gone", &self.left)?;
        let growth = self
            .late
            .dispatcher
            .memory
            .saturating_sub(self.early.dispatcher.memory);
        writeln!(
            f,
            "\nharpcallerd used {growth} KiB more from {} s to {} s than from {} s to {} s.",
            self.late.from, self.late.to, self.early.from, self.early.to
        )?;
        writeln!(f, "\n| jobs | kind | ended with |\n| --: | --- | --- |")?;
        for ((kind, outcome), count) in &self.kinds {
            writeln!(f, "| {count} | {kind} | `{outcome}` |")?;
        }
        let problems = self.all_problems();
        writeln!(f, "\n{} problems", problems.len())?;
        for problem in problems.iter().take(50) {
            writeln!(f, "  {problem}")?;
        }
        Ok(())
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, window: &Window) -> fmt::Result {
    let Window {
        jobs,
        dispatcher:
            Usage {
                memory,
                descriptors,
                threads,
                ..
            },
        harpd,
        ..
    } = window;
    writeln!(
        f,
        "| {name} | {jobs} | {memory} | {descriptors} | {threads} | {} | {} | {} | {} |",
        harpd.memory, harpd.descriptors, harpd.threads, harpd.children
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_a_problem_and_noise_is_not() {
        let mut report = Report::default();
        report.early.dispatcher.memory = 30_000;
        report.late.dispatcher.memory = 31_000;
        report.early.harpd.descriptors = 20;
        report.late.harpd.descriptors = 30;
        assert!(report.all_problems().is_empty());
        report.late.dispatcher.memory = 60_000;
        report.late.harpd.descriptors = 200;
        assert_eq!(report.all_problems().len(), 2);
        report.left.harpd.children = 1;
        assert_eq!(report.left_more_than_idle().len(), 1);
    }
}
