//! Kills the dispatcher with SIGKILL at every named step of a job's life, for as long as
//! wanted, and checks from the client's side that nothing is lost, stuck or changed. What
//! is checked, and how each step is reached, stands in `tests/src/crash.rs`.
//!
//! ```sh
//! cargo run -p harp-tests --example crash -- --seconds 1200
//! cargo run -p harp-tests --example crash -- --rounds 50 --seed 7
//! cargo run -p harp-tests --example crash -- --seconds 600 --power-cuts 1
//! ```
//!
//! With `--power-cuts 1`, as root, the store's disk loses in each crash what it was not
//! given.
//!
//! Ends with 1 if a promise was broken.

use std::process::ExitCode;
use std::time::Duration;

use harp_tests::crash::{Options, run, run_power_cuts};
use harp_tests::number_options;

fn main() -> ExitCode {
    let (options, power_cuts) = match options() {
        Ok(options) => options,
        Err(message) => {
            eprintln!(
                "{message}\nusage: crash [--rounds N] [--seconds N] [--seed N] [--power-cuts 1]"
            );
            return ExitCode::from(2);
        }
    };
    println!("seed {}", options.seed);
    let report = if power_cuts {
        run_power_cuts(options)
    } else {
        Some(run(options))
    };
    let Some(report) = report else {
        return ExitCode::from(2);
    };
    print!("{report}");
    if report.broken.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn options() -> Result<(Options, bool), String> {
    let mut power_cuts = false;
    let mut options = Options {
        rounds: u64::MAX,
        time: Duration::from_secs(60),
        seed: u64::from(std::process::id()),
    };
    for (name, number) in number_options()? {
        match name.as_str() {
            "--rounds" => options.rounds = number,
            "--seconds" => options.time = Duration::from_secs(number),
            "--seed" => options.seed = number,
            "--power-cuts" => power_cuts = number > 0,
            _ => return Err(format!("unknown option {name}")),
        }
    }
    Ok((options, power_cuts))
}
