//! Submitting a call.

use std::sync::Arc;
use std::time::Duration;

use harp_jobs::call::{Accepted, NewCall, TimeLimits};
use harp_jobs::client::{Client, Via};
use harp_jobs::jobs::Submission;
use harp_jobs::ledger::{self, NotAccepted, Room};
use harp_jobs::record::{CallRecord, QueueRecord};
use harp_jobs::refusal::{Full, Refusal, SchemaOf};
use harp_values::{Json, Traceparent};
use tracing::info;

use super::{Desk, permission};
use crate::procedures::Source;
use crate::traces::Request;
use crate::world::Fault;

impl Desk {
    /// Accepts a call; its job is on disk when this returns. Cancel safe in this sense: once
    /// begun, the submission goes on when the future is dropped; the job then exists although
    /// nobody was told its id.
    ///
    /// # Errors
    ///
    /// [`Refusal::Stranger`], [`Refusal::Lapsed`], [`Refusal::Forbidden`],
    /// [`Refusal::TooLarge`], [`Refusal::Violations`], [`Refusal::KeyTaken`], [`Refusal::Full`],
    /// [`Refusal::Closing`], [`Refusal::CallNotRecorded`].
    pub async fn submit(&self, by: &Client, call: NewCall) -> Result<Accepted, Refusal> {
        let mut call = self.addressed(call);
        let asked = self.audit.asked(by, &call);
        if let Err(refusal) = self.may_submit(by, &call).await {
            self.count_refused(&refusal);
            self.audit.call_refused(asked, refusal.name());
            return Err(refusal);
        }
        let room = {
            let limits = self.limits.borrow().desk;
            Room {
                live_jobs: limits.max_live_jobs,
                queue_length: limits.max_queue_length,
            }
        };
        let (jobs, audit) = (Arc::clone(self.dispatcher.jobs()), self.audit.clone());
        let begun = self.traces_of(by, &mut call);
        let call = new_call(by, call);
        let terms = self.dispatcher.limits().terms(&call.call, Duration::ZERO);
        let limits = TimeLimits {
            timeout: terms.silence.as_secs(),
            max_exec_time: terms.longest.as_secs(),
        };
        let submission = self.dispatcher.submission(async move {
            let (job, submitted) = jobs.submit_named(call, room).await;
            let submitted = answer(submitted, limits);
            match &submitted {
                Ok(accepted) => audit.accepted(asked, accepted.job),
                Err(Refusal::CallNotRecorded { may_exist, .. }) if *may_exist => {
                    audit.unknown(asked, job);
                }
                Err(refusal) => audit.call_refused(asked, refusal.name()),
            }
            submitted
        });
        let submitted = submission.await.unwrap_or_else(|Fault| {
            // The panic itself is in the log.
            let why = "harpcallerd met a fault of its own; its log has the details".to_owned();
            let may_exist = true;
            Err(Refusal::CallNotRecorded { may_exist, why })
        });
        if let Some(begun) = begun {
            let system = ("rpc.system.name", "harpcaller".into());
            let (name, failed) = ("call".to_owned(), submitted.is_err());
            self.traces.answered(begun, name, vec![system], failed);
        }
        submitted
    }

    /// A trace that is not so written is as good as none. Without one the call may begin one,
    /// which this request is then the first span of.
    fn traces_of(&self, by: &Client, call: &mut NewCall) -> Option<Request> {
        let is_trace = |trace: &String| trace.parse::<Traceparent>().is_ok();
        call.trace = call.trace.take().filter(is_trace);
        // Of HTTP each request has begun one, or has not.
        if call.trace.is_some() || by.via == Via::Http {
            return None;
        }
        let begun = self.traces.request(None)?;
        call.trace = Some(begun.traceparent());
        Some(begun)
    }

