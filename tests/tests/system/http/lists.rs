//! Lists: jobs, queues, hosts (sections 8, 9 and 17; acceptance 8 and 11).

use harp_tests::{Cluster, HttpRequest};
use serde_json::{Value, json};

use super::{address, api, assert_problem, call, get, open, post, result, submit};
use crate::access::identity::{Files, with_tokens};

/// The ids of a list of jobs, all pages of it.
#[track_caller]
fn ids(cluster: &Cluster, query: &str) -> Vec<String> {
    let mut ids = Vec::new();
    let mut cursor = String::new();
    loop {
        let answer = get(cluster, &format!("/jobs?{query}{cursor}"));
        assert_eq!(answer.status(), 200, "{}", answer.text());
        let page = answer.json();
        let jobs = page["jobs"].as_array().unwrap();
        ids.extend(
            jobs.iter()
                .map(|job| job["id"].as_str().unwrap().to_owned()),
        );
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return ids,
        }
    }
}

#[test]
fn jobs_are_listed_newest_first_and_by_what_they_are() {
    let cluster = open().start();
    let mut jobs = Vec::new();
    for number in 0..5 {
        let mut body = call("echo", json!({"release": number, "to": ["a", "b"]}));
        body["info"] = json!({"who": format!("user {number}"), "big": "x".repeat(1000)});
        let id = submit(&cluster, body);
        result(&cluster, &id);
        jobs.push(id);
    }
    let failed = submit(&cluster, call("fail", json!(["3", "No Disk \u{e4}"])));
    result(&cluster, &failed);
    let running = submit(&cluster, call("silent", json!([])));
    let newest_first: Vec<String> = [&running, &failed]
        .into_iter()
        .chain(jobs.iter().rev())
        .cloned()
        .collect();
    assert_eq!(ids(&cluster, "limit=2"), newest_first);
    let oldest_first: Vec<String> = newest_first.iter().rev().cloned().collect();
    assert_eq!(ids(&cluster, "order=oldest&limit=3"), oldest_first);

    let one = |query: &str, wanted: &[&String]| {
        let wanted: Vec<String> = wanted.iter().map(|id| (*id).clone()).collect();
        assert_eq!(ids(&cluster, query), wanted, "{query}");
    };
    one("state=running", &[&running]);
    one("failed=true", &[&failed]);
    one("outcome=exception&outcome=cancelled", &[&failed]);
    one("failed=true&outcome=returned", &[]);
    one("procedure=sil*", &[&running]);
    one("procedure=!echo&state=ended", &[&failed]);
    one("arguments.release=3", &[&jobs[3]]);
    one("info.who=user%201", &[&jobs[1]]);
    one(
        "arguments.to.1=b&arguments.release=0&arguments.release=1",
        &[&jobs[1], &jobs[0]],
    );
    one("q=SILE+Web01", &[&running]);
    one("q=disk+%C3%84+no", &[&failed]);
    one(&format!("q={running}"), &[&running]);
    one("batch=019aa9c0-0000-7000-8000-000000000000", &[]);
    one("submitted_since=-1h&state=running", &[&running]);
    one("submitted_until=-1h", &[]);
    one("ended_until=2020-01-01T00:00:00Z", &[]);
    one("queue=none&state=running", &[&running]);
    one("host=db*", &[]);

    // No payloads, and what is looked through is told.
    let page = get(&cluster, "/jobs?limit=1&state=ended").json();
    let job = &page["jobs"][0];
    assert_eq!(job["id"], *failed);
    assert!(job.get("arguments").is_none() && job["arguments_head"].is_string());
    assert_eq!(
        (&page["complete"], &page["examined"]),
        (&json!(true), &json!(2))
    );
    assert_eq!(page["through"], job["submitted"]);
    let page = get(&cluster, "/jobs?procedure=echo&limit=1").json();
    let head = page["jobs"][0]["info_head"].as_str().unwrap();
    assert_eq!(head.chars().count(), 120);

    // A cursor is of its filters.
    let next = page["next"].as_str().unwrap();
    let other = get(&cluster, &format!("/jobs?procedure=fail&cursor={next}"));
    assert_problem(&other, 400, "invalid_request");
    assert_eq!(other.json()["field"], "cursor");
    for query in [
        "state=done",
        "outcome=failed",
        "limit=1001",
        "order=up",
        "submitted_since=x",
        "x=1",
    ] {
        assert_problem(
            &get(&cluster, &format!("/jobs?{query}")),
            400,
            "invalid_request",
        );
    }
}

