//! Services and workers (section 10): each endpoint, what is bad about requests, and a kill
//! at each step.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use harp_tests::{Cluster, HttpAnswer, HttpRequest, PATIENCE, until};
use serde_json::{Value, json};

use super::{address, api, assert_problem, get, open, post, result, submit};

pub(super) fn register(cluster: &Cluster, body: Value) -> String {
    let answer = post(cluster, "/services", body);
    assert_eq!(answer.status(), 201, "{}", answer.text());
    let service = answer.json();
    let id = service["id"].as_str().unwrap().to_owned();
    assert_eq!(answer.header("location"), format!("services/{id}"));
    id
}

/// A call to a service.
pub(super) fn ask(service: &str, arguments: Value) -> Value {
    json!({"host": "topchef", "procedure": service, "arguments": arguments})
}

pub(super) fn claim(cluster: &Cluster, service: &str, body: Value) -> Option<Value> {
    let answer = post(cluster, &format!("/services/{service}/claims"), body);
    match answer.status() {
        201 => Some(answer.json()),
        204 => None,
        _ => panic!("{}", answer.text()),
    }
}

pub(super) fn under(cluster: &Cluster, claim: &Value, verb: &str, body: Value) -> HttpAnswer {
    let claim = claim["claim"].as_str().unwrap();
    post(cluster, &format!("/claims/{claim}/{verb}"), body)
}

pub(super) fn job(cluster: &Cluster, id: &str) -> Value {
    get(cluster, &format!("/jobs/{id}")).json()
}

#[test]
fn a_worker_fetches_a_job_and_answers_it() {
    let cluster = open().hosts(0).start();
    let service = register(&cluster, json!({"name": "spectrometer", "timeout": 60}));
    let shown = get(&cluster, &format!("/services/{service}")).json();
    assert_eq!(shown["name"], "spectrometer");
    assert_eq!(
        (&shown["available"], &shown["workers"]),
        (&json!(false), &json!(0))
    );
    assert!(shown["asked_for_work"].is_null());
    assert_eq!(claim(&cluster, &service, json!({})), None);

    // By its name, since it alone has it; the job has the id.
    let id = submit(&cluster, ask("spectrometer", json!({"sample": 7})));
    let queued = job(&cluster, &id);
    assert_eq!(queued["procedure"], service.as_str());
    assert_eq!(queued["service"], service.as_str());
    for (of, is_listed) in [(service.as_str(), true), ("spectrometer", false)] {
        let listed = get(&cluster, &format!("/jobs?service={of}")).json();
        let ids: Vec<_> = listed["jobs"].as_array().unwrap().iter().collect();
        assert_eq!(
            ids.iter().any(|job| job["id"] == id.as_str()),
            is_listed,
            "{of}"
        );
    }
    assert_eq!(
        (&queued["state"], &queued["waiting_for"]),
        (&json!("queued"), &json!("worker"))
    );

    assert_eq!(get(&cluster, "/summary").json()["queued"], 1);
    let claimed = claim(&cluster, &service, json!({"worker": "bench 1"})).unwrap();
    assert_eq!(claimed["job"]["id"], id.as_str());
    assert_eq!(claimed["job"]["arguments"], json!({"sample": 7}));
    assert_eq!(claimed["job"]["state"], "running");
    assert_eq!(job(&cluster, &id)["worker"], "bench 1");
    assert_eq!(
        claim(&cluster, &service, json!({})),
        None,
        "it is started once"
    );

    let summary = get(&cluster, "/summary").json();
    let counts = [
        &summary["queued"],
        &summary["running"],
        &summary["services"],
    ];
    assert_eq!(counts, [0, 1, 1].map(|count| json!(count)).each_ref());
    let renewed = under(&cluster, &claimed, "renew", json!({})).json();
    assert!(renewed["expires"].as_u64() >= claimed["expires"].as_u64());
    assert!(renewed.get("cancelled").is_none());
    let packets = json!({"first": 0, "packets": ["warming", {"t": 1.5}]});
    for _ in 0..2 {
        let put = under(&cluster, &claimed, "packets", packets.clone());
        assert_eq!((put.status(), put.json()), (200, json!({"next": 2})));
    }
    let hole = under(
        &cluster,
        &claimed,
        "packets",
        json!({"first": 5, "packets": [1]}),
    );
    assert_problem(&hole, 409, "hole");
    assert_eq!(hole.json()["next"], 2);
    let shown = get(&cluster, &format!("/jobs/{id}/packets")).json();
    assert_eq!(shown["packets"][1]["data"], json!({"t": 1.5}));

    let done = json!({"result": {"peaks": [1, 2]}});
    assert_eq!(
        under(&cluster, &claimed, "finish", done.clone()).status(),
        200
    );
    // An answer that was lost is asked for again.
    assert_eq!(
        under(&cluster, &claimed, "finish", done.clone()).status(),
        200
    );
    let other = under(&cluster, &claimed, "finish", json!({"result": 1}));
    assert_problem(&other, 409, "ended");
    assert_problem(&under(&cluster, &claimed, "renew", json!({})), 409, "ended");
    assert_eq!(result(&cluster, &id)["result"], json!({"peaks": [1, 2]}));
    // The worker's name stays with the job.
    assert_eq!(job(&cluster, &id)["worker"], "bench 1");
    let listed = get(&cluster, "/jobs").json();
    assert_eq!(listed["jobs"][0]["worker"], "bench 1");
    let shown = get(&cluster, &format!("/services/{service}")).json();
    assert_eq!(shown["workers"], 2, "one with a name, one without");
    assert!(shown["asked_for_work"].is_u64());
}

