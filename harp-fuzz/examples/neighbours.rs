//! Gives a target what is near to the inputs of its corpus, for as long as wanted and with any
//! toolchain: `cargo run -p harp-fuzz --example neighbours -- http_request 600 1`, which is its
//! name, seconds, and a seed. Each input is two of the corpus, cut and put together, in one of three
//! cases, and is then changed in up to twelve places. Nothing is known here of what an input
//! reaches; `fuzz/run` knows.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use harp_fuzz::neighbour::neighbour;

/// Bytes of an input.
const LONGEST: usize = 4096;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [target, seconds, seed] = &arguments[..] else {
        eprintln!("usage: neighbours TARGET SECONDS SEED");
        return ExitCode::FAILURE;
    };
    let (Ok(seconds), Ok(seed)) = (seconds.parse(), seed.parse::<u64>()) else {
        eprintln!("SECONDS and SEED are numbers");
        return ExitCode::FAILURE;
    };
    let corpus = corpus(target);
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut number = seed << 40;
    let mut runs = 0_u64;
    let mut slowest = Duration::ZERO;
    while Instant::now() < until {
        let input = near(&corpus, &mut number);
        let begun = Instant::now();
        if catch_unwind(AssertUnwindSafe(|| harp_fuzz::run(target, &input))).is_err() {
            eprintln!(
                "after {runs} runs: {target} does not hold for {}",
                input.escape_ascii()
            );
            return ExitCode::FAILURE;
        }
        slowest = slowest.max(begun.elapsed());
        runs += 1;
    }
    println!("{target}: {runs} runs held, the slowest took {slowest:?}");
    ExitCode::SUCCESS
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let directory: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/corpus")
        .join(target);
    let entries = fs::read_dir(&directory);
    let entries = entries.unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let read = |path: PathBuf| fs::read(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let mut corpus: Vec<_> = entries
        .map(|entry| read(entry.expect("a directory that stays").path()))
        .collect();
    corpus.sort_unstable();
    corpus
}

/// The next input.
fn near(corpus: &[Vec<u8>], number: &mut u64) -> Vec<u8> {
    let mut random = |below: usize| {
        *number += 1;
        // splitmix64
        let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) % below.max(1) as u64) as usize
    };
    let mut input = corpus[random(corpus.len())].clone();
    if random(3) == 0 {
        let other = &corpus[random(corpus.len())];
        input.truncate(random(input.len() + 1));
        input.extend_from_slice(&other[random(other.len() + 1)..]);
    }
    for _ in 0..=random(12) {
        input = neighbour(&input, random(usize::MAX) as u64);
    }
    input.truncate(LONGEST);
    input
}
