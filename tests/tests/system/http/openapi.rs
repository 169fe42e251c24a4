//! The description of the API, held against its routes and against real answers (section 3;
//! acceptance 1).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use harp_tests::{HttpAnswer, HttpRequest, binary, repository};
use serde_json::{Value, json};

use super::{address, api, call, get, open, post, result, submit};

/// Says where a value is not what a schema wants.
fn check(document: &Value, schema: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        let named = document.pointer(&reference[1..]);
        let named = named.unwrap_or_else(|| panic!("nothing at {reference}"));
        return check(document, named, value, at, faults);
    }
    if let Some(alternatives) = schema["oneOf"].as_array() {
        let fits = alternatives.iter().filter(|schema| {
            let mut faults = Vec::new();
            check(document, schema, value, at, &mut faults);
            faults.is_empty()
        });
        if fits.count() != 1 {
            faults.push(format!("{at}: {value} is not one of them"));
        }
        return;
    }
    let kinds = match &schema["type"] {
        Value::String(kind) => vec![kind.as_str()],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let is = |kind: &&str| match *kind {
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        other => panic!("{at}: {other} is no type"),
    };
    if !kinds.is_empty() && !kinds.iter().any(is) {
        faults.push(format!("{at}: {value} is not {kinds:?}"));
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        faults.push(format!("{at}: {value} is not one of {words:?}"));
    }
    if let Some(only) = schema.get("const")
        && only != value
    {
        faults.push(format!("{at}: {value} is not {only}"));
    }
    if let Some(items) = value.as_array() {
        for (number, item) in items.iter().enumerate() {
            check(
                document,
                &schema["items"],
                item,
                &format!("{at}[{number}]"),
                faults,
            );
        }
    }
    let Some(keys) = value.as_object() else {
        return;
    };
    for required in schema["required"].as_array().into_iter().flatten() {
        if !keys.contains_key(required.as_str().unwrap()) {
            faults.push(format!("{at}: {required} is missing"));
        }
    }
    let known = schema["properties"].as_object();
    for (key, value) in keys {
        match known.and_then(|known| known.get(key)) {
            Some(schema) => check(document, schema, value, &format!("{at}.{key}"), faults),
            None if schema["additionalProperties"] == json!(false) => {
                faults.push(format!("{at}: {key} is not described"));
            }
            None => {}
        }
    }
}

/// Holds an answer against what is written of it.
#[track_caller]
fn assert_described(document: &Value, method: &str, path: &str, answer: &HttpAnswer) {
    let operation = &document["paths"][path][method];
    assert!(operation.is_object(), "{method} {path} is not described");
    let status = answer.status().to_string();
    let response = match operation["responses"].get(&status) {
        Some(response) => response,
        None => &operation["responses"]["default"],
    };
    let media_type = answer.header("content-type").split(';').next().unwrap();
    let content = &response["content"];
    if media_type.is_empty() {
        assert!(
            content.is_null(),
            "{method} {path}: {status} without a body"
        );
        return;
    }
    let schema = &content[media_type]["schema"];
    assert!(
        schema.is_object(),
        "{method} {path}: {status} of {media_type}: {}",
        answer.text()
    );
    if media_type.ends_with("/json") || media_type.ends_with("+json") {
        let mut faults = Vec::new();
        check(document, schema, &answer.json(), "", &mut faults);
        assert!(faults.is_empty(), "{method} {path} {status}: {faults:#?}");
    }
}

/// The paths of the source, each with its methods.
fn routes() -> BTreeMap<String, BTreeSet<String>> {
    let file = repository().join("harpcallerd/src/faces/http/routes.rs");
    let source = fs::read_to_string(file).unwrap();
    // One line for each, however it is set.
    let source = source.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut routes = BTreeMap::new();
    for route in source.split(".route(").skip(1) {
        let path = route.split('"').nth(1).unwrap();
        let rest = route.split_once('"').unwrap().1;
        let rest = rest.split_once(';').map_or(rest, |(rest, _)| rest);
        let methods = ["get", "post", "patch", "delete"].into_iter();
        let methods = methods.filter(|method| rest.contains(&format!("{method}(")));
        if path == "/metrics" {
            continue;
        }
        routes.insert(path.to_owned(), methods.map(str::to_owned).collect());
    }
    routes
}

#[test]
fn every_route_is_described_and_no_other() {
    let cluster = open().hosts(0).start();
    let document = get(&cluster, "/openapi.json").json();
    assert_eq!(document["openapi"], "3.1.0");
    let described: BTreeMap<String, BTreeSet<String>> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(path, methods)| {
            let methods = methods.as_object().unwrap().keys().cloned();
            (path.clone(), methods.collect())
        })
        .collect();
    assert_eq!(described, routes());
    // Each of them answers, as it is written.
    for (path, methods) in &described {
        for method in methods {
            let target = path
                .replace("{job}", "019aa9c0-0000-7000-8000-000000000000")
                .replace("{name}", "nowhere");
            if target == "/events" {
                // It has no end.
                continue;
            }
            let target = api(target.trim_end_matches('/'));
            let request = HttpRequest::new(&method.to_uppercase(), &target);
            let answer = request.ask(address(&cluster));
            assert_described(&document, method, path, &answer);
            if [404, 405].contains(&answer.status()) {
                let kind = answer.json()["type"].as_str().unwrap().to_owned();
                assert!(
                    !kind.ends_with("not_found") && answer.status() != 405,
                    "{path}: {kind}"
                );
            }
        }
    }
    // Everything that is referred to is there, and everything that is there is referred to.
    let text = document.to_string();
    for name in document["components"]["schemas"]
        .as_object()
        .unwrap()
        .keys()
    {
        assert!(
            text.contains(&format!("#/components/schemas/{name}\"")),
            "{name}"
        );
    }
}

