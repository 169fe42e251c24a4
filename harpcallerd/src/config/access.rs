//! The tables `[[allow]]` of the configuration: rules of access.

use harp_jobs::access::{AccessRules, Operation, Patterns, Rule};
use harp_service::Table;

/// Takes the rules out of the configuration.
pub(super) fn take(table: &Table<'_>) -> AccessRules {
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
    AccessRules::new(table.array_of_tables("allow").iter().map(rule).collect())
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
    use harp_jobs::access::Verdict;
    use harp_jobs::client::{Client, Identity, Peer, Via};
    use harp_jobs::record::{CallRecord, QueueRecord};
    use harp_proto::Json;
    use harp_service::Settings;

    use super::*;

    fn rules(text: &str) -> AccessRules {
        let settings = Settings::parse(text, "f").unwrap();
        let rules = take(&settings.table());
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
        let _ = take(&settings.table());
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
