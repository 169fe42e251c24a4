//! For everybody (28): by keys alone, checked by axe-core where `.ci/page` has got it, and at
//! 320 pixels.

use std::fs;
use std::path::PathBuf;

use harp_tests::{Chromium, HttpRequest, Proxy, Way, repository};
use serde_json::json;

use super::{closed, fill, finished, open, submit_call, url, wait_for_words};

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

/// Widths of a window: a wide one, the same at 200 % (as wide as 640), and a phone.
const WIDTHS: [u32; 3] = [1280, 640, 320];

/// Holds what is shown against what everybody can use: nothing beyond the edge, and what the
/// checker knows.
#[track_caller]
fn assert_for_everybody(browser: &mut Chromium, axe: Option<&str>, what: &str) {
    let beyond = "document.documentElement.scrollWidth - innerWidth";
    assert_eq!(browser.evaluate(beyond), 0, "{what}");
    let Some(axe) = axe else { return };
    browser.evaluate(&format!("{axe}; 0"));
    let found = browser.evaluate(
        "axe.run({ rules: { 'target-size': { enabled: true } } }).then(all => all.violations.map(one => \
         `${one.id}: ${one.nodes.slice(0, 3).map(it => it.html + ' ' + it.failureSummary).join(' | ')}`))",
    );
    assert_eq!(found, json!([]), "{what}");
}

/// Has the page let the checker in: its policy lets nobody's script in but its own.
fn let_in(browser: &mut Chromium) {
    browser.ask("Page.setBypassCSP", &json!({"enabled": true}));
}

#[test]
fn no_screen_shuts_anybody_out() {
    let Some(mut browser) = Chromium::start() else {
        return;
    };
    let axe = axe();
    let directory = tempfile::tempdir().unwrap();
    let schema = directory.path().join("schema.json");
    let fields = json!({
        "type": "object",
        "required": ["release"],
        "properties": {
            "release": {"type": "integer", "description": "Which one"},
            "force": {"type": "boolean"},
            "where": {"enum": ["here", "there"]},
            "tags": {"type": "array", "items": {"type": "string"}},
        },
    });
    fs::write(&schema, fields.to_string()).unwrap();
    let declared = format!("[[procedure]]\nprocedure = 'echo'\narguments_schema = {schema:?}\n");
    let cluster = open().tables(&declared).start();
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
    let running = submit_call(&cluster, &call);
    let waiting = submit_call(&cluster, &call);
    let service = json!({"name": "fitting", "description": "Fits curves"});
    let registered = HttpRequest::post("/api/v1/services", &service).ask(cluster.http_address());
    assert_eq!(registered.status(), 201, "{}", registered.text());
    let proxy = Proxy::to(cluster.http_address());
    let origin = format!("http://{}/", proxy.address());
    browser.open(&format!("{origin}#/jobs"));
    let_in(&mut browser);
    let screens = [
        ("#/jobs".to_owned(), "packets"),
        ("#/jobs?failed=true".to_owned(), "exit_status"),
        ("#/jobs?host=nobody".to_owned(), "No job fits."),
        (format!("#/jobs/{ended}"), "yellow"),
        (format!("#/jobs/{failed}"), "exit_status"),
        (format!("#/jobs/{waiting}"), "must end first"),
        ("#/jobs/none".to_owned(), "No such job"),
        ("#/queues".to_owned(), "deploy=web"),
        (
            "#/queues/%7B%22deploy%22%3A%22web%22%7D".to_owned(),
            "silent_stream",
        ),
        ("#/hosts".to_owned(), "web01"),
        ("#/hosts/web01".to_owned(), "packets"),
        ("#/services".to_owned(), "fitting"),
        ("#/services/fitting".to_owned(), "Fits curves"),
        ("#/call".to_owned(), "Arguments"),
        ("#/call?host=web01&procedure=echo".to_owned(), "Which one"),
        ("#/nothing".to_owned(), "no such screen"),
    ];
    for (width, scheme) in WIDTHS
        .into_iter()
        .flat_map(|width| ["light", "dark"].map(|scheme| (width, scheme)))
    {
        browser.show_as(width, 720, scheme);
        let what = |of: &str| format!("{of} at {width}, {scheme}");
        for (hash, words) in &screens {
            browser.go("about:blank#");
            browser.go(&format!("{origin}{hash}"));
            wait_for_words(&mut browser, words);
            assert_for_everybody(&mut browser, axe.as_deref(), &what(hash));
        }
        // What is missing is told at its field, questions and options stand before the page.
        browser.evaluate("location.hash = '#/call?host=web01&procedure=echo'");
        wait_for_words(&mut browser, "Which one");
        browser.evaluate("document.querySelector('form.call').requestSubmit()");
        wait_for_words(&mut browser, "is needed");
        assert_for_everybody(&mut browser, axe.as_deref(), &what("a form with an error"));
        browser.evaluate(&format!("location.hash = '#/jobs/{running}'"));
        for (key, words) in [("x", "Cancel this job?"), ("?", "Options and keys")] {
            wait_for_words(&mut browser, "silent_stream");
            browser.press(key);
            wait_for_words(&mut browser, words);
            assert_for_everybody(&mut browser, axe.as_deref(), &what(words));
            browser.press("Escape");
            browser.wait_for("document.querySelector('dialog') === null");
        }
    }
    // Without the dispatcher.
    proxy.set(Way::Closed);
    for scheme in ["light", "dark"] {
        browser.show_as(320, 720, scheme);
        wait_for_words(&mut browser, "has not answered since");
        assert_for_everybody(&mut browser, axe.as_deref(), &format!("stale, {scheme}"));
    }
}

