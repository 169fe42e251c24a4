//! The page's files (section 14): for anybody, kept by browsers, and with a policy that lets
//! nothing of anybody else in. What they do in a browser is held by `tests/page`.

use harp_tests::{Cluster, HttpRequest};

use crate::access::identity::{Files, with_tokens};

use super::{OPEN, address, assert_problem, open};

/// A listener that wants a token.
const CLOSED: &str = "[[listen_http]]\naddress = '127.0.0.1:0'\n";

#[test]
fn the_page_is_served_to_strangers_with_a_strict_policy() {
    let files = Files::new();
    files.new_token("ann");
    let cluster = with_tokens(&files).tables(CLOSED).start();
    let index = HttpRequest::get("/").ask(address(&cluster));
    assert_eq!(index.status(), 200, "{}", index.text());
    assert_eq!(index.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(index.header("cache-control"), "no-cache");
    let policy = index.header("content-security-policy");
    assert_eq!(
        policy,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
         connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'"
    );
    for power in index.header("permissions-policy").split(", ") {
        assert!(power.ends_with("=()"), "{power}");
    }
    assert_eq!(index.header("cross-origin-opener-policy"), "same-origin");
    assert_eq!(index.header("x-content-type-options"), "nosniff");

    // Without JavaScript there are the commands that show the same.
    let text = index.text();
    let without = text.split_once("<noscript>").map(|(_, rest)| rest);
    let without = without.and_then(|rest| rest.split_once("</noscript>"));
    let without = without.map_or("", |(without, _)| without);
    for command in ["harp jobs", "harp follow JOB", "harp result JOB"] {
        assert!(without.contains(command), "{without}");
    }
    let named = text.split('"').filter(|part| part.starts_with("page/"));
    let mut count = 0;
    for path in named {
        let file = HttpRequest::get(&format!("/{path}")).ask(address(&cluster));
        assert_eq!(file.status(), 200, "{path}");
        let kept = file.header("cache-control");
        assert!(kept.contains("immutable"), "{path}: {kept}");
        let kind = file.header("content-type");
        let wanted = match path.rsplit('.').next() {
            Some("js") => "text/javascript",
            Some("css") => "text/css",
            _ => "image/svg+xml",
        };
        assert!(kind.starts_with(wanted), "{path}: {kind}");
        count += 1;
    }
    assert!(count >= 3, "{text}");
}

#[test]
fn a_browser_that_has_the_page_is_told_so() {
    let cluster = open().hosts(0).start();
    let first = HttpRequest::get("/").ask(address(&cluster));
    let etag = first.header("etag");
    let again = HttpRequest::get("/").header("If-None-Match", etag);
    let again = again.ask(address(&cluster));
    assert_eq!((again.status(), again.text()), (304, String::new()));
    assert_eq!(again.header("etag"), etag);
    let other = HttpRequest::get("/").header("If-None-Match", "\"other\"");
    assert_eq!(other.ask(address(&cluster)).status(), 200);
    let head = HttpRequest::new("HEAD", "/").ask(address(&cluster));
    assert_eq!((head.status(), head.text()), (200, String::new()));
    let posted = HttpRequest::post("/", "{}").ask(address(&cluster));
    assert_problem(&posted, 405, "method_not_allowed");
    assert_eq!(posted.header("allow"), "GET, HEAD");
    let old = HttpRequest::get("/page/0123456789abcdef/main.js").ask(address(&cluster));
    assert_problem(&old, 404, "not_found");
    let foreign = HttpRequest::get("/").header("Host", "evil.example");
    assert_problem(&foreign.ask(address(&cluster)), 421, "misdirected");
}

#[test]
fn a_listener_may_serve_no_page() {
    let tables = format!("{OPEN}serve = ['api']\n");
    let cluster = Cluster::builder().hosts(0).tables(&tables).start();
    let answer = HttpRequest::get("/").ask(address(&cluster));
    assert_problem(&answer, 404, "not_found");
}