#[test]
fn lists_leave_out_what_may_not_be_read() {
    let files = Files::new();
    let (shop, ops) = (files.new_token("shop"), files.new_token("ops"));
    let cluster = with_tokens(&files)
        .tables(
            "[[listen_http]]\naddress = '127.0.0.1:0'\n\
             [[allow]]\nclient = 'token:shop'\njobs = 'own'\noperations = ['call', 'read', 'cancel']\n\
             [[allow]]\nclient = 'token:ops'\n",
        )
        .start();
    let ask = |request: HttpRequest, token: &str| request.token(token).ask(address(&cluster));
    let mut own = Vec::new();
    for token in [&shop, &ops] {
        let body = json!({"host": "nowhere", "procedure": "p", "queue": {"name": {"q": 1}}});
        let answer = ask(HttpRequest::post(&api("/jobs?wait=30"), body), token);
        assert_eq!(answer.status(), 201, "{}", answer.text());
        own.push(answer.json()["id"].as_str().unwrap().to_owned());
    }
    let ids = |token: &str| -> Vec<Value> {
        let answer = ask(HttpRequest::get(&api("/jobs")), token);
        let jobs = answer.json()["jobs"].as_array().unwrap().clone();
        jobs.into_iter().map(|job| job["id"].clone()).collect()
    };
    assert_eq!(ids(&shop), [json!(own[0])]);
    assert_eq!(ids(&ops), [json!(own[1]), json!(own[0])]);
    for path in ["/queues", "/hosts", "/hosts/nowhere"] {
        assert_problem(&ask(HttpRequest::get(&api(path)), &shop), 403, "forbidden");
        assert_ne!(
            ask(HttpRequest::get(&api(path)), &ops).status(),
            403,
            "{path}"
        );
    }
    // Others' keys are others' jobs.
    for (number, token) in [&shop, &ops, &shop].into_iter().enumerate() {
        let body = json!({"host": "nowhere", "procedure": "p", "key": "k", "unless_since": 60});
        let answer = ask(HttpRequest::post(&api("/jobs?wait=30"), body), token);
        assert_eq!(answer.status(), 201, "{}", answer.text());
        own.push(answer.json()["id"].as_str().unwrap().to_owned());
        let page = ask(HttpRequest::get(&api("/jobs?key=k")), &ops).json();
        assert_eq!(page["jobs"].as_array().unwrap().len(), number + 1, "{page}");
        assert_eq!(page["jobs"][0]["id"], own[number + 2]);
        // None of the others is looked at.
        assert_eq!(page["examined"], number + 1, "{page}");
        assert_eq!(
            (&page["complete"], &page["next"]),
            (&json!(true), &json!(null))
        );
    }
    let keyed = |query: &str, token: &str| -> Vec<Value> {
        let path = api(&format!("/jobs?key=k&{query}"));
        let page = ask(HttpRequest::get(&path), token).json();
        let jobs = page["jobs"].as_array().unwrap().clone();
        jobs.into_iter().map(|job| job["id"].clone()).collect()
    };
    assert_eq!(
        keyed("key=other&order=oldest", &shop),
        [json!(own[2]), json!(own[4])]
    );
    let first = ask(HttpRequest::get(&api("/jobs?key=k&limit=2")), &ops).json();
    let next = first["next"].as_str().unwrap();
    assert_eq!(
        keyed(&format!("limit=2&cursor={next}"), &ops),
        [json!(own[2])]
    );
    assert!(keyed("client=token:x", &ops).is_empty());

    let refresh = || HttpRequest::new("POST", &api("/hosts/refresh"));
    assert_problem(&ask(refresh(), &shop), 403, "forbidden");
    let refreshed = ask(refresh(), &ops).json();
    assert_eq!(refreshed, json!({"ok": true, "message": null, "hosts": 0}));
}

