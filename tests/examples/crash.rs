//! Kills the dispatcher with SIGKILL at every named step of a job's life, for as long as
//! wanted, and checks from the client's side that nothing is lost, stuck or changed. What
//! is checked, and how each step is reached, stands in `tests/src/crash.rs`.
//!
//! ```sh
//! cargo run -p harp-tests --example crash -- --seconds 1200
//! cargo run -p harp-tests --example crash -- --rounds 50 --seed 7
//! ```
//!
//! Ends with 1 if a promise was broken.

use std::process::ExitCode;
use std::time::Duration;

use harp_tests::crash::{Options, run};

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(message) => {
            eprintln!("{message}\nusage: crash [--rounds N] [--seconds N] [--seed N]");
            return ExitCode::from(2);
        }
    };
    println!("seed {}", options.seed);
    let report = run(options);
    print!("{report}");
    match report.broken.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn options() -> Result<Options, String> {
    let mut options = Options {
        rounds: u64::MAX,
        time: Duration::from_secs(60),
        seed: u64::from(std::process::id()),
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let number = arguments.next().and_then(|number| number.parse().ok());
        let number: u64 = number.ok_or_else(|| format!("{name} wants a whole number"))?;
        match name.as_str() {
            "--rounds" => options.rounds = number,
            "--seconds" => options.time = Duration::from_secs(number),
            "--seed" => options.seed = number,
            _ => return Err(format!("unknown option {name}")),
        }
    }
    Ok(options)
}
