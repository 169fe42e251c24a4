//! Accepting clients.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use harp_proto::Fault;
use harp_service::accept::Acceptor;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::session::{Connection, Desk, serve};

/// How long a client that is one too many may take to receive its answer.
const REFUSAL: Duration = Duration::from_secs(1);

/// Clients that are being told so at once.
const REFUSALS: usize = 64;

/// Accepts from one listening socket, a session for each connection, for ever: to be
/// dropped when no more clients are wanted. Sessions go on then.
pub async fn accept(
    mut acceptor: Acceptor,
    desk: Desk,
    places: Arc<Semaphore>,
    sessions: TaskTracker,
) {
    let refusals = Arc::new(Semaphore::new(REFUSALS));
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
            // Bounded too; one that comes when these places are taken as well is closed
            // without a word.
            Err(_) => {
                if let Ok(place) = Arc::clone(&refusals).try_acquire_owned() {
                    sessions.spawn(async move {
                        refuse(socket).await;
                        drop(place);
                    });
                }
            }
        }
    }
}

async fn refuse(socket: TcpStream) {
    let mut line = BytesMut::new();
    Fault::overloaded("the dispatcher has as many connections as it may have (max_connections)")
        .encode(&mut line);
    let mut connection = Connection::new(socket, 0);
    // A client that is gone needs no answer.
    if let Ok(Ok(())) = timeout(REFUSAL, connection.write(&line)).await {
        connection.close().await;
    }
}
