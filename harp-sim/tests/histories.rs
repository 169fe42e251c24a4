//! Whole histories of the core, from seeds. One that does not hold is made small and told,
//! with the numbers that `cargo run -p harp-sim -- --list` plays again.

use harp_sim::chance::Chance;
use harp_sim::history::{Failure, play};
use harp_sim::shrink::shrink;

/// How many are played here; by hand as many as wanted (TESTING.md, "Histories").
const HISTORIES: u64 = 4_000;

#[test]
fn every_history_holds() {
    let mut steps = 0;
    for seed in 0..HISTORIES {
        match play(Chance::of_seed(seed)) {
            Ok(played) => steps += played,
            Err(failure) => {
                let first = failure.what.clone();
                let Failure { what, numbers } = shrink(failure);
                panic!("seed {seed}: {first}\nas small as it gets: {what}\n--list {numbers:?}");
            }
        }
    }
    assert!(steps > 100 * HISTORIES as usize, "{steps} steps");
}

#[test]
fn the_same_choices_lead_to_the_same_history() {
    use harp_sim::book::Book;
    use harp_sim::history::play_into;
    for seed in 0..50 {
        let books = [Book::logging(), Book::logging()];
        let [first, second] = books
            .each_ref()
            .map(|book| play_into(Chance::of_seed(seed), book));
        assert_eq!(first, second, "seed {seed}");
        assert_eq!(books[0].log(), books[1].log(), "seed {seed}");
    }
}
