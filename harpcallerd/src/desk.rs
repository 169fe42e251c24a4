//! The front door: what clients and administrators may do, in words of the core.
//!
//! Each verb is told who asks. It authorizes, limits, writes into the audit log, and then
//! acts; a face does nothing of that, and the desk knows no wire. A verb that was begun may
//! be dropped at any `await`: what it has set going goes on, and its line in the audit log
//! is written all the same.

pub mod admin;
pub mod cancel;
mod check;
pub mod chef;
pub mod export;
pub mod find;
pub mod hosts;
pub mod lists;
pub mod load;
pub mod measure;
mod nodes;
mod observe;
pub mod overview;
pub mod packets;
pub(crate) mod permission;
pub mod procedures;
pub mod queues;
pub mod read;
pub mod readiness;
pub mod services;
pub mod store_room;
mod submit;
pub mod update;
pub mod view;
pub mod work;

use std::sync::Arc;

use harp_jobs::access::AccessRules;
use harp_jobs::audit::Audit;
use harp_jobs::changes::Changes;
use harp_jobs::client::Client;
use harp_jobs::refusal::Refusal;
use harp_service::logging::Log;
use harp_values::{JobId, Password};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use self::load::HostLoad;
use crate::dispatcher::Dispatcher;
use crate::host_contacts::HostContacts;
use crate::hosts::{Hosts, Refresher};
use crate::identity::tokens::{TokenHash, TokensFile};
use crate::knowledge::Knowledge;
use crate::limits::ClientLimits;
use crate::meters::Meters;
use crate::traces::Traces;

/// How long the answer to a wrong token takes, beside all else: guessing is not fast.
pub(crate) const WRONG_TOKEN_DELAY: std::time::Duration = std::time::Duration::from_secs(1);

/// The front door. One for all faces.
#[derive(Debug)]
pub struct Desk {
    /// The jobs.
    pub dispatcher: Arc<Dispatcher>,
    /// The hosts registry.
    pub hosts: Arc<Hosts>,
    /// What runs its script.
    pub refresher: Refresher,
    /// What becomes durable of jobs.
    pub changes: Changes,
    /// What is counted of all this.
    pub meters: Meters,
    /// When hosts were last heard of.
    pub contacts: HostContacts,
    /// The limits of clients, those of the moment.
    pub limits: watch::Receiver<ClientLimits>,
    /// The tokens that clients may authenticate with, those of the moment.
    pub tokens: watch::Receiver<Option<Arc<TokensFile>>>,
    /// What clients may do; asked anew for each request.
    pub access: watch::Receiver<Arc<AccessRules>>,
    /// What is known of procedures.
    pub knowledge: Arc<Knowledge>,
    /// Where it is written down what they did.
    pub audit: Audit,
    /// The log of the process, if it has one.
    pub log: Option<Arc<Log>>,
    /// What takes spans.
    pub traces: Traces,
    /// Cancelled when nobody may wait for anything any more.
    pub closing: CancellationToken,
    /// Cancelled when no calls are taken any more.
    pub winding_down: CancellationToken,
    /// Which host each live job is at.
    pub load: HostLoad,
    /// Acts that go on although nobody waits for them.
    pub acts: TaskTracker,
}

impl Desk {
    /// Finds out who a client is that sends a token, or none. A token counts in place of
    /// what the connection came with. `calls_itself` is for the log.
    ///
    /// # Errors
    ///
    /// [`Refusal::UnknownToken`], a second later; [`Refusal::Stranger`];
    /// [`Refusal::Lapsed`]; [`Refusal::Unproved`] where the tokens file cannot be read.
    pub async fn greet(
        &self,
        by: &mut Client,
        token: Option<&Password>,
        calls_itself: Option<&str>,
    ) -> Result<(), Refusal> {
        let greeted = self.greet_at_once(by, token, calls_itself).await;
        if matches!(greeted, Err(Refusal::UnknownToken)) {
            tokio::time::sleep(WRONG_TOKEN_DELAY).await;
        }
        greeted
    }

