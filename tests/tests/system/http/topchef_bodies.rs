//! What the bodies of TopChef's two generations have in them: every key of an answer, its `meta`,
//! its address, and what becomes of the keys of a request (section 12; acceptance 19).

use harp_tests::{HttpAnswer, HttpRequest, until};
use serde_json::{Value, json};

use super::topchef::{BOTH, Chef, cluster, keys, names};
use crate::access::identity::{Files, with_tokens};

/// The keys of a schema that an answer carries along, each of which is one.
#[track_caller]
fn assert_meta(answer: &Value, schemas: &[&str]) {
    let meta = &answer["meta"];
    assert_eq!(keys(meta), names(schemas));
    for name in schemas {
        let schema = &meta[name];
        assert_eq!(schema["$schema"], "http://json-schema.org/draft-04/schema#");
        assert_eq!(schema["type"], "object", "{schema}");
        let required = schema["required"].as_array().unwrap();
        assert!(required.is_sorted_by_key(|name| name.as_str()), "{schema}");
        let properties = schema["properties"].as_object().unwrap();
        assert!(
            required
                .iter()
                .all(|name| properties.contains_key(name.as_str().unwrap()))
        );
    }
}

fn ids(list: &Value) -> Vec<&str> {
    let list = list["data"].as_array().unwrap().iter();
    list.map(|job| job["id"].as_str().unwrap()).collect()
}

#[test]
fn the_second_generations_answers_have_what_its_table_says() {
    let cluster = cluster(BOTH);
    let v2 = Chef::at(&cluster, "/topchef/v2");
    let root = format!("http://{}/topchef/v2", cluster.http_address());
    let object = json!({"type": "object"});
    let made = v2.ask(
        "POST",
        "/services",
        Some(json!({
            "name": "adder", "description": "adds", "job_registration_schema": object,
            "job_result_schema": {"required": ["value"]}, "nobody knows this": 1,
        })),
    );
    assert_eq!(made.status(), 201, "{}", made.text());
    let created = json!({"message": "service successfully created"});
    let links = json!({"self": format!("{root}/services")});
    assert_eq!(made.json(), json!({"data": created, "links": links}));
    let location = made.header("location").to_owned();
    let service = location.strip_prefix(&format!("{root}/services/")).unwrap();
    let at = format!("/services/{service}");
    for (path, meta) in [
        ("", &["schema"][..]),
        ("/", &["schema"]),
        ("/services", &["service_schema", "new_service_schema"]),
        (&at, &["service_schema"]),
        (&format!("{at}/jobs"), &["new_job_schema", "data_schema"]),
        ("/jobs", &["data_schema"]),
        ("/validator", &["validator_schema"]),
    ] {
        let answer = v2.get(path);
        assert_eq!(keys(&answer), names(&["data", "meta", "links"]), "{path}");
        let own = format!("{root}{}", path.trim_end_matches('/'));
        assert_eq!(answer["links"], json!({ "self": own }));
        assert_meta(&answer, meta);
    }

    // A check-in with nothing in it, with what is no JSON, and with changes.
    let override_patch = HttpRequest::new("POST", &format!("/topchef/v2{at}"))
        .header("X-HTTP-Method-Override", "PATCH")
        .body("nonsense");
    let told = [
        v2.ask("PATCH", &at, None),
        override_patch.ask(cluster.http_address()),
    ];
    for checked in told.iter().map(HttpAnswer::json) {
        assert_eq!(keys(&checked), names(&["meta"]));
        let told = checked["meta"].as_str().unwrap();
        assert!(told.starts_with("Service checked in at 20"), "{told}");
    }
    let shown = v2.get(&at);
    let same = v2.ask("PATCH", &at, Some(json!({}))).json();
    assert_eq!((&same["data"], keys(&same)), (&shown["data"], keys(&shown)));
    assert_eq!(shown["data"]["is_service_available"], false);
    let change = json!({
        "is_available": true, "name": "other", "description": "more", "timeout": 1, "further": [],
    });
    let changed = v2.ask("PATCH", &at, Some(change)).json()["data"].clone();
    assert_eq!(
        (&changed["name"], &changed["description"]),
        (&json!("other"), &json!("more"))
    );
    assert_eq!(changed["is_service_available"], true);
    until("its last check-in is older than that", || {
        (v2.get(&at)["data"]["has_timed_out"] == true).then_some(())
    });
    let renewed = v2.ask("PATCH", &at, Some(json!({"timeout": 30}))).json();
    assert_eq!(renewed["data"]["has_timed_out"], false);

    // Jobs: ten of the queue, the oldest first.
    let body = json!({"parameters": {"number": 0}, "further": 1});
    let made = v2.ask("POST", &format!("{at}/jobs"), Some(body));
    assert_eq!(made.status(), 201, "{}", made.text());
    let told = made.json();
    assert_eq!(keys(&told), names(&["data", "meta"]));
    let all = names(&["id", "status", "parameters", "results", "date_submitted"]);
    assert_eq!(keys(&told["data"]), all);
    let first = told["data"]["id"].as_str().unwrap();
    assert_eq!(told["meta"], format!("new job ID is {first}"));
    assert!(made.header("location").ends_with(&format!("/jobs/{first}")));
    let mut jobs = vec![first.to_owned()];
    jobs.extend((1..12).map(|number| v2.submit(service, json!({ "number": number }))));
    let queue = v2.get(&format!("{at}/queue"));
    assert_eq!(ids(&queue), jobs[..10]);
    assert_meta(&queue, &["data_schema"]);
    let next = v2.get(&format!("{at}/jobs/next"));
    assert_eq!(next["data"]["id"], first);
    assert_meta(&next, &["job_schema"]);
    assert_eq!(ids(&v2.get(&format!("{at}/jobs"))).len(), 12);
    let shown = v2.get(&format!("/jobs/{first}"));
    assert_meta(&shown, &["job_info_schema", "patch_request_schema"]);

    // Updates that are wrong change nothing, and null leaves as it is.
    let job = format!("/jobs/{first}");
    let missing = json!({"status": "WORKING", "results": {"other": 1}});
    for (body, title) in [
        (
            json!({"status": "BUSY"}),
            "Deserialization Error From Client Data",
        ),
        (
            json!({"results": [1]}),
            "Deserialization Error From Client Data",
        ),
        (missing, "JSONSchema Validation Error"),
    ] {
        let answer = v2.ask("PATCH", &job, Some(body));
        assert_eq!(
            (answer.status(), &answer.json()["errors"][0]["title"]),
            (400, &json!(title))
        );
    }
    let answer = v2.ask("PATCH", &job, None);
    assert_eq!(answer.json()["errors"][0]["title"], "Request Not JSON");
    let nothing = json!({"status": null, "results": null, "further": 1});
    let same = v2.ask("PATCH", &job, Some(nothing));
    assert_eq!((same.status(), same.json()), (200, shown["data"].clone()));
    // Results alone are a claim there.
    let worked = v2
        .ask("PATCH", &job, Some(json!({"results": {"value": 1}})))
        .json();
    assert_eq!((keys(&worked), &worked["status"]), (all, &json!("WORKING")));
}

