//! `GET /events`: what happens to all jobs, from now on or from where a reader was.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use harp_jobs::access::Operation;
use harp_jobs::changes::{Change, Changes, What};
use harp_jobs::client::Client;
use harp_jobs::refusal::Refusal;
use harp_time::clock;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::desk::find::Filter;
use crate::faces::http::event::{self, HEARTBEAT};
use crate::faces::http::problem::Problem;
use crate::faces::http::query::Query;
use crate::faces::http::reply::Answer;
use crate::faces::http::shared::{Asked, Shared};
use crate::faces::http::streams::StreamPermit;
use crate::faces::listing::job_object::JobObject;
use crate::faces::listing::jobs::filter;

/// Changes that are looked at together.
const AT_ONCE: usize = 64;

/// How often it is looked whether the reader still may read. It is promised within 10 s.
const LOOK_EVERY: Duration = Duration::from_secs(3);

/// A stream under way.
struct Events {
    shared: Arc<Shared>,
    client: Client,
    filter: Filter,
    changes: Changes,
    newest: watch::Receiver<u64>,
    /// The number of the last change that was looked at.
    seen: u64,
    /// True before anything was told.
    is_new: bool,
    /// What is told before all that happens, until it was.
    begins: Option<&'static str>,
    spoke: Instant,
    is_done: bool,
    _place: StreamPermit,
}

/// `GET /events`.
pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
    mut query: Query,
    headers: HeaderMap,
) -> Result<Answer, Problem> {
    let filter = filter(&mut query)?;
    query.done()?;
    shared
        .desk
        .permit_without_job(&asked.client, Operation::Observe)
        .await?;
    let place = shared.stream(&asked)?;
    let changes = shared.desk.changes.clone();
    let newest = changes.newest();
    let now = *newest.borrow();
    let (seen, begins) = match last_event(&headers)? {
        None => (now, Some("ready")),
        Some((boot, number)) if boot == shared.boot && changes.behind(number, 0).is_ok() => {
            (number, None)
        }
        Some(_) => (now, Some("reset")),
    };
    let events = Events {
        shared,
        client: asked.client,
        filter,
        changes,
        newest,
        seen,
        is_new: true,
        begins,
        spoke: Instant::now(),
        is_done: false,
        _place: place,
    };
    Ok(event::answer(stream::try_unfold(
        events,
        |mut events| async {
            let part = events.next().await?;
            Ok::<_, io::Error>(part.map(|part| (part, events)))
        },
    )))
}

/// The place at which a reader lost the stream: `BOOT-N`.
fn last_event(headers: &HeaderMap) -> Result<Option<(u64, u64)>, Problem> {
    const NAME: &str = "last-event-id";
    let Some(header) = headers.get(NAME) else {
        return Ok(None);
    };
    let place = header.to_str().ok().and_then(|text| {
        let (boot, number) = text.trim().split_once('-')?;
        let boot = u64::from_str_radix(boot, 16).ok()?;
        Some((boot, number.parse().ok()?))
    });
    let wrong = || Problem::field(NAME, "must be the id of an event of this stream");
    place.ok_or_else(wrong).map(Some)
}

impl Events {
    /// The next events, not empty; `None` at the end.
    ///
    /// # Errors
    ///
    /// If what follows cannot be read: the connection is to be cut.
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let mut out = BytesMut::new();
        if std::mem::take(&mut self.is_new) {
            out.extend_from_slice(event::RETRY);
        }
        if let Some(name) = self.begins.take() {
            let id = self.id(self.seen);
            event::write(&mut out, Some(name), Some(&id), &json!({}));
        }
        while out.is_empty() && !self.is_done {
            let permitted = self
                .shared
                .desk
                .permit_without_job(&self.client, Operation::Observe)
                .await;
            if permitted.is_err() {
                event::write(&mut out, Some("forbidden"), None, &json!({}));
                self.is_done = true;
                break;
            }
            match self.changes.behind(self.seen, AT_ONCE) {
                Err(_) => {
                    self.seen = *self.newest.borrow_and_update();
                    let id = self.id(self.seen);
                    event::write(&mut out, Some("reset"), Some(&id), &json!({}));
                }
                Ok(changes) if changes.is_empty() => self.wait(&mut out).await,
                Ok(changes) => {
                    for change in changes {
                        self.seen = change.number;
                        self.tell(&mut out, change).await?;
                    }
                }
            }
        }
        self.spoke = Instant::now();
        Ok((!out.is_empty()).then(|| out.freeze()))
    }

    /// Waits for a change, or until it is time for something else.
    async fn wait(&mut self, out: &mut BytesMut) {
        let heartbeat = self.spoke + HEARTBEAT;
        let closing = &self.shared.desk.closing;
        let seen = self.seen;
        tokio::select! {
            biased;
            // Clients ask again.
            () = closing.cancelled() => self.is_done = true,
            _ = self.newest.wait_for(|newest| *newest > seen) => {}
            () = tokio::time::sleep_until(heartbeat.min(Instant::now() + LOOK_EVERY)) => {
                if Instant::now() >= heartbeat {
                    let alive = json!({ "time": clock::now() });
                    event::write(out, Some("heartbeat"), None, &alive);
                }
            }
        }
    }

    async fn tell(&self, out: &mut BytesMut, change: Change) -> io::Result<()> {
        if change.what == What::Pruned {
            // Whose it was nobody can say any more.
            if self.shared.desk.may_read_all(&self.client) {
                let id = self.id(change.number);
                event::write(
                    out,
                    Some("gone"),
                    Some(&id),
                    &json!({ "id": change.job.to_string() }),
                );
            }
            return Ok(());
        }
        let shown = self
            .shared
            .desk
            .changed_job(&self.client, change.job, change.what, &self.filter)
            .await;
        let view = match shown {
            Ok(Some(view)) => view,
            // It has been pruned, may not be read, or is not wanted.
            Ok(None) | Err(Refusal::NoSuchJob) => return Ok(()),
            Err(refusal) => return Err(io::Error::other(refusal)),
        };
        let mut object = JobObject::head(&view);
        object.change = Some(change.what.name());
        event::write(out, Some("job"), Some(&self.id(change.number)), &object);
        Ok(())
    }

    fn id(&self, number: u64) -> String {
        format!("{:x}-{number}", self.shared.boot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_of_one_life() {
        let of = |id: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("last-event-id", id.parse().unwrap());
            last_event(&headers)
        };
        assert_eq!(of("1f-7").unwrap(), Some((0x1f, 7)));
        for wrong in ["", "7", "x-7", "1f-", "1f-x"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }
}
