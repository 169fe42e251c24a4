//! The whole system from outside: real daemons, real TLS, and what a user would notice.
//!
//! Each test has a cluster of its own and runs beside the others. The sections that the
//! modules name are those of the client protocol.

mod abuse;
mod access;
mod administration;
mod assertions;
mod bad_hosts;
mod bad_requests;
mod call;
mod cancel;
mod client_crate;
mod client_promises;
mod clock_jump;
mod configuration;
mod confirm;
mod crash;
mod crate_facts;
mod damaged_records;
mod dependencies;
mod errors;
mod faithful;
mod followers;
mod framing;
mod hello;
mod keys;
mod leftovers;
mod limits;
mod logs;
mod manual;
mod outages;
mod packages;
mod process;
mod pruned;
mod python_client;
mod queue;
mod recorded;
mod registry;
mod released_layouts;
mod reload;
mod restart;
mod result;
mod retention;
mod scarcity;
mod secrets;
mod soak;
mod stalled_disk;
mod start_by;
mod status;
mod stop;
mod storage_faults;
mod store_commands;
mod store_gone;
mod stream;
mod time_limits;
mod tls;
