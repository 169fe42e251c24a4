//! The tables of both generations of TopChef, row by row (section 12; acceptance 19).

use harp_tests::HttpRequest;
use serde_json::json;

use super::topchef::{BOTH, Chef, cluster, keys, names};

#[test]
fn rows_of_both_generations_hold() {
    let cluster = cluster(BOTH);
    let v2 = Chef::at(&cluster, "/topchef/v2");
    let service = v2.register(json!({"type": "object"}));
    let plain = service.replace('-', "");
    let nothing = "019aa9c0-0000-7000-8000-000000000000";
    let service_path = format!("/services/{service}");
    let text = |method: &str, path: &str, body: &str| {
        HttpRequest::new(method, &format!("/topchef/v2{path}"))
            .body(body)
            .ask(cluster.http_address())
    };
    for (method, path, body, status, title) in [
        ("GET", "/services/nonsense", None, 404, "Not UUID Error"),
        (
            "GET",
            &*format!("/services/{nothing}"),
            None,
            404,
            "Service Not Found",
        ),
        (
            "GET",
            &*format!("/jobs/{nothing}"),
            None,
            404,
            "Job Not Found",
        ),
        ("GET", "/services/", None, 404, "Not Found"),
        ("GET", "/nowhere", None, 404, "Not Found"),
        ("HEAD", "/jobs", None, 405, ""),
        ("DELETE", &service_path, None, 405, "Method Not Implemented"),
        ("POST", "/services", None, 400, "Request Not JSON"),
        (
            "POST",
            "/services",
            Some(json!({})),
            400,
            "Deserialization Error From Client Data",
        ),
        (
            "PATCH",
            &service_path,
            Some(json!({"timeout": 0})),
            400,
            "Deserialization Error From Client Data",
        ),
        (
            "PATCH",
            &service_path,
            Some(json!({"timeout": -1})),
            400,
            "Deserialization Error From Client Data",
        ),
        (
            "POST",
            &*format!("{service_path}/jobs"),
            Some(json!({"parameters": [1]})),
            400,
            "Deserialization Error From Client Data",
        ),
        (
            "POST",
            "/validator",
            Some(json!({"object": {"a": 1}, "schema": {"required": ["b"]}})),
            400,
            "JSONSchema Validation Error",
        ),
    ] {
        let answer = v2.ask(method, path, body);
        assert_eq!(
            answer.status(),
            status,
            "{method} {path}: {}",
            answer.text()
        );
        if method != "HEAD" {
            let error = &answer.json()["errors"][0];
            assert_eq!(keys(error), names(&["status_code", "title", "detail"]));
            assert_eq!(
                (&error["title"], &error["status_code"]),
                (&json!(title), &json!(status)),
                "{path}"
            );
        }
    }
    let missing = v2.ask("POST", "/services", Some(json!({})));
    let errors = missing.json()["errors"].as_array().unwrap().len();
    assert_eq!(errors, 4, "one for each key");
    let detail = missing.json()["errors"][0]["detail"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        detail.starts_with("Valdation of key 'name' threw error '['"),
        "{detail}"
    );
    assert_eq!(text("POST", "/services", "{").status(), 400);
    let options = v2.ask("OPTIONS", "/services", None);
    assert_eq!(
        (options.status(), options.header("allow")),
        (200, "GET, POST, OPTIONS")
    );
    // With dashes or without, and any schema is taken.
    assert_eq!(
        v2.get(&format!("/services/{plain}"))["data"]["id"],
        service.as_str()
    );
    let bogus = v2.register(json!({"type": "bogus"}));
    let refused = v2.ask(
        "POST",
        &format!("/services/{bogus}/jobs"),
        Some(json!({"parameters": {}})),
    );
    assert_eq!(refused.status(), 400);
    let changed = v2.ask(
        "PATCH",
        &service_path,
        Some(json!({"is_available": true, "timeout": 1.5})),
    );
    let changed = changed.json()["data"].clone();
    assert_eq!(
        (&changed["is_service_available"], &changed["timeout"]),
        (&json!(true), &json!(2))
    );
    let root = v2.get("/");
    assert_eq!(
        keys(&root["data"]),
        names(&[
            "documentation_url",
            "maintainer_email",
            "maintainer_name",
            "source_code_repository_url",
            "version"
        ])
    );
    assert_eq!(v2.get("/validator")["data"], json!({}));
    let fine = v2.ask(
        "POST",
        "/validator",
        Some(json!({"object": {}, "schema": {}})),
    );
    assert_eq!(fine.json()["data"]["status"], "Validation was successful");
    // A job that is completed at once, and one whose worker says ERROR.
    for (status, shown) in [("completed", "COMPLETED"), ("error", "ERROR")] {
        let id = v2.submit(&service, json!({}));
        if status == "error" {
            let claim = v2.ask(
                "PATCH",
                &format!("/jobs/{id}"),
                Some(json!({"status": "working"})),
            );
            assert_eq!(claim.status(), 200);
        }
        let body = json!({"status": status, "results": {"why": 1}});
        let patched = v2.ask("PATCH", &format!("/jobs/{id}"), Some(body));
        assert_eq!(
            (patched.status(), &patched.json()["status"]),
            (200, &json!(shown))
        );
        assert_eq!(patched.json()["results"], json!({"why": 1}));
        let events = v2.ask("GET", &format!("/jobs/{id}/events"), None);
        assert!(
            events.status() == 200 && events.text().contains("event: end"),
            "{events:?}"
        );
    }
    let listed = v2.get(&format!("{service_path}/jobs"));
    assert_eq!(listed["data"].as_array().unwrap().len(), 2);
    assert_eq!(
        keys(&v2.get("/jobs")["data"][0]),
        names(&["id", "status", "date_submitted"])
    );

    let v1 = Chef::at(&cluster, "/topchef/v1");
    let details = v1.get(&service_path)["data"].clone();
    assert_eq!(
        keys(&details),
        names(&[
            "id",
            "name",
            "description",
            "has_timed_out",
            "job_registration_schema",
            "job_result_schema",
            "url"
        ])
    );
    assert_eq!(
        keys(&v1.get("/services")["data"][0]),
        names(&["id", "name", "has_timed_out", "url"])
    );
    let bad = v1.ask(
        "POST",
        "/validator",
        Some(json!({"object": {"a": 1}, "schema": {"required": ["b"]}})),
    );
    assert_eq!(
        (bad.status(), keys(&bad.json()["errors"])),
        (400, names(&["message", "context"]))
    );
    assert!(v1.ask("GET", "/nowhere", None).json()["errors"].is_string());
    assert_eq!(
        v1.ask("POST", "/echo", Some(json!({"a": 1}))).json()["data"],
        json!({"a": 1})
    );
    let (older, newer) = (
        v1.submit(&service, json!({})),
        v1.submit(&service, json!({})),
    );
    assert_eq!(
        v1.get(&format!("{service_path}/jobs/next"))["data"]["id"],
        newer.as_str()
    );
    let next = v1.ask("GET", &format!("/jobs/{newer}/next"), None);
    assert!(
        next.status() == 302 && next.header("location").ends_with(&older),
        "{next:?}"
    );
    assert_eq!(
        v1.ask("GET", &format!("/jobs/{older}/next"), None).status(),
        204
    );
    // Results alone claim nothing here: they are of a worker that has lost its place.
    let alone = v1.ask(
        "PUT",
        &format!("/jobs/{older}"),
        Some(json!({"result": {"a": 1}})),
    );
    assert_eq!(alone.status(), 409);
}
