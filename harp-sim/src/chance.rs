//! Where the choices of a history come from: a list of numbers, drawn from a seed or given.

/// A source of choices, which remembers what it has given.
///
/// Each choice is among so many possibilities, of which the first is the plainest: nothing
/// goes wrong, the oldest task goes on. A list that has come to its end gives nothing but
/// that, so a list can be cut anywhere and is a history still.
#[derive(Debug, Clone)]
pub struct Chance {
    source: Source,
    drawn: Vec<u32>,
}

#[derive(Debug, Clone)]
enum Source {
    Seed(u64),
    List { numbers: Vec<u32>, at: usize },
}

impl Chance {
    /// The choices of a seed.
    #[must_use]
    pub fn of_seed(seed: u64) -> Chance {
        Chance {
            source: Source::Seed(seed),
            drawn: Vec::new(),
        }
    }

    /// These choices.
    #[must_use]
    pub fn of_list(numbers: Vec<u32>) -> Chance {
        Chance {
            source: Source::List { numbers, at: 0 },
            drawn: Vec::new(),
        }
    }

    /// One of `among` possibilities, below that number; 0 without a choice.
    pub fn draw(&mut self, among: usize) -> usize {
        if among < 2 {
            return 0;
        }
        let number = match &mut self.source {
            Source::Seed(state) => next(state) as usize % among,
            Source::List { numbers, at } => {
                let number = numbers.get(*at).map_or(0, |number| *number as usize);
                *at += 1;
                number % among
            }
        };
        self.drawn.push(number as u32);
        number
    }

    /// True once in so many times.
    pub fn once_in(&mut self, times: usize) -> bool {
        // The plainest is that it does not happen.
        times > 0 && self.draw(times) == times - 1
    }

    /// What has been drawn so far.
    #[must_use]
    pub fn drawn(&self) -> &[u32] {
        &self.drawn
    }
}

/// The next number of a sequence that is as good as random (the mixing function of
/// SplitMix64).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_drawn_can_be_drawn_again_and_goes_on_plainly() {
        let mut chance = Chance::of_seed(7);
        let drawn: Vec<usize> = (1..50).map(|among| chance.draw(among)).collect();
        let mut again = Chance::of_list(chance.drawn().to_vec());
        assert_eq!(
            (1..50).map(|among| again.draw(among)).collect::<Vec<_>>(),
            drawn
        );
        assert_eq!(again.draw(1000), 0);
        assert!(!again.once_in(2));
        assert!(drawn.iter().any(|number| *number > 9));
    }
}
