//! Work for a service: by whom, for how long, and under which key (sections 10 and 12).

use std::collections::BTreeSet;
use std::fs;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use harp_tests::{Cluster, HttpAnswer, HttpRequest, until};
use serde_json::{Value, json};

use super::services::{ask, claim, job, register, under};
use super::topchef::{BOTH, Chef};
use super::{OPEN, address, api, assert_problem, get, open, post, result, submit};
use crate::access::identity::{Files, with_tokens};

#[test]
fn a_worker_needs_leave_to_work_and_its_claim_is_its_own() {
    let files = Files::new();
    let tokens = ["lab", "other", "caller", "boss"].map(|name| files.new_token(name));
    let [lab, other, caller, boss] = &tokens;
    let audit = files.path("audit");
    let cluster = with_tokens(&files)
        .set("audit_file", &json!(audit).to_string())
        .tables(
            "[[listen_http]]\naddress = '127.0.0.1:0'\n\
             [[allow]]\nclient = ['token:lab', 'token:other']\noperations = ['work', 'call', 'read']\n\
             [[allow]]\nclient = 'token:caller'\noperations = ['call', 'read']\n\
             [[allow]]\nclient = 'token:boss'\noperations = 'admin'\n",
        )
        .start();
    let post = |token: &str, path: &str, body: Value| -> HttpAnswer {
        let request = HttpRequest::post(&api(path), body);
        request.token(token).ask(address(&cluster))
    };
    let new = json!({"name": "s"});
    assert_problem(&post(caller, "/services", new.clone()), 403, "forbidden");
    let registered = post(lab, "/services", new);
    assert_eq!(registered.status(), 201, "{}", registered.text());
    let service = registered.json();
    assert_eq!(service["client"], "token:lab");
    let service = service["id"].as_str().unwrap();
    let called = post(caller, "/jobs", ask("s", json!([])));
    assert_eq!(called.status(), 201, "{}", called.text());
    let claims = format!("/services/{service}/claims");
    assert_problem(&post(caller, &claims, json!({})), 403, "forbidden");
    let claimed = post(lab, &claims, json!({"worker": "w"})).json();
    let claim = format!("/claims/{}", claimed["claim"].as_str().unwrap());
    // The name proves nothing: others may work here, and have another's job not.
    for (verb, body) in [
        ("renew", json!({})),
        ("packets", json!({"first": 0, "packets": [1]})),
        ("finish", json!({"result": 1})),
    ] {
        let path = format!("{claim}/{verb}");
        assert_problem(&post(other, &path, body.clone()), 404, "unknown_claim");
        let answer = post(lab, &path, body);
        assert_eq!(answer.status(), 200, "{}", answer.text());
    }
    let remove = |token: &str| {
        let request = HttpRequest::new("DELETE", &api(&format!("/services/{service}")));
        request.token(token).ask(address(&cluster))
    };
    assert_problem(&remove(other), 403, "forbidden");
    assert_eq!(remove(boss).status(), 204);
    until("the audit log has it all", || {
        let text = fs::read_to_string(&audit).ok()?;
        let has = |event: &str| {
            let lines = text
                .lines()
                .filter_map(|line| serde_json::from_str(line).ok());
            lines.into_iter().any(|line: Value| {
                line["event"] == event && line["client"] == "token:lab" && line["via"] == "http"
            })
        };
        (has("service_registered") && has("claimed")).then_some(())
    });
}

fn milliseconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis() as u64
}

#[test]
fn limits_of_time_run_from_the_claim_and_its_requests_are_signs_of_life() {
    let cluster = open().hosts(0).start();
    let service = register(&cluster, json!({"name": "s", "timeout": 600}));
    // Nobody fetches it in time, and there is no queue that it waits in.
    let mut late = ask("s", json!([]));
    late["start_by"] = json!(1);
    let late = submit(&cluster, late);
    let end = result(&cluster, &late);
    assert_eq!(
        end["error"]["data"],
        json!({"limit": "start_by", "seconds": 1})
    );

    let mut limited = ask("s", json!([]));
    limited["max_exec_time"] = json!(2);
    let limited = submit(&cluster, limited);
    // It has waited for longer than that when it begins.
    let waited = job(&cluster, &limited)["submitted"].as_u64().unwrap() + 2500;
    until("it has waited", || (milliseconds() > waited).then_some(()));
    claim(&cluster, &service, json!({})).unwrap();
    let end = result(&cluster, &limited);
    assert_eq!(
        end["error"]["data"],
        json!({"limit": "max_exec_time", "seconds": 2})
    );
    let shown = job(&cluster, &limited);
    let at = |key: &str| shown[key].as_u64().unwrap();
    assert!(
        at("started") >= waited && at("ended") >= at("started") + 1900,
        "{shown}"
    );

    // On a busy machine the word may come too late, and says so.
    until("a word has come in time", || {
        let mut silent = ask("s", json!([]));
        silent["timeout"] = json!(3);
        let silent = submit(&cluster, silent);
        let claimed = claim(&cluster, &service, json!({})).unwrap();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(1500) {
            thread::sleep(Duration::from_millis(50));
        }
        let asked = milliseconds();
        if under(&cluster, &claimed, "renew", json!({})).status() != 200 {
            return None;
        }
        let end = result(&cluster, &silent);
        if end["error"]["data"] != json!({"limit": "timeout", "seconds": 3}) {
            return None;
        }
        let ended = job(&cluster, &silent)["ended"].as_u64().unwrap();
        assert!(ended >= asked + 2900, "{} ms after the word", ended - asked);
        Some(())
    });
}

