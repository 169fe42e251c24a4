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
//! # What a service has to know
//!
//! **Restarts.** A job that was accepted is on the dispatcher's disk. When the dispatcher is
//! restarted, or crashes, queued jobs stay queued; a call that is being run goes on at its host
//! and is taken up again, packets and all, where the host has a `harpd` of this project. Of
//! others such a call ends with an error of the type
//! [`missing_result`](error_type::MISSING_RESULT): look at the host before the call is made
//! again. [`wait`](RemoteCall::wait) and [`follow`](RemoteCall::follow) go on over all that,
//! for as long as [`reconnect_for`](HarpCallerBuilder::reconnect_for) says. A restart of your
//! service is none of the job's business: its id, stored, finds it again.
//!
//! **Keys.** A call without a [key](RemoteServer::key) is sent once: after an error that is not
//! [retryable](Error::is_retryable) it is not known whether there is a job. With a key one has
//! one job, so the call can be made again as often as one likes, in another process too, and
//! [`job_of_key`](HarpCaller::job_of_key) finds it. Keys belong to the client's identity (its
//! certificate, token or user), so that two services cannot meet; clients without one share
//! theirs. A key is as old as its job: it is free again when that is pruned (`max_age`). A job
//! that failed keeps its key: the same call gives the failed job. To run it again on purpose,
//! use a new key, such as the order's number and the attempt's
//! (`"deploy 4711, attempt 2"`), or [`unless_since`](RemoteServer::unless_since), which passes
//! over jobs that failed.
//!
//! **Limits of time.** Three clocks, each its own:
//!
//! | limit | of what | by default |
//! | --- | --- | --- |
//! | [`request_timeout`](HarpCallerBuilder::request_timeout), for each client, host and job | all of one request: its turn, connecting, the answer, the repetitions of a call with a key | 60 s |
//! | [`timeout`](RemoteServer::timeout), [`max_exec_time`](RemoteServer::max_exec_time), [`start_by`](RemoteServer::start_by) | the job, whoever waits for it | the dispatcher's |
//! | [`reconnect_for`](HarpCallerBuilder::reconnect_for) | how long a lost dispatcher is looked for by waits and follows | 5 min |
//!
//! A wait itself has no limit: drop its future, which does nothing to the job.
//!
//! **Shutdown.** Drop futures and streams, and end. Nothing runs in the background, jobs go on,
//! and a `follow` of the next life begins with [`after`](Packets::after) the last packet that
//! was seen.
//!
//! **Scale.** A clone of a [`HarpCaller`] shares its connections. Short requests share
//! [`pool_size`](HarpCallerBuilder::pool_size) of them; each wait and each follow has one of its
//! own while it lasts, a descriptor here and one at the dispatcher (`max_connections` there).
//! Where thousands of visitors look at the same job, follow it once and pass the packets on, as
//! by `tokio::sync::broadcast`; where thousands of jobs are waited for, ask for those that have
//! ended since ([`HarpCaller::jobs`] with the filter `ended_since`) in place of a wait each.
//!
//! **Errors.** [`ErrorKind`] has a table of all kinds and of the statuses with which a web
//! service passes them on.
//!
//! # In manners
//!
//! Beside clients that you may know:
//!
//! | | async-nats | sqlx | reqwest | tonic | here |
//! | --- | --- | --- | --- | --- | --- |
//! | cheap clones share connections | one connection | a pool | a pool | one connection | a pool, and one for each wait or follow |
//! | connects | when it is made | when it is made, or lazily | with the first request | when it is made, or lazily | with the first request |
//! | after a break | reconnects, subscriptions go on | a new connection for the next query | a new connection for the next request | reconnects, streams end | reconnects; waits and follows go on, each packet once |
//! | sends again by itself | no | no | where the connection was closed before the request, or by its policy | no | questions, and calls with a key |
//! | limit of a request | `request_timeout` | `acquire_timeout` of the pool | `timeout` | `timeout` | `request_timeout`, over all of it |
//! | an error says whether to try again | no | no | kinds (`is_timeout`, `is_connect`) | by its code | [`Error::is_retryable`], and nothing is done twice by that |
//! | without async | no | no | `blocking` | no | `blocking` |
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
//! # Features
//!
//! None is on by default.
//!
//! | feature | what it adds |
//! | --- | --- |
//! | `axum` | [errors](Error) as answers, and jobs as server-sent events: the module `web` |
//! | `blocking` | the same verbs for programs that know no async: the module `blocking` |
//! | `tracing` | a span `harp_request` for each request, with `operation`, `host`, `procedure` and `job`; a warning in it for each attempt that comes to nothing |
//! | `worker` | programs that fetch the jobs of a service and answer them: the module `worker` |
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
mod environment;
mod error;
mod events;
mod harp_server;
mod job_status;
mod jobs;
mod packet;
mod packets;
mod pending;
mod ping;
mod server;
mod snapshot;
mod stats;
pub mod tls;
mod token;
mod trace;
mod traceparent;
#[cfg(feature = "axum")]
#[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
pub mod web;
#[cfg(feature = "worker")]
#[cfg_attr(docsrs, doc(cfg(feature = "worker")))]
pub mod worker;

pub use call::{CallLimits, Cancellation, RemoteCall};
pub use caller::{HarpCaller, HarpCallerBuilder};
pub use dispatcher::{Repeat, Tls};
pub use error::{Error, ErrorKind};
pub use events::{Events, JobEvent};
pub use harp_proto::error_type;
pub use harp_proto::{
    Evidence, Failure, JobId, Json, JsonError, NotAJobId, NotReturned, Outcome, OutcomeKind,
    Password,
};
pub use harp_server::{DirectCall, HarpServer, HarpServerBuilder};
pub use job_status::{JobState, JobStatus};
pub use jobs::{Jobs, ListedJob};
pub use packet::Packet;
pub use packets::Packets;
pub use pending::Pending;
pub use ping::ServerInfo;
pub use server::{RemoteProcedure, RemoteServer};
pub use snapshot::JobSnapshot;
pub use stats::Stats;
