//! `GET /jobs/JOB/packets`: a page of a job's packets.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::Response;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use bytes::{BufMut, BytesMut};
use harp_jobs::client::Client;
use harp_jobs::record::EndRecord;
use harp_proto::JobId;
use tokio::time::{Instant, timeout_at};

use super::jobs::wait;
use crate::desk::packets::{Next, Span, Start, Until};
use crate::faces::http::packet;
use crate::faces::http::problem::Problem;
use crate::faces::http::query::Query;
use crate::faces::http::reply::Answer;
use crate::faces::http::shared::{Asked, JobPath, Shared};
use crate::faces::listing::values::{Ended, Values};

/// Packets of a page.
const LIMIT: u64 = 1000;
const GREATEST_LIMIT: u64 = 10_000;

/// Bytes of packets of a page, unless its first packet alone has more.
const PAGE: usize = 4 * 1024 * 1024;

/// Packets as they stand in an answer.
struct Page {
    /// JSON objects with commas between them.
    packets: BytesMut,
    count: u64,
    /// The number after the last one.
    next: u64,
    /// How many the job has.
    total: u64,
    /// How the job ended, if the page reaches the end.
    end: Option<Arc<EndRecord>>,
}

/// `GET /jobs/JOB/packets`.
pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
    JobPath(job): JobPath,
    mut query: Query,
) -> Result<Answer, Problem> {
    let start = start(&mut query)?.unwrap_or(Start::At(0));
    let limit = query.number("limit", 1, GREATEST_LIMIT)?.unwrap_or(LIMIT);
    let wait = wait(&mut query)?;
    let values = Values::take(&mut query)?;
    query.done()?;
    let mut page = page(&shared, &asked.client, job, start, limit, values).await?;
    if let Some(wait) = wait
        && page.count == 0
        && page.end.is_none()
    {
        let _place = shared.stream(&asked)?;
        let until = Instant::now() + wait;
        let start = Start::At(page.next);
        let span = Span {
            start,
            until: Until::End,
        };
        let mut following = shared.desk.packets(&asked.client, job, span).await?;
        // Whatever comes of it: the page is read again.
        if let Ok(next) = timeout_at(until, following.next()).await {
            next?;
            page = self::page(&shared, &asked.client, job, start, limit, values).await?;
        }
    }
    Ok(answer(page, values))
}

/// The first packet that is wanted, if that is said.
pub(super) fn start(query: &mut Query) -> Result<Option<Start>, Problem> {
    let since = query.number("since", 0, u64::MAX)?;
    let recent = query.number("recent", 0, u64::MAX)?;
    match (since, recent) {
        (Some(_), Some(_)) => Err(Problem::field("recent", "cannot stand beside since")),
        (Some(number), None) => Ok(Some(Start::At(number))),
        (None, Some(count)) => Ok(Some(Start::Recent(count))),
        (None, None) => Ok(None),
    }
}

async fn page(
    shared: &Arc<Shared>,
    client: &Client,
    job: JobId,
    start: Start,
    limit: u64,
    values: Values,
) -> Result<Page, Problem> {
    let span = Span {
        start,
        until: Until::Now { limit: Some(limit) },
    };
    let mut packets = shared.desk.packets(client, job, span).await?;
    let mut page = Page {
        packets: BytesMut::new(),
        count: 0,
        next: packets.number(),
        total: packets.collected(),
        end: None,
    };
    loop {
        match packets.next().await? {
            Next::Some(piece) => {
                let mut is_full = false;
                packet::each(&piece, |number, time, data| {
                    is_full = page.count > 0 && page.packets.len() + data.len() > PAGE;
                    if is_full {
                        return false;
                    }
                    if page.count > 0 {
                        page.packets.extend_from_slice(b",");
                    }
                    packet::write_json(&mut page.packets, number, time, data, values);
                    page.count += 1;
                    page.next = number + 1;
                    true
                });
                if is_full {
                    return Ok(page);
                }
            }
            Next::End(end) => {
                page.end = end;
                return Ok(page);
            }
            Next::Finished | Next::Closing => return Ok(page),
        }
    }
}

fn answer(page: Page, values: Values) -> Answer {
    let mut text = BytesMut::with_capacity(page.packets.len() + 128);
    text.extend_from_slice(b"{\"packets\":[");
    text.unsplit(page.packets);
    text.extend_from_slice(b"],\"next\":");
    packet::write_number(&mut text, page.next);
    text.extend_from_slice(b",\"total\":");
    packet::write_number(&mut text, page.total);
    text.extend_from_slice(b",\"end\":");
    let end = page.end.as_deref().map(|end| Ended {
        outcome: &end.outcome,
        values,
        at: None,
    });
    // Into memory, and of a user's values it is known that they are JSON.
    let _ = serde_json::to_writer((&mut text).writer(), &end);
    text.extend_from_slice(b"}");
    let mut response = Response::new(Body::from(text.freeze()));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}
