//! Whole numbers in as few bytes as they need: seven bits a byte, lowest first, the top
//! bit set on all bytes but the last.

use bytes::BufMut;

/// Most bytes that a number takes.
pub const MAX_LEN: usize = 10;

/// Appends a number.
pub fn put(out: &mut impl BufMut, mut number: u64) {
    while number >= 0x80 {
        // The lowest seven bits, nothing is lost.
        out.put_u8((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.put_u8(number as u8);
}

/// Takes a number from the front of `text`; `None` if there is none.
#[inline]
pub fn take(text: &mut &[u8]) -> Option<u64> {
    match **text {
        // As most are.
        [byte, ref rest @ ..] if byte < 0x80 => {
            *text = rest;
            Some(u64::from(byte))
        }
        _ => take_long(text),
    }
}

fn take_long(text: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for (index, byte) in text.iter().take(MAX_LEN).enumerate() {
        let bits = u64::from(byte & 0x7f);
        // The tenth byte has room for one bit.
        if index == MAX_LEN - 1 && bits > 1 {
            return None;
        }
        number |= bits << (7 * index);
        if byte & 0x80 == 0 {
            *text = &text[index + 1..];
            return Some(number);
        }
    }
    None
}

/// Appends a number that can be negative: 0, -1, 1, -2, ... become 0, 1, 2, 3, ...
pub fn put_signed(out: &mut impl BufMut, number: i64) {
    put(out, ((number << 1) ^ (number >> 63)) as u64);
}

/// Takes a number that [`put_signed`] wrote.
pub fn take_signed(text: &mut &[u8]) -> Option<i64> {
    let number = take(text)?;
    Some((number >> 1) as i64 ^ -((number & 1) as i64))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn small_numbers_are_short() {
        for (number, len) in [(0, 1), (127, 1), (128, 2), (1 << 14, 3), (u64::MAX, 10)] {
            let mut out = Vec::new();
            put(&mut out, number);
            assert_eq!(out.len(), len, "{number}");
        }
    }

    proptest! {
        #[test]
        fn numbers_come_back(number in any::<u64>(), signed in any::<i64>()) {
            let mut out = Vec::new();
            put(&mut out, number);
            put_signed(&mut out, signed);
            let mut text = &out[..];
            prop_assert_eq!(take(&mut text), Some(number));
            prop_assert_eq!(take_signed(&mut text), Some(signed));
            prop_assert!(text.is_empty());
        }

        #[test]
        fn no_input_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..20)) {
            let _ = take(&mut &bytes[..]);
        }
    }
}
