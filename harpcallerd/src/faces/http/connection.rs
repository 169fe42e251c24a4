//! One connection: HTTP/1.1, or HTTP/2 where TLS has agreed on it; from its first request to
//! its end.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::Request;
use bytes::Bytes;
use harp_jobs::client::Client;
use harp_jobs::refusal::{Full, Refusal};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::debug;

use super::Secured;
use super::connected::{Connected, HEAD};
use super::lobby::Lobby;
use super::pace::{Overdue, Pace, UnderWay};
use super::problem::Problem;
use super::settings::Door;
use super::stalling::Stalling;
use crate::faces::connection::Socket;
use crate::limits::ClientLimits;

/// Requests of one HTTP/2 connection at once.
const REQUESTS: u32 = 128;

/// Serves one connection to its end. `secured` is `None` without TLS.
pub async fn serve<S: Socket + 'static>(
    socket: S,
    client: Client,
    door: watch::Receiver<Arc<Door>>,
    secured: Option<Secured>,
    lobby: Arc<Lobby>,
) {
    let limits = lobby.limits();
    let closing = lobby.closing().clone();
    let is_http2 = secured.as_ref().is_some_and(|secured| secured.is_http2);
    let peer = client.peer;
    let pace = Arc::new(Pace::new(is_http2));
    let socket = Stalling::new(socket, limits.write_timeout, Arc::clone(&pace));
    let socket = TokioIo::new(socket);
    let connected = Arc::new(Connected {
        client,
        door,
        secured,
    });
    let watching = Arc::clone(&pace);
    let service = service_fn(move |request: Request<Incoming>| {
        let (lobby, connected) = (Arc::clone(&lobby), Arc::clone(&connected));
        let under_way = UnderWay::begin(&watching);
        // In a box of its own: hyper keeps room for one as long as the connection lives.
        Box::pin(async move {
            let answer = lobby.answer(&connected, request.map(Body::new)).await;
            Ok::<_, Infallible>(answer.map(|body| Counted { body, under_way }))
        })
    });
    let ended = if is_http2 {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_header_list_size(HEAD as u32)
            .max_concurrent_streams(REQUESTS);
        // In a box, since it is larger than one of HTTP/1.1.
        let mut connection = Box::pin(builder.serve_connection(socket, service));
        drive(
            connection.as_mut(),
            |connection| connection.graceful_shutdown(),
            &pace,
            &limits,
            closing,
        )
        .await
    } else {
        let mut builder = http1::Builder::new();
        // Heads and waits have limits of their own here.
        builder.max_buf_size(HEAD).header_read_timeout(None);
        let mut connection = pin!(builder.serve_connection(socket, service));
        drive(
            connection.as_mut(),
            |connection| connection.graceful_shutdown(),
            &pace,
            &limits,
            closing,
        )
        .await
    };
    if let Err(error) = ended {
        debug!(%peer, %error, "connection broke");
    }
}

/// Says that there is no place for a connection. Takes as long as the client does, at most
/// `patience`.
pub async fn refuse<S: Socket>(mut socket: S, full: Full, patience: Duration) {
    let problem = Problem::from(Refusal::Full(full)).and_close();
    let answer = problem.render("-");
    let (head, body) = answer.into_parts();
    let Ok(body) = axum::body::to_bytes(body, HEAD).await else {
        return;
    };
    let mut text = format!("HTTP/1.1 {}\r\n", head.status).into_bytes();
    for (name, value) in &head.headers {
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
    text.extend_from_slice(&body);
    let told = async {
        socket.write_all(&text).await?;
        let mut connection = crate::faces::connection::Connection::new(socket, 0);
        connection.close().await;
        std::io::Result::Ok(())
    };
    // A client that is gone needs no answer.
    let _ = timeout(patience, told).await;
}

/// Lets a connection go on until it ends, is idle for too long, or too slow either way.
async fn drive<C>(
    mut connection: Pin<&mut C>,
    finish: impl Fn(Pin<&mut C>),
    pace: &Pace,
    limits: &ClientLimits,
    closing: tokio_util::sync::CancellationToken,
) -> Result<(), hyper::Error>
where
    C: Future<Output = Result<(), hyper::Error>>,
{
    let mut is_finishing = false;
    loop {
        let overdue = tokio::select! {
            biased;
            ended = connection.as_mut() => return ended,
            () = closing.cancelled(), if !is_finishing => Overdue::Idle,
            overdue = pace.overdue(limits.request_timeout, limits.write_timeout) => overdue,
        };
        match overdue {
            Overdue::Idle if !is_finishing => {
                is_finishing = true;
                finish(connection.as_mut());
            }
            // Nothing that could be answered has come, or nothing comes or is taken any more.
            Overdue::Idle | Overdue::Slow | Overdue::Untaken => return Ok(()),
        }
    }
}

/// The body of an answer, which counts as under way until it is dropped.
struct Counted {
    body: Body,
    under_way: UnderWay,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.under_way.is_asked();
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if matches!(frame, Poll::Ready(Some(Ok(_)))) {
            self.under_way.goes_out();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
