//! The HTTP face as connections come to it, from the moment on when its listeners are open:
//! before the dispatcher has started, whoever asks is told so.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, Uri};
use axum::response::IntoResponse;
use harp_jobs::refusal::Refusal;
use harp_time::clock;
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::connected::Connected;
use super::gate::{Face, dress, site_of};
use super::problem::Problem;
use super::reply::{self, Answer};
use super::routes;
use super::streams::Streams;
use crate::limits::ClientLimits;
use crate::peer_group::PeerGroup;

/// Where connections come to. One for all listeners.
#[derive(Debug)]
pub struct Lobby {
    face: watch::Sender<Option<Arc<Face>>>,
    limits: watch::Receiver<ClientLimits>,
    closing: CancellationToken,
    streams: Streams,
    boot: u64,
    requests: AtomicU64,
}

impl Lobby {
    /// A lobby whose face is not there yet. `closing` is cancelled when nobody may wait any
    /// more.
    #[must_use]
    pub fn new(limits: watch::Receiver<ClientLimits>, closing: CancellationToken) -> Lobby {
        Lobby {
            face: watch::Sender::default(),
            limits,
            closing,
            streams: Streams::default(),
            boot: clock::now(),
            requests: AtomicU64::default(),
        }
    }

    /// The face is there: whoever comes now, and whoever waits here, is answered by it.
    pub fn open(&self, face: Arc<Face>) {
        self.face.send_replace(Some(face));
    }

    /// The limits of the moment.
    pub(super) fn limits(&self) -> ClientLimits {
        *self.limits.borrow()
    }

    /// Cancelled when nobody may wait for anything any more.
    pub(super) fn closing(&self) -> &CancellationToken {
        &self.closing
    }

    /// Answers a request.
    pub(super) async fn answer(&self, connected: &Connected, request: Request<Body>) -> Answer {
        let face = self.face.borrow().clone();
        if let Some(face) = face {
            return face.answer(connected, request).await;
        }
        let (method, uri, headers) = (request.method(), request.uri(), request.headers());
        let told = match self.before(connected, method, uri, headers).await {
            Ok(Before::Told(answer)) => answer,
            Ok(Before::Started(face)) => return face.answer(connected, request).await,
            Err(problem) => problem.into_response(),
        };
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let id = format!("{:x}-starting-{number:x}", self.boot);
        dress(told, request.uri().path(), false, &id)
    }

    /// What is answered before the start is complete. Streams are waited with: a browser gives
    /// them up for good where it is refused.
    async fn before(
        &self,
        connected: &Connected,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<Before, Problem> {
        let path = uri.path();
        let is_look = [Method::GET, Method::HEAD].contains(method);
        match path {
            "/healthz" if is_look => {
                return Ok(Before::Told(reply::ok(&json!({ "status": "ok" }))));
            }
            "/readyz" if is_look => return Err(Problem::not_ready("starting")),
            _ => {}
        }
        let door = Arc::clone(&connected.door.borrow());
        site_of(connected, &door, uri, headers)?;
        let is_stream = method == Method::GET && routes::is_stream(path);
        if !is_stream {
            return Err(Refusal::Starting.into());
        }
        let group = PeerGroup::of(&connected.client.peer);
        let place = self.streams.take(group, &self.limits());
        let _place = place.ok_or_else(Problem::too_many_streams)?;
        let mut face = self.face.subscribe();
        let started = tokio::select! {
            // The sender is in `self`.
            started = face.wait_for(Option::is_some) => started.ok().and_then(|face| face.clone()),
            () = self.closing.cancelled() => None,
        };
        started
            .map(Before::Started)
            .ok_or_else(|| Refusal::Starting.into())
    }
}

/// What becomes of a request that came before the face was there.
enum Before {
    /// This is the answer.
    Told(Answer),
    /// The face is there now.
    Started(Arc<Face>),
}
