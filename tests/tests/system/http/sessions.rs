//! Logins of the page (section 2; acceptance 10).

use std::io::Read;

use harp_tests::hung::Hung;
use harp_tests::{HttpAnswer, HttpRequest};
use serde_json::{Value, json};

use super::{address, api, assert_problem, call};
use crate::access::identity::{Files, with_tokens};

const WITH_TOKENS: &str = "[[listen_http]]\naddress = '127.0.0.1:0'\n";

/// What a login gives.
struct Session {
    cookie: String,
    page_key: String,
}

impl Session {
    fn of(answer: &HttpAnswer) -> Session {
        assert_eq!(answer.status(), 200, "{}", answer.text());
        let cookie = answer.header("set-cookie");
        assert!(
            cookie.contains("; HttpOnly; SameSite=Strict; Path=/"),
            "{cookie}"
        );
        Session {
            cookie: cookie.split(';').next().unwrap().to_owned(),
            page_key: answer.json()["page_key"].as_str().unwrap().to_owned(),
        }
    }

    fn both(&self, request: HttpRequest) -> HttpRequest {
        request
            .header("Cookie", &format!("other=1; {}", self.cookie))
            .header("Harp-Page-Key", &self.page_key)
    }
}

#[test]
fn a_session_has_two_halves() {
    let files = Files::new();
    let token = files.new_token("shop");
    let mut cluster = with_tokens(&files).hosts(1).tables(WITH_TOKENS).start();
    let at = |request: HttpRequest| request.ask(address(&cluster));
    let path = api("/session");
    assert_problem(&at(HttpRequest::get(&path)), 401, "unauthorized");
    let wrong = at(HttpRequest::post(&path, json!({"token": "wrong"})));
    assert_problem(&wrong, 401, "unauthorized");
    let session = Session::of(&at(HttpRequest::post(&path, json!({"token": token}))));
    let port = address(&cluster).port();
    assert!(
        session.cookie.starts_with(&format!("harp_{port}=")),
        "{}",
        session.cookie
    );

    let shown = at(session.both(HttpRequest::get(&path)));
    assert_eq!(shown.status(), 200, "{}", shown.text());
    let shown = shown.json();
    assert_eq!(
        (&shown["identity"], &shown["method"]),
        (&json!("token:shop"), &json!("session"))
    );
    assert!(shown["expires"].is_u64());
    let all = ["call", "read", "cancel", "work", "observe", "admin"];
    assert_eq!(shown["operations"], json!(all));
    let cookie_alone = HttpRequest::get(&path).header("Cookie", &session.cookie);
    assert_problem(&at(cookie_alone), 401, "unauthorized");
    let key_alone = HttpRequest::get(&path).header("Harp-Page-Key", &session.page_key);
    assert_problem(&at(key_alone), 401, "unauthorized");
    let foreign = session
        .both(HttpRequest::get(&path))
        .header("Origin", "http://evil.example");
    assert_problem(&at(foreign), 401, "unauthorized");

    // A call, and its stream with the key in the query.
    let made = at(session.both(HttpRequest::post(
        &api("/jobs"),
        call("silent_stream", json!([])),
    )));
    assert_eq!(made.status(), 201, "{}", made.text());
    let job = made.json()["id"].as_str().unwrap().to_owned();
    let events = api(&format!("/jobs/{job}/events?page_key={}", session.page_key));
    let request = HttpRequest::get(&events).header("Cookie", &session.cookie);
    let mut stream = request.stream(address(&cluster));
    assert_eq!(stream.head.status, 200);
    let elsewhere = api(&format!("/jobs/{job}?page_key={}", session.page_key));
    assert_problem(
        &at(session.both(HttpRequest::get(&elsewhere))),
        400,
        "invalid_request",
    );

    // It is over with its token's line, and so is the stream.
    files.write("tokens", "");
    assert_problem(
        &at(session.both(HttpRequest::get(&path))),
        401,
        "unauthorized",
    );
    let mut told = String::new();
    stream.read_to_string(&mut told).unwrap();
    assert!(told.contains("event: forbidden\n"), "{told}");
    assert!(!cluster.log().text().contains(&session.page_key));
    cluster.stop_dispatcher();
}

#[test]
fn a_restart_logs_nobody_out_and_a_logout_does() {
    let files = Files::new();
    let token = files.new_token("shop");
    let fixed = harp_tests::unused_address();
    let audit = files.path("audit");
    let mut cluster = with_tokens(&files)
        .set("audit_file", &json!(audit).to_string())
        .tables(&format!("[[listen_http]]\naddress = '{fixed}'\n"))
        .start();
    let path = api("/session");
    let login = HttpRequest::post(&path, json!({"token": token}));
    let session = Session::of(&login.ask(fixed));
    cluster.restart_dispatcher();
    address(&cluster);
    assert_eq!(
        session.both(HttpRequest::get(&path)).ask(fixed).status(),
        200
    );
    let other = Session::of(&login.ask(fixed));
    let logout = session.both(HttpRequest::new("DELETE", &path)).ask(fixed);
    assert_eq!(logout.status(), 204);
    assert!(logout.header("set-cookie").contains("Max-Age=0"));
    assert_problem(
        &session.both(HttpRequest::get(&path)).ask(fixed),
        401,
        "unauthorized",
    );
    assert_eq!(other.both(HttpRequest::get(&path)).ask(fixed).status(), 200);
    let wrong = HttpRequest::post(&path, json!({"token": "wrong"}));
    assert_problem(&wrong.ask(fixed), 401, "unauthorized");
    cluster.restart_dispatcher();
    address(&cluster);
    // The audit log is whole when the dispatcher has stopped.
    let text = std::fs::read_to_string(&audit).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let is_of_session = |line: &&Value| line["event"].as_str().unwrap().starts_with("log");
    let told = lines.iter().filter(is_of_session).map(|line| {
        let peer = line["peer"].as_str().unwrap();
        assert!(peer.starts_with("127.0.0.1"), "{line}");
        assert_eq!(line["via"], "http", "{line}");
        (line["event"].as_str().unwrap(), line["client"].as_str())
    });
    let told: Vec<_> = told.collect();
    let shop = Some("token:shop");
    assert_eq!(told, [("login", shop), ("login", shop), ("logout", shop)]);
    assert!(!text.contains(&token) && !text.contains(&session.page_key));
    assert_problem(
        &session.both(HttpRequest::get(&path)).ask(fixed),
        401,
        "unauthorized",
    );
}

#[test]
fn a_session_whose_token_cannot_be_looked_at_is_told_so() {
    let files = Files::new();
    let token = files.new_token("shop");
    let cluster = with_tokens(&files).tables(WITH_TOKENS).start();
    let path = api("/session");
    let login = HttpRequest::post(&path, json!({"token": token}));
    let session = Session::of(&login.ask(address(&cluster)));
    let Some(hung) = Hung::mount(&cluster.path("hung")) else {
        return;
    };
    hung.swallow(&files.path("tokens"));
    let answer = session.both(HttpRequest::get(&path)).ask(address(&cluster));
    assert_problem(&answer, 401, "unauthorized");
    let detail = answer.json()["detail"].to_string();
    assert!(detail.contains("does not answer"), "{detail}");
}