    pub(super) async fn may_submit(&self, by: &Client, call: &NewCall) -> Result<(), Refusal> {
        let permitted = permission::identified(by).await.and_then(|()| {
            let is_allowed = by.is_administrator() || self.access.borrow().allow_call(by, call);
            is_allowed.then_some(()).ok_or(Refusal::Forbidden)
        });
        if let Err(refusal) = permitted {
            let queue = call.queue.as_ref().map(|queue| queue.name.as_str());
            info!(
                peer = %by.peer, client = by.name(), operation = "call", host = call.host,
                procedure = call.procedure, queue, refusal = refusal.name(), "request refused"
            );
            return Err(refusal);
        }
        let info = if call.info == Json::NULL {
            0
        } else {
            call.info.as_bytes().len()
        };
        let names = call.host.len() + call.procedure.len();
        let limit = self.limits.borrow().desk.max_request_size;
        if call.arguments.as_bytes().len() + info + names > limit {
            return Err(Refusal::TooLarge { limit });
        }
        self.hold_to_schema(call).await
    }

    /// The call, with a service's id for its name.
    pub(super) fn addressed(&self, mut call: NewCall) -> NewCall {
        let services = self.dispatcher.services();
        if services.is_host(&call.host)
            && let Some(service) = services.named(&call.procedure)
        {
            call.procedure = service.id.to_string();
        }
        call
    }

    /// # Errors
    ///
    /// [`Refusal::Violations`].
    async fn hold_to_schema(&self, call: &NewCall) -> Result<(), Refusal> {
        let known = &self.knowledge;
        let schema = || known.schema(SchemaOf::Arguments, &call.host, &call.procedure);
        let Some((held_to, source)) = schema() else {
            return Ok(());
        };
        let mut errors = held_to.violations(&call.arguments);
        let said = known.learned.of(&call.host);
        let is_old = matches!(source, Source::Host(_)) && said.is_none_or(|said| !said.is_fresh());
        if !errors.is_empty() && is_old {
            // It may be another now. A host that cannot say so gets the call.
            if known.learned.ask(&call.host).await.is_none() {
                return Ok(());
            }
            errors = match schema() {
                Some((held_to, _)) => held_to.violations(&call.arguments),
                None => Vec::new(),
            };
        }
        if errors.is_empty() {
            return Ok(());
        }
        let what = SchemaOf::Arguments;
        Err(Refusal::Violations { what, errors })
    }
}

/// What has come of a submission, in the desk's words.
fn answer(
    submitted: Result<ledger::Accepted, NotAccepted>,
    limits: TimeLimits,
) -> Result<Accepted, Refusal> {
    match submitted {
        Ok(ledger::Accepted::New(job)) => Ok(Accepted {
            job,
            existing: false,
            limits: Some(limits),
        }),
        Ok(ledger::Accepted::Before(job)) => Ok(Accepted {
            job,
            existing: true,
            limits: None,
        }),
        Err(NotAccepted::Storage { may_exist, why }) => {
            let why = why.as_ref().to_owned();
            Err(Refusal::CallNotRecorded { may_exist, why })
        }
        Err(NotAccepted::KeyTaken) => Err(Refusal::KeyTaken),
        Err(NotAccepted::Full(ledger::Full::LiveJobs(most))) => {
            Err(Refusal::Full(Full::LiveJobs(most)))
        }
        Err(NotAccepted::Full(ledger::Full::QueueLength(most))) => {
            Err(Refusal::Full(Full::Queue(most)))
        }
        Err(NotAccepted::Closed) => Err(Refusal::Closing),
    }
}

fn new_call(by: &Client, call: NewCall) -> Submission {
    Submission {
        call: CallRecord {
            host: call.host,
            procedure: call.procedure,
            arguments: call.arguments,
            info: call.info,
            timeout: call.timeout,
            max_exec_time: call.max_exec_time,
            endless: false,
            queue: call.queue.map(|queue| QueueRecord {
                name: queue.name,
                concurrency: queue.concurrency,
            }),
            client: by
                .identity
                .as_ref()
                .map(|client| client.as_str().to_owned()),
            key: call.key,
            start_by: call.start_by,
            trace: call.trace,
            submitted: 0,
        },
        unless_since: call.unless_since,
        start_by: call.start_by,
    }
}