#[test]
fn the_first_generations_answers_have_what_its_table_says() {
    let cluster = cluster(BOTH);
    let v1 = Chef::at(&cluster, "/topchef/v1");
    let root = format!("http://{}/topchef/v1", cluster.http_address());
    let made = v1.ask(
        "POST",
        "/services",
        Some(json!({
            "name": "adder", "description": "adds",
            "job_registration_schema": {"type": "object", "required": ["value"]},
        })),
    );
    assert_eq!(made.status(), 201, "{}", made.text());
    let told = made.json()["data"].clone();
    assert_eq!(keys(&told), names(&["message", "service_details"]));
    let details = &told["service_details"];
    let service = details["id"].as_str().unwrap();
    let address = format!("{root}/services/{service}");
    assert_eq!(
        (made.header("location"), &details["url"]),
        (&*address, &json!(address))
    );
    assert_eq!(details["job_result_schema"], json!({"type": "object"}));
    let at = format!("/services/{service}");
    assert_eq!(&v1.get(&at), &json!({"data": details}));
    assert_meta(&v1.get("/services"), &["POST_schema"]);
    for base in ["", "/"] {
        assert_eq!(v1.ask("GET", base, None).status(), 200);
    }
    let checked = v1.ask("PATCH", &at, None);
    assert_eq!(
        (checked.status(), keys(&checked.json()["data"])),
        (200, names(&["message"]))
    );

    let jobs = format!("{at}/jobs");
    for wrong in [
        json!({"parameters": {}}),
        json!({"parameters": 1}),
        json!({}),
    ] {
        let answer = v1.ask("POST", &jobs, Some(wrong));
        assert_eq!(answer.status(), 400, "{}", answer.text());
        let errors = &answer.json()["errors"];
        assert!(errors.is_string() || errors.is_object(), "{errors}");
    }
    assert_eq!(v1.ask("GET", &format!("{jobs}/next"), None).status(), 204);
    assert_eq!(v1.get(&format!("{at}/queue")), json!({"data": []}));
    let made = v1.ask("POST", &jobs, Some(json!({"parameters": {"value": 1}})));
    assert_eq!(made.status(), 201, "{}", made.text());
    let told = made.json()["data"].clone();
    assert_eq!(keys(&told), names(&["message", "job_details"]));
    let new = names(&["id", "date_submitted", "status", "parameters"]);
    assert_eq!(keys(&told["job_details"]), new);
    let id = told["job_details"]["id"].as_str().unwrap();
    let all = names(&["id", "date_submitted", "status", "parameters", "result"]);
    assert_eq!(keys(&v1.get(&jobs)["data"][0]), all);
    let queued = v1.get(&format!("{at}/queue"))["data"][0].clone();
    assert_eq!(keys(&queued), names(&["id", "date_submitted", "status"]));
    // The older name of an update, and a state that there never was.
    let older = format!("{jobs}/{id}");
    let answer = v1.ask("PUT", &older, Some(json!({"status": "BUSY"})));
    assert_eq!(answer.status(), 400, "{}", answer.text());
    let answer = v1.ask(
        "PUT",
        &older,
        Some(json!({"status": "working", "result": {}})),
    );
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let told = answer.json()["data"].clone();
    assert_eq!(keys(&told), names(&["message", "job_schema"]));
    let shown = &told["job_schema"];
    assert_eq!(keys(shown), all);
    assert_eq!(
        (&shown["status"], &shown["result"]),
        (&json!("WORKING"), &json!({}))
    );
}

