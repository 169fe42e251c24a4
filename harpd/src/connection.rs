//! One connection: TLS, the request, who asks, and the answer.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use harp_proto::host::{Message, Request, kept};
use harp_proto::{Failure, LINE_ALLOWANCE, LineBuffer, error_type};
use harp_time::Limit;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tracing::{debug, info, warn};

use crate::admission::{accept, authenticate};
use crate::call::{Call, Workplace, spoke_on};
use crate::caller::Caller;
use crate::connections::ConnectionPermit;
use crate::kept::conversation::{self, House};
use crate::large_requests::{LargePlace, LargeRequests};
use crate::state::State;

/// From the accepted connection to the end of the request's line.
const REQUEST_TIME: Duration = Duration::from_secs(10);
/// Greatest length of a request's JSON text, in bytes.
const MAX_REQUEST: usize = 16 << 20;
/// Only so many bytes are read of a request before it must wait for one of
/// [`LARGE_REQUESTS`].
const LARGE_REQUEST: usize = 64 << 10;
/// Large requests held at once of callers whose password has not been judged: what
/// strangers can make harpd hold in memory is bounded by it.
const LARGE_REQUESTS: usize = 16;

/// State that all connections share.
#[derive(Debug)]
pub struct Reception {
    large_requests: Arc<LargeRequests>,
}

impl Default for Reception {
    fn default() -> Reception {
        Reception {
            large_requests: LargeRequests::new(LARGE_REQUESTS),
        }
    }
}

impl Reception {
    /// Places for large requests.
    #[must_use]
    pub fn large_requests(&self) -> Arc<LargeRequests> {
        Arc::clone(&self.large_requests)
    }
}

/// An encrypted connection.
type Stream = TlsStream<TcpStream>;

/// Serves a connection to its end. It ends early, without an answer, if its place is
/// taken from it, or if harpd stops, before its call has begun; a caller that keeps calls
/// can still come for ends, as long as `house` has some.
pub async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    mut permit: ConnectionPermit,
    reception: &Reception,
    state: Arc<State>,
    workplace: Workplace,
    house: Option<House>,
) {
    let deadline = Limit::after(REQUEST_TIME);
    // The lease of a call begins no later than this.
    let taken = house.as_ref().map(|house| house.calls.now());
    let closing = match &house {
        Some(house) => house.closing.clone(),
        None => workplace.stopping.clone(),
    };
    let accepted = tokio::select! {
        accepted = encrypt(stream, deadline, &state) => accepted,
        () = permit.dropped() => {
            return debug!(%peer, "dropped for a newer connection before it authenticated");
        }
        () = closing.cancelled() => return,
    };
    let stream = match accepted {
        Ok(stream) => stream,
        Err(error) => return debug!(%peer, %error, "no request came"),
    };
    if let (Some(house), Some(taken)) = (house, taken)
        && stream.get_ref().1.alpn_protocol() == Some(kept::ALPN)
    {
        drop(state);
        return conversation::serve(stream, peer, taken, deadline, permit, house).await;
    }
    let accepted = tokio::select! {
        accepted = receive(stream, peer, deadline, reception, &state) => accepted,
        () = permit.dropped() => {
            return debug!(%peer, "dropped for a newer connection before it authenticated");
        }
        () = workplace.stopping.cancelled() => return,
    };
    // A call needs its procedure alone: after a reload it must not keep the rest of what
    // was configured before.
    drop(state);
    let (mut caller, call) = match accepted {
        Ok(accepted) => accepted,
        Err(error) => return debug!(%peer, %error, "no request came"),
    };
    match call {
        Ok(call) if permit.becomes_call() => {
            run(call, &mut caller, &workplace).await;
            caller.finish(&workplace.stopping).await;
        }
        Ok(_) => {}
        Err(failure) => {
            caller.send(&Message::Error(failure));
            tokio::select! {
                () = caller.finish(&workplace.stopping) => {}
                () = permit.dropped() => {}
            }
        }
    }
}

/// Runs an accepted call, and tells the log of it.
async fn run(call: Call, caller: &mut Caller<Stream>, workplace: &Workplace) {
    let facts = call.facts();
    caller.send(&Message::Acknowledged {
        stream_result: call.procedure.output.streams(),
    });
    let end = call.run(caller, workplace).await;
    facts.tell_end(&end);
    caller.send(&end);
}

async fn encrypt(stream: TcpStream, mut limit: Limit, state: &State) -> io::Result<Stream> {
    let handshake = state.tls.handshake(stream);
    limit.keep(handshake).await.ok_or(io::ErrorKind::TimedOut)?
}

