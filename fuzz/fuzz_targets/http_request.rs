#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| harp_fuzz::run("http_request", data));
