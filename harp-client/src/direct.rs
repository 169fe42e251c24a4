//! Calling a host's `harpd` (host protocol): the dispatcher does it for every job, and a
//! program can do it without a dispatcher.
//!
//! A [`Connection`] is opened under a deadline, carries one [`Request`], and becomes a
//! [`HostCall`], which gives the packets and the end. Whatever goes wrong is a
//! [`HostError`], with the [`Phase`] it went wrong in.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use harp_client::direct::{Connection, Endpoint, Event, Limits};
//! use harp_client::tls::{Trust, TrustFiles};
//! use harp_proto::host::Request;
//! use tokio::time::Instant;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let trust = Trust::new(TrustFiles {
//!     ca_file: Some("/etc/harp/ca.pem".into()),
//!     known_certs_file: None,
//!     verify_hostname: true,
//! })?;
//! let deadline = Instant::now() + Duration::from_secs(10);
//! let host = Endpoint::new("web01.example.net", harp_proto::HOST_PORT);
//! let connection = Connection::open(&host, &trust, Limits::default(), deadline).await?;
//! let request = Request {
//!     procedure: "uptime".to_owned(),
//!     arguments: "[]".parse()?,
//!     user: "rpc".to_owned(),
//!     password: "secret".into(),
//! };
//! let mut call = connection.request(&request, deadline).await?;
//! loop {
//!     match call.next().await? {
//!         Event::Packet(data) => println!("{data}"),
//!         Event::End(outcome) => break println!("{outcome:?}"),
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! [`Request`]: harp_proto::host::Request

mod call;
mod connection;
mod error;

pub use call::{Cancel, Event, HostCall, Wanted};
pub use connection::Connection;
pub use error::{HostError, HostErrorKind, Phase};

pub use crate::endpoint::Endpoint;

/// What a host may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Greatest size of one packet or result, in bytes of its JSON text. The line around
    /// it may be [`harp_proto::LINE_ALLOWANCE`] longer.
    pub max_packet_size: usize,
}

impl Default for Limits {
    /// 16 MiB.
    fn default() -> Limits {
        Limits {
            max_packet_size: 16 * 1024 * 1024,
        }
    }
}
