//! One connection: TLS, the request, the user that asks, and the answer.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes};
use harp_budget::{Budget, Share};
use harp_proto::host::{Message, Request, kept};
use harp_proto::{Failure, LINE_ALLOWANCE, LineBuffer, error_type};
use harp_service::accept::neighbourhood;
use harp_time::Limit;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::server::TlsStream;
use tracing::{debug, info, warn};

use crate::admission::{accept, authenticate, crowded_out};
use crate::call::{Call, Workplace, spoke_on};
use crate::call_list::PlainCalls;
use crate::caller::Caller;
use crate::connections::ConnectionPermit;
use crate::kept::conversation::{self, House};
use crate::state::State;

/// From the accepted connection to the end of the request's line.
const REQUEST_TIME: Duration = Duration::from_secs(10);
/// Greatest length of a request's JSON text, in bytes.
const MAX_REQUEST: usize = 16 << 20;
/// Bytes that large requests of strangers may hold in harpd's memory together, and one
/// beyond: of callers whose password has not been judged. They wait for one another, fair by
/// peer.
const LARGE_REQUESTS: usize = 3 << 20;
/// Bytes of a large request that are asked for at once.
const STEP: usize = 64 << 10;
/// Likewise, what connections of strangers may hold with their TLS and a small request.
const STRANGERS: usize = 6 << 20;
/// What one of them holds.
const STRANGER: usize = 40 << 10;
/// Bytes of a request that are asked of the socket at once.
const READ: usize = 4 << 10;

/// State that all connections share.
#[derive(Debug)]
pub struct Reception {
    strangers: Budget,
    large: Budget,
    calls: Arc<PlainCalls>,
}

impl Default for Reception {
    fn default() -> Reception {
        Reception {
            strangers: Budget::new(STRANGERS),
            large: Budget::new(LARGE_REQUESTS),
            calls: Arc::default(),
        }
    }
}

impl Reception {
    /// The calls that end with their connections.
    #[must_use]
    pub fn calls(&self) -> &Arc<PlainCalls> {
        &self.calls
    }

