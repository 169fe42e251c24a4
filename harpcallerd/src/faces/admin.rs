//! The face of the administrative socket (daemon specification, "Administrative socket").
//!
//! It opens before everything else, so that a start can be waited for and stopped, and
//! closes when the process ends, so that the end of a stop can be seen by it.

mod administrator;
mod answer;
mod lists;
mod replies;
pub mod request;
mod socket;

use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tracing::{debug, warn};

pub use socket::{AdminSocket, SocketError};

use crate::desk::admin::Administration;
use crate::faces::connection::ReadError;
use administrator::{Administrator, LONGEST_REQUEST};
use request::AdminRequest;

/// Where the socket is unless the command line says otherwise.
pub const DEFAULT_SOCKET: &str = "/var/run/harpcaller/control";

/// Serves the socket for as long as it is polled. Dropping the future ends the sessions.
pub async fn serve(listener: UnixListener, administration: Administration) {
    let mut sessions = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            // A fault of this program in one session is in the log.
            Some(_) = sessions.join_next() => continue,
        };
        match accepted {
            Ok((socket, _)) => {
                sessions.spawn(session(socket, administration.clone()));
            }
            Err(error) => {
                warn!(%error, "cannot accept on the administrative socket, trying on");
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            }
        }
    }
}

/// One administrator's connection: a reply for each request, until it is closed.
async fn session(socket: UnixStream, administration: Administration) {
    let mut administrator = match Administrator::new(socket) {
        Ok(administrator) => administrator,
        Err(error) => return debug!(%error, "an administrator's peer is not known any more"),
    };
    loop {
        let line = match administrator.next_line().await {
            Ok(Some(line)) => line,
            Ok(None) => return,
            Err(ReadError::TooLong) => {
                let reply = replies::error(format_args!(
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
            Ok(request) => answer::answer(request, &administration, &mut administrator).await,
            Err(error) => administrator.write(&replies::error(error)).await,
        };
        if let Err(error) = answered {
            return debug!(%error, "administrator's connection broke");
        }
    }
}
