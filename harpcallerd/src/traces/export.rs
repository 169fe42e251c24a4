//! The task that sends spans to the collector, some at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::settings::{Endpoint, TraceSettings};
use super::span::Span;
use super::{Order, otlp};

/// Spans that go together at most.
const BATCH: usize = 512;

/// How long spans wait for others.
const GATHERING: Duration = Duration::from_secs(1);

/// How long the collector may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The pause after spans were not taken.
const PAUSE: Duration = Duration::from_secs(5);

/// Sends what comes in, until nobody has anything to send any more.
pub(super) async fn send(
    settings: TraceSettings,
    mut inbox: mpsc::Receiver<Order>,
    lost: Arc<AtomicU64>,
) {
    let mut is_away = false;
    while let Some(first) = inbox.recv().await {
        let (mut spans, mut finish) = (Vec::new(), None);
        take(first, &mut spans, &mut finish);
        let gathered = async {
            while spans.len() < BATCH && finish.is_none() {
                match inbox.recv().await {
                    Some(order) => take(order, &mut spans, &mut finish),
                    None => break,
                }
            }
        };
        // What has come by then goes.
        let _ = timeout(GATHERING, gathered).await;
        if !spans.is_empty() {
            let sent = deliver(&settings, &spans).await;
            match &sent {
                Ok(()) if is_away => info!("the collector takes spans again"),
                Ok(()) => debug!(spans = spans.len(), "spans sent"),
                Err(why) => {
                    lost.fetch_add(spans.len() as u64, Ordering::Relaxed);
                    if !is_away {
                        let collector = &settings.endpoint;
                        warn!(%collector, why, "the collector takes no spans; they are lost");
                    }
                }
            }
            is_away = sent.is_err();
        }
        match finish {
            // Whoever does not wait any more need not be told.
            Some(finish) => _ = finish.send(()),
            None if is_away => tokio::time::sleep(PAUSE).await,
            None => {}
        }
    }
}

fn take(order: Order, spans: &mut Vec<Span>, finish: &mut Option<oneshot::Sender<()>>) {
    match order {
        Order::Send(span) => spans.push(*span),
        Order::Finish(done) => *finish = Some(done),
    }
}

/// Sends spans, and waits for the answer.
async fn deliver(settings: &TraceSettings, spans: &[Span]) -> Result<(), String> {
    let body = otlp::body(&settings.service_name, spans);
    let delivered = timeout(PATIENCE, post(&settings.endpoint, body)).await;
    match delivered {
        Ok(Ok(status)) if status.is_success() => Ok(()),
        Ok(Ok(status)) => Err(format!("it answered {status}")),
        Ok(Err(why)) => Err(why),
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

async fn post(endpoint: &Endpoint, body: Vec<u8>) -> Result<StatusCode, String> {
    let Endpoint { host, port, path } = endpoint;
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let socket = TcpStream::connect((name, *port)).await;
    let socket = socket.map_err(|error| error.to_string())?;
    let opened = http1::handshake(TokioIo::new(socket)).await;
    let (mut requests, connection) = opened.map_err(|error| error.to_string())?;
    let request = Request::post(path.as_str())
        .header(HOST, format!("{host}:{port}"))
        .header(CONTENT_TYPE, "application/x-protobuf")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| error.to_string())?;
    let mut connection = std::pin::pin!(connection);
    let mut answering = std::pin::pin!(requests.send_request(request));
    tokio::select! {
        answer = &mut answering => match answer {
            Ok(answer) => Ok(answer.status()),
            Err(error) => Err(error.to_string()),
        },
        broken = &mut connection => match broken {
            Ok(()) => Err("it closed the connection".to_owned()),
            Err(error) => Err(error.to_string()),
        },
    }
}
