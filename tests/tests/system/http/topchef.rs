//! TopChef's two generations (section 12; acceptance 17 to 19), by the requests that their
//! clients make.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::thread;

use harp_tests::{Cluster, ClusterBuilder, HttpAnswer, HttpRequest, until};
use serde_json::{Value, json};

use super::OPEN;

/// Both faces beside the API.
pub(super) const BOTH: &str = "serve = ['api', 'topchef']\n";

pub(super) fn cluster(serve: &str) -> Cluster {
    builder(serve).start()
}

fn builder(serve: &str) -> ClusterBuilder {
    Cluster::builder()
        .hosts(0)
        .tables(&format!("{OPEN}{serve}"))
}

/// A client at a base, as one worker.
pub(super) struct Chef {
    address: SocketAddr,
    base: String,
}

impl Chef {
    pub(super) fn at(cluster: &Cluster, base: &str) -> Chef {
        Chef {
            address: cluster.http_address(),
            base: base.to_owned(),
        }
    }

    pub(super) fn ask(&self, method: &str, path: &str, body: Option<Value>) -> HttpAnswer {
        let mut request = HttpRequest::new(method, &format!("{}{path}", self.base));
        if let Some(body) = body {
            request = request
                .header("Content-Type", "application/json")
                .body(body.to_string());
        }
        request.ask(self.address)
    }

    pub(super) fn get(&self, path: &str) -> Value {
        let answer = self.ask("GET", path, None);
        assert_eq!(answer.status(), 200, "{path}: {}", answer.text());
        answer.json()
    }

    /// Registers a service; its id.
    pub(super) fn register(&self, schema: Value) -> String {
        let body = json!({
            "name": "adder", "description": "adds", "job_registration_schema": schema,
            "job_result_schema": {"type": "object"},
        });
        let answer = self.ask("POST", "/services", Some(body));
        assert_eq!(answer.status(), 201, "{}", answer.text());
        let location = answer.header("location").to_owned();
        location.rsplit('/').next().unwrap().to_owned()
    }

    pub(super) fn submit(&self, service: &str, parameters: Value) -> String {
        let body = json!({ "parameters": parameters });
        let answer = self.ask("POST", &format!("/services/{service}/jobs"), Some(body));
        assert_eq!(answer.status(), 201, "{}", answer.text());
        let id = match &answer.json()["data"] {
            data if data["job_details"].is_object() => data["job_details"]["id"].clone(),
            data => data["id"].clone(),
        };
        id.as_str().unwrap().to_owned()
    }

    /// One job, as the Python client's listener works on it; the job, or none.
    fn work(&self, service: &str, run: impl Fn(&Value) -> Value) -> Option<String> {
        let queue = |chef: &Chef| chef.get(&format!("/services/{service}/queue"))["data"].clone();
        let validate = |object: &Value| {
            self.get(&format!("/services/{service}"));
            let body = json!({"object": object, "schema": {"type": "object"}});
            assert_eq!(self.ask("POST", "/validator", Some(body)).status(), 200);
        };
        let put = |change: &dyn Fn(&mut Value)| {
            let id = queue(self)[0]["id"].as_str().unwrap().to_owned();
            let mut job = self.get(&format!("/jobs/{id}"))["data"].clone();
            change(&mut job);
            let answer = self.ask("PUT", &format!("/jobs/{id}"), Some(job));
            assert_eq!(answer.status(), 200, "{}", answer.text());
        };
        self.get("");
        let id = queue(self)[0]["id"].as_str()?.to_owned();
        let job = self.get(&format!("/jobs/{id}"))["data"].clone();
        validate(&job["parameters"]);
        put(&|job| job["status"] = json!("WORKING"));
        let result = run(&job["parameters"]);
        validate(&result);
        put(&|job| job["result"] = result.clone());
        put(&|job| job["status"] = json!("COMPLETED"));
        Some(id)
    }
}

pub(super) fn keys(value: &Value) -> BTreeSet<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

pub(super) fn names<'a>(names: &[&'a str]) -> BTreeSet<&'a str> {
    names.iter().copied().collect()
}

#[test]
fn two_python_workers_of_one_service_never_swap_jobs() {
    let cluster = cluster(BOTH);
    let client = Chef::at(&cluster, "/topchef/v1");
    let service = client.register(json!({"type": "object"}));
    let jobs: Vec<String> = (0..20)
        .map(|number| client.submit(&service, json!({ "number": number })))
        .collect();
    thread::scope(|scope| {
        for name in ["one", "two"] {
            let (cluster, service) = (&cluster, &service);
            scope.spawn(move || {
                let worker = Chef::at(cluster, &format!("/topchef/v1/as/{name}"));
                let run = |parameters: &Value| json!({"value": parameters["number"], "by": name});
                while worker.work(service, run).is_some() {}
            });
        }
    });
    let mut by = BTreeSet::new();
    for (number, id) in jobs.iter().enumerate() {
        let job = client.get(&format!("/jobs/{id}"))["data"].clone();
        assert_eq!(
            keys(&job),
            names(&["id", "date_submitted", "status", "parameters", "result"])
        );
        assert_eq!(
            (&job["status"], &job["result"]["value"]),
            (&json!("COMPLETED"), &json!(number))
        );
        by.insert(job["result"]["by"].as_str().unwrap().to_owned());
    }
    assert_eq!(by.len(), 2, "both have worked");
    // These jobs by the API and by the second generation.
    let shown =
        HttpRequest::get(&format!("/api/v1/jobs/{}/result", jobs[3])).ask(cluster.http_address());
    assert_eq!(shown.json()["result"]["value"], 3);
    let second = Chef::at(&cluster, "/topchef/v2");
    assert_eq!(
        second.get(&format!("/jobs/{}", jobs[3]))["data"]["results"]["value"],
        3
    );
}

