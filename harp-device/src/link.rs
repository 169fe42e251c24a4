//! A connection to one of a device's two sockets.

use harp_host::socket;
use harp_time::Limit;
use harp_zmtp::{Connection, SocketType};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::fault::Fault;

/// A connection whose handshake is done.
pub(crate) type Link = Connection<TcpStream>;

/// Looks the device up, connects to the first of its addresses that answers, and does the
/// handshake, all by `until`. A message may have so many bytes. Cancel safe.
pub(crate) async fn open(
    (address, port): (&str, u16),
    socket: SocketType,
    most: usize,
    until: Instant,
) -> Result<Link, Fault> {
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
            Some(Ok(link)) => return Ok(link),
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
