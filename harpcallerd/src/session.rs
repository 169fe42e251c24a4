//! One client's connection: read a request, answer it, close or go on (client protocol,
//! sections 1 and 8).
//!
//! The requests themselves are in the files below: functions of the dispatcher and typed
//! values that know nothing of sockets.

pub mod cancel;
mod connection;
pub mod query;
pub mod stream;
pub mod submit;

use std::io;
use std::sync::Arc;

use bytes::BytesMut;
use harp_proto::client::{Hello, HelloReply, Reply, Request};
use harp_proto::{Fault, LINE_ALLOWANCE};
use tokio_util::sync::CancellationToken;
use tracing::debug;

pub use connection::{Connection, ReadError, Socket};

use crate::dispatcher::Dispatcher;
use stream::{Lines, PacketStream};

/// The extensions in force (client protocol, section 8).
const FEATURES: [&str; 7] = [
    "keep_alive",
    "timestamps",
    "limit",
    "key",
    "unless_since",
    "start_by",
    "confirm",
];

/// What every session is given.
#[derive(Debug, Clone)]
pub struct Desk {
    /// Whom to ask.
    pub dispatcher: Arc<Dispatcher>,
    /// Greatest JSON text of one request in bytes.
    pub max_request_size: usize,
    /// Cancelled when waiting sessions have to close.
    pub closing: CancellationToken,
}

/// What a session does after a reply.
enum Next {
    /// Waits for another request.
    Request,
    /// Closes: the reply has been written, or its reader is gone.
    Close,
}

/// Serves one connection to its end.
pub async fn serve<S: Socket>(socket: S, desk: Desk) {
    let mut connection =
        Connection::new(socket, desk.max_request_size.saturating_add(LINE_ALLOWANCE));
    match converse(&mut connection, &desk).await {
        Ok(Ok(())) => connection.close().await,
        Ok(Err(fault)) => {
            debug!(fault = %fault.0, "request refused");
            let mut line = BytesMut::new();
            fault.encode(&mut line);
            if connection.write(&line).await.is_ok() {
                connection.close().await;
            }
        }
        Err(error) => debug!(%error, "connection broke"),
    }
}

/// Answers requests until the connection is to be closed, in the inner `Err` with a
/// fault as the last line.
async fn converse<S: Socket>(
    connection: &mut Connection<S>,
    desk: &Desk,
) -> io::Result<Result<(), Fault>> {
    let mut persistent = false;
    loop {
        let read = tokio::select! {
            biased;
            read = connection.next_line() => read,
            () = desk.closing.cancelled() => return Ok(Ok(())),
        };
        let line = match read {
            Ok(Some(line)) => line,
            Ok(None) => return Ok(Ok(())),
            Err(ReadError::TooLong) => {
                return Ok(Err(Fault::request_too_large(desk.max_request_size)));
            }
            Err(ReadError::Io(error)) => return Err(error),
        };
        let request = match Request::decode(&line) {
            Ok(request) => request,
            Err(fault) => return Ok(Err(fault)),
        };
        // The request has its own copies of what it needs of a long line.
        drop(line);
        persistent |= matches!(request, Request::Hello(_));
        match answer(connection, desk, request).await? {
            Err(fault) => return Ok(Err(fault)),
            Ok(Next::Request) if persistent => {}
            Ok(Next::Request | Next::Close) => return Ok(Ok(())),
        }
    }
}

async fn answer<S: Socket>(
    connection: &mut Connection<S>,
    desk: &Desk,
    request: Request,
) -> io::Result<Result<Next, Fault>> {
    let dispatcher = &desk.dispatcher;
    match request {
        Request::Call(call) => {
            reply(
                connection,
                submit::submit(dispatcher, *call, desk.max_request_size).await,
            )
            .await
        }
        Request::Cancel { job, confirm } => {
            let cancelled = tokio::select! {
                cancelled = cancel::cancel(dispatcher, job, confirm) => cancelled,
                () = connection.broken() => return Ok(Ok(Next::Close)),
            };
            reply(connection, cancelled).await
        }
        Request::GetStatus { job } => reply(connection, query::status(dispatcher, job).await).await,
        Request::GetResult { job, wait: false } => {
            reply(connection, query::result(dispatcher, job).await).await
        }
        Request::GetResult { job, wait: true } => {
            let waited = tokio::select! {
                waited = query::end_result(dispatcher, job, &desk.closing) => waited,
                () = connection.broken() => return Ok(Ok(Next::Close)),
            };
            match waited.transpose() {
                Some(result) => reply(connection, result).await,
                None => Ok(Ok(Next::Close)),
            }
        }
        Request::FollowStream {
            job,
            start,
            timestamps,
        } => {
            let packets = PacketStream::follow(dispatcher, job, start, timestamps).await;
            send_stream(connection, desk, packets).await
        }
        Request::ReadStream {
            job,
            start,
            timestamps,
            limit,
        } => {
            let packets = PacketStream::read(dispatcher, job, start, timestamps, limit).await;
            send_stream(connection, desk, packets).await
        }
        Request::Hello(hello) => reply(connection, Ok(greet(&hello))).await,
    }
}

async fn reply<S: Socket, R: Reply>(
    connection: &mut Connection<S>,
    reply: Result<R, Fault>,
) -> io::Result<Result<Next, Fault>> {
    match reply {
        Ok(reply) => {
            let mut line = BytesMut::new();
            reply.encode(&mut line);
            connection.write(&line).await?;
            Ok(Ok(Next::Request))
        }
        Err(fault) => Ok(Err(fault)),
    }
}

async fn send_stream<S: Socket>(
    connection: &mut Connection<S>,
    desk: &Desk,
    packets: Result<PacketStream, Fault>,
) -> io::Result<Result<Next, Fault>> {
    let mut packets = match packets {
        Ok(packets) => packets,
        Err(fault) => return Ok(Err(fault)),
    };
    loop {
        let lines = tokio::select! {
            lines = packets.next_lines(&desk.closing) => lines,
            () = connection.broken() => return Ok(Ok(Next::Close)),
        };
        match lines {
            Ok(Lines::Some(lines)) => connection.write(&lines).await?,
            Ok(Lines::Finished) => return Ok(Ok(Next::Request)),
            Ok(Lines::Closing) => return Ok(Ok(Next::Close)),
            Err(fault) => return Ok(Err(fault)),
        }
    }
}

fn greet(hello: &Hello) -> HelloReply {
    debug!(client = hello.client, "hello");
    HelloReply {
        server: concat!("harpcallerd/", env!("CARGO_PKG_VERSION")).to_owned(),
        features: FEATURES.map(str::to_owned).to_vec(),
    }
}
