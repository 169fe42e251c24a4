//! The HarpCaller dispatcher, as a library for its own command, benchmarks and fuzzing.
//!
//! ARCHITECTURE.md at the top of the repository describes the house and one call's path
//! through it.

pub mod any_ledger;
pub mod audit_log;
pub mod boot;
pub mod cluster;
pub mod config;
pub mod daemon;
pub mod declared;
pub mod desk;
pub mod dispatcher;
pub mod ended;
pub mod faces;
pub mod host_attempts;
pub mod host_contacts;
pub mod hosts;
pub mod identity;
pub mod knowledge;
pub mod learned;
pub mod limits;
pub mod listener;
pub mod meters;
pub mod named_files;
pub mod peer_group;
pub mod procedures;
pub mod recordings;
pub mod reload;
pub mod retention;
pub mod rules;
pub mod schemas;
pub mod services;
#[cfg_attr(
    not(feature = "traces"),
    allow(dead_code, reason = "nothing sends spans there")
)]
pub mod traces;
pub mod transports;
pub mod world;