    /// Memory for large requests of strangers, those that keep calls among them.
    #[must_use]
    pub fn large_requests(&self) -> Budget {
        self.large.clone()
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
    // The lease of a call begins no later than this.
    let taken = house.as_ref().map(|house| house.calls.now());
    let closing = match &house {
        Some(house) => house.closing.clone(),
        None => workplace.stopping.clone(),
    };
    let mut place = reception.strangers.share(&neighbourhood(peer.ip()));
    tokio::select! {
        _ = place.hold(STRANGER) => {}
        () = permit.dropped() => {
            return debug!(%peer, "dropped for a newer connection before it authenticated");
        }
        () = closing.cancelled() => return,
    }
    let deadline = Limit::after(REQUEST_TIME);
    let accepted = tokio::select! {
        accepted = encrypt(stream, deadline, &state) => accepted,
        () = place.gave_way() => return debug!(%peer, "too slow while others waited"),
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
        return conversation::serve(stream, peer, taken, deadline, permit, place, house).await;
    }
    let names_protocol = stream.get_ref().1.alpn_protocol().is_some();
    let accepted = tokio::select! {
        accepted = receive(stream, peer, deadline, reception, &state) => accepted,
        () = place.gave_way() => return debug!(%peer, "too slow while others waited"),
        () = permit.dropped() => {
            return debug!(%peer, "dropped for a newer connection before it authenticated");
        }
        () = workplace.stopping.cancelled() => return,
    };
    drop(place);
    // A call needs its procedure alone: after a reload it must not keep the rest of what
    // was configured before.
    drop(state);
    let (mut caller, call) = match accepted {
        Ok(accepted) => accepted,
        Err(error) => return debug!(%peer, %error, "no request came"),
    };
    match call {
        Ok(call) if permit.becomes_call() => {
            if names_protocol {
                caller.names_protocol();
            }
            let listed = reception.calls.enter(&call);
            run(call, &mut caller, &workplace).await;
            drop(listed);
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
    let answer = call.run(caller, workplace).await;
    facts.tell_end(&answer.said());
    caller.send_answer(answer);
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
    limit: Limit,
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

    let mut share = reception.large.share(&neighbourhood(peer.ip()));
    let line = read_request(&mut stream, &mut share, limit).await?;
    let request = line
        .and_then(|line| Request::decode(&line))
        .inspect_err(|failure| info!(%peer, r#type = failure.error_type, "request refused"));
    let call = match request {
        Ok(request) => match authenticate(request, share, peer, &state.users.users().await).await {
            Ok(request) => accept(request, peer, state).await,
            Err(failure) => Err(failure),
        },
        Err(failure) => Err(failure),
    };
    Ok((Caller::new(stream, stall_timeout), call))
}

/// Reads the request's line, and nothing may follow it. What has been read of it is held of
/// the strangers' memory; while there is none, nothing is read, and the caller's time stands
/// still.
async fn read_request<S: AsyncRead + Unpin>(
    stream: &mut S,
    share: &mut Share,
    mut limit: Limit,
) -> io::Result<Result<Bytes, Failure>> {
    let too_slow = || Ok(Err(crowded_out()));
    let mut lines = LineBuffer::new(MAX_REQUEST + LINE_ALLOWANCE);
    loop {
        if lines.demand(READ).is_some() {
            let bytes = (lines.partial_length() + READ).next_multiple_of(STEP);
            let asked = Instant::now();
            if share.hold(bytes).await.is_err() {
                return too_slow();
            }
            limit.move_to(limit.end() + asked.elapsed());
        }
        // No more than is held.
        let room = share.held().saturating_sub(lines.partial_length());
        let room = room.max(READ);
        let mut space = lines.space(READ).limit(room);
        let count = tokio::select! {
            biased;
            count = limit.keep(stream.read_buf(&mut space)) => count,
            () = share.gave_way() => return too_slow(),
        };
        let Some(count) = count.transpose()? else {
            return Ok(Err(invalid_request(format!(
                "no whole request came within {} s",
                REQUEST_TIME.as_secs()
            ))));
        };
        share.moved(count);
        match lines.next_line() {
            Ok(Some(_)) if lines.has_partial_line() => return Ok(Err(spoke_on())),
            Ok(Some(line)) => {
                share.settle();
                return Ok(Ok(line));
            }
            Ok(None) if count == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(None) => {}
            Err(error) => {
                return Ok(Err(invalid_request(format!("the request is a {error}"))));
            }
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

    #[tokio::test(start_paused = true)]
    async fn a_request_that_stalls_ends_when_another_wants_its_memory() {
        let requests = Budget::new(LARGE_REQUESTS);
        let (mut far, mut near) = duplex(2 * LARGE_REQUESTS);
        far.write_all(&vec![b'x'; LARGE_REQUESTS - 1])
            .await
            .unwrap();
        let mut share = requests.share(&1);
        let stalled = async move {
            let deadline = Limit::after(Duration::from_secs(3600));
            read_request(&mut near, &mut share, deadline).await
        };
        tokio::pin!(stalled);
        let alone = tokio::time::timeout(Duration::from_secs(5), &mut stalled).await;
        assert!(alone.is_err(), "nobody else waits");
        let mut other = requests.share(&2);
        let waiting = tokio::spawn(async move { other.hold(LARGE_REQUESTS).await });
        let refused = stalled.await;
        waiting.abort();
        let failure = refused.unwrap().unwrap_err();
        assert_eq!(failure.error_type, "overloaded");
        assert!(
            failure.message.contains("too slowly"),
            "{}",
            failure.message
        );
    }

    #[tokio::test]
    async fn a_large_request_holds_its_memory_until_it_is_judged() {
        let requests = Budget::new(LARGE_REQUESTS);
        for (length, is_large) in [(10, false), (1 << 20, true)] {
            let (mut far, mut near) = duplex(1000);
            let sending = tokio::spawn(async move {
                far.write_all(&vec![b'x'; length]).await.unwrap();
                far.write_all(b"\n").await.unwrap();
            });
            let mut share = requests.share(&1);
            let deadline = Limit::after(Duration::from_secs(60));
            let read = read_request(&mut near, &mut share, deadline).await;
            sending.await.unwrap();
            assert_eq!(read.unwrap().unwrap().len(), length);
            assert_eq!(requests.held() >= length, is_large);
        }
    }
}
