//! Which clients may connect, their identities, and what they may do.

mod audit;
mod client_crate;
pub(super) mod identity;
mod lapse;
mod reload;
mod rules;
