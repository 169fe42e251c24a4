//! Submitting calls, looking at jobs, their ends, cancelling them.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH, LOCATION};
use harp_jobs::call::NewCall;
use harp_jobs::transport::Proof;
use harp_proto::client::body;
use serde::Serialize;
use serde_json::json;
use tokio::time::{Instant, timeout_at};

use crate::desk::read::Wait;
use crate::desk::view;
use crate::faces::http::body::{Sent, Whole, is_too_deep};
use crate::faces::http::problem::Problem;
use crate::faces::http::query::Query;
use crate::faces::http::reply;
use crate::faces::http::reply::Answer;
use crate::faces::http::shared::{Asked, JobPath, Shared};
use crate::faces::listing::job_object::JobObject;
use crate::faces::listing::values::{Ended, Values};
use crate::faces::wire_call::new_call;

/// Longest `wait`, in seconds.
const LONGEST_WAIT: u64 = 60;

/// `POST /jobs`.
pub(super) async fn submit(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
    mut query: Query,
    sent: Sent,
) -> Result<Answer, Problem> {
    let wait = wait(&mut query)?;
    let values = Values::take(&mut query)?;
    query.done()?;
    let key = idempotency_key(sent.headers())?;
    let whole = sent.json(&shared, &asked).await?;
    let (mut call, tells_limits) = call(&whole, key)?;
    if call.trace.is_none() {
        call.trace.clone_from(&asked.trace);
    }
    // Taken before the call is accepted: an answer that there is no place would not say so.
    let _place = wait.map(|_| shared.stream(&asked)).transpose()?;
    let accepted = shared.desk.submit(&asked.client, call).await?;
    drop(whole);
    if let Some(wait) = wait {
        let until = Instant::now() + wait;
        let end = shared.desk.end(&asked.client, accepted.job, Wait::UntilEnd);
        // Without an end it is shown as it then is.
        let _ = timeout_at(until, end).await;
    }
    let view = shared.desk.view_of_own(accepted).await?;
    let status = if accepted.existing {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    let mut object = JobObject::whole(&view, values);
    object.existing = accepted.existing;
    object.limits = accepted.limits.filter(|_| tells_limits);
    object.with_end = wait.is_some();
    let mut answer = reply::json(status, &object);
    if !accepted.existing
        && let Ok(location) = HeaderValue::from_str(&format!("jobs/{}", accepted.job))
    {
        answer.headers_mut().insert(LOCATION, location);
    }
    Ok(answer)
}

/// `POST /jobs/check`.
pub(super) async fn check(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
    query: Query,
    sent: Sent,
) -> Result<Answer, Problem> {
    query.done()?;
    let key = idempotency_key(sent.headers())?;
    let whole = sent.json(&shared, &asked).await?;
    let checked = shared
        .desk
        .check(&asked.client, &call(&whole, key)?.0)
        .await?;
    Ok(reply::ok(&json!({
        "ok": true,
        "host_known": checked.host_known,
        "schema": match checked.schema {
            None => "none",
            Some(crate::procedures::Source::Host(_)) => "learned",
            Some(_) => "declared",
        },
    })))
}

/// `GET /jobs/JOB`.
pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
    JobPath(job): JobPath,
    mut query: Query,
    headers: HeaderMap,
) -> Result<Answer, Problem> {
    let wait = wait(&mut query)?;
    let values = Values::take(&mut query)?;
    query.done()?;
    let known = headers.get_all(IF_NONE_MATCH);
    let known: Vec<_> = known
        .iter()
        .filter_map(|known| known.to_str().ok())
        .collect();
    let is_known = |state: view::State| {
        let mut tags = known.iter().flat_map(|tags| tags.split(','));
        tags.any(|tag| {
            let tag = tag.trim();
            tag == "*" || tag.trim_start_matches("W/").trim_matches('"') == state.name()
        })
    };
    let mut view = shared.desk.view(&asked.client, job).await?;
    if let Some(wait) = wait {
        if known.is_empty() {
            return Err(Problem::field("wait", "needs If-None-Match"));
        }
        if is_known(view.state()) {
            let _place = shared.stream(&asked)?;
            let (state, until) = (view.state(), Instant::now() + wait);
            let changed = shared.desk.changed_view(&asked.client, job, state, until);
            view = changed.await?;
        }
    }
    let mut answer = if is_known(view.state()) {
        reply::empty(StatusCode::NOT_MODIFIED)
    } else {
        reply::ok(&JobObject::whole(&view, values))
    };
    let tag = format!("W/\"{}\"", view.state().name());
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        answer.headers_mut().insert(ETAG, tag);
    }
    Ok(answer)
}

