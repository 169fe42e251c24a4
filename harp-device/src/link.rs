//! A link to one of a device's two sockets: a connection, and the memory of its messages.

use bytes::Bytes;
use harp_budget::{GaveWay, Share};
use harp_host::socket;
use harp_time::Limit;
use harp_zmtp::{Connection, SocketType};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::fault::Fault;

/// A message of up to so many bytes asks nobody for memory.
const SMALL: usize = 64 * 1024;

/// How often the bytes of a large message are in memory while it is made use of: the message,
/// what is made of it, and that on its way to where it is kept.
const COPIES: usize = 3;

/// A connection whose handshake is done. Its large messages hold their bytes of the memory
/// that those of all hosts share; while there are none to be had, nothing is read.
pub(crate) struct Link {
    at: String,
    connection: Connection<TcpStream>,
    share: Share,
    /// A message that waits for the memory of what is made of it.
    whole: Option<Vec<Bytes>>,
}

impl Link {
    /// Of a connection to a socket that is shown as `at`.
    pub(crate) fn new(at: String, connection: Connection<TcpStream>, share: Share) -> Link {
        Link {
            at,
            connection,
            share,
            whole: None,
        }
    }

    /// The socket, as it is shown.
    pub(crate) fn at(&self) -> &str {
        &self.at
    }

    /// Wants everything that is published.
    pub(crate) async fn subscribe(&mut self) -> Result<(), Fault> {
        let subscribed = self.connection.subscribe(b"").await;
        subscribed.map_err(|error| Fault::of(&*self.at, &error))
    }

    /// Sends a message. Cancel safe: what is left of it goes out with whatever is done next.
    pub(crate) async fn send(&mut self, parts: &[&[u8]]) -> Result<(), Fault> {
        let sent = self.connection.send(parts).await;
        sent.map_err(|error| Fault::of(&*self.at, &error))
    }

    /// The next message, which holds its memory until another one is asked for. Cancel safe.
    pub(crate) async fn receive(&mut self) -> Result<Vec<Bytes>, Fault> {
        if self.share.is_whole() {
            self.share.release();
        }
        loop {
            if self.whole.is_none() {
                let arrived = self.connection.arrived();
                self.whole = arrived.map_err(|error| Fault::of(&*self.at, &error))?;
            }
            if let Some(parts) = &self.whole {
                let size: usize = parts.iter().map(Bytes::len).sum();
                if self.share.is_held() || size > SMALL {
                    let held = self.share.hold(COPIES * size).await;
                    held.map_err(|GaveWay| Fault::gave_way(&*self.at))?;
                    self.share.settle();
                }
                return Ok(self.whole.take().unwrap_or_default());
            }
            let unfinished = self.connection.unfinished();
            if unfinished > SMALL {
                // A buffer that grows is twice as large as what is in it.
                let held = self.share.hold(2 * unfinished).await;
                held.map_err(|GaveWay| Fault::gave_way(&*self.at))?;
            }
            tokio::select! {
                read = self.connection.read() => {
                    let read = read.map_err(|error| Fault::of(&*self.at, &error))?;
                    self.share.moved(read);
                }
                () = self.share.gave_way() => return Err(Fault::gave_way(&*self.at)),
            }
        }
    }
}

/// Looks the device up, connects to the first of its addresses that answers, and does the
/// handshake, all by `until`. A message may have so many bytes. Cancel safe.
pub(crate) async fn open(
    (address, port): (&str, u16),
    socket: SocketType,
    most: usize,
    until: Instant,
) -> Result<Connection<TcpStream>, Fault> {
    let at = shown(address, port);
    let mut limit = Limit::until(until);
    let addresses = socket::resolve(address, port, &mut limit).await;
    let addresses = addresses.map_err(|error| Fault::io(&at, &error))?;
    let mut first = None;
    for address in addresses {
        let tried = async {
            let stream = socket::connect(address).await;
            let stream = stream.map_err(|error| Fault::io(&at, &error))?;
            let opened = Connection::open(stream, socket, most).await;
            opened.map_err(|error| Fault::of(&at, &error))
        };
        let fault = match limit.keep(tried).await {
            Some(Ok(connection)) => return Ok(connection),
            Some(Err(fault)) => fault,
            None => {
                let what = "no answer in time; is the device up, and does a firewall let this \
                            port through?";
                let fault = Fault::timed_out(&at, what);
                return Err(first.unwrap_or(fault));
            }
        };
        first.get_or_insert(fault);
    }
    // A name has an address, or its look-up has failed.
    Err(first.unwrap_or_else(|| Fault::network(at, "nodata", "its name has no address")))
}

/// An address and a port, as they are shown.
pub(crate) fn shown(address: &str, port: u16) -> String {
    if address.contains(':') {
        format!("[{address}]:{port}")
    } else {
        format!("{address}:{port}")
    }
}
