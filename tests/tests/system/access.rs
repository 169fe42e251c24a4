//! Who may connect, who they are, and what they may do.

mod audit;
mod client_crate;
mod identity;
mod reload;
mod rules;
