//! Memory of the starter that a keeper gives back.
//!
//! A keeper begins with a copy of the starter's memory, whose pages are shared until one of
//! the two writes to them. The starter goes on writing, so its old pages, and the secrets
//! in them, would stay for the keeper alone. A keeper needs its stack and what it executes;
//! the rest is given back.

use std::ops::Range;

/// As many as are given back; a process with more mappings keeps the smaller ones.
const MOST: usize = 64;
/// Smaller mappings are not worth it, and some belong to the C library, in bytes.
const LEAST: usize = 64 << 10;

/// Parts of the memory that only the starter needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dispensable {
    ranges: [(usize, usize); MOST],
}

impl Dispensable {
    /// Looks for them. To be asked by the thread that starts the keeper, whose stack is then
    /// the keeper's. Without /proc there are none.
    pub(crate) fn find() -> Dispensable {
        let on_the_stack = 0u8;
        #[expect(
            unsafe_code,
            reason = "the address of errno, which the C library writes to"
        )]
        // SAFETY: has no preconditions.
        let errno = unsafe { libc::__errno_location() };
        let needed = [&raw const on_the_stack as usize, errno as usize];
        let mappings = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
        let mut found: Vec<Range<usize>> = mappings.lines().filter_map(of_nobody_else).collect();
        found.retain(|range| !needed.iter().any(|address| range.contains(address)));
        found.sort_by_key(|range| std::cmp::Reverse(range.len()));
        let mut ranges = [(0, 0); MOST];
        for (kept, range) in ranges.iter_mut().zip(found) {
            *kept = (range.start, range.len());
        }
        Dispensable { ranges }
    }

    /// Gives them back. From here on the process may use its stack and nothing else.
    /// Async-signal-safe.
    #[expect(unsafe_code, reason = "that nothing of it is used is up to the caller")]
    pub(crate) unsafe fn give_back(self) {
        for (start, length) in self.ranges {
            if length > 0 {
                // SAFETY: no stack, code or data of a program or library is in there, and
                // the caller uses nothing else.
                unsafe {
                    libc::munmap(start as *mut libc::c_void, length);
                }
            }
        }
    }
}

/// The range of a line of /proc/PID/maps (proc(5)) if it is memory without a file, no
/// part of a program and not small.
fn of_nobody_else(line: &str) -> Option<Range<usize>> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let start = usize::from_str_radix(start, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    let (permissions, _offset, _device) = (words.next()?, words.next()?, words.next()?);
    let without_file = words.next()? == "0";
    let of_a_kind = match words.next() {
        None | Some("[heap]") => true,
        Some(name) => name.starts_with("[anon:"),
    };
    let is_private_data = matches!(permissions, "rw-p" | "---p");
    (without_file && of_a_kind && is_private_data && end - start >= LEAST).then_some(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_memory_without_a_file_is_dispensable() {
        for (line, expected) in [
            ("7f00000-7f80000 rw-p 00000000 00:00 0 ", Some(0x80000)),
            (
                "7f00000-7f80000 rw-p 00000000 00:00 0   [heap]",
                Some(0x80000),
            ),
            (
                "7f00000-7f80000 rw-p 00000000 00:00 0 [anon:stack]",
                Some(0x80000),
            ),
            ("7f00000-7f80000 rw-p 00000000 00:00 0 [stack]", None),
            ("7f00000-7f80000 r-xp 00000000 00:00 0 [vdso]", None),
            (
                "7f00000-7f80000 rw-p 00000000 fe:00 81 /usr/sbin/harpd",
                None,
            ),
            ("7f00000-7f80000 rw-s 00000000 00:00 0 ", None),
            ("7f00000-7f01000 rw-p 00000000 00:00 0 ", None),
            ("nonsense", None),
        ] {
            assert_eq!(
                of_nobody_else(line).map(|range| range.len()),
                expected,
                "{line}"
            );
        }
    }

    #[test]
    fn the_own_stack_is_not_and_the_heap_is() {
        let large = vec![1u8; 16 << 20];
        let here = 0u8;
        let found = Dispensable::find();
        let covers = |address: usize| {
            let ranges = found.ranges.iter();
            let mut ranges = ranges.map(|(start, length)| *start..*start + *length);
            ranges.any(|range| range.contains(&address))
        };
        assert!(covers(large.as_ptr() as usize + (8 << 20)));
        assert!(!covers(&raw const here as usize));
    }
}
