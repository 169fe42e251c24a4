//! The way to the dispatcher: a socket over which it can be spoken to.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use harp_host::race::{Answered, race};
use harp_host::{IoCode, socket, tls};
use harp_time::Limit;
use tokio::time::Instant;

use super::Address;
use super::socket::Socket;
use super::tls::Protection;
use crate::Error;
use crate::error::{Broken, Phase};

/// Resolves, connects, does the TLS handshake if there is to be one, and has `greet` do the
/// rest. The first of the addresses with which all that succeeds wins: one that is silent for
/// 250 ms has the next tried beside it (RFC 8305). Dropping the future closes the connection.
pub(crate) async fn reach<T, F>(
    address: &Address,
    protection: &Protection,
    answered: &Answered,
    deadline: Instant,
    greet: impl Fn(Socket) -> F,
) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let failed = |phase| move |error| not_reached(address, phase, error);
    let mut limit = Limit::until(deadline);
    let too_late = |phase| failed(phase)(io::ErrorKind::TimedOut.into());
    let (host, port) = match address {
        Address::Tcp { host, port } => (host, *port),
        Address::Unix(path) => {
            let socket = socket::connect_local(path, deadline)
                .await
                .map_err(failed(Phase::Connect))?;
            let greeted = limit.keep(greet(Socket::Unix(socket))).await;
            return greeted.unwrap_or_else(|| Err(too_late(Phase::Hello)));
        }
    };
    let mut addresses = socket::resolve(host, port, &mut limit)
        .await
        .map_err(failed(Phase::Resolve))?;
    answered.order(host, &mut addresses);
    // What timed out is what the one that has come furthest was at.
    let (is_connected, is_open) = (AtomicBool::new(false), AtomicBool::new(false));
    let attempt = async |address| {
        let tcp = socket::connect(address)
            .await
            .map_err(failed(Phase::Connect))?;
        is_connected.store(true, Ordering::Relaxed);
        let socket = Socket::open(tcp, protection)
            .await
            .map_err(failed(Phase::Tls))?;
        is_open.store(true, Ordering::Relaxed);
        match greet(socket).await {
            Err(error) if error.broken_at().is_some() => Err(error),
            // A refusal is an answer, and the other addresses' would be the same.
            answered => Ok(answered),
        }
    };
    match limit.keep(race(&addresses, attempt)).await {
        Some(Ok((address, done))) => {
            if addresses.len() > 1 {
                answered.note(host, address);
            }
            done
        }
        Some(Err(mut failures)) => {
            let says_little = |error: &Error| {
                error
                    .broken_at()
                    .is_some_and(|broken| broken.code.says_little())
            };
            let at = failures.iter().position(|error| !says_little(error));
            if failures.is_empty() {
                return Err(failed(Phase::Resolve)(io::ErrorKind::NotFound.into()));
            }
            Err(failures.swap_remove(at.unwrap_or_default()))
        }
        None => {
            let phase = match (is_connected.into_inner(), is_open.into_inner()) {
                (false, _) => Phase::Connect,
                (true, false) => Phase::Tls,
                (true, true) => Phase::Hello,
            };
            Err(too_late(phase))
        }
    }
}

/// The error of a connection that could not be had.
fn not_reached(address: &Address, phase: Phase, error: io::Error) -> Error {
    let code = code(&error);
    let broken = Broken {
        phase,
        code,
        taciturn: false,
    };
    let advice = advice(address, code, phase, &error);
    Error::broken(address, broken, advice).with_source(error)
}

/// Which fault it is.
pub(crate) fn code(error: &io::Error) -> IoCode {
    match tls_error(error) {
        Some(_) => IoCode::Tls,
        None => IoCode::of(error),
    }
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// The system's or the TLS library's message, and what to do where that is known.
pub(crate) fn advice(address: &Address, code: IoCode, phase: Phase, error: &io::Error) -> String {
    if let Some(error) = tls_error(error) {
        return tls::explain(error, tls::Peer::Dispatcher);
    }
    if let (Address::Unix(_), Phase::Connect) = (address, phase) {
        return advice_on_path(code, error);
    }
    match (code, phase) {
        (IoCode::NoSuchName | IoCode::NoAddress, _) => {
            format!("{error}; is the dispatcher's name right?")
        }
        (IoCode::NameServiceBusy | IoCode::NameServiceFails, _) => {
            format!("{error}; does this machine reach its name service?")
        }
        (IoCode::TimedOut, Phase::Tls) => {
            "no TLS handshake in time; is it a TLS listener of harpcallerd?".to_owned()
        }
        (IoCode::TimedOut, Phase::Resolve) => "the name service did not answer in time".to_owned(),
        (IoCode::TimedOut, Phase::Connect) => {
            "no answer in time; is the machine up, and does a firewall let this port through?"
                .to_owned()
        }
        (IoCode::TimedOut, Phase::Hello) => "no answer in time".to_owned(),
        (IoCode::Closed, Phase::Tls) => {
            "the connection was closed during the TLS handshake; is it a TLS listener of \
             harpcallerd?"
                .to_owned()
        }
        (IoCode::System("econnrefused"), _) => {
            format!("{error}; does harpcallerd run there, and listen on this port?")
        }
        _ => error.to_string(),
    }
}

/// Advice about a Unix socket that cannot be connected to.
fn advice_on_path(code: IoCode, error: &io::Error) -> String {
    let advice = match code {
        IoCode::System("enoent") => {
            "does harpcallerd run, and is this the `path` of a [[listener]]?"
        }
        IoCode::System("econnrefused") => "does harpcallerd run? Nobody listens on this socket",
        IoCode::System("eacces") => {
            "may this user enter the directory and write to the socket (`mode` of the \
             [[listener]])?"
        }
        IoCode::TimedOut => return "its queue stayed full; is harpcallerd stuck?".to_owned(),
        _ => return error.to_string(),
    };
    format!("{error}; {advice}")
}
