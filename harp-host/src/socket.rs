//! Looking up and connecting, the same for a host and for the dispatcher.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use harp_time::keepalive;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, sleep};

use crate::names;
use harp_time::Limit;

/// Between two attempts at a Unix socket whose queue is full.
const FULL_QUEUE_WAIT: Duration = Duration::from_millis(20);

/// Every address of a name, in the order to try them.
///
/// # Errors
///
/// What the name service reports, also a few seconds ago;
/// [`io::ErrorKind::TimedOut`] at the limit. Dropping the future leaves the look-up to
/// end on its thread.
pub async fn resolve(name: &str, port: u16, limit: &mut Limit) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    match limit.keep(names::find(name)).await {
        Some(found) => {
            let mut addresses = found?.to_vec();
            for address in &mut addresses {
                address.set_port(port);
            }
            Ok(addresses)
        }
        None => Err(io::ErrorKind::TimedOut.into()),
    }
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
    use super::*;

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
}
