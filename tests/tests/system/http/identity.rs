//! The identity of requests (section 2; acceptance 11 and 12).

use std::fs;
use std::time::{Duration, Instant};

use harp_tests::{Cluster, HttpAnswer, HttpClient, HttpRequest, until};
use serde_json::{Value, json};

use super::{address, api, assert_problem, call};
use crate::access::identity::{Files, with_tokens};

const WITH_TOKENS: &str = "[[listen_http]]\naddress = '127.0.0.1:0'\n";

#[test]
fn a_token_says_who_asks() {
    let files = Files::new();
    let token = files.new_token("shop");
    let cluster = with_tokens(&files).tables(WITH_TOKENS).start();
    let about = |request: HttpRequest| request.ask(address(&cluster));
    let stranger = about(HttpRequest::get(&api("")));
    assert_problem(&stranger, 401, "unauthorized");
    assert_eq!(
        stranger.header("www-authenticate"),
        "Bearer realm=\"harpcaller\""
    );
    // A stranger is not even told what is there.
    assert_problem(
        &about(HttpRequest::get(&api("/nothing"))),
        401,
        "unauthorized",
    );
    assert_problem(&about(HttpRequest::get("/nothing")), 401, "unauthorized");
    let metrics = about(HttpRequest::get("/metrics"));
    assert_eq!(
        metrics.header("www-authenticate"),
        "Basic realm=\"harpcaller\""
    );
    assert_eq!(about(HttpRequest::get("/healthz")).status(), 200);

    assert_eq!(
        about(HttpRequest::get(&api("")).token(&token)).status(),
        200
    );
    let basic = |user: &str, token: &str| {
        let pair = base64(&format!("{user}:{token}"));
        HttpRequest::get(&api("")).header("Authorization", &format!("Basic {pair}"))
    };
    assert_eq!(about(basic("worker-1", &token)).status(), 200);

    let asked = Instant::now();
    assert_problem(
        &about(HttpRequest::get(&api("")).token("wrong")),
        401,
        "unauthorized",
    );
    assert!(asked.elapsed() >= Duration::from_secs(1));
    assert!(!cluster.log().text().contains(&token));
}

#[test]
fn a_wrong_token_is_refused_where_nobody_has_to_authenticate() {
    let files = Files::new();
    files.new_token("shop");
    let cluster = with_tokens(&files)
        .tables(&format!("{WITH_TOKENS}require_authentication = false\n"))
        .start();
    let asked = Instant::now();
    let answer = HttpRequest::get(&api(""))
        .token("wrong")
        .ask(address(&cluster));
    assert_problem(&answer, 401, "unauthorized");
    assert!(asked.elapsed() >= Duration::from_secs(1));
    assert_eq!(
        HttpRequest::get(&api("")).ask(address(&cluster)).status(),
        200
    );

    // Many at a time of one peer are not even looked at for long.
    let address = address(&cluster);
    let guesses = (0..40).map(|_| {
        std::thread::spawn(move || {
            HttpRequest::get(&api(""))
                .token("wrong")
                .ask(address)
                .status()
        })
    });
    let guesses: Vec<_> = guesses.collect();
    let statuses: Vec<u16> = guesses
        .into_iter()
        .map(|guess| guess.join().unwrap())
        .collect();
    assert!(statuses.contains(&429), "{statuses:?}");
    assert!(statuses.iter().all(|status| [401, 429].contains(status)));
}

#[test]
fn many_tokens_of_one_peer_are_judged_at_once_unless_they_are_wrong() {
    let files = Files::new();
    let token = files.new_token("shop");
    let cluster = with_tokens(&files).tables(WITH_TOKENS).start();
    let at_once = |token: &str| -> Vec<HttpAnswer> {
        let clients = (0..40).map(|_| HttpClient::connect(address(&cluster)));
        let mut clients: Vec<_> = clients.collect();
        let asked = HttpRequest::get(&api("")).token(token);
        clients.iter_mut().for_each(|client| client.send(&asked));
        clients
            .iter_mut()
            .map(|client| client.answer("GET"))
            .collect()
    };
    for answer in at_once(&token) {
        assert_eq!(answer.status(), 200, "{}", answer.text());
    }
    let mut tried = 0;
    for answer in at_once("wrong") {
        if answer.status() == 401 {
            tried += 1;
        } else {
            assert_problem(&answer, 429, "overloaded");
            assert!(!answer.header("retry-after").is_empty());
        }
    }
    assert!((8..40).contains(&tried), "{tried}");
}

#[test]
fn rules_hold_and_the_audit_log_knows_the_way() {
    let files = Files::new();
    let (shop, other) = (files.new_token("shop"), files.new_token("other"));
    let audit = files.path("audit");
    let cluster = with_tokens(&files)
        .hosts(1)
        .set("audit_file", &json!(audit).to_string())
        .tables(
            "[[listen_http]]\naddress = '127.0.0.1:0'\n\
             [[allow]]\nclient = 'token:shop'\nprocedure = 'echo'\njobs = 'own'\n",
        )
        .start();
    let ask = |request: HttpRequest, token: &str| request.token(token).ask(address(&cluster));
    let answer = ask(
        HttpRequest::post(&api("/jobs"), call("echo", json!([1]))),
        &shop,
    );
    assert_eq!(answer.status(), 201, "{}", answer.text());
    assert_eq!(answer.json()["client"], "token:shop");
    let job = api(&format!("/jobs/{}", answer.json()["id"].as_str().unwrap()));
    assert_eq!(ask(HttpRequest::get(&job), &shop).status(), 200);
    assert_problem(&ask(HttpRequest::get(&job), &other), 403, "forbidden");
    let call_ = call("silent", json!([]));
    let refused = ask(HttpRequest::post(&api("/jobs"), &call_), &shop);
    assert_problem(&refused, 403, "forbidden");

    let lines: Vec<Value> = until("the audit log has the refusals", || {
        let text = fs::read_to_string(&audit).ok()?;
        let lines = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        let lines: Vec<Value> = lines.collect();
        let refused = lines
            .iter()
            .filter(|line| line["event"] == "refused")
            .count();
        (refused == 2).then_some(lines)
    });
    let of = |event: &str, client: &str| {
        let found = lines
            .iter()
            .find(|line| line["event"] == event && line["client"] == client);
        found.unwrap_or_else(|| panic!("{event} of {client}: {lines:?}"))
    };
    for line in [
        of("accepted", "token:shop"),
        of("refused", "token:shop"),
        of("refused", "token:other"),
    ] {
        assert_eq!(line["via"], "http", "{line}");
    }
}

