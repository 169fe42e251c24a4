//! `/session`: logins of the page, and who it is that asks.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{HeaderValue, SET_COOKIE};
use harp_jobs::client::Client;
use harp_jobs::refusal::Refusal;
use harp_proto::client::body;
use serde_json::json;
use tokio::task::spawn_blocking;

use super::jobs::problem;
use crate::faces::http::body::Sent;
use crate::faces::http::compress::Plain;
use crate::faces::http::host::Site;
use crate::faces::http::problem::Problem;
use crate::faces::http::query::Query;
use crate::faces::http::reply;
use crate::faces::http::reply::Answer;
use crate::faces::http::shared::{Asked, Shared};
use crate::faces::http::who;

/// Bytes of a login's body.
const LOGIN: usize = 4096;

/// `POST /session`: for strangers too.
pub(super) async fn begin(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
    query: Query,
    sent: Sent,
) -> Result<Answer, Problem> {
    query.done()?;
    let whole = sent.json_up_to(LOGIN, &shared, &asked).await?;
    let token = body::token(&whole.text).map_err(problem(&whole))?;
    drop(whole);
    if !shared.desk.has_tokens() {
        return Err(Problem::unauthorized(
            "there are no tokens here (tokens_file)",
        ));
    }
    let mut client: Client = asked.client.clone();
    who::greet(&shared, &mut client, Some(&token)).await?;
    let Some(hash) = shared.desk.token_hash(&token).await? else {
        return Err(Refusal::UnknownToken.into());
    };
    let session = shared.sessions.begin(hash);
    let session = session.map_err(|error| Refusal::Failed {
        why: error.to_string(),
    })?;
    shared.desk.logged_in(&client);
    let mut answer = reply::ok(&json!({
        "identity": client.name(),
        "expires": session.expires(),
        "page_key": shared.sessions.page_key(&session),
    }));
    let cookie = cookie(&asked.site, &shared.sessions.cookie(&session), None);
    answer.headers_mut().insert(SET_COOKIE, cookie?);
    answer.extensions_mut().insert(Plain);
    Ok(answer)
}

/// `GET /session`.
pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
    query: Query,
) -> Result<Answer, Problem> {
    query.done()?;
    let mut answer = reply::ok(&json!({
        "identity": asked.client.name(),
        "method": asked.how.name(),
        "expires": asked.session.as_ref().map(|session| session.session().expires()),
        "operations": shared.desk.operations(&asked.client),
    }));
    answer.extensions_mut().insert(Plain);
    Ok(answer)
}

/// `DELETE /session`.
pub(super) async fn end(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
    query: Query,
) -> Result<Answer, Problem> {
    query.done()?;
    let mut answer = reply::empty(StatusCode::NO_CONTENT);
    let Some(proof) = asked.session else {
        return Ok(answer);
    };
    let (sessions, session) = (Arc::clone(&shared.sessions), *proof.session());
    let ended = spawn_blocking(move || sessions.end(&session)).await;
    // It is over in any case; that it may be good again after a restart is in the log.
    drop(ended);
    shared.desk.logged_out(&asked.client);
    let cookie = cookie(&asked.site, "", Some(0))?;
    answer.headers_mut().insert(SET_COOKIE, cookie);
    Ok(answer)
}

/// The header that sets a site's cookie, for so many seconds or until the browser ends.
pub(in crate::faces::http) fn cookie(
    site: &Site,
    value: &str,
    seconds: Option<u64>,
) -> Result<HeaderValue, Problem> {
    let secure = if site.is_tls { "; Secure" } else { "" };
    let age = seconds.map(|seconds| format!("; Max-Age={seconds}"));
    let text = format!(
        "{}={value}; HttpOnly; SameSite=Strict; Path=/{secure}{}",
        site.cookie(),
        age.unwrap_or_default()
    );
    HeaderValue::from_str(&text).map_err(Problem::invalid)
}
