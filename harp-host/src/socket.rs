//! Looking up and connecting, the same for a host and for the dispatcher.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use dns_lookup::{AddrInfoHints, LookupError, LookupErrorKind, getaddrinfo};
use harp_time::keepalive;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use crate::IoCode;
use harp_time::Limit;

/// Names that are looked up at once. A name service that does not answer holds a thread
/// for each, and the threads are those that everything else which blocks runs on, reading
/// from a store for one. So this is for the whole process, as they are.
static LOOKUPS: Semaphore = Semaphore::const_new(64);

/// Between two attempts at a Unix socket whose queue is full.
const FULL_QUEUE_WAIT: Duration = Duration::from_millis(20);

/// Every address of a name, in the order to try them.
///
/// # Errors
///
/// [`Unresolved`] as the source for what the name service reports;
/// [`io::ErrorKind::TimedOut`] at the limit. Dropping the future leaves the look-up to
/// end on its thread.
pub async fn resolve(name: &str, port: u16, limit: &mut Limit) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let name = name.to_owned();
    let lookup = bounded(&LOOKUPS, move || lookup(&name, port));
    limit
        .keep(lookup)
        .await
        .unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
}

/// Answer of the name service in place of an address.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Unresolved {
    /// The wire's `code`.
    pub code: IoCode,
    message: String,
}

/// Asks the name service; blocks for as long as that takes.
fn lookup(name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let hints = AddrInfoHints {
        socktype: libc::SOCK_STREAM,
        ..AddrInfoHints::default()
    };
    let found = getaddrinfo(Some(name), None, Some(hints)).map_err(unresolved)?;
    let addresses = found.map(|found| {
        let mut address = found?.sockaddr;
        address.set_port(port);
        Ok(address)
    });
    let addresses: Vec<SocketAddr> = addresses.collect::<io::Result<_>>()?;
    if addresses.is_empty() {
        Err(io::Error::other(Unresolved {
            code: IoCode::NoAddress,
            message: "the name has no address".to_owned(),
        }))
    } else {
        Ok(addresses)
    }
}

fn unresolved(error: LookupError) -> io::Error {
    let code = match error.kind() {
        LookupErrorKind::NoName => IoCode::NoSuchName,
        LookupErrorKind::NoData => IoCode::NoAddress,
        LookupErrorKind::Again => IoCode::NameServiceBusy,
        LookupErrorKind::Memory => return io::ErrorKind::OutOfMemory.into(),
        // The system's own error; or a name with a NUL, which no name service is asked for.
        LookupErrorKind::System => return error.into(),
        LookupErrorKind::IO => IoCode::NoSuchName,
        _ => IoCode::NameServiceFails,
    };
    let message = error.to_string();
    io::Error::other(Unresolved { code, message })
}

/// Runs what blocks, when there is a place for it. The place is given back when it has
/// run: the waiting task may give up before, the thread cannot.
async fn bounded<T: Send + 'static>(
    places: &'static Semaphore,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let place: SemaphorePermit<'static> = places.acquire().await.map_err(io::Error::other)?;
    let running = spawn_blocking(move || {
        let result = work();
        drop(place);
        result
    });
    running.await.map_err(io::Error::other)?
}

/// Connects to an address. Dropping the future leaves nothing behind.
///
/// # Errors
///
/// The system's.
pub async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpStream::connect(address).await?;
    prepare(&socket)?;
    Ok(socket)
}

/// Connects to a Unix socket. Where the system would have a TCP connection wait, because
/// the listener's queue is full, it refuses this one, so that it is tried again until the
/// deadline. Cancel safe.
///
/// # Errors
///
/// The system's; [`io::ErrorKind::TimedOut`] at the deadline.
pub async fn connect_local(path: &Path, deadline: Instant) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => return result,
        }
        if Instant::now() >= deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        sleep(FULL_QUEUE_WAIT).await;
    }
}

fn prepare(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let questions = TcpKeepalive::new()
        .with_time(keepalive::IDLE)
        .with_interval(keepalive::INTERVAL)
        .with_retries(keepalive::PROBES);
    SockRef::from(socket).set_tcp_keepalive(&questions)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn only_a_name_that_does_not_exist_is_nxdomain() {
        for (error, code) in [
            (libc::EAI_NONAME, "nxdomain"),
            (libc::EAI_NODATA, "nodata"),
            (libc::EAI_AGAIN, "eai_again"),
            (libc::EAI_FAIL, "eai_fail"),
            (libc::EAI_FAMILY, "eai_fail"),
            (libc::EAI_MEMORY, "enomem"),
        ] {
            let error = unresolved(LookupError::new(error));
            assert_eq!(IoCode::of(&error).as_str(), code, "{error}");
        }
        let error = lookup("no\0name", 1).unwrap_err();
        assert_eq!(IoCode::of(&error).as_str(), "nxdomain");
    }

    #[tokio::test]
    async fn a_full_queue_of_a_unix_socket_is_waited_for() {
        use socket2::{Domain, SockAddr, Socket, Type};

        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("clients");
        let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        listener.bind(&SockAddr::unix(&path).unwrap()).unwrap();
        listener.listen(0).unwrap();
        let soon = || Instant::now() + Duration::from_millis(50);
        let mut queued = Vec::new();
        let refused = loop {
            match connect_local(&path, soon()).await {
                Ok(socket) => queued.push(socket),
                Err(error) => break error,
            }
        };
        assert_eq!(refused.kind(), io::ErrorKind::TimedOut);

        let later = Instant::now() + Duration::from_secs(60);
        let connecting = tokio::spawn(async move { connect_local(&path, later).await });
        for _ in &queued {
            listener.accept().unwrap();
        }
        connecting.await.unwrap().unwrap();
    }

    #[test]
    fn names_of_this_machine_are_found() {
        // A form that the resolver alone knows, whatever is in /etc/hosts.
        let found = lookup("127.1", 7).unwrap();
        assert!(found.iter().all(|address| address.port() == 7));
        assert!(found.iter().any(|address| address.ip().is_loopback()));
    }

    #[tokio::test]
    async fn who_gives_up_leaves_the_place_to_the_thread_that_has_it() {
        static PLACES: Semaphore = Semaphore::const_new(1);
        let (answer, question) = mpsc::channel::<()>();
        let hanging = bounded(&PLACES, move || question.recv().map_err(io::Error::other));
        let short = Duration::from_millis(50);
        assert!(tokio::time::timeout(short, hanging).await.is_err());
        // The next has to wait for the thread, not for the task that gave up.
        let next = bounded(&PLACES, || Ok(1));
        tokio::pin!(next);
        assert!(tokio::time::timeout(short, &mut next).await.is_err());
        answer.send(()).unwrap();
        assert_eq!(next.await.unwrap(), 1);
    }
}