#[test]
fn a_python_worker_that_was_started_anew_forgets_its_job() {
    let mut cluster = cluster(BOTH);
    let service = Chef::at(&cluster, "/topchef/v1").register(json!({"type": "object"}));
    let worker = Chef::at(&cluster, "/topchef/v1/as/w");
    let first = worker.submit(&service, json!({"number": 1}));
    let queue = format!("/services/{service}/queue");
    assert_eq!(worker.get(&queue)["data"][0]["id"], first.as_str());
    let mut job = worker.get(&format!("/jobs/{first}"))["data"].clone();
    job["status"] = json!("WORKING");
    assert_eq!(
        worker
            .ask("PUT", &format!("/jobs/{first}"), Some(job.clone()))
            .status(),
        200
    );
    // It was killed, and begins with the queue.
    let second = worker.submit(&service, json!({"number": 2}));
    assert_eq!(worker.get(&queue)["data"][0]["id"], second.as_str());
    assert_eq!(worker.work(&service, |_| json!({"value": 2})), Some(second));

    // A restart of the dispatcher while it works takes nothing from it.
    let third = worker.submit(&service, json!({"number": 3}));
    assert_eq!(worker.get(&queue)["data"][0]["id"], third.as_str());
    job["id"] = json!(third);
    assert_eq!(
        worker
            .ask("PUT", &format!("/jobs/{third}"), Some(job.clone()))
            .status(),
        200
    );
    let draft = json!({"result": {"value": 3}});
    assert_eq!(
        worker
            .ask("PUT", &format!("/jobs/{third}"), Some(draft))
            .status(),
        200
    );
    cluster.kill_dispatcher();
    cluster.start_dispatcher();
    let worker = Chef::at(&cluster, "/topchef/v1/as/w");
    let body = json!({"object": {}, "schema": {}});
    assert_eq!(worker.ask("POST", "/validator", Some(body)).status(), 200);
    until("its job is taken up", || {
        let body = json!({"object": {}, "schema": {}});
        worker.ask("POST", "/validator", Some(body));
        let shown = worker.get(&queue);
        (shown["data"][0]["id"] == third.as_str()).then_some(())
    });
    assert_eq!(
        worker.get(&format!("/jobs/{third}"))["data"]["result"],
        json!({"value": 3})
    );
    let done = json!({"status": "COMPLETED"});
    assert_eq!(
        worker
            .ask("PUT", &format!("/jobs/{third}"), Some(done))
            .status(),
        200
    );
    let job = worker.get(&format!("/jobs/{third}"))["data"].clone();
    assert_eq!(
        (&job["status"], &job["result"]),
        (&json!("COMPLETED"), &json!({"value": 3}))
    );
}

#[test]
fn a_python_worker_lives_on_when_its_job_is_cancelled() {
    let cluster = cluster(BOTH);
    let worker = Chef::at(&cluster, "/topchef/v1/as/w");
    let service = worker.register(json!({"type": "object"}));
    let id = worker.submit(&service, json!({}));
    let cancel = HttpRequest::post(&format!("/api/v1/jobs/{id}/cancel"), "{}");
    let done = worker.work(&service, |_| {
        assert_eq!(cancel.ask(cluster.http_address()).status(), 200);
        json!({"value": 1})
    });
    assert_eq!(done, Some(id.clone()));
    let job = worker.get(&format!("/jobs/{id}"))["data"].clone();
    assert_eq!(
        (&job["status"], &job["result"]),
        (&json!("ERROR"), &json!({}))
    );
    // And works on.
    let next = worker.submit(&service, json!({}));
    assert_eq!(worker.work(&service, |_| json!({"value": 2})), Some(next));
    assert_eq!(
        worker.get(&format!("/services/{service}/queue")),
        json!({"data": []})
    );
}

