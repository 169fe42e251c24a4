//! The HTTP face from outside, by a socket (the sections that the modules name are those of
//! the HTTP contract).

mod attacks;
mod curl;
mod events;
mod face;
mod identity;
mod jobs;
mod large;
mod limits;
mod lists;
mod metrics;
mod openapi;
mod output;
mod page;
mod rules;
mod schemas;
mod services;
mod sessions;
mod starting;
mod topchef;
mod topchef_bodies;
mod topchef_client;
mod topchef_rows;
mod traces;
mod work_rules;

use std::net::SocketAddr;

use harp_tests::{Cluster, ClusterBuilder, HttpAnswer, HttpRequest};
use serde_json::{Value, json};

/// A listener for everybody on loopback.
const OPEN: &str = "[[listen_http]]\naddress = '127.0.0.1:0'\nrequire_authentication = false\n";

/// A cluster with one listener for HTTP, for everybody.
fn open() -> ClusterBuilder {
    Cluster::builder().tables(OPEN)
}

fn address(cluster: &Cluster) -> SocketAddr {
    cluster.http_address()
}

/// An address below the API.
fn api(path: &str) -> String {
    format!("/api/v1{path}")
}

fn get(cluster: &Cluster, path: &str) -> HttpAnswer {
    HttpRequest::get(&api(path)).ask(address(cluster))
}

fn post(cluster: &Cluster, path: &str, body: impl ToString) -> HttpAnswer {
    HttpRequest::post(&api(path), body).ask(address(cluster))
}

/// A call that every cluster's host can run.
fn call(procedure: &str, arguments: Value) -> Value {
    json!({"host": "web01", "procedure": procedure, "arguments": arguments})
}

/// Submits a call; the id of its job.
#[track_caller]
fn submit(cluster: &Cluster, body: impl ToString) -> String {
    let answer = post(cluster, "/jobs", body);
    assert_eq!(answer.status(), 201, "{}", answer.text());
    answer.json()["id"].as_str().unwrap().to_owned()
}

/// Waits for the end of a job; what it came to.
#[track_caller]
fn result(cluster: &Cluster, job: &str) -> Value {
    let answer = get(cluster, &format!("/jobs/{job}/result?wait=30"));
    assert_eq!(answer.status(), 200, "{}", answer.text());
    answer.json()
}

/// Holds a problem against what it has to be.
#[track_caller]
fn assert_problem(answer: &HttpAnswer, status: u16, name: &str) {
    assert_eq!(answer.status(), status, "{}", answer.text());
    assert_eq!(answer.header("content-type"), "application/problem+json");
    let problem = answer.json();
    assert_eq!(problem["type"], format!("urn:harpcaller:problem:{name}"));
    assert_eq!(problem["status"], status);
    assert_eq!(problem["request_id"], answer.header("x-request-id"));
    for key in ["title", "detail"] {
        assert!(
            problem[key].as_str().is_some_and(|text| !text.is_empty()),
            "{problem}"
        );
    }
}