#[test]
fn a_worker_that_waits_is_answered_when_a_job_comes() {
    let cluster = open().hosts(0).start();
    let service = register(&cluster, json!({"name": "s"}));
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let path = format!("/services/{service}/claims?wait=60");
            post(&cluster, &path, json!({"worker": "w"}))
        });
        until("the worker waits", || {
            let shown = get(&cluster, &format!("/services/{service}")).json();
            (shown["workers"] == 1).then_some(())
        });
        let id = submit(&cluster, ask(&service, json!([1])));
        let answer = waiting.join().unwrap();
        assert_eq!(
            (answer.status(), &answer.json()["job"]["id"]),
            (201, &json!(id))
        );
    });
}

#[test]
fn each_job_is_claimed_by_one_of_many_workers() {
    let cluster = open().hosts(0).start();
    let service = register(&cluster, json!({"name": "s"}));
    let jobs: BTreeSet<String> = (0..30)
        .map(|number| submit(&cluster, ask(&service, json!([number]))))
        .collect();
    let claimed: Vec<String> = thread::scope(|scope| {
        let workers: Vec<_> = (0..6)
            .map(|worker| {
                let (cluster, service) = (&cluster, &service);
                scope.spawn(move || {
                    let mut got = Vec::new();
                    let name = json!({"worker": format!("w{worker}")});
                    while let Some(claimed) = claim(cluster, service, name.clone()) {
                        let said = json!({"result": claimed["job"]["arguments"]});
                        assert_eq!(under(cluster, &claimed, "finish", said).status(), 200);
                        got.push(claimed["job"]["id"].as_str().unwrap().to_owned());
                    }
                    got
                })
            })
            .collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap())
            .collect()
    });
    assert_eq!(claimed.len(), 30, "none twice");
    assert_eq!(claimed.into_iter().collect::<BTreeSet<_>>(), jobs);
    for (number, id) in jobs.iter().enumerate() {
        assert_eq!(result(&cluster, id)["result"], json!([number]), "its own");
    }
}

