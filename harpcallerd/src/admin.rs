//! The administrative socket (daemon specification, "Administrative socket"): a second
//! kind of session, over the same functions of the dispatcher.
//!
//! It opens before everything else, so that a start can be waited for and stopped, and
//! closes when the process ends, so that the end of a stop can be seen by it.

mod administrator;
mod answer;
mod jobs;
pub mod request;
mod socket;

use std::sync::Arc;

use harp_service::logging::Log;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{debug, warn};

pub use socket::{AdminSocket, SocketError};

use crate::audit::Audit;
use crate::dispatcher::Dispatcher;
use crate::hosts::{Hosts, Refresher};
use crate::reload::{Refused, Reloaded};
use crate::session::ReadError;
use administrator::{Administrator, LONGEST_REQUEST};
use request::AdminRequest;

/// Where the socket is unless the command line says otherwise.
pub const DEFAULT_SOCKET: &str = "/var/run/harpcaller/control";

/// What an administrator wants of the daemon as a whole.
#[derive(Debug)]
pub enum Order {
    /// End, running calls within `stop_grace`.
    Stop,
    /// End when the last running call has.
    Drain,
    /// Read the configuration again and say what came of it.
    Reload(oneshot::Sender<Result<Reloaded, Refused>>),
}

/// What there is to administrate, once the start is complete.
#[derive(Debug)]
pub struct Office {
    /// The jobs.
    pub dispatcher: Arc<Dispatcher>,
    /// The registry.
    pub hosts: Arc<Hosts>,
    /// Its keeper.
    pub refresher: Refresher,
    /// Who did what, if that is written down.
    pub audit: Audit,
    /// The log of the process.
    pub log: Arc<Log>,
}

/// What every administrative session is given.
#[derive(Debug, Clone)]
pub struct AdminDesk {
    /// Empty until the start is complete.
    pub office: watch::Receiver<Option<Arc<Office>>>,
    /// To the daemon.
    pub orders: mpsc::Sender<Order>,
}

/// Serves the socket for as long as it is polled; sessions go on by themselves.
pub async fn serve(listener: UnixListener, desk: AdminDesk) {
    loop {
        match listener.accept().await {
            Ok((socket, _)) => {
                tokio::spawn(session(socket, desk.clone()));
            }
            Err(error) => {
                warn!(%error, "cannot accept on the administrative socket, trying on");
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            }
        }
    }
}

/// One administrator's connection: a reply for each request, until it is closed.
async fn session(socket: UnixStream, desk: AdminDesk) {
    let mut administrator = Administrator::new(socket);
    loop {
        let line = match administrator.next_line().await {
            Ok(Some(line)) => line,
            Ok(None) => return,
            Err(ReadError::TooLong) => {
                let reply = answer::error(format_args!(
                    "a request is one line of at most {LONGEST_REQUEST} bytes"
                ));
                // Nobody is left to tell if this fails.
                let _ = administrator.write(&reply).await;
                return administrator.close().await;
            }
            Err(ReadError::Io(error)) => return debug!(%error, "administrator's connection broke"),
            Err(ReadError::Idle | ReadError::TooSlow) => return,
        };
        let answered = match AdminRequest::decode(&line) {
            Ok(request) => answer::answer(request, &desk, &mut administrator).await,
            Err(error) => administrator.write(&answer::error(error)).await,
        };
        if let Err(error) = answered {
            return debug!(%error, "administrator's connection broke");
        }
    }
}
