//! `GET /jobs/JOB/events`: a job as a stream of events, from any packet on.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use harp_jobs::client::Client;
use harp_jobs::record::EndRecord;
use harp_jobs::refusal::Refusal;
use harp_proto::JobId;
use harp_time::clock;
use serde_json::json;
use tokio::time::Instant;

use super::packets::start;
use crate::desk::packets::{Next, Packets, Span, Start, Until};
use crate::desk::view::{self, View};
use crate::faces::http::event::{self, HEARTBEAT};
use crate::faces::http::packet_events;
use crate::faces::http::problem::Problem;
use crate::faces::http::query::Query;
use crate::faces::http::reply;
use crate::faces::http::reply::Answer;
use crate::faces::http::shared::{Asked, JobPath, Shared};
use crate::faces::http::streams::StreamPermit;
use crate::faces::listing::job_object::JobObject;
use crate::faces::listing::values::{Ended, Values};

/// A stream under way.
struct Events {
    shared: Arc<Shared>,
    client: Client,
    job: JobId,
    packets: Packets,
    values: Values,
    /// Events that have been made and not been given out.
    made: VecDeque<Bytes>,
    /// The state that was told last; `None` before anything was.
    told: Option<view::State>,
    /// How many changes of jobs there had been then.
    seen: u64,
    /// When something was told last.
    spoke: Instant,
    is_done: bool,
    _place: StreamPermit,
}

/// What comes next of a job.
enum Come {
    Packets(Result<Next, Refusal>),
    /// Its state may be another one.
    State,
    /// Nothing for long.
    Nothing,
}

/// `GET /jobs/JOB/events`.
pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
    JobPath(job): JobPath,
    mut query: Query,
    headers: HeaderMap,
) -> Result<Answer, Problem> {
    let start = start(&mut query)?.unwrap_or(Start::At(0));
    let values = Values::take(&mut query)?;
    query.done()?;
    let start = match last_event(&headers)? {
        Some(LastEvent::End) => {
            shared.desk.job(&asked.client, job).await?;
            return Ok(reply::empty(StatusCode::NO_CONTENT));
        }
        Some(LastEvent::Packet(next)) => Start::At(next),
        None => start,
    };
    let place = shared.stream(&asked)?;
    let span = Span {
        start,
        until: Until::End,
    };
    let packets = shared.desk.packets(&asked.client, job, span).await?;
    let events = Events {
        shared,
        client: asked.client,
        job,
        packets,
        values,
        made: VecDeque::new(),
        told: None,
        seen: 0,
        spoke: Instant::now(),
        is_done: false,
        _place: place,
    };
    // In a box: a stream holds its state twice, and there can be many that wait.
    Ok(event::answer(stream::try_unfold(
        Box::new(events),
        |mut events| async {
            let part = events.next().await?;
            Ok::<_, io::Error>(part.map(|part| (part, events)))
        },
    )))
}

/// Where a client was when it lost a stream.
#[derive(Debug, PartialEq, Eq)]
enum LastEvent {
    /// At the job's end.
    End,
    /// Before the packet of this number.
    Packet(u64),
}

fn last_event(headers: &HeaderMap) -> Result<Option<LastEvent>, Problem> {
    const NAME: &str = "last-event-id";
    let Some(header) = headers.get(NAME) else {
        return Ok(None);
    };
    let wrong = || Problem::field(NAME, "must be the id of an event of this stream");
    match header.to_str().map_err(|_| wrong())?.trim() {
        "end" => Ok(Some(LastEvent::End)),
        "-1" => Ok(Some(LastEvent::Packet(0))),
        text if !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit()) => {
            let last: u64 = text.parse().map_err(|_| wrong())?;
            let next = last.checked_add(1).ok_or_else(wrong)?;
            Ok(Some(LastEvent::Packet(next)))
        }
        _ => Err(wrong()),
    }
}

