//! Runs a dispatcher and a host daemon under a load of everything at once, for as long as
//! wanted, and says what they used and whether every job is accounted for. What is done and
//! checked stands in `tests/src/soak.rs`, figures in `TESTING.md`.
//!
//! ```sh
//! cargo run -p harp-tests --example soak -- --seconds 1200
//! ```
//!
//! Ends with 1 if something grew, or a job is not accounted for.

use std::process::ExitCode;
use std::time::Duration;

use harp_tests::number_options;
use harp_tests::soak::{Options, run};

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(message) => {
            eprintln!("{message}\nusage: soak [--seconds N] [--seed N]");
            return ExitCode::from(2);
        }
    };
    println!("seed {}", options.seed);
    let report = run(options);
    print!("{report}");
    if report.all_problems().is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn options() -> Result<Options, String> {
    let mut options = Options {
        time: Duration::from_secs(60),
        seed: u64::from(std::process::id()),
    };
    for (name, number) in number_options()? {
        match name.as_str() {
            "--seconds" => options.time = Duration::from_secs(number),
            "--seed" => options.seed = number,
            _ => return Err(format!("unknown option {name}")),
        }
    }
    Ok(options)
}