#[test]
fn queues_are_shown_and_cancelled() {
    let cluster = open().start();
    let mut jobs = Vec::new();
    for number in 0..5 {
        let mut body = call("silent", json!([]));
        body["queue"] = json!({"name": {"q": number / 4}, "concurrency": 2});
        jobs.push(submit(&cluster, body));
    }
    let queues = get(&cluster, "/queues").json();
    let queue = &queues["queues"][0];
    assert_eq!(queue["name"], json!({"q": 0}));
    assert_eq!(
        (&queue["concurrency"], &queue["queued"]),
        (&json!(2), &json!(2))
    );
    assert_eq!((&queue["running"], &queue["kept"]), (&json!(2), &json!(0)));
    assert!(queue["oldest"].as_u64().unwrap() > 1_600_000_000_000);
    assert_eq!(queues["queues"][1]["name"], json!({"q": 1}));
    let first = get(&cluster, "/queues?limit=1").json();
    let next = first["next"].as_str().unwrap();
    let second = get(&cluster, &format!("/queues?limit=1&cursor={next}")).json();
    assert_eq!(second["queues"][0]["name"], json!({"q": 1}));

    let of = |query: &str| {
        get(
            &cluster,
            &format!("/queues/jobs?name=%7B%22q%22:0%7D{query}"),
        )
    };
    let listed = of("").json();
    let listed = listed["jobs"].as_array().unwrap();
    assert_eq!(listed.len(), 4);
    assert_eq!(
        (&listed[2]["id"], &listed[2]["ahead"]),
        (&json!(jobs[2]), &json!(1))
    );
    assert_problem(&get(&cluster, "/queues/jobs"), 400, "invalid_request");
    assert_problem(
        &get(&cluster, "/queues/jobs?name=1"),
        400,
        "invalid_request",
    );

    // It goes on at its place, whatever has become of the jobs before.
    let page = |cursor: &str| {
        let page = of(&format!("&limit=1{cursor}")).json();
        let ids = page["jobs"].as_array().unwrap().iter();
        let ids: Vec<_> = ids
            .map(|job| job["id"].as_str().unwrap().to_owned())
            .collect();
        let next = page["next"].as_str().map(|next| format!("&cursor={next}"));
        (ids, next)
    };
    let (_, next) = page("");
    let (second, next) = page(&next.expect("more"));
    assert_eq!(second, jobs[1..2]);
    let path = format!("/jobs/{}/cancel", jobs[1]);
    assert_eq!(post(&cluster, &path, "{}").status(), 200);
    harp_tests::until("it has left its queue", || {
        let listed = of("").json();
        let left = listed["jobs"].as_array().unwrap().iter();
        left.clone().all(|job| job["id"] != *jobs[1]).then_some(())
    });
    let (mut rest, mut next) = (Vec::new(), next);
    while let Some(cursor) = next {
        let (ids, more) = page(&cursor);
        rest.extend(ids);
        next = more;
    }
    assert_eq!(rest, jobs[2..4]);
    assert_problem(&of("&cursor=00"), 400, "invalid_request");

    let answer = post(&cluster, "/queues/cancel", json!({"name": {"q": 0}}));
    assert_eq!(
        answer.json(),
        json!({"cancelled": 3, "forbidden": 0}),
        "{}",
        answer.text()
    );
    for job in &jobs[..4] {
        assert_eq!(result(&cluster, job), json!({"cancelled": true}));
    }
    // The last one never started.
    let job = get(&cluster, &format!("/jobs/{}", jobs[3])).json();
    assert!(job["started"].is_null(), "{job}");
}

#[test]
fn hosts_are_shown_without_what_opens_them() {
    let cluster = open().hosts(2).start();
    let answer = get(&cluster, "/hosts");
    let hosts = answer.json();
    assert_eq!(hosts["hosts"][0]["name"], "web01");
    assert_eq!(hosts["hosts"][1]["port"], cluster.entry("web02")["port"]);
    assert!(!answer.text().contains(harp_tests::PASSWORD));
    assert_eq!(
        get(&cluster, "/hosts?q=WEB02").json()["hosts"][0]["name"],
        "web02"
    );
    assert_eq!(get(&cluster, "/hosts/web01").json()["name"], "web01");
    assert_problem(&get(&cluster, "/hosts/nowhere"), 404, "unknown_host");
}
