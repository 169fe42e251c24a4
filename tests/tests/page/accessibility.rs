//! For everybody (28): by keys alone, checked by axe-core where `.ci/page` has got it, and at
//! 320 pixels.

use std::fs;
use std::path::PathBuf;

use harp_tests::{Chromium, repository};
use serde_json::json;

use super::{finished, open, submit_call, url, wait_for_words};

/// The checker as text, if it is there.
fn axe() -> Option<String> {
    let target = std::env::var_os("CARGO_TARGET_DIR");
    let target = target.map_or_else(|| repository().join("target"), PathBuf::from);
    let file = target.join("page-tools/node_modules/axe-core/axe.min.js");
    let text = fs::read_to_string(file).ok();
    if text.is_none() {
        println!("skipped: axe-core is not there; .ci/page gets it");
    }
    text
}

#[test]
fn no_screen_shuts_anybody_out() {
    let Some(mut browser) = Chromium::start() else {
        return;
    };
    let axe = axe();
    let cluster = open().start();
    let ended = finished(
        &cluster,
        "packets",
        json!([
            "\"\\u001b[31mred\\u001b[0m \\u001b[38;5;226myellow\\u001b[0m \\u001b[44mon blue\"",
            "{\"a\":1}"
        ]),
    );
    let failed = finished(&cluster, "fail_streaming", json!(["3", "no"]));
    let queue = json!({"name": {"deploy": "web"}, "concurrency": 1});
    let call = json!({"host": "web01", "procedure": "silent_stream", "queue": queue});
    submit_call(&cluster, &call);
    let waiting = submit_call(&cluster, &call);
    browser.open(&url(&cluster, "#/jobs"));
    // The page's policy lets nobody's script in but its own; this one is the test's.
    browser.ask("Page.setBypassCSP", &json!({"enabled": true}));
    for (width, scheme) in [
        (1280, "light"),
        (1280, "dark"),
        (320, "light"),
        (320, "dark"),
    ] {
        browser.show_as(width, 720, scheme);
        for (hash, words) in [
            ("#/jobs".to_owned(), "packets"),
            ("#/jobs?failed=true".to_owned(), "exit_status"),
            (format!("#/jobs/{ended}"), "yellow"),
            (format!("#/jobs/{failed}"), "exit_status"),
            (format!("#/jobs/{waiting}"), "must end first"),
            ("#/queues".to_owned(), "deploy=web"),
            (
                "#/queues/%7B%22deploy%22%3A%22web%22%7D".to_owned(),
                "silent_stream",
            ),
            ("#/hosts".to_owned(), "web01"),
            ("#/hosts/web01".to_owned(), "packets"),
            ("#/call?host=web01&procedure=echo".to_owned(), "Arguments"),
            ("#/nothing".to_owned(), "no such screen"),
        ] {
            browser.go("about:blank#");
            browser.go(&url(&cluster, &hash));
            wait_for_words(&mut browser, words);
            let beyond = "document.documentElement.scrollWidth - innerWidth";
            assert_eq!(browser.evaluate(beyond), 0, "{hash} at {width}");
            let Some(axe) = &axe else { continue };
            browser.evaluate(&format!("{axe}; 0"));
            let found = browser.evaluate(
                "axe.run().then(all => all.violations.map(one => \
                 `${one.id}: ${one.nodes.slice(0, 3).map(it => it.html + ' ' + it.failureSummary).join(' | ')}`))",
            );
            assert_eq!(found, json!([]), "{hash} at {width}, {scheme}");
        }
    }
}

#[test]
fn everything_is_done_by_keys_alone() {
    let Some(mut browser) = Chromium::start() else {
        return;
    };
    let cluster = open().start();
    finished(&cluster, "say", json!(["a line"]));
    browser.open(&url(&cluster, "#/jobs"));
    wait_for_words(&mut browser, "returned");
    browser.press("/");
    browser.insert("host:web01");
    browser.press("Enter");
    wait_for_words(&mut browser, "host: web01");
    wait_for_words(&mut browser, "returned");
    browser.press("j");
    browser.press("Enter");
    browser.wait_for("document.body.dataset.screen === 'job'");
    wait_for_words(&mut browser, "a line");
    browser.press("t");
    browser.wait_for("document.querySelector('.log').classList.contains('times')");
    browser.press("Escape");
    browser.wait_for("document.body.dataset.screen === 'jobs'");
    for (keys, screen) in [
        ("gq", "queues"),
        ("gh", "hosts"),
        ("gj", "jobs"),
        ("c", "call"),
    ] {
        for key in keys.chars() {
            browser.press(&key.to_string());
        }
        browser.wait_for(&format!("document.body.dataset.screen === '{screen}'"));
    }
    // From field to field, and off with it.
    for text in ["web01", "silent_stream"] {
        for _ in 0..40 {
            let field = if text == "web01" { "host" } else { "procedure" };
            if browser.evaluate("document.activeElement.id") == field {
                break;
            }
            browser.press("Tab");
        }
        browser.insert(text);
    }
    browser.press("Enter");
    browser.wait_for("document.body.dataset.screen === 'job'");
    wait_for_words(&mut browser, "running");
    browser.press("x");
    browser.wait_for("document.querySelector('dialog[open]') !== null");
    browser.press("Enter");
    wait_for_words(&mut browser, "Cancelled, confirmed");
    browser.press("?");
    wait_for_words(&mut browser, "Keys without Ctrl or Alt");
    browser.press("Escape");
    browser.wait_for("document.querySelector('dialog') === null");
}
