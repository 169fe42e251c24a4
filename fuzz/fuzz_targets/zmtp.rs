#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| harp_fuzz::run("zmtp", data));