impl Events {
    /// The next events, not empty; `None` at the end.
    ///
    /// # Errors
    ///
    /// If what follows cannot be read: the connection is to be cut.
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if let Some(part) = self.made.pop_front() {
            return Ok(Some(part));
        }
        let mut out = BytesMut::new();
        while out.is_empty() && !self.is_done {
            if self.told.is_none() {
                out.extend_from_slice(event::RETRY);
                let before_first = i128::from(self.packets.number()) - 1;
                self.tell_state(&mut out, Some(&before_first.to_string()))
                    .await?;
                continue;
            }
            match self.come().await {
                Come::Packets(Ok(Next::Some(piece))) => {
                    self.tell_start(&mut out).await?;
                    self.made = packet_events::of(&piece, self.values).into();
                    if out.is_empty()
                        && let Some(part) = self.made.pop_front()
                    {
                        self.spoke = Instant::now();
                        return Ok(Some(part));
                    }
                }
                Come::Packets(Ok(Next::End(Some(end)))) => {
                    self.tell_end(&mut out, &end).await?;
                }
                // Clients ask again.
                Come::Packets(Ok(Next::End(None) | Next::Finished | Next::Closing)) => {
                    self.is_done = true;
                }
                Come::Packets(Err(refusal)) => self.tell_refusal(&mut out, refusal)?,
                Come::State => self.tell_start(&mut out).await?,
                Come::Nothing => {
                    let alive = json!({
                        "time": clock::now(),
                        "packets": self.packets.collected(),
                    });
                    event::write(&mut out, Some("heartbeat"), None, &alive);
                }
            }
        }
        self.spoke = Instant::now();
        Ok((!out.is_empty()).then(|| out.freeze()))
    }

    async fn come(&mut self) -> Come {
        let until = self.spoke + HEARTBEAT;
        let waits = self.told == Some(view::State::Queued);
        let (desk, job, seen) = (&self.shared.desk, self.job, self.seen);
        tokio::select! {
            biased;
            next = self.packets.next() => Come::Packets(next),
            () = desk.state_may_have_changed(job, view::State::Queued, seen, until), if waits => {
                Come::State
            }
            () = tokio::time::sleep_until(until) => Come::Nothing,
        }
    }

    /// Tells that a job has started of which it was told that it waits.
    async fn tell_start(&mut self, out: &mut BytesMut) -> io::Result<()> {
        if self.told == Some(view::State::Queued) {
            self.tell_state(out, None).await?;
        }
        Ok(())
    }

    /// Tells the job as it stands, if its state is not the one that was told.
    async fn tell_state(&mut self, out: &mut BytesMut, id: Option<&str>) -> io::Result<()> {
        self.seen = self.shared.desk.changes_seen();
        match self.shared.desk.view(&self.client, self.job).await {
            Ok(view) if self.told != Some(view.state()) => {
                self.tell_view(out, id, &view);
                Ok(())
            }
            Ok(_) => Ok(()),
            Err(refusal) => self.tell_refusal(out, refusal),
        }
    }

    fn tell_view(&mut self, out: &mut BytesMut, id: Option<&str>, view: &View) {
        self.told = Some(view.state());
        event::write(out, Some("job"), id, &JobObject::head(view));
    }

    async fn tell_end(&mut self, out: &mut BytesMut, end: &EndRecord) -> io::Result<()> {
        self.tell_state(out, None).await?;
        if self.is_done {
            return Ok(());
        }
        let ended = Ended {
            outcome: &end.outcome,
            values: self.values,
            at: Some(end.ended),
        };
        event::write(out, Some("end"), Some("end"), &ended);
        self.is_done = true;
        Ok(())
    }

    /// Tells that there is no more for this client.
    fn tell_refusal(&mut self, out: &mut BytesMut, refusal: Refusal) -> io::Result<()> {
        let name = match refusal {
            Refusal::NoSuchJob => "gone",
            Refusal::Stranger | Refusal::UnknownToken | Refusal::Lapsed | Refusal::Forbidden => {
                "forbidden"
            }
            other => return Err(io::Error::other(other)),
        };
        event::write(out, Some(name), None, &json!({}));
        self.is_done = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_goes_on_behind_the_last_event() {
        let of = |id: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("last-event-id", id.parse().unwrap());
            last_event(&headers).map(Option::unwrap)
        };
        assert_eq!(of("end").unwrap(), LastEvent::End);
        assert_eq!(of("-1").unwrap(), LastEvent::Packet(0));
        assert_eq!(of("41").unwrap(), LastEvent::Packet(42));
        for wrong in ["", "-2", "x", "1.0", &u64::MAX.to_string()] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }
}