#[test]
fn a_lease_that_runs_out_ends_the_job_and_renewing_keeps_it() {
    let cluster = open().hosts(0).start();
    let service = register(&cluster, json!({"name": "s", "timeout": 1}));
    let id = submit(&cluster, ask(&service, json!([])));
    let begun = Instant::now();
    claim(&cluster, &service, json!({"worker": "w"})).unwrap();
    let end = result(&cluster, &id);
    // Twice the service's timeout.
    assert!(begun.elapsed() >= Duration::from_secs(2));
    assert_eq!(end["error"]["type"], "timeout");
    assert_eq!(
        end["error"]["data"],
        json!({"limit": "lease", "seconds": 2, "worker": "w"})
    );

    let id = submit(&cluster, ask(&service, json!([])));
    let claimed = claim(&cluster, &service, json!({"lease": 2})).unwrap();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(4) {
        assert_eq!(under(&cluster, &claimed, "renew", json!({})).status(), 200);
        thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(job(&cluster, &id)["state"], "running");
    let failed = json!({"exception": {"type": "overheated", "message": "too hot"}});
    assert_eq!(under(&cluster, &claimed, "finish", failed).status(), 200);
    assert_eq!(result(&cluster, &id)["exception"]["type"], "overheated");
}

#[test]
fn a_cancel_ends_the_job_and_is_told_to_its_worker() {
    let cluster = open().hosts(0).start();
    let service = register(&cluster, json!({"name": "s"}));
    let mut call = ask(&service, json!([]));
    call["queue"] = json!({"name": {"bench": 1}, "concurrency": 1});
    let (first, second) = (submit(&cluster, &call), submit(&cluster, &call));
    let claimed = claim(&cluster, &service, json!({})).unwrap();
    assert_eq!(claimed["job"]["id"], first.as_str());
    assert_eq!(
        claim(&cluster, &service, json!({})),
        None,
        "the place is taken"
    );
    assert_eq!(job(&cluster, &second)["waiting_for"], "queue");

    let cancelled = post(&cluster, &format!("/jobs/{first}/cancel"), json!({}));
    assert_eq!(cancelled.json(), json!({"cancelled": true}));
    assert_eq!(result(&cluster, &first), json!({"cancelled": true}));
    let renewed = under(&cluster, &claimed, "renew", json!({})).json();
    assert_eq!(renewed["cancelled"], true);
    let packets = json!({"first": 0, "packets": ["late"]});
    assert_problem(&under(&cluster, &claimed, "packets", packets), 409, "ended");
    // Its place is free when the worker has answered.
    assert_eq!(claim(&cluster, &service, json!({})), None);
    let late = under(&cluster, &claimed, "finish", json!({"result": 1}));
    assert_problem(&late, 409, "ended");
    let path = format!("/services/{service}/claims?wait=30");
    let next = post(&cluster, &path, json!({}));
    assert_eq!(next.json()["job"]["id"], second.as_str());

    // One that waits is proved to be gone.
    let third = submit(&cluster, ask(&service, json!([])));
    let cancelled = post(
        &cluster,
        &format!("/jobs/{third}/cancel"),
        json!({"confirm": true}),
    );
    assert_eq!(
        cancelled.json(),
        json!({"cancelled": true, "remote": "confirmed"})
    );
}

#[test]
fn bad_requests_are_told_what_is_bad() {
    let cluster = open().hosts(0).start();
    for (body, field) in [
        (json!({}), "name"),
        (json!({"name": ""}), "name"),
        (
            json!({"name": "s", "arguments_schema": {"type": "bogus"}}),
            "arguments_schema",
        ),
        (
            json!({"name": "s", "result_schema": {"$ref": "http://127.0.0.1:1/x"}}),
            "result_schema",
        ),
        (json!({"name": "s", "timeout": 0}), "timeout"),
        (json!({"name": "s", "x": 1}), "x"),
    ] {
        let answer = post(&cluster, "/services", &body);
        assert_problem(&answer, 400, "invalid_request");
        assert_eq!(answer.json()["field"], field, "{body}");
    }
    let service = register(&cluster, json!({"name": "s"}));
    assert_problem(&get(&cluster, "/services/nobody"), 404, "unknown_service");
    let nobody = post(&cluster, "/services/nobody/claims", json!({}));
    assert_problem(&nobody, 404, "unknown_service");
    for name in ["x", "019aa9c0-0000-7000-8000-000000000000.0000000000000000"] {
        let answer = post(&cluster, &format!("/claims/{name}/renew"), json!({}));
        assert_problem(&answer, 404, "unknown_claim");
    }
    submit(&cluster, ask(&service, json!([])));
    let claimed = claim(&cluster, &service, json!({})).unwrap();
    let mut guessed = claimed.clone();
    let name = claimed["claim"].as_str().unwrap();
    guessed["claim"] = json!(format!("{}0000000000000000", &name[..name.len() - 16]));
    assert_problem(
        &under(&cluster, &guessed, "renew", json!({})),
        404,
        "unknown_claim",
    );
    for body in [
        json!({}),
        json!({"error": {"type": "t", "message": "m"}}),
        json!({"cancelled": true}),
    ] {
        assert_problem(
            &under(&cluster, &claimed, "finish", body),
            400,
            "invalid_request",
        );
    }
    // A name that two have names none; and what is not there is no service's.
    register(&cluster, json!({"name": "s"}));
    for name in ["s", "nothing"] {
        let id = submit(&cluster, ask(name, json!([])));
        let end = result(&cluster, &id);
        assert_eq!(end["error"]["type"], "no_such_procedure", "{name}: {end}");
    }
}

#[test]
fn a_service_is_changed_listed_and_removed_with_its_queued_jobs() {
    let cluster = open().hosts(0).start();
    let ids: Vec<String> = (0..3)
        .map(|number| register(&cluster, json!({"name": format!("s{number}")})))
        .collect();
    let page = get(&cluster, "/services?limit=2").json();
    assert_eq!(page["services"].as_array().unwrap().len(), 2);
    let rest = format!(
        "/services?limit=2&cursor={}",
        page["next"].as_str().unwrap()
    );
    let rest = get(&cluster, &rest).json();
    assert_eq!(
        (&rest["services"][0]["id"], &rest["next"]),
        (&json!(ids[2]), &Value::Null)
    );

    let change = HttpRequest::new("PATCH", &api(&format!("/services/{}", ids[0])))
        .header("Content-Type", "application/json")
        .body(r#"{"available": true, "timeout": 7, "description": "new"}"#);
    let changed = change.ask(address(&cluster)).json();
    assert_eq!(
        (&changed["available"], &changed["timeout"]),
        (&json!(true), &json!(7))
    );

    let mut queued = ask(&ids[0], json!([]));
    queued["queue"] = json!({"name": {"q": 1}, "concurrency": 1});
    let (held, waiting) = (submit(&cluster, &queued), submit(&cluster, &queued));
    let remove = HttpRequest::new("DELETE", &api(&format!("/services/{}", ids[0])));
    assert_eq!(remove.ask(address(&cluster)).status(), 204);
    assert_problem(&remove.ask(address(&cluster)), 404, "unknown_service");
    for id in [held, waiting] {
        assert_eq!(result(&cluster, &id)["error"]["type"], "unknown_host");
    }
    let later = submit(&cluster, ask(&ids[0], json!([])));
    assert_eq!(
        result(&cluster, &later)["error"]["type"],
        "no_such_procedure"
    );
}

#[test]
fn a_kill_at_each_step_loses_nothing_and_runs_nothing_twice() {
    let mut cluster = open().hosts(0).start();
    let service = register(&cluster, json!({"name": "s", "timeout": 30}));
    let restart = |cluster: &mut Cluster| {
        cluster.kill_dispatcher();
        cluster.start_dispatcher();
    };
    restart(&mut cluster);
    assert_eq!(
        get(&cluster, &format!("/services/{service}")).json()["name"],
        "s"
    );
    let id = submit(&cluster, ask(&service, json!([7])));
    restart(&mut cluster);
    assert_eq!(job(&cluster, &id)["state"], "queued");
    let claimed = claim(&cluster, &service, json!({"worker": "w"})).unwrap();
    assert_eq!(claimed["job"]["id"], id.as_str());
    restart(&mut cluster);
    assert_eq!(
        claim(&cluster, &service, json!({})),
        None,
        "one worker has it"
    );
    assert_eq!(under(&cluster, &claimed, "renew", json!({})).status(), 200);
    assert_eq!(job(&cluster, &id)["worker"], "w");
    let packets = json!({"first": 0, "packets": ["a", "b"]});
    assert_eq!(
        under(&cluster, &claimed, "packets", packets).json(),
        json!({"next": 2})
    );
    restart(&mut cluster);
    // What may have been lost is said again, and is there once.
    let packets = json!({"first": 1, "packets": ["b", "c"]});
    assert_eq!(
        under(&cluster, &claimed, "packets", packets).json(),
        json!({"next": 3})
    );
    assert_eq!(
        under(&cluster, &claimed, "finish", json!({"result": 1})).status(),
        200
    );
    restart(&mut cluster);
    assert_eq!(
        under(&cluster, &claimed, "finish", json!({"result": 1})).status(),
        200
    );
    assert_problem(
        &under(&cluster, &claimed, "finish", json!({"result": 2})),
        409,
        "ended",
    );
    assert_eq!(result(&cluster, &id), json!({"result": 1}));
    assert_eq!(job(&cluster, &id)["worker"], "w");
    let kept = get(&cluster, &format!("/jobs/{id}/packets")).json();
    let kept: Vec<_> = kept["packets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|packet| packet["data"].clone())
        .collect();
    assert_eq!(kept, [json!("a"), json!("b"), json!("c")]);

    // A cancel while nobody is there, and a job whose service went.
    let (id, other) = (
        submit(&cluster, ask(&service, json!([]))),
        submit(&cluster, ask(&service, json!([]))),
    );
    let claimed = claim(&cluster, &service, json!({})).unwrap();
    let cancelled = post(&cluster, &format!("/jobs/{id}/cancel"), json!({}));
    assert_eq!(cancelled.status(), 200);
    restart(&mut cluster);
    assert_eq!(
        under(&cluster, &claimed, "renew", json!({})).json()["cancelled"],
        true
    );
    let remove = HttpRequest::new("DELETE", &api(&format!("/services/{service}")));
    assert_eq!(remove.ask(address(&cluster)).status(), 204);
    restart(&mut cluster);
    assert_eq!(result(&cluster, &other)["error"]["type"], "unknown_host");
}

#[test]
fn a_clean_stop_leaves_claims_to_the_next_start() {
    let mut cluster = open().hosts(0).start();
    let service = register(&cluster, json!({"name": "s"}));
    let id = submit(&cluster, ask(&service, json!([])));
    let claimed = claim(&cluster, &service, json!({})).unwrap();
    let begun = Instant::now();
    cluster.stop_dispatcher();
    assert!(begun.elapsed() < PATIENCE);
    cluster.start_dispatcher();
    assert_eq!(
        under(&cluster, &claimed, "finish", json!({"result": null})).status(),
        200
    );
    assert_eq!(result(&cluster, &id), json!({"result": null}));
}
