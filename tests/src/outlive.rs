//! A dispatcher that is killed again and again under calls that their hosts keep: each goes
//! on, over all of it, to its own end.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::crash::random::Random;
use crate::{Caller, Cluster, Page};

/// What is to be done.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How often the dispatcher is killed.
    pub kills: u64,
    /// How many calls run at a time.
    pub calls: usize,
    /// Where chance begins.
    pub seed: u64,
}

/// What has come of it.
#[derive(Debug, Default)]
pub struct Report {
    /// Calls that were made.
    pub calls: usize,
    /// Their packets.
    pub packets: usize,
    /// What was not as promised, a sentence each.
    pub broken: Vec<String>,
}

/// One call that was made.
struct Call {
    job: String,
    /// Counts its runs.
    name: String,
    packets: u64,
}

/// Says a line for each run, then numbers from 0 on, some at a time.
const SCRIPT: &str = "echo run >> \"$1\"
    number=0
    while [ $number -lt \"$2\" ]; do
        echo $number
        number=$((number + 1))
        [ $((number % 10)) -ne 0 ] || sleep 0.3
    done";

/// Kills the dispatcher so often while so many calls run, and looks at every call at the end.
///
/// # Panics
///
/// If a daemon does not start, or does not answer.
#[must_use]
pub fn run(options: Options) -> Report {
    let mut cluster = Cluster::builder()
        .procedure(
            "numbers",
            "output = 'json-lines'\narguments = 'argv'",
            SCRIPT,
        )
        .set_host("max_calls", "1000")
        .start();
    let mut random = Random::new(options.seed);
    let mut calls: Vec<Call> = Vec::new();
    let mut report = Report::default();
    for _ in 0..options.kills {
        let caller = cluster.caller();
        // Counted once: they end while others begin.
        for _ in running(caller, &calls)..options.calls {
            calls.push(call(&cluster, calls.len(), 1 + random.below(120)));
        }
        let until = Instant::now() + Duration::from_millis(random.below(400));
        while Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
        cluster.kill_dispatcher();
        cluster.start_dispatcher();
    }
    for call in &calls {
        report.packets += check(&cluster, call, &mut report.broken);
    }
    report.calls = calls.len();
    report
}

fn call(cluster: &Cluster, number: usize, packets: u64) -> Call {
    let name = format!("runs{number}");
    let arguments = json!([cluster.path(&name), packets.to_string()]);
    let caller = cluster.caller();
    Call {
        job: caller.call("web01", "numbers", &arguments.to_string()),
        name,
        packets,
    }
}

/// How many of the newest calls have not ended.
fn running(caller: Caller, calls: &[Call]) -> usize {
    let runs = |call: &&Call| caller.status(&call.job)["time"]["end"].is_null();
    calls.iter().rev().take(200).filter(runs).count()
}

/// Looks at a call once it has ended; how many packets it has.
fn check(cluster: &Cluster, call: &Call, broken: &mut Vec<String>) -> usize {
    let caller = cluster.caller();
    let page = Page::read(&mut caller.follow(&call.job, r#""since": 0"#));
    let mut numbers = (0..).map(|number: u64| number.to_string());
    let is_in_order = page
        .packets
        .iter()
        .all(|data| numbers.next().as_ref() == Some(data));
    if !is_in_order || page.packets.len() as u64 != call.packets {
        broken.push(format!(
            "{}: {} packets of {}, in order: {is_in_order}",
            call.job,
            page.packets.len(),
            call.packets
        ));
    }
    if page.last != json!({"result": null}) {
        broken.push(format!("{}: ended with {}", call.job, page.last));
    }
    let runs = fs::read_to_string(cluster.path(&call.name)).unwrap_or_default();
    if runs != "run\n" {
        broken.push(format!("{}: its runs: {runs:?}", call.job));
    }
    page.packets.len()
}
