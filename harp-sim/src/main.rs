//! Plays histories by hand: `cargo run --release -p harp-sim -- COUNT [FIRST_SEED]`, or one
//! that is given by its numbers: `-- --list 3,0,7`.

use std::process::ExitCode;
use std::time::Instant;

use harp_sim::book::Book;
use harp_sim::chance::Chance;
use harp_sim::history::{play, play_into};
use harp_sim::shrink::shrink;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [option, list] = &arguments[..]
        && option == "--list"
    {
        let numbers = list
            .split(',')
            .filter_map(|number| number.trim().parse().ok());
        let book = Book::logging();
        let played = play_into(Chance::of_list(numbers.collect()), &book);
        for line in book.log() {
            println!("{line}");
        }
        println!("{played:?}");
        return ExitCode::from(u8::from(played.is_err()));
    }
    let number = |at: usize, default: u64| {
        let text = arguments.get(at);
        text.and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (count, first) = (number(0, 2_000), number(1, 0));
    let begun = Instant::now();
    // A history that panics is told below.
    std::panic::set_hook(Box::new(|_| {}));
    let mut steps = 0;
    for seed in first..first + count {
        match play(Chance::of_seed(seed)) {
            Ok(played) => steps += played,
            Err(failure) => {
                println!("seed {seed}: {}", failure.what);
                let small = shrink(failure);
                println!("as small as it gets: {}", small.what);
                let numbers: Vec<String> = small.numbers.iter().map(u32::to_string).collect();
                println!("--list {}", numbers.join(","));
                return ExitCode::FAILURE;
            }
        }
    }
    let seconds = begun.elapsed().as_secs_f32();
    println!("{count} histories from seed {first} on, {steps} steps, {seconds:.1} s: all hold");
    ExitCode::SUCCESS
}
