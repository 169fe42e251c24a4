//! One connection: TLS, the request, who asks, and the answer.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use harp_proto::host::{Message, Request};
use harp_proto::{Failure, LINE_ALLOWANCE, LineBuffer, error_type};
use harp_time::Limit;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::server::TlsStream;
use tracing::{debug, info, warn};

use crate::call::{Call, Workplace, spoke_on};
use crate::caller::Caller;
use crate::connections::ConnectionPermit;
use crate::large_requests::{LargePlace, LargeRequests};
use crate::program::loading_error;
use crate::state::State;
use crate::users::Users;

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
/// A failed authentication is answered this long after it began.
const FAILURE_DELAY: Duration = Duration::from_secs(1);
/// Greatest length of a name from a request in the log, in characters.
const SHOWN: usize = 64;

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

/// Serves a connection to its end. It ends early, without an answer, if its place is
/// taken from it, or if harpd stops, before its call has begun.
pub async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    mut permit: ConnectionPermit,
    reception: &Reception,
    state: Arc<State>,
    workplace: Workplace,
) {
    let accepted = tokio::select! {
        accepted = receive(stream, peer, reception, &state) => accepted,
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
async fn run(call: Call, caller: &mut Caller<TlsStream<TcpStream>>, workplace: &Workplace) {
    let began = Instant::now();
    let (procedure, user, peer) = (Arc::clone(&call.procedure), call.user.clone(), call.peer);
    caller.send(&Message::Acknowledged {
        stream_result: procedure.output.streams(),
    });
    let end = call.run(caller, workplace).await;
    let (outcome, why) = match &end {
        Message::Exception(failure) => ("exception", Some(&failure.error_type)),
        Message::Error(failure) => ("error", Some(&failure.error_type)),
        _ => ("returned", None),
    };
    info!(
        procedure = procedure.name,
        user,
        %peer,
        seconds = began.elapsed().as_secs_f64(),
        outcome,
        r#type = why,
        "call ended"
    );
    caller.send(&end);
}

/// Reads and judges the request. The inner error is what to answer; the outer one means
/// that there is nobody to answer to.
async fn receive(
    stream: TcpStream,
    peer: SocketAddr,
    reception: &Reception,
    state: &State,
) -> io::Result<(Caller<TlsStream<TcpStream>>, Result<Call, Failure>)> {
    let mut limit = Limit::after(REQUEST_TIME);
    let handshake = state.tls.handshake(stream);
    let mut stream = limit
        .keep(handshake)
        .await
        .ok_or(io::ErrorKind::TimedOut)??;
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

/// Lets the request of a user with the right password pass. Of any other nothing is
/// kept while its sender waits for the answer.
async fn authenticate(
    request: Request,
    large: Option<LargePlace>,
    peer: SocketAddr,
    users: &Arc<Users>,
) -> Result<Request, Failure> {
    let began = Instant::now();
    if users.verify(&request.user, &request.password).await {
        return Ok(request);
    }
    warn!(user = shown(&request.user), %peer, "authentication failed");
    drop(request);
    drop(large);
    tokio::time::sleep_until(began + FAILURE_DELAY).await;
    Err(Failure::new(
        error_type::AUTH_ERROR,
        "user and password do not fit",
    ))
}

/// Makes a call of a request; authentication comes first, so that a stranger learns
/// nothing else, and what the user may call second, so that nobody learns what else there
/// is.
fn accept(request: Request, peer: SocketAddr, state: &State) -> Result<Call, Failure> {
    if !(state.config.permissions).allow(&request.user, &request.procedure) {
        let procedure = shown(&request.procedure);
        warn!(procedure, user = request.user, %peer, "the user may not call the procedure");
        return Err(Failure::new(
            error_type::AUTH_ERROR,
            format!("user {} may not call {procedure}", shown(&request.user)),
        )
        .with_data(&serde_json::json!({ "procedure": request.procedure })));
    }
    let Some(procedure) = state.config.procedures.get(&request.procedure) else {
        let procedure = shown(&request.procedure);
        if let Some(error) = &state.imports.module_failure {
            // It may be one of the module's.
            warn!(procedure, user = request.user, %peer, %error, "cannot be started");
            return Err(Failure::new(
                error_type::PROCEDURE_LOADING_ERROR,
                format!("there is no procedure {procedure} as long as this is so: {error}"),
            ));
        }
        info!(procedure, user = request.user, %peer, "no such procedure");
        return Err(Failure::new(
            error_type::NO_SUCH_PROCEDURE,
            format!("there is no procedure {procedure}"),
        )
        .with_data(&serde_json::json!({ "procedure": request.procedure })));
    };
    procedure.runner.check().map_err(|why| {
        warn!(procedure = procedure.name, user = request.user, %peer, %why, "cannot be started");
        loading_error(&why)
    })?;
    let invocation = procedure
        .runner
        .prepare(&request.arguments)
        .inspect_err(|failure| {
            info!(
                procedure = procedure.name, user = request.user, %peer, r#type = failure.error_type,
                "request refused"
            );
        })?;
    Ok(Call {
        invocation,
        procedure: Arc::clone(procedure),
        user: request.user,
        peer,
    })
}

fn invalid_request(message: String) -> Failure {
    Failure::new(error_type::INVALID_REQUEST, message)
}

/// A name that a stranger chose, short and without control characters.
fn shown(name: &str) -> String {
    let start: String = name.chars().take(SHOWN).collect();
    let ellipsis = if start.len() < name.len() { "..." } else { "" };
    format!("{start:?}{ellipsis}")
}

#[cfg(test)]
mod tests {
    use harp_proto::Json;
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

    /// Bytes that show when nobody has them any more.
    struct Watched(Arc<[u8]>);

    impl AsRef<[u8]> for Watched {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }

    #[tokio::test]
    async fn nothing_of_a_refused_request_is_held_while_its_sender_waits() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let users = Arc::new(Users::read(file.path()).unwrap());
        let places = LargeRequests::new(1);
        let mark: Arc<[u8]> = Arc::from(*b"[]");
        let arguments = Bytes::from_owner(Watched(Arc::clone(&mark)));
        let request = Request {
            procedure: "p".into(),
            arguments: Json::from_trusted(arguments),
            user: "stranger".into(),
            // Wrong unseen, so that no time goes by.
            password: "x".repeat(1000).into(),
        };
        let place = places.take().await;
        place.is_whole();
        let peer = "127.0.0.1:1".parse().unwrap();
        let answer = authenticate(request, Some(place), peer, &users);
        tokio::pin!(answer);
        let early = tokio::time::timeout(FAILURE_DELAY / 2, &mut answer).await;
        assert!(early.is_err());
        assert!(has_room(&places).await);
        assert_eq!(Arc::strong_count(&mark), 1);
        assert_eq!(answer.await.unwrap_err().error_type, "auth_error");
    }
}
