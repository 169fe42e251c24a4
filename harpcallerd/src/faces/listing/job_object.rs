//! A job as JSON: whole, or as it stands in a list.

use harp_jobs::call::TimeLimits;
use harp_proto::{Json, Outcome};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::values::{Ended, UserValue, Values};
use crate::desk::view::{View, WaitingFor};

/// Characters of arguments and info that stand in a list.
const HEAD: usize = 120;

/// A job, to be written.
#[derive(Debug)]
pub struct JobObject<'a> {
    /// The job.
    pub view: &'a View,
    /// How much of its call is written.
    pub form: Form,
    /// What has happened to it, in a stream of all jobs.
    pub change: Option<&'static str>,
    /// Its call was not made, since its key had a job.
    pub existing: bool,
    /// The limits of time that hold for it, if the client has asked for them.
    pub limits: Option<TimeLimits>,
    /// Its end is part of the answer, whether it has come or not.
    pub with_end: bool,
}

/// How much of a job's call is written.
#[derive(Debug, Clone, Copy)]
pub enum Form {
    /// All of it.
    Whole(Values),
    /// The first characters of what can be long.
    Head,
}

impl<'a> JobObject<'a> {
    /// A job by itself.
    #[must_use]
    pub fn whole(view: &'a View, values: Values) -> JobObject<'a> {
        JobObject::new(view, Form::Whole(values))
    }

    /// A job in a list.
    #[must_use]
    pub fn head(view: &'a View) -> JobObject<'a> {
        JobObject::new(view, Form::Head)
    }

    fn new(view: &'a View, form: Form) -> JobObject<'a> {
        JobObject {
            view,
            form,
            change: None,
            existing: false,
            limits: None,
            with_end: false,
        }
    }
}

impl Serialize for JobObject<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let View { report, .. } = self.view;
        let call = &report.call;
        let outcome = self.view.end.as_ref().map(|end| &end.outcome);
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", &report.id)?;
        map.serialize_entry("state", self.view.state().name())?;
        map.serialize_entry("outcome", &outcome.map(outcome_name))?;
        map.serialize_entry("error_type", &outcome.and_then(error_type))?;
        map.serialize_entry("host", &call.host)?;
        map.serialize_entry("procedure", &call.procedure)?;
        match self.form {
            Form::Whole(values) => {
                map.serialize_entry("arguments", &UserValue(&call.arguments, values))?;
                map.serialize_entry("info", &UserValue(&call.info, values))?;
            }
            Form::Head => {
                map.serialize_entry("arguments_head", head(&call.arguments))?;
                map.serialize_entry("info_head", head(&call.info))?;
            }
        }
        let queue = call.queue.as_ref().map(|queue| Queue {
            name: queue.name.as_str(),
            concurrency: queue.concurrency,
        });
        map.serialize_entry("queue", &queue)?;
        map.serialize_entry("ahead", &self.view.ahead)?;
        let holders = self.view.ahead.map(|_| &self.view.holders);
        map.serialize_entry("holders", &holders)?;
        let waiting_for = self.view.waiting_for.map(WaitingFor::name);
        map.serialize_entry("waiting_for", &waiting_for)?;
        map.serialize_entry("timeout", &call.timeout)?;
        map.serialize_entry("max_exec_time", &call.max_exec_time)?;
        map.serialize_entry("start_by", &call.start_by)?;
        map.serialize_entry("client", &call.client)?;
        map.serialize_entry("key", &call.key)?;
        map.serialize_entry("batch", &())?;
        let service = self.view.of_service.then_some(&call.procedure);
        map.serialize_entry("service", &service)?;
        map.serialize_entry("worker", &self.view.worker)?;
        map.serialize_entry("submitted", &call.submitted)?;
        map.serialize_entry("started", &report.started)?;
        map.serialize_entry("ended", &report.ended)?;
        map.serialize_entry("packets", &self.view.packets)?;
        let end = self.view.end.as_ref();
        let violations = end.map_or(0, |end| end.remarks.violations);
        map.serialize_entry("result_violations", &violations)?;
        map.serialize_entry("place_kept", &self.view.place_kept)?;
        let unreachable_since = report.unreachable_since;
        let host_state = unreachable_since.map(|unreachable_since| HostState { unreachable_since });
        map.serialize_entry("host_state", &host_state)?;
        map.serialize_entry("trace", &call.trace)?;
        if let Form::Whole(_) = self.form {
            let end = self.view.end.as_ref();
            let evidence = end.and_then(|end| end.remarks.evidence.as_ref());
            map.serialize_entry("evidence", &evidence)?;
        }
        if self.existing {
            map.serialize_entry("existing", &true)?;
        }
        if let Some(limits) = self.limits {
            let TimeLimits {
                timeout,
                max_exec_time,
            } = limits;
            let limits = Limits {
                timeout,
                max_exec_time,
            };
            map.serialize_entry("limits", &limits)?;
        }
        if let Some(change) = self.change {
            map.serialize_entry("change", change)?;
        }
        if self.with_end {
            let values = match self.form {
                Form::Whole(values) => values,
                Form::Head => Values::AsSent,
            };
            let end = outcome.map(|outcome| Ended {
                outcome,
                values,
                at: None,
            });
            map.serialize_entry("end", &end)?;
        }
        map.end()
    }
}

/// The word for the kind of an end.
#[must_use]
pub fn outcome_name(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Returned(_) => "returned",
        Outcome::Exception(_) => "exception",
        Outcome::Error(_) => "error",
        Outcome::Cancelled => "cancelled",
    }
}

/// The type of an exception or error.
#[must_use]
pub fn error_type(outcome: &Outcome) -> Option<&str> {
    match outcome {
        Outcome::Exception(failure) | Outcome::Error(failure) => Some(&failure.error_type),
        Outcome::Returned(_) | Outcome::Cancelled => None,
    }
}

/// The beginning of a value's text.
fn head(json: &Json) -> &str {
    let text = json.as_str();
    match text.char_indices().nth(HEAD) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

/// A queue's name is JSON.
#[derive(Debug)]
pub struct QueueText<'a>(pub &'a str);

impl Serialize for QueueText<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let name = bytes::Bytes::copy_from_slice(self.0.as_bytes());
        Json::from_trusted(name).serialize(serializer)
    }
}

#[derive(Serialize)]
struct HostState {
    unreachable_since: u64,
}

#[derive(Serialize)]
struct Limits {
    timeout: u64,
    max_exec_time: u64,
}

struct Queue<'a> {
    name: &'a str,
    concurrency: u64,
}

impl Serialize for Queue<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("name", &QueueText(self.name))?;
        map.serialize_entry("concurrency", &self.concurrency)?;
        map.end()
    }
}
