//! The face of the administrative socket (daemon specification, "Administrative socket").
//!
//! It opens before everything else, so that a start can be waited for and stopped, and
//! closes when the process ends, so that the end of a stop can be seen by it.

mod administrator;
mod answer;
pub mod condition;
mod export;
mod lists;
mod replies;
pub mod request;
mod socket;

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
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

/// Descriptors that are kept for administrators: so many of them are let in though there are no
/// others left.
const KEPT: usize = 8;

/// Serves the socket for as long as it is polled. Dropping the future ends the connections.
pub async fn serve(listener: UnixListener, administration: Administration) {
    let mut connections = JoinSet::new();
    let mut kept: Vec<OwnedFd> = Vec::new();
    loop {
        while kept.len() < KEPT
            && let Ok(one) = listener.as_fd().try_clone_to_owned()
        {
            kept.push(one);
        }
        let accepted = tokio::select! {
            accepted = accept(&listener, &mut kept) => accepted,
            // A fault of this program in one session is in the log.
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok(socket) => {
                connections.spawn(session(socket, administration.clone()));
            }
            Err(error) => {
                warn!(%error, "cannot accept on the administrative socket, trying on");
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            }
        }
    }
}

/// The next connection, in the place of one that is kept if need be. Cancel safe.
async fn accept(listener: &UnixListener, kept: &mut Vec<OwnedFd>) -> io::Result<UnixStream> {
    loop {
        match listener.accept().await {
            Ok((socket, _)) => return Ok(socket),
            // Somebody else may be faster with the one that is given up; then the next.
            Err(error) if is_out_of_descriptors(&error) && kept.pop().is_some() => {}
            Err(error) => return Err(error),
        }
    }
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE))
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
            Err(ReadError::Idle | ReadError::TooSlow | ReadError::GaveWay) => return,
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
