//! Taking connections from a listening socket, whatever goes wrong with one of them.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::time::Duration;

use harp_time::keepalive;
use rustix::io::Errno;
use socket2::{Domain, SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::time::Instant;
use tracing::{debug, warn};

/// Pause when the system has run out of something: time for a connection to end.
const PAUSE: Duration = Duration::from_millis(100);
/// Between two log lines about failing to accept.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

/// A listening socket that goes on accepting.
#[derive(Debug)]
pub struct Acceptor<L = TcpListener> {
    listener: L,
    complained: Option<Instant>,
}

impl<L: AsFd> Acceptor<L> {
    /// Takes the socket over. Connections of a network are set up as they should be, since
    /// they inherit the options of the socket that accepts them: small messages go out at
    /// once, and a peer that is gone is noticed (keepalive after 30 s of silence, 3 probes).
    #[must_use]
    pub fn new(listener: L) -> Acceptor<L> {
        if let Err(error) = prepare(&listener) {
            debug!(%error, "cannot set options of a listening socket");
        }
        Acceptor {
            listener,
            complained: None,
        }
    }

    /// Waits out an error of accept(2) and says so in the log.
    async fn recover(&mut self, error: io::Error) {
        if concerns_one_connection(&error) {
            debug!(%error, "a connection ended before it was accepted");
            return;
        }
        let now = Instant::now();
        if self
            .complained
            .is_none_or(|last| now - last >= COMPLAIN_EVERY)
        {
            self.complained = Some(now);
            warn!(%error, "cannot accept connections, trying on");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

impl Acceptor<UnixListener> {
    /// The next connection. Errors are logged, at most one in 10 s, and waited out.
    ///
    /// Cancel safe: no accepted connection is lost.
    pub async fn accept(&mut self) -> UnixStream {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => return stream,
                Err(error) => self.recover(error).await,
            }
        }
    }
}

impl Acceptor {
    /// The address that the socket is bound to.
    ///
    /// # Errors
    ///
    /// If the system does not know it.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The next connection and its peer; an IPv4 peer of an IPv6 socket is shown as IPv4.
    /// Errors are logged, at most one in 10 s, and waited out.
    ///
    /// Cancel safe: no accepted connection is lost.
    pub async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                    return (stream, peer);
                }
                Err(error) => self.recover(error).await,
            }
        }
    }
}

/// Whom an address stands for where connections are shared by peer: itself, and of IPv6 its
/// network of 64 bits, within which addresses are free to choose.
#[must_use]
pub fn neighbourhood(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let network = address.to_bits() >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
        address @ IpAddr::V4(_) => address,
    }
}

/// Has the system keep no more than this of what a connection is to send and has not sent
/// yet, in bytes, so that what is said last does not wait long behind it. A system that
/// cannot is left as it is.
pub fn keep_unsent_below(connection: &impl AsFd, bytes: u32) {
    // Without it a slow peer is heard later.
    let _ = SockRef::from(connection).set_tcp_notsent_lowat(bytes);
}

fn prepare(listener: &impl AsFd) -> io::Result<()> {
    let socket = SockRef::from(listener);
    if socket.domain()? == Domain::UNIX {
        return Ok(());
    }
    socket.set_tcp_nodelay(true)?;
    let questions = TcpKeepalive::new()
        .with_time(keepalive::IDLE)
        .with_interval(keepalive::INTERVAL)
        .with_retries(keepalive::PROBES);
    socket.set_tcp_keepalive(&questions)
}

/// Errors that accept(2) passes on from the connection it would have returned.
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(
            Errno::CONNABORTED
                | Errno::INTR
                | Errno::NETDOWN
                | Errno::PROTO
                | Errno::NOPROTOOPT
                | Errno::HOSTDOWN
                | Errno::NONET
                | Errno::HOSTUNREACH
                | Errno::OPNOTSUPP
                | Errno::NETUNREACH
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn accepted_connections_are_set_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut acceptor = Acceptor::new(listener);
        let address = acceptor.local_addr().unwrap();
        let client = TcpStream::connect(address).await.unwrap();
        let (stream, peer) = acceptor.accept().await;
        assert_eq!(peer, client.local_addr().unwrap());
        assert!(stream.nodelay().unwrap());
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), keepalive::IDLE);
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), keepalive::PROBES);
    }

    #[tokio::test]
    async fn an_ipv4_peer_is_shown_as_one() {
        let listeners = "*:0".parse::<crate::ListenAddress>().unwrap().bind().await;
        let mut acceptor = Acceptor::new(listeners.unwrap().remove(0));
        let port = acceptor.local_addr().unwrap().port();
        let _client = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let (_, peer) = acceptor.accept().await;
        assert!(peer.is_ipv4(), "{peer}");
    }
}
