//! Looking up and connecting, the same for a host and for the dispatcher.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

/// Silence on a connection before the peer is asked whether it is still there (host
/// protocol, end).
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Between two such questions.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// Questions without an answer that make a connection dead.
const KEEPALIVE_PROBES: u32 = 3;

/// Every address of a name, in the order to try them.
///
/// # Errors
///
/// What the name service reports; [`io::ErrorKind::NotFound`] for a name without an
/// address; [`io::ErrorKind::TimedOut`] at the deadline.
pub(crate) async fn resolve(
    name: &str,
    port: u16,
    deadline: Instant,
) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let lookup = timeout_at(deadline, tokio::net::lookup_host((name, port)));
    let addresses: Vec<SocketAddr> = match lookup.await {
        Ok(found) => found?.collect(),
        Err(_) => return Err(io::ErrorKind::TimedOut.into()),
    };
    if addresses.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            "the name has no address",
        ));
    }
    Ok(addresses)
}

/// Connects to the first address that answers. The time until the deadline is shared
/// among the addresses that are left, so that one that swallows packets does not use it
/// all up.
///
/// # Errors
///
/// The failure that says most: that of the first address which could be tried at all;
/// [`io::ErrorKind::TimedOut`] at the deadline.
pub(crate) async fn connect(addresses: &[SocketAddr], deadline: Instant) -> io::Result<TcpStream> {
    let mut failure: Option<io::Error> = None;
    for (tried, address) in addresses.iter().enumerate() {
        let share = (addresses.len() - tried).try_into().unwrap_or(u32::MAX);
        let now = Instant::now();
        let until = now + deadline.saturating_duration_since(now) / share;
        let error = match timeout_at(until, TcpStream::connect(address)).await {
            Ok(Ok(socket)) => {
                prepare(&socket)?;
                return Ok(socket);
            }
            Ok(Err(error)) => error,
            Err(_) => io::ErrorKind::TimedOut.into(),
        };
        if failure.as_ref().is_none_or(says_little) {
            failure = Some(error);
        }
    }
    Err(failure.unwrap_or_else(|| io::ErrorKind::NotFound.into()))
}

/// True for the failure of an address of a family that this machine has no route for.
fn says_little(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENETUNREACH | libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)
    )
}

fn prepare(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_PROBES);
    SockRef::from(socket).set_tcp_keepalive(&keepalive)
}
