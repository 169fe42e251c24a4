//! Rules of access: what clients may do.
//!
//! The first rule that matches a request decides about it. Without any rule everything is
//! allowed; with one, whatever no rule matches is not. A rule may look at the job that a
//! request is about, so the answer can depend on a job that has to be looked up first.

mod pattern;

use harp_values::QueueName;

use crate::call::NewCall;
use crate::client::Client;
use crate::record::CallRecord;
pub use pattern::Patterns;

/// The rules in force.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessRules(Vec<Rule>);

/// One rule: whom it allows what, with which jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Names of clients.
    pub client: Patterns,
    /// Names of hosts.
    pub host: Patterns,
    /// Names of procedures.
    pub procedure: Patterns,
    /// Names of queues, as their JSON text; the empty text stands for no queue.
    pub queue: Patterns,
    /// What is allowed.
    pub operations: Vec<Operation>,
    /// Only jobs that the client itself has submitted.
    pub own_jobs: bool,
}

/// Operation that a client may be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Submit a call.
    Call,
    /// Ask for a job's result and status, read and follow its packets.
    Read,
    /// Cancel a job.
    Cancel,
    /// Register services, claim and answer their jobs.
    Work,
    /// See how things stand: metrics, queues, hosts, all events. It is about no call.
    Observe,
    /// Refresh hosts, delete services. It is about no call.
    Admin,
}

/// Decision of the rules on a request about a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Allowed, whatever the job.
    Allowed,
    /// Not allowed, whatever the job.
    Forbidden,
    /// The job decides: [`AccessRules::allow_job`].
    DependsOnJob,
}

/// Properties that rules look at, beside the client and the operation.
struct Subject<'a> {
    host: &'a str,
    procedure: &'a str,
    queue: Option<&'a QueueName>,
}

impl Operation {
    /// All of them.
    pub const ALL: [Operation; 6] = [
        Operation::Call,
        Operation::Read,
        Operation::Cancel,
        Operation::Work,
        Operation::Observe,
        Operation::Admin,
    ];

    /// The name in the configuration and in the logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Operation::Call => "call",
            Operation::Read => "read",
            Operation::Cancel => "cancel",
            Operation::Work => "work",
            Operation::Observe => "observe",
            Operation::Admin => "admin",
        }
    }
}

impl AccessRules {
    /// Rules in the order in which they are asked.
    #[must_use]
    pub fn new(rules: Vec<Rule>) -> AccessRules {
        AccessRules(rules)
    }

    /// How many rules there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// True if there is no rule, so that everything is allowed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True if the client may make this call.
    #[must_use]
    pub fn allow_call(&self, client: &Client, call: &NewCall) -> bool {
        let subject = Subject {
            host: &call.host,
            procedure: &call.procedure,
            queue: call.queue.as_ref().map(|queue| &queue.name),
        };
        self.is_empty() || self.first(client, Operation::Call, &subject).is_some()
    }

    /// True if the client may call this procedure in some queue or in none.
    #[must_use]
    pub fn allow_some_call(&self, client: &Client, host: &str, procedure: &str) -> bool {
        let mut rules = self.0.iter();
        self.is_empty()
            || rules.any(|rule| {
                rule.concerns(client, Operation::Call)
                    && rule.host.match_text(host)
                    && rule.procedure.match_text(procedure)
            })
    }

    /// True if the client may call something on this host.
    #[must_use]
    pub fn allow_some_call_to(&self, client: &Client, host: &str) -> bool {
        let mut rules = self.0.iter();
        self.is_empty()
            || rules
                .any(|rule| rule.concerns(client, Operation::Call) && rule.host.match_text(host))
    }

    /// Decides a request about a job as far as that is possible before the job is looked up.
    #[must_use]
    pub fn judge(&self, client: &Client, operation: Operation) -> Verdict {
        if self.is_empty() {
            return Verdict::Allowed;
        }
        let mut rules = self.0.iter();
        match rules.find(|rule| rule.concerns(client, operation)) {
            None => Verdict::Forbidden,
            Some(rule) if rule.takes_any_job() => Verdict::Allowed,
            Some(_) => Verdict::DependsOnJob,
        }
    }

    /// True if the client may do this, which is about no call: only rules that name no host,
    /// procedure, queue or jobs are asked.
    #[must_use]
    pub fn allow_without_job(&self, client: &Client, operation: Operation) -> bool {
        let mut rules = self.0.iter();
        self.is_empty()
            || rules.any(|rule| rule.concerns(client, operation) && rule.takes_any_job())
    }

    /// True if there is anything with which the client may do this.
    #[must_use]
    pub fn allow_some(&self, client: &Client, operation: Operation) -> bool {
        match operation {
            Operation::Observe | Operation::Admin => self.allow_without_job(client, operation),
            _ => self.judge(client, operation) != Verdict::Forbidden,
        }
    }

    /// True if the client may do this with a job.
    #[must_use]
    pub fn allow_job(&self, client: &Client, operation: Operation, job: &CallRecord) -> bool {
        let subject = Subject {
            host: &job.host,
            procedure: &job.procedure,
            queue: job.queue.as_ref().map(|queue| &queue.name),
        };
        if self.is_empty() {
            return true;
        }
        let Some(rule) = self.first(client, operation, &subject) else {
            return false;
        };
        // A client that did not authenticate cannot be told from others that did not.
        let identity = client.identity.as_ref().map(|identity| identity.as_str());
        !rule.own_jobs || identity.is_some_and(|identity| job.client.as_deref() == Some(identity))
    }

    /// True if the client may do this with a service, which is this procedure of the services'
    /// host. A rule for own jobs alone is one for services that the client has registered.
    #[must_use]
    pub fn allow_service(
        &self,
        client: &Client,
        operation: Operation,
        host: &str,
        service: &str,
        owner: Option<&str>,
    ) -> bool {
        if self.is_empty() {
            return true;
        }
        let subject = Subject {
            host,
            procedure: service,
            queue: None,
        };
        let Some(rule) = self.first_for_any_queue(client, operation, &subject) else {
            return false;
        };
        let identity = client.identity.as_ref().map(|identity| identity.as_str());
        !rule.own_jobs || operation == Operation::Call || identity.is_some() && identity == owner
    }

    fn first_for_any_queue(
        &self,
        client: &Client,
        operation: Operation,
        subject: &Subject<'_>,
    ) -> Option<&Rule> {
        self.0.iter().find(|rule| {
            rule.concerns(client, operation)
                && rule.host.match_text(subject.host)
                && rule.procedure.match_text(subject.procedure)
        })
    }

    fn first(&self, client: &Client, operation: Operation, subject: &Subject<'_>) -> Option<&Rule> {
        self.0.iter().find(|rule| {
            rule.concerns(client, operation)
                && rule.host.match_text(subject.host)
                && rule.procedure.match_text(subject.procedure)
                && rule
                    .queue
                    .match_text(subject.queue.map_or("", |queue| queue.as_str()))
        })
    }
}

impl Rule {
    fn concerns(&self, client: &Client, operation: Operation) -> bool {
        self.operations.contains(&operation) && self.client.match_text(client.name())
    }

    fn takes_any_job(&self) -> bool {
        let match_all = |patterns: &Patterns| patterns.match_everything();
        !self.own_jobs
            && match_all(&self.host)
            && match_all(&self.procedure)
            && match_all(&self.queue)
    }
}
