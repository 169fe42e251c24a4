//! Everything at once, for a while: nothing grows, and every job is accounted for. For as
//! long as wanted: `cargo run -p harp-tests --example soak`; figures in `TESTING.md`.

use std::time::Duration;

use harp_tests::soak::{Options, run};

#[test]
fn nothing_grows_and_no_job_is_unaccounted_for() {
    let seed = u64::from(std::process::id());
    let report = run(Options {
        time: Duration::from_secs(50),
        seed,
    });
    eprintln!("seed {seed}: {report}");
    let problems = report.all_problems();
    assert!(problems.is_empty(), "{problems:#?}");
    assert!(report.jobs > 200, "there was a load");
    assert_eq!((report.ended, report.audited), (report.jobs, report.jobs));
}
