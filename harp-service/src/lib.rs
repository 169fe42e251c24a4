//! Parts that both daemons need to be a service: settings from a file, listening sockets and
//! their TLS, a log, signals, files that nobody else may read, and text for terminals, which
//! `harp` shares.
//!
//! Nothing in here knows a protocol or a job.

pub mod accept;
pub mod address;
pub mod descriptors;
pub mod exposure;
pub mod logging;
pub mod pidfile;
pub mod private_file;
pub mod report;
pub mod settings;
pub mod signals;
pub mod streams;
pub mod systemd;
pub mod tasks;
pub mod terminal;
pub mod tls;
pub mod unix_socket;

pub use accept::Acceptor;
pub use address::ListenAddress;
pub use pidfile::Pidfile;
pub use settings::{Settings, SettingsError, Table, Warning};
