//! What holds of any input whatever: one function for each place where bytes of others
//! come in, or where a wrong order of events would do harm.
//!
//! A function takes bytes and panics if anything that it asserts does not hold. The
//! programs in `fuzz/fuzz_targets` hand libFuzzer's inputs to them; `tests/corpora.rs`
//! runs them over the corpora in `fuzz/corpus`, which every run of the tests does.
//!
//! What is asserted: no input makes a decoder panic; what was understood is written so
//! that it is understood as the same; what is written once is written the same again; how
//! bytes were cut on their way does not matter; nothing grows with what is refused.

mod admin;
mod client;
mod files;
mod host;
mod http;
mod input;
mod kept;
mod lines;
pub mod neighbour;
mod output;
mod queues;
mod segment;
mod text;
mod transfer;
mod values;
mod zmtp;

/// A function that any input may be given to.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name: that of its program in `fuzz/fuzz_targets` and of its corpus.
    pub name: &'static str,
    /// Panics if something does not hold.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: [Target; 17] = [
    target("admin_request", admin::request),
    target("client_reply", client::reply),
    target("client_request", client::request),
    target("export", transfer::export),
    target("files", files::files),
    target("host_message", host::message),
    target("kept_order", kept::order),
    target("kept_message", kept::message),
    target("host_request", host::request),
    target("http_request", http::request),
    target("json", text::json),
    target("line_buffer", lines::line_buffer),
    target("output", output::output),
    target("queue", queues::queues),
    target("segment", segment::segment),
    target("store_value", values::store_value),
    target("zmtp", zmtp::zmtp),
];

/// Gives an input to the function of this name.
///
/// # Panics
///
/// If there is none, and if something does not hold.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    let target = target.unwrap_or_else(|| panic!("there is no target {name}"));
    (target.run)(data);
}

const fn target(name: &'static str, run: fn(&[u8])) -> Target {
    Target { name, run }
}
