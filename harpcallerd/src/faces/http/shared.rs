//! What all requests share, and what is known of one when it reaches its route.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use harp_jobs::client::Client;
use harp_proto::JobId;
use tokio::time::Instant;

use super::guesses::Guesses;
use super::host::Site;
use super::how::How;
use super::problem::Problem;
use super::query::{self, PAGE_KEY, Query, may_have_page_key};
use super::sessions::{SessionProof, Sessions};
use super::streams::{StreamPermit, Streams};
use super::topchef::offers::Offers;
use crate::desk::Desk;
use crate::limits::ClientMemory;
use crate::peer_group::PeerGroup;

/// What all requests share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) desk: Arc<Desk>,
    /// What large bodies hold.
    pub(super) memory: Arc<ClientMemory>,
    /// Logins of the page.
    pub(super) sessions: Arc<Sessions>,
    /// How many wait or follow.
    pub(super) streams: Streams,
    /// Wrong tokens whose answer is on its way.
    pub(super) guesses: Guesses,
    /// What workers of the first TopChef generation were offered.
    pub(super) offers: Offers,
    /// When the face was opened, in milliseconds since 1970: what ids of this life begin with.
    pub(super) boot: u64,
}

/// What is known of a request when it reaches its route.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// The client that asks.
    pub(super) client: Client,
    /// How that was proved.
    pub(super) how: How,
    /// The session, if it came by one.
    pub(super) session: Option<Arc<SessionProof>>,
    /// For which site the request is meant.
    pub(super) site: Arc<Site>,
    /// What stands before our paths where a proxy has taken it away; as a rule empty.
    pub(super) prefix: String,
    /// By when all of it has to be here.
    pub(super) whole_by: Instant,
    /// The trace that calls of this request are part of, if they name no other.
    pub(super) trace: Option<String>,
}

impl Shared {
    /// A place for a request that waits or follows.
    pub(super) fn stream(self: &Arc<Self>, asked: &Asked) -> Result<StreamPermit, Problem> {
        let limits = *self.desk.limits.borrow();
        self.streams
            .take(PeerGroup::of(&asked.client.peer), &limits)
            .ok_or_else(Problem::too_many_streams)
    }
}

impl<S: Sync> FromRequestParts<S> for Asked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Asked, Problem> {
        // The gate puts it there, and nobody reaches a route but through the gate.
        let asked = parts.extensions.remove::<Asked>();
        asked.ok_or_else(|| Problem::unauthorized("nobody knows who asks"))
    }
}

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Query, Problem> {
        let mut query = query::read(&parts.uri)?;
        if may_have_page_key(parts.uri.path()) {
            query.text(PAGE_KEY)?;
        }
        Ok(query)
    }
}

/// The job of a path; a text that is no id names no job.
#[derive(Debug, Clone, Copy)]
pub(super) struct JobPath(pub(super) JobId);

impl<S: Send + Sync> FromRequestParts<S> for JobPath {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<JobPath, Infallible> {
        let name = NamePath::from_request_parts(parts, state).await;
        let id = name.ok().and_then(|NamePath(name)| name.parse().ok());
        Ok(JobPath(id.unwrap_or(JobId::NONE)))
    }
}

/// The one name of a path, its escapes undone.
#[derive(Debug, Clone)]
pub(super) struct NamePath(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for NamePath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<NamePath, Problem> {
        let names = RawPathParams::from_request_parts(parts, state).await;
        let names = names.map_err(|_| Problem::invalid("the path is not UTF-8"))?;
        let name = names.iter().next().map(|(_, name)| name.to_owned());
        name.map(NamePath).ok_or_else(Problem::not_found)
    }
}