    /// Does what [`Desk::greet`] does, and leaves the second after a wrong token to whoever
    /// asks.
    ///
    /// # Errors
    ///
    /// As for [`Desk::greet`].
    pub(crate) async fn greet_at_once(
        &self,
        by: &mut Client,
        token: Option<&Password>,
        calls_itself: Option<&str>,
    ) -> Result<(), Refusal> {
        // Without a tokens file there is nothing that a token could prove.
        if let Some(token) = token
            && self.has_tokens()
        {
            let Some((identity, proof)) = permission::proof_of(token, &self.tokens).await? else {
                warn!(peer = %by.peer, client = calls_itself, "wrong token");
                let refusal = Refusal::UnknownToken;
                self.note_refused(by, "hello", None, &refusal);
                return Err(refusal);
            };
            by.identity = Some(identity);
            by.proof = Some(Arc::new(proof));
        }
        if let Err(refusal) = permission::identified(by).await {
            info!(
                peer = %by.peer, client = by.name(), operation = "hello",
                refusal = refusal.name(), "request refused"
            );
            self.note_refused(by, "hello", None, &refusal);
            return Err(refusal);
        }
        debug!(peer = %by.peer, identity = by.name(), client = calls_itself, "hello");
        Ok(())
    }

    /// What a token is known by, if it is known. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`Refusal::Unproved`] where the tokens file cannot be read.
    pub async fn token_hash(&self, token: &Password) -> Result<Option<TokenHash>, Refusal> {
        let known = permission::proof_of(token, &self.tokens).await?;
        Ok(known.map(|(_, proof)| proof.hash()))
    }

    /// Notes that a client has begun a session.
    pub fn logged_in(&self, by: &Client) {
        info!(peer = %by.peer, client = by.name(), "login");
        self.audit.noted(by, "login");
    }

    /// Notes that a client has ended its session.
    pub fn logged_out(&self, by: &Client) {
        info!(peer = %by.peer, client = by.name(), "logout");
        self.audit.noted(by, "logout");
    }

    /// True if there are tokens to be known.
    #[must_use]
    pub fn has_tokens(&self) -> bool {
        self.tokens.borrow().is_some()
    }

    /// The greatest JSON text of a request of this client, in bytes; `None` for one that has
    /// to authenticate first, which takes no long request.
    #[must_use]
    pub fn longest_request(&self, by: &Client) -> Option<usize> {
        (!by.is_stranger()).then(|| self.limits.borrow().desk.max_request_size)
    }

    /// Says why a request is refused that is longer than it may be, whatever it is.
    #[must_use]
    pub fn refuse_longer(&self, by: &Client, limit: usize) -> Refusal {
        let refusal = if by.is_stranger() {
            Refusal::Stranger
        } else {
            Refusal::TooLarge { limit }
        };
        info!(
            peer = %by.peer, client = by.name(), refusal = refusal.name(),
            "a request is too long and was not read"
        );
        self.note_refused(by, "request", None, &refusal);
        refusal
    }

    /// Notes that something was refused which is no call.
    fn note_refused(
        &self,
        by: &Client,
        operation: &'static str,
        job: Option<JobId>,
        refusal: &Refusal,
    ) {
        self.count_refused(refusal);
        self.audit.refused(by, operation, job, refusal.name());
    }

    /// Counts what was not allowed.
    fn count_refused(&self, refusal: &Refusal) {
        let reason = match refusal {
            Refusal::Stranger => "stranger",
            Refusal::UnknownToken => "unknown_token",
            Refusal::Lapsed => "lapsed",
            Refusal::Unproved => "unproved",
            Refusal::Forbidden => "forbidden",
            Refusal::Violations { what, .. } => return self.meters.violated(*what),
            _ => return,
        };
        self.meters.unauthorized(reason);
    }

    /// Carries something out whether or not anybody waits for it.
    async fn act<T: Send + 'static>(
        &self,
        act: impl Future<Output = Result<T, Refusal>> + Send + 'static,
    ) -> Result<T, Refusal> {
        match self.acts.spawn(act).await {
            Ok(done) => done,
            // The panic itself is in the log.
            Err(_) => Err(Refusal::Failed {
                why: "harpcallerd met a fault of its own; its log has the details".to_owned(),
            }),
        }
    }
}
