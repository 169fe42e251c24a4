//! Calls procedures on remote hosts, through HarpCaller's dispatcher or directly.
//!
//! A [`HarpCaller`] is a dispatcher. It takes calls, runs them on its hosts and keeps
//! what became of them, so that a call outlives the program that made it: the job's id is
//! all one has to remember.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use harp_client::{HarpCaller, Outcome};
//!
//! # async fn example() -> Result<(), harp_client::Error> {
//! let rpc = HarpCaller::new("dispatcher.example.net")?;
//! let web01 = rpc.host("web01").max_exec_time(Duration::from_secs(15));
//! let job = web01.call("rotate_logs", ("nginx", 7)).await?;
//!
//! let mut packets = job.follow().since(0);
//! while let Some(packet) = packets.next().await {
//!     println!("{}", packet?.data);
//! }
//! match packets.outcome() {
//!     Some(Outcome::Returned(value)) => println!("returned {value}"),
//!     other => println!("{other:?}"),
//! }
//!
//! // Days later, in another program:
//! let job = rpc.job("3f22e0d4-c8ed-41e5-8d66-001e8c140268".parse().unwrap());
//! match job.result().await? {
//!     None => println!("still running"),
//!     Some(Outcome::Cancelled) => println!("cancelled"),
//!     Some(outcome) => println!("{outcome:?}"),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # For those who know the Python module
//!
//! | Python | here |
//! | --- | --- |
//! | `HarpCaller(host, port)` | [`HarpCaller::new`]`("host:port")` or `("unix:/path")`, [`HarpCaller::builder`] |
//! | `rpc.web01`, `rpc.host("web01", ...)` | [`HarpCaller::host`], then [`queue`](RemoteServer::queue), [`concurrency`](RemoteServer::concurrency), [`timeout`](RemoteServer::timeout), [`max_exec_time`](RemoteServer::max_exec_time), [`info`](RemoteServer::info); beyond Python's, [`key`](RemoteServer::key), [`unless_since`](RemoteServer::unless_since), [`start_by`](RemoteServer::start_by), [`tell_limits`](RemoteServer::tell_limits) |
//! | `rpc.request(req)`, `rpc.connect()` | [`HarpCaller::request`] |
//! | `host.procedure(arg, ...)`, `(key=val)` | [`RemoteServer::call`]: a tuple, array or `Vec` is positional, a struct or map is named, `()` is none |
//! | `RemoteProcedure.host()`, `.procedure()` | [`RemoteServer::procedure`], [`RemoteProcedure`] |
//! | `rpc.job(id)` | [`HarpCaller::job`], [`JobId`] |
//! | `job.id()` | [`RemoteCall::id`] |
//! | `job.result(wait)` | [`RemoteCall::result`], [`RemoteCall::wait`], [`Outcome`] |
//! | `job.get()` | [`RemoteCall::get`] |
//! | `job.follow(since, recent, numbered)` | [`RemoteCall::follow`], [`Packets::since`], [`Packets::recent`]; a [`Packet`] has its number |
//! | `job.stream(since, recent, numbered)` | [`RemoteCall::stream`] |
//! | `StreamIterator.all()` | `try_collect` of the `futures` crate ([example](RemoteCall::stream)) |
//! | `job.cancel()` | [`RemoteCall::cancel`], [`RemoteCall::cancel_confirmed`] |
//! | `job.host()`, `.procedure()`, `.args()`, `.info()`, `.submit_time()`, ... | [`RemoteCall::status`], [`JobStatus`] |
//! | `HarpServer(host, user, password, port, ca_file)` | [`HarpServer::builder`] |
//! | `server.procedure(args)`, `HarpStreamIterator`, `Result` | [`HarpServer::call`], [`DirectCall`] |
//! | `RemoteException`, `RemoteError`, `CancelledException`, `CommunicationError` | [`Error`] with an [`ErrorKind`] |
//!
//! # Workers
//!
//! With the feature `worker` there is the other side, the module `worker`: programs that fetch
//! the jobs of a service from the dispatcher and answer them.
//!
//! # Connections
//!
//! Requests share a few persistent connections; each wait for a job and each stream of
//! packets has one of its own. With a dispatcher that does not know `hello` (the original
//! one) every request has its own connection. A connection that died while idle is
//! replaced silently, but a call that the dispatcher may have got is never sent again,
//! unless it has a [key](RemoteServer::key). What the dispatcher does not know (a key,
//! `start_by`, a confirmed cancel, a token) is an error, never left out.
//!
//! [`HarpCallerBuilder`] sets time limits, the size of the pool, [TLS](Tls) with or without
//! a client certificate, and a token.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod arguments;
#[cfg(feature = "blocking")]
#[cfg_attr(docsrs, doc(cfg(feature = "blocking")))]
pub mod blocking;
mod call;
mod caller;
mod deadline;
pub mod direct;
mod dispatcher;
mod error;
mod harp_server;
mod packets;
mod server;
pub mod tls;
#[cfg(feature = "worker")]
#[cfg_attr(docsrs, doc(cfg(feature = "worker")))]
pub mod worker;

pub use call::{CallLimits, Cancellation, JobStatus, RemoteCall};
pub use caller::{HarpCaller, HarpCallerBuilder};
pub use dispatcher::Tls;
pub use error::{Error, ErrorKind};
pub use harp_proto::client::Packet;
pub use harp_proto::{Evidence, Failure, JobId, Json, Outcome, Password};
pub use harp_server::{DirectCall, HarpServer, HarpServerBuilder};
pub use packets::Packets;
pub use server::{RemoteProcedure, RemoteServer};
