//! Kills the dispatcher again and again under calls that their hosts keep, and checks each of
//! them at its end: its packets are 0, 1, 2 and so on, all of them; it ran once; its result is
//! right.
//!
//! ```sh
//! cargo run -p harp-tests --example outlive -- --kills 200 --calls 50
//! ```
//!
//! Ends with 1 if a promise was broken.

use std::process::ExitCode;

use harp_tests::number_options;
use harp_tests::outlive::{Options, run};

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(message) => {
            eprintln!("{message}\nusage: outlive [--kills N] [--calls N] [--seed N]");
            return ExitCode::from(2);
        }
    };
    println!("{options:?}");
    let report = run(options);
    println!("{} calls, {} packets", report.calls, report.packets);
    for broken in &report.broken {
        println!("broken: {broken}");
    }
    if report.broken.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn options() -> Result<Options, String> {
    let mut options = Options {
        kills: 200,
        calls: 50,
        seed: u64::from(std::process::id()),
    };
    for (name, number) in number_options()? {
        match name.as_str() {
            "--kills" => options.kills = number,
            "--calls" => options.calls = usize::try_from(number).unwrap_or(usize::MAX),
            "--seed" => options.seed = number,
            _ => return Err(format!("unknown option {name}")),
        }
    }
    Ok(options)
}