#[test]
fn a_worker_that_disappears_loses_its_job_after_twice_the_timeout() {
    let cluster = cluster(BOTH);
    let worker = Chef::at(&cluster, "/topchef/v2/as/w");
    let service = worker.register(json!({"type": "object"}));
    let short = json!({"timeout": 1});
    assert_eq!(
        worker
            .ask("PATCH", &format!("/services/{service}"), Some(short))
            .status(),
        200
    );
    let id = worker.submit(&service, json!({}));
    let working = json!({"status": "WORKING"});
    assert_eq!(
        worker
            .ask("PATCH", &format!("/jobs/{id}"), Some(working))
            .status(),
        200
    );
    let end = HttpRequest::get(&format!("/api/v1/jobs/{id}/result?wait=30"));
    let end = end.ask(cluster.http_address()).json();
    assert_eq!(end["error"]["type"], "timeout", "{end}");
    let limit = json!({"limit": "lease", "seconds": 2, "worker": "w"});
    assert_eq!(end["error"]["data"], limit);
    for (generation, results) in [("v1", "result"), ("v2", "results")] {
        let shown =
            Chef::at(&cluster, &format!("/topchef/{generation}")).get(&format!("/jobs/{id}"));
        assert_eq!(shown["data"]["status"], "ERROR");
        assert_eq!(shown["data"][results].is_null(), generation == "v2");
    }
}

#[test]
fn who_may_not_is_told_so_in_the_words_of_each_generation() {
    let files = Files::new();
    let (worker, reader) = (files.new_token("worker"), files.new_token("reader"));
    let cluster = with_tokens(&files)
        .tables(
            "[[listen_http]]\naddress = '127.0.0.1:0'\nserve = ['api', 'topchef']\n\
             [[allow]]\nclient = 'token:worker'\noperations = ['work', 'call', 'read']\n\
             [[allow]]\nclient = 'token:reader'\noperations = ['read']\n",
        )
        .start();
    let ask = |generation: &str, path: &str, body: Option<&Value>, token: Option<&str>| {
        let target = format!("/topchef/{generation}{path}");
        let mut request = match body {
            Some(body) => HttpRequest::post(&target, body),
            None => HttpRequest::get(&target),
        };
        if let Some(token) = token {
            request = request.token(token);
        }
        request.ask(cluster.http_address())
    };
    let new = json!({
        "name": "s", "description": "", "job_registration_schema": {}, "job_result_schema": {},
    });
    let made = ask("v2", "/services", Some(&new), Some(&worker));
    assert_eq!(made.status(), 201, "{}", made.text());
    let service = made
        .header("location")
        .rsplit('/')
        .next()
        .unwrap()
        .to_owned();
    let (at, jobs) = (
        format!("/services/{service}"),
        format!("/services/{service}/jobs"),
    );
    let job = json!({"parameters": {}});
    for (generation, errors) in [("v1", "a text"), ("v2", "a list")] {
        for (path, body, token, status) in [
            ("/services", None, None, 401),
            (&*at, None, Some(&*reader), 200),
            ("/services", Some(&new), Some(&reader), 403),
            (&jobs, Some(&job), Some(&reader), 403),
            (&jobs, Some(&job), Some(&worker), 201),
        ] {
            let answer = ask(generation, path, body, token);
            assert_eq!(
                answer.status(),
                status,
                "{generation} {path}: {}",
                answer.text()
            );
            let told = &answer.json()["errors"];
            match (status, errors) {
                (200 | 201, _) => assert!(told.is_null()),
                (_, "a text") => assert!(told.is_string(), "{told}"),
                _ => assert_eq!(told[0]["status_code"], status, "{told}"),
            }
            if status == 401 {
                assert_eq!(
                    answer.header("www-authenticate"),
                    "Basic realm=\"harpcaller\""
                );
            }
        }
    }
    // Another site's page is refused here, too.
    let foreign = HttpRequest::post("/topchef/v2/services", &new).token(&worker);
    let foreign = foreign
        .header("Origin", "http://evil.example")
        .ask(cluster.http_address());
    assert_eq!(
        (
            foreign.status(),
            &foreign.json()["errors"][0]["status_code"]
        ),
        (403, &json!(403))
    );
}
