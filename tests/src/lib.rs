//! What the whole-system tests and the demo are made of: real daemons, started in a
//! temporary directory on loopback, with certificates of their own.
//!
//! - [`Cluster`]: a dispatcher, some hosts and their registry;
//! - [`Caller`] and [`RawClient`]: a client that speaks plain lines, so that a test sees
//!   every byte;
//! - [`HttpRequest`]: one of HTTP, byte by byte; [`http2`]: frames of HTTP/2, one by one;
//! - [`FakeHost`]: a host that misbehaves by a script;
//! - [`FakeDevice`]: a device of auto-trainer that does what the test orders;
//! - [`crash`]: a dispatcher that is killed again and again, under load;
//! - [`outlive`]: one that is killed under calls that their hosts keep;
//! - [`soak`]: one that is not killed, under a load of everything at once;
//! - [`disk`]: file systems that can be filled, stopped and cut off;
//! - [`hung`]: one that does not answer;
//! - [`postgres`]: a PostgreSQL server, where PostgreSQL is installed;
//! - [`certificates`]: good certificates and bad ones.
//!
//! This is a test harness: whatever fails, panics with what was being done. Waits are
//! for conditions, at most [`PATIENCE`] long.

mod binaries;
mod caller;
pub mod certificates;
mod chromium;
mod cluster;
pub mod crash;
mod daemon;
pub mod disk;
mod fake_device;
mod fake_host;
pub mod false_clock;
mod feed;
mod firefox;
mod http;
pub mod http2;
pub mod hung;
mod line_client;
mod loopback;
mod number_options;
pub mod outlive;
mod own_names;
pub mod postgres;
mod proxy;
mod raw_client;
mod repository;
pub mod soak;
mod wait;

pub use binaries::binary;
pub use caller::{Caller, Page, packet};
pub use chromium::{Chromium, Tab};
pub use cluster::{Cluster, ClusterBuilder, OtherDispatcher, PASSWORD, USER};
pub use daemon::{Daemon, Log};
pub use fake_device::{
    COMMAND_RESULT, DeviceRequest, EMERGENCY, EVENT, FakeDevice, HEARTBEAT, event,
};
pub use fake_host::{ACKNOWLEDGE, ACKNOWLEDGE_STREAM, Closing, FakeHost, Step, Visit};
pub use feed::Feed;
pub use firefox::Firefox;
pub use http::{HttpAnswer, HttpClient, HttpEnd, HttpHead, HttpRequest, HttpStream};
pub use line_client::LineClient;
pub use loopback::{refusing_address, unanswering_address, unique_address, unused_address};
pub use number_options::number_options;
pub use own_names::{OwnNames, with_own_names};
pub use proxy::{Proxy, Way};
pub use raw_client::{RawClient, ask};
pub use repository::{files_of, members, repository, sources};
pub use wait::{PATIENCE, until};
