//! `GET /jobs/JOB/output`: all of a job's packets as a download, as text or as lines of the
//! client protocol; or as they come.

use std::io;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::Response;
use axum::http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_TYPE, HeaderName, HeaderValue,
};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use harp_proto::Outcome;
use harp_proto::client::{PacketLines, Reply, StreamReply};

use crate::desk::packets::{Batches, Next, Packets, Piece, Span, Start, Until};
use crate::faces::http::packet::{self, Shown};
use crate::faces::http::problem::Problem;
use crate::faces::http::query::Query;
use crate::faces::http::reply::Answer;
use crate::faces::http::shared::{Asked, JobPath, Shared};
use crate::faces::http::streams::StreamPermit;
use crate::faces::line::packet_lines;

/// What packets are written as.
#[derive(Debug, Clone, Copy)]
enum Format {
    Text(Shown),
    Lines,
}

/// A download under way.
struct Download {
    packets: Packets,
    format: Format,
    /// The number of the first packet that is not wanted.
    until: Option<u64>,
    /// The job has no packets, as far as has been seen.
    has_none: bool,
    is_done: bool,
    _place: Option<StreamPermit>,
}

/// `GET /jobs/JOB/output`.
pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
    JobPath(job): JobPath,
    mut query: Query,
) -> Result<Answer, Problem> {
    let format = query.word("format", &["text", "ndjson"])?.unwrap_or("text");
    let since = query.number("since", 0, u64::MAX)?.unwrap_or(0);
    let until = query.number("until", 0, u64::MAX)?;
    let follow = query.boolean("follow")?;
    let shown = Shown {
        with_times: query.boolean("times")?,
        without_escapes: query.word("ansi", &["strip"])?.is_some(),
    };
    let is_download = query.boolean("download")?;
    query.done()?;
    let (format, media_type, suffix) = match format {
        "text" => (Format::Text(shown), "text/plain; charset=utf-8", "txt"),
        _ => (Format::Lines, "application/x-ndjson", "ndjson"),
    };
    let place = if follow {
        Some(shared.stream(&asked)?)
    } else {
        None
    };
    let limit = until.map(|until| until.saturating_sub(since));
    let span = Span {
        start: Start::At(since),
        until: if follow {
            Until::End
        } else {
            Until::Now { limit }
        },
    };
    let packets = shared.desk.packets(&asked.client, job, span).await?;
    let download = Download {
        has_none: packets.collected() == 0,
        packets,
        format,
        until,
        is_done: false,
        _place: place,
    };
    let parts = stream::try_unfold(download, |mut download| async {
        let part = download.next().await?;
        Ok::<_, io::Error>(part.map(|part| (part, download)))
    });
    let mut response = Response::new(Body::from_stream(parts));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("none"));
    headers.insert(
        HeaderName::from_static("x-accel-buffering"),
        HeaderValue::from_static("no"),
    );
    if is_download {
        let named = format!("attachment; filename=\"{job}.{suffix}\"");
        let named = HeaderValue::from_str(&named).map_err(Problem::invalid)?;
        headers.insert(CONTENT_DISPOSITION, named);
    }
    Ok(response)
}

impl Download {
    /// The next bytes, not empty; `None` at the end.
    ///
    /// # Errors
    ///
    /// If what follows cannot be had any more: the connection is to be cut, so that nobody
    /// takes what has come for the whole.
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        while !self.is_done {
            let part = match self.packets.next().await.map_err(io::Error::other)? {
                Next::Some(piece) => self.part(piece),
                Next::End(end) => {
                    self.is_done = true;
                    self.last(end.as_deref().map(|end| &end.outcome))
                }
                Next::Finished => {
                    self.is_done = true;
                    Bytes::new()
                }
                Next::Closing => return Err(io::Error::other("the dispatcher stops")),
            };
            if !part.is_empty() {
                return Ok(Some(part));
            }
        }
        Ok(None)
    }

    fn part(&mut self, mut piece: Piece) -> Bytes {
        self.has_none = false;
        if let Some(until) = self.until
            && piece.end > until
        {
            piece.end = until;
            self.is_done = true;
        }
        match self.format {
            Format::Text(shown) => {
                let mut text = BytesMut::new();
                packet::each(&piece, |_, time, data| {
                    packet::write_text(&mut text, time, data, shown);
                    true
                });
                text.freeze()
            }
            Format::Lines => {
                let lines = match &piece.batches {
                    Batches::Read(segments) => {
                        packet_lines::of(piece.first, segments, piece.end, true)
                    }
                    Batches::Held(batches) => {
                        let mut lines = PacketLines::new(piece.first);
                        for segment in batches.iter().flat_map(|batch| batch.segments()) {
                            packet_lines::add(&mut lines, segment, piece.end, true);
                        }
                        lines
                    }
                };
                let mut bytes = BytesMut::from(&lines.into_bytes()[..]);
                if self.is_done {
                    StreamReply::Continue.encode(&mut bytes);
                }
                bytes.freeze()
            }
        }
    }

    /// What stands behind the last packet.
    fn last(&self, end: Option<&Outcome>) -> Bytes {
        let mut bytes = BytesMut::new();
        match (self.format, end) {
            (Format::Text(shown), Some(Outcome::Returned(result))) if self.has_none => {
                let shown = Shown {
                    with_times: false,
                    ..shown
                };
                packet::write_text(&mut bytes, 0, result.as_bytes(), shown);
            }
            (Format::Text(_), _) => {}
            (Format::Lines, Some(end)) => StreamReply::Ended(end.clone()).encode(&mut bytes),
            (Format::Lines, None) => StreamReply::Continue.encode(&mut bytes),
        }
        bytes.freeze()
    }
}
