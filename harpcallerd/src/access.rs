//! Rules of access: the tables `[[allow]]` of the configuration.
//!
//! The first rule that matches a request decides about it. Without any rule everything is
//! allowed; with one, whatever no rule matches is not. A rule may look at the job that a
//! request is about, so the answer can depend on a job that has to be looked up first.

pub(crate) mod pattern;

use harp_proto::QueueName;
use harp_service::Table;

use crate::call::NewCall;
use crate::client::Client;
use crate::record::CallRecord;
pub(crate) use pattern::Patterns;

/// The rules in force.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessRules(Vec<Rule>);

/// One `[[allow]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    client: Patterns,
    host: Patterns,
    procedure: Patterns,
    queue: Patterns,
    operations: Vec<Operation>,
    /// Only jobs that the client itself has submitted.
    own_jobs: bool,
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
    pub(crate) const ALL: [Operation; 6] = [
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
    /// Takes the rules out of the configuration.
    pub fn take(table: &Table<'_>) -> AccessRules {
        let words = [
            "access",
            "acl",
            "authorization",
            "deny",
            "forbid",
            "permission",
            "permissions",
            "permit",
            "rule",
            "rules",
        ];
        table.guard_also("allow", &words);
        AccessRules(table.array_of_tables("allow").iter().map(rule).collect())
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

fn rule(table: &Table<'_>) -> Rule {
    // A rule that was meant for somebody must not be everybody's.
    if !table.ignore("client") {
        table.problem("client", "missing: say whom it allows; \"*\" is everybody");
    }
    let patterns = |key| match table.one_or_more_strings(key) {
        None => Patterns::everything(),
        Some(texts) => {
            if texts.is_empty() {
                table.problem(key, "must have at least one pattern; leave it out for all");
            }
            Patterns::new(&texts)
        }
    };
    let operations = match table.one_or_more_strings("operations") {
        None => Operation::ALL.to_vec(),
        Some(names) => {
            let mut operations = Vec::new();
            for name in &names {
                let known = Operation::ALL.into_iter();
                match known.into_iter().find(|operation| operation.name() == name) {
                    Some(operation) => operations.push(operation),
                    None => table.problem(
                        "operations",
                        format!(
                            "must be of \"call\", \"read\", \"cancel\", \"work\", \"observe\" and \
                             \"admin\", not {name:?}"
                        ),
                    ),
                }
            }
            if names.is_empty() {
                table.problem("operations", "must have at least one operation");
            }
            operations
        }
    };
    let jobs = table.one_of("jobs", &["own", "all"]);
    Rule {
        client: patterns("client"),
        host: patterns("host"),
        procedure: patterns("procedure"),
        queue: patterns("queue"),
        operations,
        own_jobs: jobs.as_deref() == Some("own"),
    }
}

#[cfg(test)]
mod tests {
    use harp_proto::Json;
    use harp_service::Settings;

    use super::*;
    use crate::client::{Identity, Peer, Via};
    use crate::record::QueueRecord;

    fn rules(text: &str) -> AccessRules {
        let settings = Settings::parse(text, "f").unwrap();
        let rules = AccessRules::take(&settings.table());
        assert_eq!(settings.finish().unwrap(), []);
        rules
    }

    fn client(token: Option<&str>) -> Client {
        let peer = Peer::Local { uid: 1, pid: None };
        Client {
            identity: token.map(Identity::of_token),
            ..Client::unknown(peer, Via::Listener, true)
        }
    }

    fn job(host: &str, procedure: &str, queue: Option<&str>, client: Option<&str>) -> CallRecord {
        CallRecord {
            queue: queue.map(|name| QueueRecord {
                name: name.parse().unwrap(),
                concurrency: 1,
            }),
            client: client.map(str::to_owned),
            ..CallRecord::new(host, procedure, Json::NULL, 0)
        }
    }

    #[test]
    fn without_rules_everything_is_allowed() {
        let rules = AccessRules::default();
        let nobody = client(None);
        assert_eq!(rules.judge(&nobody, Operation::Cancel), Verdict::Allowed);
        assert!(rules.allow_job(&nobody, Operation::Read, &job("h", "p", None, None)));
    }

    #[test]
    fn what_no_rule_matches_is_forbidden() {
        let rules = rules(
            "[[allow]]\nclient = 'token:shop'\nhost = ['web*', 'db01']\nprocedure = 'deploy'\n\
             queue = '{\"q\":*}'\noperations = 'read'\n",
        );
        let (shop, other) = (client(Some("shop")), client(Some("other")));
        let allows =
            |client: &Client, job: &CallRecord| rules.allow_job(client, Operation::Read, job);
        let queue = Some("{\"q\":1}");
        assert!(allows(&shop, &job("web01", "deploy", queue, None)));
        assert!(allows(&shop, &job("db01", "deploy", queue, None)));
        for (client, job) in [
            (&other, job("web01", "deploy", queue, None)),
            (&client(None), job("web01", "deploy", queue, None)),
            (&shop, job("db02", "deploy", queue, None)),
            (&shop, job("web01", "deploys", queue, None)),
            (&shop, job("web01", "deploy", Some("{}"), None)),
            (&shop, job("web01", "deploy", None, None)),
        ] {
            assert!(!allows(client, &job), "{client:?} {job:?}");
        }
        assert_eq!(rules.judge(&shop, Operation::Cancel), Verdict::Forbidden);
        assert_eq!(rules.judge(&shop, Operation::Read), Verdict::DependsOnJob);
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let rules = rules(
            "[[allow]]\nclient = 'token:*'\nhost = 'web*'\njobs = 'own'\n\
             [[allow]]\nclient = ['token:shop', 'anonymous']\n",
        );
        let shop = client(Some("shop"));
        let own = job("web01", "p", None, Some("token:shop"));
        let foreign = job("web01", "p", None, Some("token:other"));
        let elsewhere = job("db01", "p", None, Some("token:other"));
        assert!(rules.allow_job(&shop, Operation::Cancel, &own));
        // The second rule would allow it.
        assert!(!rules.allow_job(&shop, Operation::Cancel, &foreign));
        assert!(rules.allow_job(&shop, Operation::Cancel, &elsewhere));
        assert_eq!(
            rules.judge(&client(None), Operation::Read),
            Verdict::Allowed
        );
    }

    #[test]
    fn who_has_not_authenticated_has_no_jobs_of_its_own() {
        let rules = rules("[[allow]]\nclient = '*'\njobs = 'own'\n");
        let nobody = client(None);
        assert!(!rules.allow_job(&nobody, Operation::Read, &job("h", "p", None, None)));
        let named = job("h", "p", None, Some(Identity::ANONYMOUS));
        assert!(!rules.allow_job(&nobody, Operation::Read, &named));
    }

    #[test]
    fn an_empty_queue_pattern_is_for_calls_without_one() {
        let rules = rules("[[allow]]\nclient = '*'\nqueue = ''\n");
        let anybody = client(None);
        assert!(rules.allow_job(&anybody, Operation::Read, &job("h", "p", None, None)));
        assert!(!rules.allow_job(&anybody, Operation::Read, &job("h", "p", Some("{}"), None)));
    }

    #[test]
    fn what_is_wrong_is_told() {
        let settings = Settings::parse(
            "[[allow]]\noperations = ['call', 'kill']\njobs = 'mine'\nhost = []\nclient = 1\n",
            "f",
        )
        .unwrap();
        let _ = AccessRules::take(&settings.table());
        let told = settings.finish().unwrap_err().to_string();
        for part in [
            "f:2: allow[0].operations: must be of",
            "f:3: allow[0].jobs: must be one of",
            "f:4: allow[0].host: must have at least one pattern",
            "f:5: allow[0].client: must be a string or an array of strings",
        ] {
            assert!(told.contains(part), "{told}");
        }
    }
}
