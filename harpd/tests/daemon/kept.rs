//! Calls that outlive their connections, as a caller of `harp/2` sees them.

mod attach;
mod caller;
mod ends;