/// Reads and judges the request. The inner error is what to answer; the outer one means
/// that there is nobody to answer to.
async fn receive(
    mut stream: Stream,
    peer: SocketAddr,
    mut limit: Limit,
    reception: &Reception,
    state: &State,
) -> io::Result<(Caller<Stream>, Result<Call, Failure>)> {
    let stall_timeout = state.config.stall_timeout;
    let has_certificate = stream.get_ref().1.peer_certificates().is_some();
    if state.config.client_ca_file.is_some() && !has_certificate {
        warn!(%peer, "authentication failed, no certificate was shown");
        let failure = Failure::new(
            error_type::AUTH_ERROR,
            "callers must show a certificate of an authority in client_ca_file",
        );
        return Ok((Caller::new(stream, stall_timeout), Err(failure)));
    }

    let line = read_request(&mut stream, &reception.large_requests);
    let line = match limit.keep(line).await {
        Some(line) => line?,
        None => Err(invalid_request(format!(
            "no whole request came within {} s",
            REQUEST_TIME.as_secs()
        ))),
    };
    let request = line
        .and_then(|(line, large)| Ok((Request::decode(&line)?, large)))
        .inspect_err(|failure| info!(%peer, r#type = failure.error_type, "request refused"));
    let call = match request {
        Ok((request, large)) => {
            match authenticate(request, large, peer, &state.users.users()).await {
                Ok(request) => accept(request, peer, state),
                Err(failure) => Err(failure),
            }
        }
        Err(failure) => Err(failure),
    };
    Ok((Caller::new(stream, stall_timeout), call))
}

/// Reads the request's line, and nothing may follow it. With a large one comes its
/// place, to be held as long as a stranger's request is.
async fn read_request<S: AsyncRead + Unpin>(
    stream: &mut S,
    large_requests: &Arc<LargeRequests>,
) -> io::Result<Result<(Bytes, Option<LargePlace>), Failure>> {
    let mut lines = LineBuffer::new(MAX_REQUEST + LINE_ALLOWANCE);
    let mut received = 0;
    let mut large: Option<LargePlace> = None;
    loop {
        let lost = async {
            match &large {
                Some(place) => place.lost().await,
                None => std::future::pending().await,
            }
        };
        let count = tokio::select! {
            count = stream.read_buf(lines.space(4096)) => count?,
            () = lost => return Ok(Err(invalid_request(
                "the request came too slowly while others waited".to_owned(),
            ))),
        };
        received += count;
        match lines.next_line() {
            Ok(Some(_)) if lines.has_partial_line() => return Ok(Err(spoke_on())),
            Ok(Some(line)) => {
                if let Some(place) = &large {
                    place.is_whole();
                }
                return Ok(Ok((line, large)));
            }
            Ok(None) if count == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(None) => {}
            Err(error) => {
                return Ok(Err(invalid_request(format!("the request is a {error}"))));
            }
        }
        if received > LARGE_REQUEST && large.is_none() {
            large = Some(large_requests.take().await);
        }
    }
}

fn invalid_request(message: String) -> Failure {
    Failure::new(error_type::INVALID_REQUEST, message)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn a_large_request_keeps_its_place() {
        let places = LargeRequests::new(1);
        for (length, is_large) in [(10, false), (2 * LARGE_REQUEST, true)] {
            let (mut far, mut near) = duplex(1000);
            let sending = tokio::spawn(async move {
                far.write_all(&vec![b'x'; length]).await.unwrap();
                far.write_all(b"\n").await.unwrap();
            });
            let read = read_request(&mut near, &places).await.unwrap().unwrap();
            sending.await.unwrap();
            assert_eq!((read.0.len(), read.1.is_some()), (length, is_large));
            assert_eq!(has_room(&places).await, !is_large);
        }
        assert!(has_room(&places).await);
    }

    async fn has_room(places: &Arc<LargeRequests>) -> bool {
        let soon = Duration::from_millis(10);
        tokio::time::timeout(soon, places.take()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_request_that_stalls_ends_when_another_comes() {
        let places = LargeRequests::new(1);
        let (mut far, mut near) = duplex(4 * LARGE_REQUEST);
        far.write_all(&vec![b'x'; 2 * LARGE_REQUEST]).await.unwrap();
        let stalled = read_request(&mut near, &places);
        tokio::pin!(stalled);
        let alone = tokio::time::timeout(Duration::from_secs(5), &mut stalled).await;
        assert!(alone.is_err(), "nobody else waits");
        let (refused, _place) = tokio::join!(stalled, places.take());
        let failure = refused.unwrap().unwrap_err();
        assert_eq!(failure.error_type, "invalid_request");
        assert!(
            failure.message.contains("too slowly"),
            "{}",
            failure.message
        );
    }
}
