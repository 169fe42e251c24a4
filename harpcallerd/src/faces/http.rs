//! The HTTP face: requests in words of the desk, and what it answers as JSON, text or events.
//!
//! A request comes in by [`connection`], passes the [`gate`], which finds out for whom it is
//! meant and who asks, and reaches one function of [`routes`], which asks one verb of the
//! desk. Nothing here authorizes, limits or audits what is done with jobs.

pub mod settings;

#[cfg(feature = "http")]
mod body;
#[cfg(feature = "http")]
mod compress;
#[cfg(feature = "http")]
mod connected;
#[cfg(feature = "http")]
mod connection;
#[cfg(feature = "http")]
mod cross_site;
#[cfg(feature = "http")]
mod event;
#[cfg(feature = "http")]
mod exposition;
#[cfg(feature = "http")]
mod families;
#[cfg(feature = "http")]
mod gate;
#[cfg(feature = "http")]
mod guesses;
#[cfg(feature = "http")]
pub mod host;
#[cfg(feature = "http")]
mod how;
#[cfg(feature = "http")]
mod lobby;
#[cfg(feature = "http")]
mod pace;
#[cfg(feature = "http")]
mod packet;
#[cfg(feature = "http")]
mod packet_events;
#[cfg(feature = "http")]
mod page;
#[cfg(feature = "http")]
mod problem;
#[cfg(feature = "http")]
mod process;
#[cfg(feature = "http")]
mod proxy;
#[cfg(feature = "http")]
pub mod query;
#[cfg(feature = "http")]
mod reply;
#[cfg(feature = "http")]
mod route;
#[cfg(feature = "http")]
mod routes;
#[cfg(feature = "http")]
mod sessions;
#[cfg(feature = "http")]
mod shared;
#[cfg(feature = "http")]
mod stalling;
#[cfg(feature = "http")]
mod streams;
#[cfg(feature = "http")]
mod text;
#[cfg(feature = "http")]
mod topchef;
#[cfg(feature = "http")]
mod who;

#[cfg(not(feature = "http"))]
mod absent;

#[cfg(not(feature = "http"))]
pub use absent::{Face, Lobby, refuse, serve};
#[cfg(feature = "http")]
pub use connection::{refuse, serve};
#[cfg(feature = "http")]
pub use gate::Face;
#[cfg(feature = "http")]
pub use lobby::Lobby;

/// What TLS has brought to light of a connection.
#[derive(Debug, Clone)]
pub struct Secured {
    /// The names that the server's certificate has.
    pub names: Vec<String>,
    /// Both sides have agreed on HTTP/2.
    pub is_http2: bool,
}
