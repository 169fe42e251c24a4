//! Calls and jobs (section 5; acceptance 2 to 4).

use std::thread;
use std::time::{Duration, Instant};

use harp_tests::{HttpRequest, until};
use serde_json::json;

use super::{address, api, assert_problem, call, get, open, post, result, submit};

#[test]
fn a_call_becomes_a_job_with_a_result() {
    let cluster = open().start();
    let answer = post(&cluster, "/jobs", call("echo", json!({"release": 7})));
    assert_eq!(answer.status(), 201, "{}", answer.text());
    let job = answer.json();
    let id = job["id"].as_str().unwrap();
    assert_eq!(answer.header("location"), format!("jobs/{id}"));
    assert_eq!(job["host"], "web01");
    assert_eq!(job["arguments"], json!({"release": 7}));
    for key in [
        "key",
        "queue",
        "batch",
        "service",
        "worker",
        "trace",
        "host_state",
        "info",
    ] {
        assert!(job[key].is_null() && job.get(key).is_some(), "{key}: {job}");
    }
    let outcome = result(&cluster, id);
    assert_eq!(outcome["result"], json!({"release": 7}));

    let answer = get(&cluster, &format!("/jobs/{id}"));
    assert_eq!(
        (answer.status(), answer.header("etag")),
        (200, "W/\"ended\"")
    );
    let job = answer.json();
    assert_eq!(
        (&job["state"], &job["outcome"]),
        (&json!("ended"), &json!("returned"))
    );
    assert!(job["submitted"].as_u64() <= job["started"].as_u64());
    assert!(job["started"].as_u64() <= job["ended"].as_u64());

    // With `wait` the end is part of the answer.
    let answer = post(
        &cluster,
        "/jobs?wait=30",
        call("fail", json!(["3", "no disk"])),
    );
    assert_eq!(answer.status(), 201);
    let job = answer.json();
    assert_eq!(job["outcome"], "exception");
    assert_eq!(job["end"]["exception"]["type"], job["error_type"]);
}

#[test]
fn users_values_come_back_as_they_were_sent() {
    let cluster = open().start();
    let text = r#"{"n":12345678901234567890.10,"a":"ä\/\ud83d\ude00","a":1.0}"#;
    let body = format!(
        r#"{{"host": "web01", "procedure": "packets", "arguments": [{}], "info": {text}}}"#,
        json!(text)
    );
    let id = submit(&cluster, body);
    result(&cluster, &id);
    let job = get(&cluster, &format!("/jobs/{id}")).text();
    assert!(job.contains(&format!("\"info\":{text}")), "{job}");
    // As text in a string for those whose parser changes numbers.
    let job = get(&cluster, &format!("/jobs/{id}?values=text")).json();
    assert_eq!(job["info"], text);
    assert_problem(
        &get(&cluster, &format!("/jobs/{id}?values=json")),
        400,
        "invalid_request",
    );
}

#[test]
fn one_key_is_one_job_however_many_ask_at_once() {
    let mut cluster = open().start();
    let address_ = address(&cluster);
    let request = HttpRequest::post(&api("/jobs"), call("echo", json!([1])))
        .header("Idempotency-Key", "\"release-7\"");
    let askers = (0..100).map(|_| {
        let request = request.clone();
        thread::spawn(move || {
            let answer = request.ask(address_);
            (answer.status(), answer.json())
        })
    });
    let askers: Vec<_> = askers.collect();
    let answers: Vec<_> = askers
        .into_iter()
        .map(|asker| asker.join().unwrap())
        .collect();
    let id = &answers[0].1["id"];
    assert!(answers.iter().all(|(_, job)| job["id"] == *id));
    let made = answers.iter().filter(|(status, _)| *status == 201).count();
    assert_eq!(made, 1);
    for (status, job) in &answers {
        let is_existing = job["existing"] == json!(true);
        assert_eq!(
            (*status, is_existing),
            if is_existing {
                (200, true)
            } else {
                (201, false)
            }
        );
        assert_eq!(job["key"], "release-7");
    }

    // Another call, and another key in the body.
    let other = HttpRequest::post(&api("/jobs"), call("echo", json!([2])))
        .header("Idempotency-Key", "release-7");
    assert_problem(&other.ask(address_), 422, "key_reused");
    let mut body = call("echo", json!([1]));
    body["key"] = json!("release-8");
    let differing = HttpRequest::post(&api("/jobs"), body).header("Idempotency-Key", "release-7");
    let answer = differing.ask(address_);
    assert_problem(&answer, 400, "invalid_request");
    assert_eq!(answer.json()["field"], "key");

    cluster.restart_dispatcher();
    let answer = request.ask(address(&cluster));
    assert_eq!((answer.status(), &answer.json()["id"]), (200, id));
}

#[test]
fn a_state_is_waited_for_by_its_tag() {
    let cluster = open().start();
    let mut gate = cluster.feed("gate");
    let mut first = call("gate", json!([cluster.path("gate")]));
    first["queue"] = json!({"name": {"q": 1}});
    let first = submit(&cluster, first);
    let mut second = call("echo", json!([]));
    second["queue"] = json!({"name": {"q": 1}});
    let second = submit(&cluster, second);
    let job = get(&cluster, &format!("/jobs/{second}")).json();
    assert_eq!(
        (&job["state"], &job["ahead"]),
        (&json!("queued"), &json!(1))
    );
    assert_eq!(job["waiting_for"], "queue");

    let address_ = address(&cluster);
    let waits = |job: &str, tag: &str, seconds: u32| {
        let request = HttpRequest::get(&api(&format!("/jobs/{job}?wait={seconds}")));
        let request = request.header("If-None-Match", tag);
        thread::spawn(move || (request.ask(address_), Instant::now()))
    };
    let unchanged = waits(&second, "W/\"queued\"", 1);
    let (answer, _) = unchanged.join().unwrap();
    assert_eq!(
        (answer.status(), answer.header("etag")),
        (304, "W/\"queued\"")
    );

    let changed = waits(&second, "W/\"queued\"", 30);
    let ended = waits(&first, "W/\"running\"", 30);
    until("the first job runs", || {
        let job = get(&cluster, &format!("/jobs/{first}")).json();
        (job["state"] == "running").then_some(())
    });
    gate.wait_read();
    gate.send("1");
    gate.finish();
    let (answer, _) = ended.join().unwrap();
    assert_eq!(answer.json()["state"], "ended");
    let (answer, _) = changed.join().unwrap();
    assert_eq!(answer.status(), 200);
    assert_ne!(answer.json()["state"], "queued");

    let answer = get(&cluster, &format!("/jobs/{first}?wait=1"));
    assert_problem(&answer, 400, "invalid_request");
    assert_eq!(answer.json()["field"], "wait");
}