#[test]
fn real_answers_are_as_described() {
    let cluster = open().start();
    let document = get(&cluster, "/openapi.json").json();
    let mut waiting = call("silent", json!([]));
    waiting["queue"] = json!({"name": {"q": 1}, "concurrency": 1});
    waiting["info"] = json!({"n": 1});
    let running = submit(&cluster, &waiting);
    let answer = post(&cluster, "/jobs", &waiting);
    assert_described(&document, "post", "/jobs", &answer);
    for body in [
        call("say", json!(["a"])),
        call("fail", json!(["1", "x"])),
        json!({"host": "nowhere", "procedure": "p"}),
    ] {
        let answer = post(&cluster, "/jobs?wait=30", &body);
        assert_described(&document, "post", "/jobs", &answer);
        let id = answer.json()["id"].as_str().unwrap().to_owned();
        result(&cluster, &id);
        for path in [
            "",
            "/result",
            "/packets",
            "/output",
            "/output?format=ndjson",
            "/events",
            "/search?q=a",
        ] {
            let answer = get(&cluster, &format!("/jobs/{id}{path}"));
            assert_eq!(answer.status(), 200, "{}", answer.text());
            let described = format!("/jobs/{{job}}{}", path.split('?').next().unwrap());
            assert_described(&document, "get", &described, &answer);
        }
    }
    let answer = get(&cluster, &format!("/jobs/{running}/result"));
    assert_described(&document, "get", "/jobs/{job}/result", &answer);
    for path in ["", "/jobs", "/queues", "/hosts", "/session", "/summary"] {
        let described = if path.is_empty() { "/" } else { path };
        assert_described(&document, "get", described, &get(&cluster, path));
    }
    assert_described(
        &document,
        "get",
        "/hosts/{name}",
        &get(&cluster, "/hosts/web01"),
    );
    let registered = post(&cluster, "/services", json!({"name": "s"}));
    assert_described(&document, "post", "/services", &registered);
    assert_described(&document, "get", "/services", &get(&cluster, "/services"));
    let shown = get(&cluster, "/services/s");
    assert_described(&document, "get", "/services/{name}", &shown);
    let ask = json!({"host": "topchef", "procedure": "s"});
    assert_eq!(post(&cluster, "/jobs", &ask).status(), 201);
    let claimed = post(&cluster, "/services/s/claims", "{}");
    assert_described(&document, "post", "/services/{name}/claims", &claimed);
    let claim = claimed.json()["claim"].as_str().unwrap().to_owned();
    for (verb, body) in [
        ("renew", json!({})),
        ("packets", json!({"first": 0, "packets": [1]})),
        ("finish", json!({"result": 1})),
    ] {
        let answer = post(&cluster, &format!("/claims/{claim}/{verb}"), &body);
        assert_eq!(answer.status(), 200, "{}", answer.text());
        let path = format!("/claims/{{name}}/{verb}");
        assert_described(&document, "post", &path, &answer);
    }
    let queue = get(&cluster, "/queues/jobs?name=%7B%22q%22:1%7D");
    assert_described(&document, "get", "/queues/jobs", &queue);
    assert_described(
        &document,
        "post",
        "/jobs/check",
        &post(&cluster, "/jobs/check", &waiting),
    );
    let cancelled = post(
        &cluster,
        &format!("/jobs/{running}/cancel"),
        json!({"confirm": true}),
    );
    assert_described(&document, "post", "/jobs/{job}/cancel", &cancelled);
    let cancelled = post(&cluster, "/queues/cancel", json!({"name": {"q": 1}}));
    assert_described(&document, "post", "/queues/cancel", &cancelled);
    let refreshed = post(&cluster, "/hosts/refresh", "{}");
    assert_described(&document, "post", "/hosts/refresh", &refreshed);
}

/// Requests of all kinds, good and bad, made from the description: what they are answered has to
/// be described, and no answer may be a fault of the dispatcher.
#[test]
fn schemathesis_finds_nothing() {
    let target = binary("harpcallerd");
    let target = target.ancestors().nth(2).expect("the target folder");
    let program = target.join("api-environment/bin/schemathesis");
    if !program.exists() {
        println!("skipped: there is no schemathesis; .ci/api makes it");
        return;
    }
    let cluster = open().start();
    let base = format!("http://{}/api/v1", address(&cluster));
    let checks = "not_a_server_error,status_code_conformance,content_type_conformance,\
                  response_schema_conformance";
    let output = Command::new(program)
        .arg("run")
        .arg(format!("{base}/openapi.json"))
        .args(["--url", &base, "--checks", checks])
        // A stream of events has no end, and what waits takes its time.
        .args(["--exclude-path-regex", "events$", "--request-timeout", "70"])
        .args([
            "--phases",
            "examples,fuzzing",
            "--max-examples",
            "12",
            "--seed",
            "1",
        ])
        .args([
            "--generation-database",
            "none",
            "--no-color",
            "--warnings",
            "off",
        ])
        .current_dir(cluster.path(""))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert_eq!(get(&cluster, "").status(), 200);
}
