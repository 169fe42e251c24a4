//! What all requests and answers have in common (sections 2 and 3; acceptance 10).

use harp_tests::{HttpClient, HttpRequest};
use serde_json::json;

use super::{OPEN, address, api, assert_problem, call, get, open, post};

#[test]
fn the_api_says_what_it_is() {
    let cluster = open().hosts(0).start();
    let answer = get(&cluster, "");
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let about = answer.json();
    assert!(
        about["server"]
            .as_str()
            .unwrap()
            .starts_with("harpcallerd/")
    );
    assert_eq!(about["documentation"], "openapi.json");
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
        ("cache-control", "no-store"),
    ] {
        assert_eq!(answer.header(name), value, "{name}");
    }
    assert!(!answer.header("x-request-id").is_empty());
    assert_eq!(answer.header("strict-transport-security"), "");
}

#[test]
fn paths_and_methods_that_are_not_there_are_told() {
    let cluster = open().hosts(0).start();
    assert_problem(&get(&cluster, "/nothing"), 404, "not_found");
    let outside = HttpRequest::get("/nothing").ask(address(&cluster));
    assert_problem(&outside, 404, "not_found");
    let answer = HttpRequest::new("DELETE", &api("/jobs")).ask(address(&cluster));
    assert_problem(&answer, 405, "method_not_allowed");
    assert!(answer.header("allow").contains("POST"), "{answer:?}");
    let head = HttpRequest::new("HEAD", &api("")).ask(address(&cluster));
    assert_eq!((head.status(), head.body.len()), (200, 0));
}

#[test]
fn a_site_that_is_not_ours_is_misdirected() {
    let cluster = open().hosts(0).start();
    let at = |host: &str| {
        HttpRequest::get(&api(""))
            .header("Host", host)
            .ask(address(&cluster))
    };
    for ours in ["localhost", "127.0.0.1:80", "[::1]:3580", "192.0.2.7"] {
        assert_eq!(at(ours).status(), 200, "{ours}");
    }
    assert_problem(&at("evil.example"), 421, "misdirected");
    let mut client = HttpClient::connect(address(&cluster));
    client.send_bytes(b"GET /api/v1 HTTP/1.1\r\n\r\n");
    assert_problem(&client.answer("GET"), 400, "invalid_request");
    let twice = HttpRequest::get(&api(""))
        .header("Host", "localhost")
        .header("Host", "localhost");
    assert_problem(&twice.ask(address(&cluster)), 400, "invalid_request");
    // Health is for everybody.
    let health = HttpRequest::get("/healthz").header("Host", "evil.example");
    assert_eq!(
        health.ask(address(&cluster)).json(),
        json!({"status": "ok"})
    );
}

#[test]
fn pages_of_other_sites_change_nothing() {
    let tables = format!("{OPEN}cors_origins = ['https://app.example.net']\n");
    let cluster = harp_tests::Cluster::builder()
        .tables(&tables)
        .hosts(0)
        .start();
    let post = |headers: &[(&str, &str)]| {
        let mut request = HttpRequest::post(&api("/jobs/check"), call("echo", json!([])));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        request.ask(address(&cluster))
    };
    assert_problem(
        &post(&[("Origin", "http://evil.example")]),
        403,
        "cross_origin",
    );
    assert_problem(
        &post(&[("Sec-Fetch-Site", "cross-site")]),
        403,
        "cross_origin",
    );
    assert_eq!(post(&[("Sec-Fetch-Site", "same-origin")]).status(), 200);
    let own = format!("http://{}", address(&cluster));
    assert_eq!(post(&[("Origin", &own)]).status(), 200);

    // An origin that may: it is told, and by itself.
    let answer = post(&[
        ("Origin", "https://app.example.net"),
        ("Sec-Fetch-Site", "cross-site"),
    ]);
    assert_eq!(answer.status(), 200);
    assert_eq!(
        answer.header("access-control-allow-origin"),
        "https://app.example.net"
    );
    assert!(answer.header("vary").contains("Origin"));
    assert_eq!(answer.header("access-control-allow-credentials"), "");
    let asked = HttpRequest::new("OPTIONS", &api("/jobs"))
        .header("Origin", "https://app.example.net")
        .header("Access-Control-Request-Method", "POST")
        .ask(address(&cluster));
    assert_eq!(asked.status(), 204);
    assert!(
        asked
            .header("access-control-allow-headers")
            .contains("Idempotency-Key")
    );
    let other = HttpRequest::new("OPTIONS", &api("/jobs"))
        .header("Origin", "https://evil.example")
        .ask(address(&cluster));
    assert_eq!(other.header("access-control-allow-origin"), "");
}

#[test]
fn a_connection_is_kept_for_many_requests() {
    let cluster = open().start();
    let mut client = HttpClient::connect(address(&cluster));
    for number in 0..20 {
        let answer = client.ask(&HttpRequest::post(
            &api("/jobs?wait=30"),
            call("echo", json!([number])),
        ));
        assert_eq!(answer.json()["end"]["result"], json!([number]));
    }
    // Two at once, answered in their order.
    let one = HttpRequest::get(&api(""));
    client.send(&one);
    client.send(&HttpRequest::get("/healthz"));
    assert!(client.answer("GET").json()["server"].is_string());
    assert_eq!(client.answer("GET").json()["status"], "ok");
}

#[test]
fn long_answers_are_compressed_for_who_asks() {
    let cluster = open().start();
    let id = super::submit(&cluster, call("big_result", json!(["20000"])));
    super::result(&cluster, &id);
    let path = api(&format!("/jobs/{id}/result"));
    let plain = HttpRequest::get(&path).ask(address(&cluster));
    let packed = HttpRequest::get(&path)
        .header("Accept-Encoding", "gzip")
        .ask(address(&cluster));
    assert_eq!(packed.header("content-encoding"), "gzip");
    assert!(packed.body.len() < 1000);
    let mut text = Vec::new();
    std::io::Read::read_to_end(
        &mut flate2::read::GzDecoder::new(&packed.body[..]),
        &mut text,
    )
    .unwrap();
    assert_eq!(text, plain.body);
    let short = HttpRequest::get(&api(""))
        .header("Accept-Encoding", "gzip")
        .ask(address(&cluster));
    assert_eq!(short.header("content-encoding"), "");
}

#[test]
fn a_start_a_drain_and_a_stop_are_seen() {
    let mut cluster = open().start();
    let address_ = address(&cluster);
    let ready = || HttpRequest::get("/readyz").ask(address_);
    assert_eq!(ready().json(), json!({"status": "ready"}));
    let id = super::submit(&cluster, call("silent", json!([])));
    let mut draining = cluster.command().arg("drain").spawn().unwrap();
    let answer = harp_tests::until("the drain is seen", || {
        let answer = ready();
        (answer.status() == 503).then_some(answer)
    });
    assert_problem(&answer, 503, "draining");
    assert!(!answer.header("retry-after").is_empty());
    let refused = post(&cluster, "/jobs", call("echo", json!([])));
    assert_problem(&refused, 503, "shutdown");
    assert_eq!(
        get(&cluster, &format!("/jobs/{id}")).json()["state"],
        "running"
    );
    let cancel = HttpRequest::new("POST", &api(&format!("/jobs/{id}/cancel")));
    assert_eq!(cancel.ask(address_).status(), 200);
    assert!(cluster.wait_dispatcher_ended().success());
    draining.wait().unwrap();
}
