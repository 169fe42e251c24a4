//! Opening a connection to a host, as it speaks.

use harp_proto::host::kept;
use harp_time::Limit;

use super::KeptConnection;
use crate::connection::Connection;
use crate::tls::{Offer, Trust};
use crate::{Endpoint, HostError, Limits};

/// A connection, as the host has chosen.
#[derive(Debug)]
pub enum Opened {
    /// It can keep calls.
    Kept(Box<KeptConnection>),
    /// It cannot: one call a connection, which ends with it.
    Plain(Box<Connection>),
}

/// Looks the host up, connects, and agrees on the protocol, all within the limit.
///
/// Dropping the future leaves nothing behind.
///
/// # Errors
///
/// Those of [`Connection::open_within`].
pub async fn open(
    endpoint: &Endpoint,
    trust: &Trust,
    limits: Limits,
    limit: Limit,
) -> Result<Opened, HostError> {
    let connection = Connection::open_offering(endpoint, trust, limits, limit, Offer::Kept).await?;
    if connection.has_agreed_on(kept::ALPN) {
        let kept = KeptConnection::over(connection);
        return Ok(Opened::Kept(Box::new(kept)));
    }
    Ok(Opened::Plain(Box::new(connection)))
}