/// Fields whose hint does not fit in, beside the cross by which a search is emptied.
const CUT: &str = "[...document.querySelectorAll('input[placeholder]')].filter(field => { \
     const style = getComputedStyle(field); \
     const pen = document.createElement('canvas').getContext('2d'); \
     pen.font = style.font; \
     const room = field.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight); \
     return pen.measureText(field.placeholder).width > room - (field.type === 'search' ? 14 : 0); \
     }).map(field => `${field.placeholder}: ${field.clientWidth}`)";

#[test]
fn no_hint_is_cut_at_any_width() {
    let Some(mut browser) = Chromium::start() else {
        return;
    };
    let cluster = open().start();
    let job = finished(&cluster, "say", json!(["a line"]));
    browser.open(&url(&cluster, "#/jobs"));
    for (hash, words) in [
        ("#/jobs".to_owned(), "returned"),
        (format!("#/jobs/{job}"), "a line"),
        ("#/hosts".to_owned(), "web01"),
    ] {
        browser.evaluate(&format!("(location.hash = '{hash}', 0)"));
        wait_for_words(&mut browser, words);
        for width in (320..=1440).step_by(32) {
            browser.show_as(width, 720, "light");
            assert_eq!(browser.evaluate(CUT), json!([]), "{hash} at {width}");
        }
    }
}

#[test]
fn the_login_shuts_nobody_out() {
    let Some(mut browser) = Chromium::start() else {
        return;
    };
    let axe = axe();
    let closed = closed();
    browser.open(&url(&closed.cluster, ""));
    let_in(&mut browser);
    for (width, scheme) in [(1280, "light"), (320, "dark")] {
        browser.show_as(width, 720, scheme);
        browser.go("about:blank#");
        browser.go(&url(&closed.cluster, ""));
        browser.wait_for("document.body.dataset.screen === 'login'");
        fill(&mut browser, "#token", "wrong");
        browser.press("Enter");
        wait_for_words(&mut browser, "This token is not known here.");
        assert_for_everybody(&mut browser, axe.as_deref(), &format!("{width}, {scheme}"));
    }
}

/// Goes from one to the next until the focus is on what has these words.
#[track_caller]
fn tab_to(browser: &mut Chromium, words: &str) {
    for _ in 0..60 {
        if browser.evaluate("document.activeElement.textContent.trim()") == words {
            return;
        }
        browser.press("Tab");
    }
    panic!("{words}: no key leads there");
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
    // What is in the menu; where the download is.
    tab_to(&mut browser, "Download");
    tab_to(&mut browser, "More");
    browser.press("Enter");
    tab_to(&mut browser, "Copy the id");
    browser.press("Enter");
    wait_for_words(&mut browser, "Copied: the id");
    // A queue is cancelled, the registry refreshed.
    let queue = json!({"name": {"deploy": "web"}, "concurrency": 1});
    let call = json!({"host": "web01", "procedure": "silent_stream", "queue": queue});
    submit_call(&cluster, &call);
    browser.press("g");
    browser.press("q");
    wait_for_words(&mut browser, "deploy=web");
    browser.press("j");
    browser.press("Enter");
    browser.wait_for("document.body.dataset.screen === 'queue'");
    wait_for_words(&mut browser, "silent_stream");
    tab_to(&mut browser, "Cancel all");
    browser.press("Enter");
    browser.wait_for("document.querySelector('dialog[open]') !== null");
    browser.press("Enter");
    wait_for_words(&mut browser, "1 job cancelled.");
    browser.press("g");
    browser.press("h");
    wait_for_words(&mut browser, "web01");
    tab_to(&mut browser, "Refresh");
    browser.press("Enter");
    wait_for_words(&mut browser, "The registry has 1 host.");
    browser.press("?");
    wait_for_words(&mut browser, "Keys without Ctrl or Alt");
    browser.press("Escape");
    browser.wait_for("document.querySelector('dialog') === null");
}
