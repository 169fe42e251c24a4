//! Calls that outlive their connections, as a caller of `harp/2` sees them.

mod amounts;
mod attach;
mod beats;
pub(crate) mod caller;
mod ends;
mod faults;
