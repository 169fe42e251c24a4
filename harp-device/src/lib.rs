//! Devices that run auto-trainer, as hosts: the transport that calls them over ZeroMQ.
//!
//! [`Devices`] keeps two connections to each device of the registry, whether or not anybody
//! calls: a SUB for what it publishes, a DEALER for commands. A command goes out when those
//! before it have their replies; its call ends with the reply, or with a result that the device
//! publishes later. The procedure `events` hands on what a device publishes.
//!
//! How a device stands is in `device.rs`, who it is and whether it has fallen silent in
//! `health.rs`, what it says in `published.rs` and `reply.rs`.

mod arguments;
mod backoff;
mod command;
mod commanding;
mod device;
mod devices;
mod entry;
mod fault;
mod health;
mod inbox;
mod link;
mod listening;
mod nonces;
mod object;
mod probe;
mod procedure;
mod published;
mod refused;
mod reply;
mod room;
mod shared;
mod stream;
mod surroundings;
mod tally;
mod token;
mod upkeep;

pub use device::Standing;
pub use devices::Devices;
pub use entry::Entry;
pub use probe::{is_exposed, probe};
pub use surroundings::{Settings, Surroundings};
pub use tally::{Count, Tally};
