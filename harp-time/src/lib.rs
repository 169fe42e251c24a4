//! How long others are waited for: limits of time that wait for what came while this process
//! stood still ([`Limit`]), and how soon a peer that is gone is noticed ([`keepalive`]); and
//! what the machine's clocks show ([`clock`]); how often something took how long
//! ([`Histogram`]).

pub mod clock;
mod histogram;
pub mod keepalive;
mod limit;

pub use histogram::Histogram;
pub use limit::{Limit, within};
