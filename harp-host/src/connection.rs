//! From an endpoint to an acknowledged call.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use harp_budget::Share;
use harp_proto::LINE_ALLOWANCE;
use harp_proto::host::{Request, kept};
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use zeroize::Zeroize;

use crate::line_reader::LineReader;
use crate::race::race;
use crate::read_ahead::ReadAhead;
use crate::tls::{Offer, Trust};
use crate::{Endpoint, HostCall, HostError, HostErrorKind, Limits, Phase};
use crate::{IoCode, is_own_fault, socket};
use harp_time::Limit;

/// Lines from a host.
pub(crate) type HostLines = LineReader<Box<TlsStream<ReadAhead>>>;

/// A connection to a host whose certificate has been accepted, and which has not been
/// asked anything yet. Dropping it closes it.
#[derive(Debug)]
pub struct Connection {
    endpoint: Endpoint,
    limits: Limits,
    lines: HostLines,
    /// By how much its limits are put off, because this process stood still.
    delay: Duration,
}

impl Connection {
    /// Looks the host up, and connects and does the TLS handshake with the first of its
    /// addresses with which that succeeds, all before the deadline. One that is silent for
    /// 250 ms has the next tried beside it (RFC 8305); the one that answered last time comes
    /// first.
    ///
    /// Dropping the future leaves nothing behind.
    ///
    /// # Errors
    ///
    /// A [`HostError`] of the phase `resolve`, `connect` or `tls`; that of the first address
    /// which could be tried at all.
    pub async fn open(
        endpoint: &Endpoint,
        trust: &Trust,
        limits: Limits,
        deadline: Instant,
    ) -> Result<Connection, HostError> {
        let limit = Limit::until(deadline);
        Connection::open_offering(endpoint, trust, limits, limit, Offer::Nothing).await
    }

    /// Opens one as [`Connection::open`] does, and offers `harp/1` by its name, by which our
    /// harpd is known ([`HostCall::proves_cancels`]). The limit has run since the attempt was decided
    /// on, so that a standstill before this is made up for, too.
    ///
    /// # Errors
    ///
    /// Those of [`Connection::open`].
    pub async fn open_within(
        endpoint: &Endpoint,
        trust: &Trust,
        limits: Limits,
        limit: Limit,
    ) -> Result<Connection, HostError> {
        Connection::open_offering(endpoint, trust, limits, limit, Offer::Plain).await
    }

    /// Opens one as [`Connection::open_within`] does, and offers protocols to choose from.
    pub(crate) async fn open_offering(
        endpoint: &Endpoint,
        trust: &Trust,
        limits: Limits,
        mut limit: Limit,
        offer: Offer,
    ) -> Result<Connection, HostError> {
        let deadline = limit.end();
        let mut addresses = socket::resolve(&endpoint.address, endpoint.port, &mut limit)
            .await
            .map_err(|error| match error.kind() {
                io::ErrorKind::TimedOut => HostError::timed_out(endpoint, Phase::Resolve),
                _ => HostError::io(endpoint, Phase::Resolve, error),
            })?;
        trust.answered().order(&endpoint.address, &mut addresses);
        let furthest = AtomicU8::new(NOT_CONNECTED);
        let attempt = |address| encrypted(endpoint, trust, address, offer, &furthest);
        let stream = match limit.keep(race(&addresses, attempt)).await {
            Some(Ok((address, stream))) => {
                if addresses.len() > 1 {
                    trust.answered().note(&endpoint.address, address);
                }
                stream
            }
            Some(Err(failures)) => return Err(telling(endpoint, failures)),
            None => {
                return Err(match furthest.into_inner() {
                    NOT_CONNECTED => HostError::timed_out(endpoint, Phase::Connect),
                    CONNECTED => HostError::trust_unread(endpoint),
                    _ => HostError::timed_out(endpoint, Phase::Tls),
                });
            }
        };
        let delay = limit.end().saturating_duration_since(deadline);
        let limit = limits.max_packet_size.saturating_add(LINE_ALLOWANCE);
        Ok(Connection {
            endpoint: endpoint.clone(),
            limits,
            lines: LineReader::new(stream, limit),
            delay,
        })
    }

    /// True if the host has chosen this protocol of those that it was offered.
    pub(crate) fn has_agreed_on(&self, protocol: &[u8]) -> bool {
        let session = self.lines.source().get_ref().1;
        session.alpn_protocol() == Some(protocol)
    }

    /// From where the connection is, which is its peer for the host.
    #[must_use]
    pub fn local_address(&self) -> Option<SocketAddr> {
        self.lines.source().get_ref().0.local_address()
    }

    /// When the host's certificate ends, in seconds since 1970; `None` if that cannot be read in
    /// it.
    #[must_use]
    pub fn certificate_ends(&self) -> Option<i64> {
        let session = self.lines.source().get_ref().1;
        let certificate = session.peer_certificates()?.first()?;
        harp_files::certificate::ends(certificate)
    }

    /// The parts, for another protocol than one call a connection.
    pub(crate) fn into_parts(self) -> (Endpoint, Limits, HostLines, Duration) {
        (self.endpoint, self.limits, self.lines, self.delay)
    }

    /// Has large messages of the host hold their bytes of a budget.
    pub fn set_share(&mut self, share: Share) {
        self.lines.set_share(share);
    }

