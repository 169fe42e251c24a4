//! Inputs that differ a little from one that there is.

/// An input that differs a little: the same one for each number.
#[must_use]
pub fn neighbour(input: &[u8], number: u64) -> Vec<u8> {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ input.len() as u64;
    let mut random = |below: usize| {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below.max(1) as u64) as usize
    };
    let mut changed = input.to_vec();
    match random(4) {
        0 => changed.truncate(random(input.len())),
        1 => {
            let (from, to) = (random(input.len()), random(input.len()));
            let piece = input
                .get(from..(from + 16).min(input.len()))
                .unwrap_or_default();
            changed.splice(to..to, piece.iter().copied());
        }
        2 if !changed.is_empty() => {
            let from = random(changed.len());
            changed.drain(from..(from + 1 + random(4)).min(input.len()));
        }
        _ if !changed.is_empty() => {
            let at = random(changed.len());
            changed[at] ^= 1 << random(8);
        }
        _ => changed.push(random(256) as u8),
    }
    changed
}
