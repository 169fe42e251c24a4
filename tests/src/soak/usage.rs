//! What a process uses, as the system counts it, and how that develops.

use std::fs;
use std::time::Duration;

/// What one process uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Resident memory in KiB.
    pub memory: u64,
    /// Open descriptors.
    pub descriptors: u64,
    /// Threads.
    pub threads: u64,
    /// Processes whose parent it is.
    pub children: u64,
}

/// One look at both daemons under load.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    /// Since the load began.
    pub(super) at: Duration,
    /// Jobs that had been accepted by then.
    pub(super) jobs: u64,
    pub(super) dispatcher: Usage,
    pub(super) harpd: Usage,
}

/// What was usual in a part of the time: of each figure the median, so that one moment
/// says nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Window {
    /// When it began, in seconds of the load.
    pub from: u64,
    /// When it ended.
    pub to: u64,
    /// Jobs that had been accepted in the middle of it.
    pub jobs: u64,
    /// The dispatcher.
    pub dispatcher: Usage,
    /// The host's daemon.
    pub harpd: Usage,
}

impl Usage {
    /// What the process uses now; nothing if it is gone.
    pub(super) fn of(process: u32) -> Usage {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
            number.unwrap_or_default()
        };
        let descriptors = fs::read_dir(format!("/proc/{process}/fd")).map_or(0, Iterator::count);
        Usage {
            memory: field("VmRSS:"),
            descriptors: descriptors as u64,
            threads: field("Threads:"),
            children: children(process),
        }
    }
}

impl Window {
    /// A part of the samples, from and to so many hundredths of all of them.
    pub(super) fn of(samples: &[Sample], from: usize, to: usize) -> Window {
        let part = &samples[samples.len() * from / 100..samples.len() * to / 100];
        let (Some(first), Some(last)) = (part.first(), part.last()) else {
            return Window::default();
        };
        let usage = |whose: fn(&Sample) -> Usage| {
            let median_of = |figure: fn(&Usage) -> u64| {
                let mut figures: Vec<u64> = part.iter().map(|it| figure(&whose(it))).collect();
                figures.sort_unstable();
                figures[figures.len() / 2]
            };
            Usage {
                memory: median_of(|usage| usage.memory),
                descriptors: median_of(|usage| usage.descriptors),
                threads: median_of(|usage| usage.threads),
                children: median_of(|usage| usage.children),
            }
        };
        Window {
            from: first.at.as_secs(),
            to: last.at.as_secs(),
            jobs: part[part.len() / 2].jobs,
            dispatcher: usage(|sample| sample.dispatcher),
            harpd: usage(|sample| sample.harpd),
        }
    }
}

/// Processes whose parent this is, those that wait to be reaped too.
fn children(parent: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{parent}/task"));
    let tasks = tasks.into_iter().flatten().flatten();
    let of_thread = |task: fs::DirEntry| {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        children.split_whitespace().count() as u64
    };
    tasks.map(of_thread).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_shows_what_is_usual_in_it() {
        let sample = |second: u64, memory| Sample {
            at: Duration::from_secs(second),
            jobs: second * 10,
            dispatcher: Usage {
                memory,
                ..Usage::default()
            },
            harpd: Usage::default(),
        };
        let mut samples: Vec<Sample> = (0..100).map(|second| sample(second, second)).collect();
        samples[95] = sample(95, 1_000_000);
        let window = Window::of(&samples, 90, 100);
        assert_eq!((window.from, window.to, window.jobs), (90, 99, 950));
        assert_eq!(window.dispatcher.memory, 96);
        assert_eq!(Window::of(&[], 0, 100).jobs, 0);
    }

    #[test]
    fn a_process_uses_something() {
        let usage = Usage::of(std::process::id());
        assert!(usage.memory > 0 && usage.descriptors > 2 && usage.threads > 0);
    }
}
