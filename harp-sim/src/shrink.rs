//! Makes a history that does not hold small: fewer numbers, and smaller ones.

use crate::chance::Chance;
use crate::history::{Failure, play};

/// How many histories are played for it at most.
const MOST: usize = 2_000;

/// A history like this one, as small as can be found: it does not hold either, whatever it
/// is that does not.
#[must_use]
pub fn shrink(failure: Failure) -> Failure {
    let mut smallest = failure;
    let mut left = MOST;
    loop {
        let before = smallest.numbers.clone();
        cut(&mut smallest, &mut left);
        lower(&mut smallest, &mut left);
        if smallest.numbers == before || left == 0 {
            return smallest;
        }
    }
}

/// Leaves out longer and shorter runs of numbers.
fn cut(smallest: &mut Failure, left: &mut usize) {
    let mut len = smallest.numbers.len().div_ceil(2);
    while len > 0 {
        let mut at = smallest.numbers.len().saturating_sub(len);
        loop {
            let end = (at + len).min(smallest.numbers.len());
            let mut numbers = smallest.numbers.clone();
            numbers.drain(at..end);
            try_it(smallest, numbers, left);
            if at == 0 {
                break;
            }
            at = at.saturating_sub(len);
            at = at.min(smallest.numbers.len());
        }
        len /= 2;
    }
}

/// Makes numbers smaller, one by one.
fn lower(smallest: &mut Failure, left: &mut usize) {
    for at in 0..smallest.numbers.len() {
        for smaller in [0, 1] {
            if smallest
                .numbers
                .get(at)
                .is_some_and(|number| *number > smaller)
            {
                let mut numbers = smallest.numbers.clone();
                numbers[at] = smaller;
                try_it(smallest, numbers, left);
            }
        }
    }
}

fn try_it(smallest: &mut Failure, mut numbers: Vec<u32>, left: &mut usize) {
    // What comes anyway need not be said.
    while numbers.last() == Some(&0) {
        numbers.pop();
    }
    if *left == 0 || numbers.len() > smallest.numbers.len() || numbers == smallest.numbers {
        return;
    }
    *left -= 1;
    if let Err(failure) = play(Chance::of_list(numbers.clone())) {
        *smallest = Failure {
            what: failure.what,
            numbers,
        };
    }
}
