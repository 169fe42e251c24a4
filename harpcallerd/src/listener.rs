//! Accepting clients.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use harp_proto::Fault;
use harp_service::accept::Acceptor;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::session::{Desk, serve};

/// How long a client that is one too many may take to receive its answer.
const REFUSAL: Duration = Duration::from_secs(1);

/// Accepts from one listening socket, a session for each connection, for ever: to be
/// dropped when no more clients are wanted. Sessions go on then.
pub async fn accept(
    mut acceptor: Acceptor,
    desk: Desk,
    places: Arc<Semaphore>,
    sessions: TaskTracker,
) {
    loop {
        let (socket, _) = acceptor.accept().await;
        match Arc::clone(&places).try_acquire_owned() {
            Ok(place) => {
                let desk = desk.clone();
                sessions.spawn(async move {
                    serve(socket, desk).await;
                    drop(place);
                });
            }
            // Answered here and now, in the only task that may be busy with a client
            // without a place: the next one waits for it in the socket's backlog.
            Err(_) => refuse(socket).await,
        }
    }
}

async fn refuse(mut socket: TcpStream) {
    let mut line = BytesMut::new();
    Fault::overloaded("the dispatcher has as many connections as it may have (max_connections)")
        .encode(&mut line);
    // A client that is gone needs no answer.
    let _ = timeout(REFUSAL, async {
        socket.write_all(&line).await?;
        socket.shutdown().await
    })
    .await;
}
