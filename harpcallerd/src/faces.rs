//! The faces of the dispatcher: each is one wire, and only translates between it and the
//! front door.

pub mod admin;
pub mod connection;
pub mod http;
pub mod line;
pub mod listing;
mod wire_call;
