//! The crate as its users see it, against hosts and dispatchers that follow a script.

// A test crate has no outside.
#![allow(unreachable_pub)]

mod blocking;
mod calls;
mod certificates;
mod connections;
mod deadlines;
mod direct;
mod encrypted;
mod harp_server;
mod packets;
mod promises;
mod public_api;
mod scripted_dispatcher;
mod scripted_host;
mod trust;
