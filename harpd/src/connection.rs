//! One connection: TLS, the request, who asks, and the answer.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use harp_proto::host::{Message, Request};
use harp_proto::{Failure, LINE_ALLOWANCE, LineBuffer, error_type};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{debug, info, warn};

use crate::call::{Call, Workplace, spoke_on};
use crate::caller::Caller;
use crate::connections::Place;
use crate::runner::loading_error;
use crate::state::State;
use crate::users::Users;

/// From the accepted connection to the end of the request's line.
const REQUEST_TIME: Duration = Duration::from_secs(10);
/// Greatest length of a request's JSON text, in bytes.
const MAX_REQUEST: usize = 16 << 20;
/// Only so many bytes are read of a request before it must wait for one of
/// [`LARGE_REQUESTS`].
const LARGE_REQUEST: usize = 64 << 10;
/// Large requests of callers whose password has not been judged, held at once: what
/// strangers can make harpd hold in memory is bounded by it.
const LARGE_REQUESTS: usize = 16;
/// A failed authentication is answered this long after it began.
const FAILURE_DELAY: Duration = Duration::from_secs(1);
/// Greatest length of a name from a request in the log, in characters.
const SHOWN: usize = 64;

/// What all connections share.
#[derive(Debug)]
pub struct Reception {
    large_requests: Semaphore,
}

impl Default for Reception {
    fn default() -> Reception {
        Reception {
            large_requests: Semaphore::new(LARGE_REQUESTS),
        }
    }
}

/// Serves a connection to its end. It ends early, without an answer, if its place is
/// taken from it, or if harpd stops, before its call has begun.
pub async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    mut place: Place,
    reception: &Reception,
    state: Arc<State>,
    workplace: Workplace,
) {
    let accepted = tokio::select! {
        accepted = receive(stream, peer, reception, &state) => accepted,
        () = place.dropped() => {
            return debug!(%peer, "dropped for a newer connection before it authenticated");
        }
        () = workplace.stopping.cancelled() => return,
    };
    let (mut caller, call) = match accepted {
        Ok(accepted) => accepted,
        Err(error) => return debug!(%peer, %error, "no request came"),
    };
    match call {
        Ok(call) if place.becomes_call() => {
            run(call, &mut caller, &workplace).await;
            caller.finish(&workplace.stopping).await;
        }
        Ok(_) => {}
        Err(failure) => {
            caller.send(&Message::Error(failure));
            tokio::select! {
                () = caller.finish(&workplace.stopping) => {}
                () = place.dropped() => {}
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
    let deadline = Instant::now() + REQUEST_TIME;
    let acceptor = TlsAcceptor::from(Arc::clone(&state.tls));
    let mut stream = tokio::time::timeout_at(deadline, acceptor.accept(stream)).await??;

    let line = read_request(&mut stream, &reception.large_requests);
    let line = match tokio::time::timeout_at(deadline, line).await {
        Ok(line) => line?,
        Err(_) => Err(invalid_request(format!(
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
    Ok((Caller::new(stream), call))
}

/// Reads the request's line, and nothing may follow it. With a large one comes its
/// permit, to be held as long as a stranger's request is.
async fn read_request<'a, S: AsyncRead + Unpin>(
    stream: &mut S,
    large_requests: &'a Semaphore,
) -> io::Result<Result<(Bytes, Option<SemaphorePermit<'a>>), Failure>> {
    let mut lines = LineBuffer::new(MAX_REQUEST + LINE_ALLOWANCE);
    let mut received = 0;
    let mut large = None;
    loop {
        let count = stream.read_buf(lines.space(4096)).await?;
        received += count;
        match lines.next_line() {
            Ok(Some(_)) if lines.has_partial_line() => return Ok(Err(spoke_on())),
            Ok(Some(line)) => return Ok(Ok((line, large))),
            Ok(None) if count == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(None) => {}
            Err(error) => {
                return Ok(Err(invalid_request(format!("the request is a {error}"))));
            }
        }
        if received > LARGE_REQUEST && large.is_none() {
            large = large_requests.acquire().await.ok();
        }
    }
}

/// Lets the request of a user with the right password pass. Of any other nothing is
/// kept while its sender waits for the answer.
async fn authenticate(
    request: Request,
    large: Option<SemaphorePermit<'_>>,
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
/// nothing else.
fn accept(request: Request, peer: SocketAddr, state: &State) -> Result<Call, Failure> {
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
    async fn a_large_request_keeps_its_permit() {
        let permits = Semaphore::new(1);
        for (length, left) in [(10, 1), (2 * LARGE_REQUEST, 0)] {
            let (mut far, mut near) = duplex(1000);
            let sending = tokio::spawn(async move {
                far.write_all(&vec![b'x'; length]).await.unwrap();
                far.write_all(b"\n").await.unwrap();
            });
            let read = read_request(&mut near, &permits).await.unwrap().unwrap();
            sending.await.unwrap();
            assert_eq!((read.0.len(), permits.available_permits()), (length, left));
        }
        assert_eq!(permits.available_permits(), 1);
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
        let permits = Semaphore::new(1);
        let mark: Arc<[u8]> = Arc::from(*b"[]");
        let arguments = Bytes::from_owner(Watched(Arc::clone(&mark)));
        let request = Request {
            procedure: "p".into(),
            arguments: Json::from_trusted(arguments),
            user: "stranger".into(),
            // Wrong unseen, so that no time goes by.
            password: "x".repeat(1000).into(),
        };
        let permit = permits.acquire().await.ok();
        let peer = "127.0.0.1:1".parse().unwrap();
        let answer = authenticate(request, permit, peer, &users);
        tokio::pin!(answer);
        let early = tokio::time::timeout(FAILURE_DELAY / 2, &mut answer).await;
        assert!(early.is_err());
        assert_eq!(permits.available_permits(), 1);
        assert_eq!(Arc::strong_count(&mark), 1);
        assert_eq!(answer.await.unwrap_err().error_type, "auth_error");
    }
}
