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
//! use harp_client::direct::{Connection, Endpoint, Event, HOST_PORT, Limits, Request};
//! use harp_client::tls::{Trust, TrustFiles};
//! use tokio::time::Instant;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let trust = Trust::new(TrustFiles {
//!     ca_file: Some("/etc/harp/ca.pem".into()),
//!     known_certs_file: None,
//!     verify_hostname: true,
//! })?;
//! let deadline = Instant::now() + Duration::from_secs(10);
//! let host = Endpoint::new("web01.example.net", HOST_PORT);
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

pub use harp_host::{
    Cancel, Connection, Endpoint, Event, HostCall, HostError, HostErrorKind, IoCode, Limits, Phase,
    Wanted,
};
pub use harp_proto::HOST_PORT;
pub use harp_proto::host::Request;