/// `GET /jobs/JOB/result`.
pub(super) async fn result(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
    JobPath(job): JobPath,
    mut query: Query,
) -> Result<Answer, Problem> {
    let wait = wait(&mut query)?;
    let values = Values::take(&mut query)?;
    query.done()?;
    let desk = &shared.desk;
    let mut end = desk.end(&asked.client, job, Wait::Not).await?;
    if let Some(wait) = wait.filter(|_| end.is_none()) {
        let _place = shared.stream(&asked)?;
        let until = Instant::now() + wait;
        let waited = timeout_at(until, desk.end(&asked.client, job, Wait::UntilEnd)).await;
        end = waited.unwrap_or(Ok(None))?;
    }
    Ok(match &end {
        Some(end) => reply::ok(&Ended {
            outcome: &end.outcome,
            values,
            at: None,
        }),
        None => reply::json(StatusCode::ACCEPTED, &json!({ "no_result": true })),
    })
}

/// `POST /jobs/JOB/cancel`.
pub(super) async fn cancel(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
    JobPath(job): JobPath,
    query: Query,
    sent: Sent,
) -> Result<Answer, Problem> {
    #[derive(Serialize)]
    struct Reply {
        cancelled: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        remote: Option<&'static str>,
    }

    query.done()?;
    let whole = sent.optional_json(&shared, &asked).await?;
    let confirm = match &whole {
        Some(whole) => body::confirm(&whole.text).map_err(problem(whole))?,
        None => false,
    };
    let cancelled = shared.desk.cancel(&asked.client, job, confirm).await?;
    Ok(reply::ok(&Reply {
        cancelled: cancelled.cancelled,
        remote: cancelled.host.map(|host| match host {
            Proof::Confirmed => "confirmed",
            Proof::Unconfirmed => "unconfirmed",
        }),
    }))
}

/// How long the request may be held, if at all.
pub(super) fn wait(query: &mut Query) -> Result<Option<Duration>, Problem> {
    let wait = query.number("wait", 0, LONGEST_WAIT)?;
    Ok(wait.map(Duration::from_secs))
}

/// What a body that is no request comes to.
pub(super) fn problem(whole: &Whole) -> impl Fn(harp_proto::Fault) -> Problem {
    |fault| {
        if is_too_deep(&whole.text) {
            Problem::not_json("arrays and objects nest too deep")
        } else {
            fault.into()
        }
    }
}

/// The call of a body. Its key may stand in the head of the request instead.
fn call(whole: &Whole, key: Option<String>) -> Result<(NewCall, bool), Problem> {
    let call = body::call(&whole.text, key).map_err(problem(whole))?;
    let is_small_part = 2 * call.arguments.as_bytes().len() < whole.text.len();
    let tells_limits = call.limits;
    Ok((new_call(call, is_small_part), tells_limits))
}

/// The key of `Idempotency-Key`, quoted or bare.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    const NAME: &str = "idempotency-key";
    let mut said = headers.get_all(NAME).iter();
    let Some(header) = said.next() else {
        return Ok(None);
    };
    if said.next().is_some() {
        return Err(Problem::field(NAME, "stands here more than once"));
    }
    let wrong = || Problem::field(NAME, "must be a key, quoted or bare");
    let text = std::str::from_utf8(header.as_bytes())
        .map_err(|_| wrong())?
        .trim();
    let key = match text.strip_prefix('"') {
        None => text.to_owned(),
        Some(quoted) => {
            let quoted = quoted.strip_suffix('"').ok_or_else(wrong)?;
            let mut key = String::new();
            let mut characters = quoted.chars();
            while let Some(character) = characters.next() {
                match character {
                    '\\' => key.push(characters.next().ok_or_else(wrong)?),
                    '"' => return Err(wrong()),
                    character => key.push(character),
                }
            }
            key
        }
    };
    if key.is_empty() {
        Err(wrong())
    } else {
        Ok(Some(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_quoted_or_bare() {
        let key = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("idempotency-key", text.parse().unwrap());
            idempotency_key(&headers).map(Option::unwrap)
        };
        assert_eq!(key("\"release-7\"").unwrap(), "release-7");
        assert_eq!(key("release-7").unwrap(), "release-7");
        assert_eq!(key(r#""a\"b\\c""#).unwrap(), r#"a"b\c"#);
        for wrong in ["", "\"", "\"a", "\"a\"b\"", "\"a\\\""] {
            assert!(key(wrong).is_err(), "{wrong}");
        }
    }
}