#[test]
fn the_java_clients_exchange_is_answered_key_for_key() {
    let cluster = cluster("serve = ['topchef-v2']\n");
    // At the root, as it asks.
    let client = Chef::at(&cluster, "");
    let service = client.register(json!({"type": "object", "required": ["value"]}));
    let services = client.get("/services");
    assert_eq!(keys(&services), names(&["data", "meta", "links"]));
    assert_eq!(
        keys(&services["data"][0]),
        names(&["id", "name", "description"])
    );
    let shown = client.get(&format!("/services/{service}"));
    assert_eq!(
        keys(&shown["data"]),
        names(&[
            "id",
            "name",
            "description",
            "job_registration_schema",
            "job_result_schema",
            "is_service_available",
            "has_timed_out",
            "timeout",
            "jobs",
        ])
    );
    // POST in the place of PATCH, without a body.
    let override_patch = |path: &str, body: Option<Value>| {
        let mut request = HttpRequest::new("POST", path).header("X-HTTP-Method-Override", "patch");
        if let Some(body) = body {
            request = request
                .header("Content-Type", "application/json")
                .body(body.to_string());
        }
        request.ask(cluster.http_address())
    };
    let checked = override_patch(&format!("/services/{service}"), None);
    assert_eq!(checked.status(), 200);
    assert_eq!(keys(&checked.json()), names(&["meta"]));
    for empty in ["queue", "jobs/next"] {
        let answer = client.ask("GET", &format!("/services/{service}/{empty}"), None);
        assert_eq!((answer.status(), answer.text()), (204, String::new()));
    }
    let wrong = json!({"parameters": {}});
    let answer = client.ask("POST", &format!("/services/{service}/jobs"), Some(wrong));
    assert_eq!(answer.status(), 400);
    assert_eq!(
        answer.json()["errors"][0]["title"],
        "JSONSchema Validation Error"
    );
    let id = client.submit(&service, json!({"value": 1}));
    let queue = client.get(&format!("/services/{service}/queue"));
    let mut job = queue["data"][0].clone();
    let all = names(&["id", "status", "parameters", "results", "date_submitted"]);
    assert_eq!(keys(&job), all);
    assert_eq!(
        (&job["id"], &job["status"]),
        (&json!(id), &json!("REGISTERED"))
    );
    let date = job["date_submitted"].as_str().unwrap();
    assert!(date.len() == "2017-07-06T14:23:20.123000+00:00".len() && date.ends_with("+00:00"));
    for (status, results) in [
        ("WORKING", json!(null)),
        ("WORKING", json!({"value": 2})),
        ("COMPLETED", json!({"value": 2})),
        // Said again, it is as it was.
        ("COMPLETED", json!({"value": 2})),
    ] {
        (job["status"], job["results"]) = (json!(status), results.clone());
        let patched = override_patch(&format!("/jobs/{id}"), Some(job.clone()));
        assert_eq!(patched.status(), 200, "{}", patched.text());
        // Without an envelope.
        assert_eq!(keys(&patched.json()), all);
        assert_eq!(
            (&patched.json()["status"], &patched.json()["results"]),
            (&json!(status), &results)
        );
    }
    job["status"] = json!("REGISTERED");
    let answer = override_patch(&format!("/jobs/{id}"), Some(job));
    assert_eq!(
        (answer.status(), &answer.json()["errors"][0]["title"]),
        (409, &json!("Conflict"))
    );
    assert_eq!(
        client.ask("GET", "/api/v1/jobs", None).status(),
        404,
        "nothing else is there"
    );
}

#[test]
fn a_second_worker_is_told_and_a_lease_claims() {
    let cluster = cluster(BOTH);
    let (one, two) = (
        Chef::at(&cluster, "/topchef/v2/as/one"),
        Chef::at(&cluster, "/topchef/v2/as/two"),
    );
    let service = one.register(json!({"type": "object"}));
    let id = one.submit(&service, json!({}));
    let working = json!({"status": "WORKING"});
    assert_eq!(
        one.ask("PATCH", &format!("/jobs/{id}"), Some(working.clone()))
            .status(),
        200
    );
    for body in [
        working.clone(),
        json!({"status": "COMPLETED"}),
        json!({"results": {}}),
    ] {
        assert_eq!(
            two.ask("PATCH", &format!("/jobs/{id}"), Some(body))
                .status(),
            409
        );
    }
    assert_eq!(
        one.ask("PATCH", &format!("/jobs/{id}"), Some(working))
            .status(),
        200,
        "a check-in"
    );
    // ERROR by another is a cancel.
    assert_eq!(
        two.ask(
            "PATCH",
            &format!("/jobs/{id}"),
            Some(json!({"status": "ERROR"}))
        )
        .status(),
        200
    );
    let end = HttpRequest::get(&format!("/api/v1/jobs/{id}/result")).ask(cluster.http_address());
    assert_eq!(end.json(), json!({"cancelled": true}));
    let next = format!("/topchef/v2/as/two/services/{service}/jobs/next");
    let id = one.submit(&service, json!({}));
    let claimed = HttpRequest::get(&next)
        .header("Topchef-Lease", "60")
        .ask(cluster.http_address());
    assert_eq!(
        (
            &claimed.json()["data"]["id"],
            &claimed.json()["data"]["status"]
        ),
        (&json!(id), &json!("WORKING"))
    );
    assert_eq!(
        HttpRequest::get(&next).ask(cluster.http_address()).status(),
        204
    );
}
