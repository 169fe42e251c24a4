//! The reference servers: what a figure of ours is held against. Each does the network's
//! part of the same work and nothing else.

mod echo;
mod fan_out;
mod file;
mod host;
mod http_echo;
mod relay;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use tokio::net::TcpListener;

pub(crate) use host::nanoseconds;

/// Which server, and where.
#[derive(Args)]
pub(crate) struct Server {
    /// Address to listen on.
    #[arg(long)]
    listen: SocketAddr,
    /// Where certificates and files are.
    #[arg(long)]
    directory: PathBuf,
    #[command(subcommand)]
    kind: Kind,
}

#[derive(Subcommand)]
enum Kind {
    /// Answers requests with lines of the same form as a dispatcher's.
    Echo,
    /// Answers requests by HTTP with the same JSON.
    HttpEcho,
    /// A host that can do nothing but stream, and that as fast as TLS allows.
    Host {
        /// Resumes no session: each connection has a whole handshake.
        #[arg(long)]
        anew: bool,
    },
    /// Asks a host itself and passes its lines on.
    Relay {
        /// The host.
        host: SocketAddr,
    },
    /// Waits for so many connections and writes so many packets' lines to each.
    FanOut { followers: usize, packets: u64 },
    /// Sends a file to each client that connects.
    File { name: String },
}

/// Serves for ever.
pub(crate) async fn run(server: Server) -> anyhow::Result<()> {
    let listener = TcpListener::bind(server.listen).await?;
    match server.kind {
        Kind::Echo => echo::serve(listener).await,
        Kind::HttpEcho => http_echo::serve(listener).await,
        Kind::Host { anew } => host::serve(listener, &server.directory, anew).await,
        Kind::Relay { host } => relay::serve(listener, host, &server.directory).await,
        Kind::FanOut { followers, packets } => fan_out::serve(listener, followers, packets).await,
        Kind::File { name } => file::serve(listener, server.directory.join(name)).await,
    }
}