#[test]
fn a_job_is_cancelled_and_no_job_is_nothing() {
    let cluster = open().start();
    let id = submit(&cluster, call("silent", json!([])));
    let answer = post(
        &cluster,
        &format!("/jobs/{id}/cancel"),
        json!({"confirm": true}),
    );
    assert_eq!(answer.status(), 200, "{}", answer.text());
    assert_eq!(answer.json()["cancelled"], true);
    assert_eq!(answer.json()["remote"], "confirmed");
    assert_eq!(result(&cluster, &id), json!({"cancelled": true}));
    // Without a body, and again.
    let again = HttpRequest::new("POST", &api(&format!("/jobs/{id}/cancel")));
    let answer = again.ask(address(&cluster));
    assert_eq!(answer.json(), json!({"cancelled": false}));

    for path in [
        "/jobs/nonsense",
        "/jobs/019aa9c0-0000-7000-8000-000000000000",
        "/jobs/019aa9c0-0000-7000-8000-000000000000/result",
    ] {
        assert_problem(&get(&cluster, path), 404, "invalid_jobid");
    }
}

#[test]
fn a_result_that_is_not_there_is_no_problem() {
    let cluster = open().start();
    let id = submit(&cluster, call("silent", json!([])));
    let asked = Instant::now();
    let answer = get(&cluster, &format!("/jobs/{id}/result?wait=1"));
    assert_eq!(answer.status(), 202);
    assert_eq!(answer.json(), json!({"no_result": true}));
    assert!(asked.elapsed() >= Duration::from_secs(1));
    let answer = get(&cluster, &format!("/jobs/{id}/result"));
    assert_eq!(answer.status(), 202);
}

#[test]
fn a_call_is_checked_without_being_made() {
    let cluster = open().start();
    let answer = post(&cluster, "/jobs/check", call("echo", json!([])));
    assert_eq!(
        answer.json(),
        json!({"ok": true, "host_known": true, "schema": "none"})
    );
    let answer = post(
        &cluster,
        "/jobs/check",
        json!({"host": "nowhere", "procedure": "p"}),
    );
    assert_eq!(answer.json()["host_known"], false);
    let answer = post(&cluster, "/jobs/check", json!({"host": "web01"}));
    assert_problem(&answer, 400, "invalid_request");
    assert_eq!(answer.json()["field"], "procedure");
}

#[test]
fn what_is_wrong_with_a_call_is_told() {
    let cluster = open().start();
    for (body, name, field) in [
        ("", "parse_error", None),
        ("{", "parse_error", None),
        ("[]", "invalid_request", None),
        (
            r#"{"host":"h","procedure":"p","tiemout":1}"#,
            "invalid_request",
            Some("tiemout"),
        ),
        (
            r#"{"host":"h","host":"h","procedure":"p"}"#,
            "invalid_request",
            Some("host"),
        ),
        (
            r#"{"host":"h","procedure":"p","timeout":0}"#,
            "invalid_request",
            Some("timeout"),
        ),
        (
            r#"{"host":"h","procedure":"p","queue":{"name":1}}"#,
            "invalid_request",
            Some("queue.name"),
        ),
    ] {
        let answer = post(&cluster, "/jobs", body);
        assert_problem(&answer, 400, name);
        if let Some(field) = field {
            assert_eq!(answer.json()["field"], field, "{body}");
        }
    }
    let deep = format!(
        r#"{{"host":"h","procedure":"p","arguments":{}{}}}"#,
        "[".repeat(200),
        "]".repeat(200)
    );
    assert_problem(&post(&cluster, "/jobs", deep), 400, "parse_error");
    let form = HttpRequest::new("POST", &api("/jobs"))
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body("host=web01");
    assert_problem(&form.ask(address(&cluster)), 415, "unsupported_media_type");
    let answer = post(&cluster, "/jobs?wiat=1", call("echo", json!([])));
    assert_problem(&answer, 400, "invalid_request");
    assert_eq!(answer.json()["field"], "wiat");
}

#[test]
fn a_call_is_told_which_limits_hold_if_it_asks() {
    let cluster = open().start();
    let mut asking = call("echo", json!([]));
    asking["limits"] = json!(true);
    asking["timeout"] = json!(7);
    asking["max_exec_time"] = json!(100_000);
    let answer = post(&cluster, "/jobs", &asking).json();
    // The configuration's limit holds where the call asks for more.
    assert_eq!(
        answer["limits"],
        json!({"timeout": 7, "max_exec_time": 600})
    );
    let answer = post(&cluster, "/jobs", call("echo", json!([]))).json();
    assert!(answer.get("limits").is_none(), "{answer}");
    asking["limits"] = json!(1);
    assert_problem(&post(&cluster, "/jobs", &asking), 400, "invalid_request");
}