#[test]
fn a_proxy_that_is_trusted_speaks_for_others() {
    let files = Files::new();
    let token = files.new_token("shop");
    let audit = files.path("audit");
    let cluster = with_tokens(&files)
        .set("audit_file", &json!(audit).to_string())
        .tables(
            "[[listen_http]]\naddress = '127.0.0.1:0'\ntrusted_proxies = ['127.0.0.0/8']\n\
             hosts = ['harp.example.net']\nserve = ['api', 'topchef']\n",
        )
        .start();
    let request = || HttpRequest::post(&api("/jobs"), json!({"host": "h", "procedure": "p"}));
    let answer = request()
        .token(&token)
        .header("X-Forwarded-For", "198.51.100.9, 192.0.2.1")
        .header("X-Forwarded-Host", "harp.example.net")
        .header("X-Forwarded-Proto", "https")
        .header("Origin", "https://harp.example.net")
        .ask(address(&cluster));
    assert_eq!(answer.status(), 201, "{}", answer.text());
    // What the proxy has taken away from paths stands in absolute addresses.
    let root = HttpRequest::get("/topchef/v1")
        .token(&token)
        .header("X-Forwarded-Host", "harp.example.net")
        .header("X-Forwarded-Proto", "https")
        .header("X-Forwarded-Prefix", "/Harp/")
        .ask(address(&cluster));
    let own = "https://harp.example.net:443/Harp/topchef/v1";
    assert!(root.text().contains(own), "{}", root.text());
    let line = until("the call is in the audit log", || {
        let text = fs::read_to_string(&audit).ok()?;
        let mut lines = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.find(|line| line["event"] == "accepted")
    });
    assert!(
        line["peer"].as_str().unwrap().starts_with("192.0.2.1:"),
        "{line}"
    );
}

#[test]
fn addresses_have_what_a_trusted_proxy_puts_before_them() {
    let tables = "[[listen_http]]\naddress = '127.0.0.1:0'\nserve = ['topchef']\n\
                  trusted_proxies = ['127.0.0.0/8']\nrequire_authentication = false\n";
    let cluster = Cluster::builder().tables(tables).hosts(0).start();
    let register = |prefix: &str| {
        let body = json!({"name": "s", "description": "", "job_registration_schema": {},
                          "job_result_schema": {}});
        HttpRequest::post("/topchef/v2/services", body)
            .header("X-Forwarded-Prefix", prefix)
            .ask(address(&cluster))
    };
    let service = register("/Lab/");
    assert_eq!(service.status(), 201, "{}", service.text());
    let location = service.header("location");
    let place = format!("http://{}/Lab/topchef/v2/services/", address(&cluster));
    assert!(location.starts_with(&place), "{location}");
    let job = location.rsplit('/').next().unwrap();
    let path = format!("/topchef/v2/services/{job}/jobs");
    let job = HttpRequest::post(&path, json!({"parameters": {}}))
        .header("X-Forwarded-Prefix", "/a, /Lab")
        .ask(address(&cluster));
    let location = job.header("location");
    assert!(location.starts_with("/Lab/topchef/v2/jobs/"), "{location}");
    for wrong in ["Lab", "//evil.example", "/a b"] {
        assert_eq!(register(wrong).status(), 400, "{wrong}");
    }
}

#[test]
fn who_is_no_proxy_is_not_believed() {
    let cluster = super::open().hosts(0).start();
    let answer = HttpRequest::get(&api(""))
        .header("X-Forwarded-For", "nonsense")
        .header("X-Forwarded-Host", "evil.example")
        .ask(address(&cluster));
    assert_eq!(answer.status(), 200, "{}", answer.text());
}

#[test]
fn a_reload_changes_what_a_listener_asks() {
    let files = Files::new();
    let token = files.new_token("shop");
    let mut cluster: Cluster = with_tokens(&files).tables(WITH_TOKENS).start();
    // From here on its configuration names the port that it has.
    cluster.restart_dispatcher();
    let address = address(&cluster);
    let named = || {
        HttpRequest::get(&api(""))
            .token(&token)
            .header("Host", "harp.example.net")
    };
    assert_problem(&named().ask(address), 421, "misdirected");
    cluster.set_tables(
        "[[listen_http]]\naddress = '127.0.0.1:0'\nhosts = ['Harp.example.net']\n\
         require_authentication = false\n",
    );
    let reloaded = cluster.reload();
    assert!(reloaded.status.success(), "{reloaded:?}");
    assert_eq!(named().ask(address).status(), 200);
    assert_eq!(HttpRequest::get(&api("")).ask(address).status(), 200);
}

fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for three in text.as_bytes().chunks(3) {
        let bits = three
            .iter()
            .fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte))
            << (8 * (3 - three.len()));
        for digit in 0..4 {
            out.push(if digit <= three.len() {
                char::from(DIGITS[(bits >> (18 - 6 * digit) & 63) as usize])
            } else {
                '='
            });
        }
    }
    out
}