    /// Sends the request and waits for its acknowledgement, both before the deadline:
    /// [`Connection::send`] and [`HostCall::acknowledged`] in one.
    ///
    /// Dropping the future closes the connection, which cancels the call if the host has
    /// got it.
    ///
    /// # Errors
    ///
    /// A [`HostError`] of the phase `request` or `acknowledge`; of the kind
    /// [`Remote`](crate::HostErrorKind::Remote) if the host refuses the request.
    pub async fn request(
        self,
        request: &Request,
        deadline: Instant,
    ) -> Result<HostCall, HostError> {
        let mut call = self.send(request, deadline).await?;
        call.acknowledged(deadline).await?;
        Ok(call)
    }

    /// Sends the request before the deadline. From then on the host may be at work, so
    /// the call is there to be cancelled; what comes next is
    /// [`HostCall::acknowledged`].
    ///
    /// Dropping the future closes the connection; a host that has not got the whole
    /// request does nothing.
    ///
    /// # Errors
    ///
    /// A [`HostError`] of the phase `request`, or of the kind
    /// [`Remote`](crate::HostErrorKind::Remote) if the host refused the request before
    /// it had read all of it.
    pub async fn send(
        mut self,
        request: &Request,
        deadline: Instant,
    ) -> Result<HostCall, HostError> {
        let line = SecretLine::of(request);
        let mut limit = Limit::until(deadline + self.delay);
        let sent = limit.keep(self.write(&line.text)).await;
        let delay = limit.end().saturating_duration_since(deadline);
        let proves_cancels = self.has_agreed_on(kept::ALPN_PLAIN);
        let mut call = HostCall::new(
            self.endpoint,
            self.limits,
            self.lines,
            delay,
            proves_cancels,
        );
        match sent {
            Some(Ok(())) => Ok(call),
            Some(Err(error)) => {
                let broken = HostError::io(call.endpoint(), Phase::Request, error);
                Err(call.refusal_before(broken))
            }
            None => {
                let too_late = call.timed_out(Phase::Request);
                Err(call.refusal_before(too_late))
            }
        }
    }

    async fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let stream = self.lines.source_mut();
        stream.write_all(line).await?;
        stream.flush().await
    }
}

/// A request's line. Its end, where the password is, is overwritten when it is dropped.
struct SecretLine {
    text: BytesMut,
    /// How long the end is at most.
    end: usize,
}

impl SecretLine {
    fn of(request: &Request) -> SecretLine {
        // Escaped, a byte takes six; the keys beside it fewer than this.
        const KEYS: usize = 256;
        let end = KEYS + 6 * (request.user.len() + request.password.reveal().len());
        let beginning = KEYS + 6 * request.procedure.len() + request.arguments.as_bytes().len();
        // All of it at once: growing would leave copies behind.
        let mut text = BytesMut::with_capacity(beginning + end);
        request.encode(&mut text);
        SecretLine { text, end }
    }
}

impl Drop for SecretLine {
    fn drop(&mut self) {
        let beginning = self.text.len().saturating_sub(self.end);
        self.text[beginning..].zeroize();
    }
}

/// How far the attempt has come that has come furthest.
const NOT_CONNECTED: u8 = 0;
/// The trust files are being looked at.
const CONNECTED: u8 = 1;
const KNOWS_WHOM_TO_TRUST: u8 = 2;

/// Connects to one address and does the TLS handshake.
async fn encrypted(
    endpoint: &Endpoint,
    trust: &Trust,
    address: SocketAddr,
    offer: Offer,
    furthest: &AtomicU8,
) -> Result<Box<TlsStream<ReadAhead>>, HostError> {
    let socket = socket::connect(address)
        .await
        .map_err(|error| HostError::io(endpoint, Phase::Connect, error))?;
    furthest.fetch_max(CONNECTED, Ordering::Relaxed);
    let unusable = |detail: String| HostError::network(endpoint, Phase::Tls, IoCode::Tls, detail);
    let name = endpoint.server_name(address.ip()).map_err(|_| {
        unusable(format!(
            "tls_name {:?} is neither a DNS name nor an address; mend it in the hosts registry",
            endpoint.tls_name.as_deref().unwrap_or_default()
        ))
    })?;
    // As late as can be, so that it is the trust of now that decides.
    let config = trust
        .client_config_offering(endpoint, offer)
        .await
        .map_err(|error| match error.unreadable() {
            Some(source) if is_own_fault(source) => {
                let source = match source.raw_os_error() {
                    Some(errno) => io::Error::from_raw_os_error(errno),
                    None => source.kind().into(),
                };
                HostError::io(endpoint, Phase::Tls, source)
            }
            _ => unusable(error.to_string()),
        })?;
    furthest.fetch_max(KNOWS_WHOM_TO_TRUST, Ordering::Relaxed);
    let handshake = TlsConnector::from(config).connect(name, ReadAhead::new(socket));
    match handshake.await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) => Err(HostError::io(endpoint, Phase::Tls, error)),
    }
}

/// The failure that says most: that of the first address which could be tried at all.
fn telling(endpoint: &Endpoint, mut failures: Vec<HostError>) -> HostError {
    let says_little = |error: &HostError| match error.kind() {
        HostErrorKind::Network { code } => code.says_little(),
        _ => false,
    };
    let at = failures.iter().position(|error| !says_little(error));
    if failures.is_empty() {
        return HostError::io(endpoint, Phase::Resolve, io::ErrorKind::NotFound.into());
    }
    failures.swap_remove(at.unwrap_or_default())
}
