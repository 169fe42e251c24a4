//! What is promised, held against crashes at every named step of a job's life. For as
//! long as wanted: `cargo run -p harp-tests --example crash`.

use std::time::Duration;

use harp_tests::crash::{Moment, Options, run, run_power_cuts};

/// Beyond this no round is begun. A machine that is so slow has done some by then.
const TIME: Duration = Duration::from_secs(120);

#[test]
fn no_crash_breaks_a_promise() {
    let report = run(Options {
        rounds: Moment::ALL.len() as u64,
        time: TIME,
        seed: u64::from(std::process::id()),
    });
    eprintln!("seed {}: {report}", std::process::id());
    assert!(report.broken.is_empty());
    assert!(report.missed * 2 < report.rounds, "most moments came");
}

#[test]
fn no_power_cut_breaks_a_promise() {
    let Some(report) = run_power_cuts(Options {
        rounds: 6,
        time: TIME,
        seed: u64::from(std::process::id()),
    }) else {
        return;
    };
    eprintln!("seed {}: {report}", std::process::id());
    assert!(report.broken.is_empty());
    assert!(report.missed * 2 < report.rounds, "most moments came");
}
