//! How long others are waited for: limits of time that wait for what came while this process
//! stood still ([`Limit`]), and how soon a peer that is gone is noticed ([`keepalive`]).

pub mod keepalive;
mod limit;

pub use limit::{Limit, within};
