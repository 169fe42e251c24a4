//! How the C library's allocator keeps what is freed.
//!
//! By itself it raises the length from which a block is mapped alone, and so given back as
//! soon as it is freed, to that of the longest block that was freed; and each thread has a
//! heap of its own that keeps what is below. A daemon that has had a few blocks of 16 MiB on
//! several threads keeps them all.

/// Blocks of this length and more are mapped alone and given back when they are freed.
const MAPPED: i32 = 128 << 10;
/// Free memory at the end of a heap beyond this is given back.
const KEPT: i32 = 1 << 20;
/// Heaps that threads share.
const HEAPS: i32 = 2;

/// Has large blocks of memory given back when they are freed, and threads share their heaps.
/// To be called once, before there are other threads. Does nothing where the C library has no
/// such choices.
pub fn give_back_large_blocks() {
    #[cfg(target_env = "gnu")]
    for (option, value) in [
        (libc::M_MMAP_THRESHOLD, MAPPED),
        (libc::M_TRIM_THRESHOLD, KEPT),
        (libc::M_ARENA_MAX, HEAPS),
    ] {
        #[expect(unsafe_code, reason = "there is no safe name for mallopt(3)")]
        // SAFETY: has no preconditions; a choice that is not known is passed over.
        unsafe {
            libc::mallopt(option, value);
        }
    }
}
