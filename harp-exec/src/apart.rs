//! An allocator that leaves large blocks to the C library, which maps each alone and gives it
//! back when it is freed ([`give_back_large_blocks`](crate::give_back_large_blocks)).
//!
//! One that is made for many small blocks keeps what is freed of large ones for a while, on
//! each thread: a dispatcher that had 135 MiB in use at most took 800.

use std::alloc::{GlobalAlloc, Layout, System};

/// Blocks of this length and more are large, in bytes. Those below are had more often, and to
/// map each would cost more than it gives.
const LARGE: usize = 1 << 20;

/// Takes small blocks from `A`, and large ones from the C library.
#[derive(Debug, Clone, Copy, Default)]
pub struct LargeApart<A>(pub A);

fn is_large(length: usize) -> bool {
    length >= LARGE
}

#[expect(unsafe_code, reason = "an allocator is unsafe to write, and to call")]
// SAFETY: each block is freed and resized by the allocator that it came from, since that is told
// by its length alone, which the caller has to give back as it was; all else is theirs.
unsafe impl<A: GlobalAlloc> GlobalAlloc for LargeApart<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are those that these ask for.
        unsafe {
            if is_large(layout.size()) {
                System.alloc(layout)
            } else {
                self.0.alloc(layout)
            }
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as for `alloc`.
        unsafe {
            if is_large(layout.size()) {
                System.alloc_zeroed(layout)
            } else {
                self.0.alloc_zeroed(layout)
            }
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as for `alloc`; the length says whose the block is.
        unsafe {
            if is_large(layout.size()) {
                System.dealloc(block, layout)
            } else {
                self.0.dealloc(block, layout)
            }
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, length: usize) -> *mut u8 {
        // SAFETY: where both lengths are of one allocator, as for `dealloc`. Where not, the new
        // layout is good because the caller promises that for `length` at this alignment, the
        // blocks are two, and no more is copied than both have.
        unsafe {
            match (is_large(layout.size()), is_large(length)) {
                (true, true) => System.realloc(block, layout, length),
                (false, false) => self.0.realloc(block, layout, length),
                _ => {
                    let other =
                        self.alloc(Layout::from_size_align_unchecked(length, layout.align()));
                    if !other.is_null() {
                        block.copy_to_nonoverlapping(other, layout.size().min(length));
                        self.dealloc(block, layout);
                    }
                    other
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(unsafe_code, reason = "an allocator is unsafe to call")]
    fn a_block_keeps_its_bytes_whichever_way_it_grows_and_shrinks() {
        let allocator = LargeApart(System);
        let sizes = [
            100,
            LARGE - 1,
            LARGE,
            3 * LARGE,
            LARGE + 1,
            200,
            2 * LARGE,
            50,
        ];
        let layout = |size| Layout::from_size_align(size, 8).unwrap();
        let mut size = sizes[0];
        // SAFETY: each block is used within its length, with the layout that it was asked for,
        // and not after it was freed.
        unsafe {
            let mut block = allocator.alloc_zeroed(layout(size));
            for byte in 0..50 {
                *block.add(byte) = byte as u8;
            }
            for next in &sizes[1..] {
                block = allocator.realloc(block, layout(size), *next);
                assert!(!block.is_null());
                size = *next;
                for byte in 0..50 {
                    assert_eq!(*block.add(byte), byte as u8);
                }
            }
            allocator.dealloc(block, layout(size));
        }
    }
}