#[test]
fn the_host_of_services_is_what_the_configuration_says() {
    let mut cluster = open().start();
    cluster.restart_dispatcher();
    let mut entry = cluster.entry("web01");
    entry["hostname"] = json!("lab");
    cluster.set_registry(&[cluster.entry("web01"), entry]);
    assert!(cluster.run(&["hosts-refresh"]).status.success());
    cluster.set("max_exec_time", "5");
    let keys = "[topchef]\nhost = 'lab'\nmax_exec_time = 3600\nstrict_schemas = true\n";
    cluster.set_tables(&format!("{OPEN}{BOTH}{keys}"));
    cluster.restart_dispatcher();
    let told = "the registry's entry is passed over: calls to this host are for services";
    let _ = cluster.log().wait_for(told);

    // It may be longer than the general limit, for services alone.
    let limits = |host: &str, procedure: &str| {
        let call = json!({"host": host, "procedure": procedure, "limits": true});
        post(&cluster, "/jobs", call).json()["limits"]["max_exec_time"].clone()
    };
    let service = register(&cluster, json!({"name": "s"}));
    assert_eq!(
        (limits("lab", "s"), limits("web01", "echo")),
        (json!(3600), json!(5))
    );
    let claimed = claim(&cluster, &service, json!({})).unwrap();
    assert_eq!(claimed["job"]["host"], "lab");
    let unknown = submit(&cluster, json!({"host": "topchef", "procedure": "s"}));
    assert_eq!(result(&cluster, &unknown)["error"]["type"], "unknown_host");

    // Schemas that cannot be used are refused by both generations then.
    let body = json!({
        "name": "n", "description": "d", "job_registration_schema": {"type": "bogus"},
        "job_result_schema": {},
    });
    for base in ["/topchef/v1", "/topchef/v2"] {
        let refused = Chef::at(&cluster, base).ask("POST", "/services", Some(body.clone()));
        assert_eq!(refused.status(), 400, "{base}: {}", refused.text());
    }
    let listed = get(&cluster, "/services").json();
    assert_eq!(listed["services"].as_array().unwrap().len(), 1);
}

/// Claims under a key; the job's id, if there was one.
fn claim_under(cluster: &Cluster, service: &str, key: &str) -> Option<(String, Value)> {
    let path = api(&format!("/services/{service}/claims"));
    let asked = HttpRequest::post(&path, json!({"worker": "w"})).header("Idempotency-Key", key);
    let answer = asked.ask(address(cluster));
    if answer.status() == 204 {
        return None;
    }
    assert_eq!(answer.status(), 201, "{}", answer.text());
    let claimed = answer.json();
    Some((claimed["job"]["id"].as_str().unwrap().to_owned(), claimed))
}

#[test]
fn a_claim_under_a_key_comes_to_one_job_as_long_as_that_runs() {
    let mut cluster = open().hosts(0).start();
    let service = register(&cluster, json!({"name": "s"}));
    assert!(claim_under(&cluster, &service, "k").is_none());
    let jobs: BTreeSet<String> = (0..3)
        .map(|number| submit(&cluster, ask(&service, json!([number]))))
        .collect();
    // However many ask at once.
    let claimed: BTreeSet<(String, String)> = thread::scope(|scope| {
        let asking: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| claim_under(&cluster, &service, "\"k\"")))
            .collect();
        let claims = asking.into_iter().map(|asked| {
            let (id, claimed) = asked.join().unwrap().expect("a job");
            (id, claimed["claim"].as_str().unwrap().to_owned())
        });
        claims.collect()
    });
    assert_eq!(claimed.len(), 1, "{claimed:?}");
    let (first, other) = (
        claim_under(&cluster, &service, "k").unwrap(),
        claim_under(&cluster, &service, "other").unwrap(),
    );
    assert!(claimed.contains(&(
        first.0.clone(),
        first.1["claim"].as_str().unwrap().to_owned()
    )));
    assert_ne!(first.0, other.0);
    cluster.kill_dispatcher();
    cluster.start_dispatcher();
    assert_eq!(claim_under(&cluster, &service, "k").unwrap().0, first.0);
    let done = under(&cluster, &first.1, "finish", json!({"result": 1}));
    assert_eq!(done.status(), 200);
    let last = claim_under(&cluster, &service, "k").unwrap().0;
    assert_eq!(BTreeSet::from([first.0, other.0, last]), jobs);
    let path = api(&format!("/services/{service}/claims"));
    let long = HttpRequest::post(&path, json!({})).header("Idempotency-Key", &"k".repeat(257));
    let answer = long.ask(address(&cluster));
    assert_problem(&answer, 400, "invalid_request");
    assert_eq!(answer.json()["field"], "Idempotency-Key");
}
