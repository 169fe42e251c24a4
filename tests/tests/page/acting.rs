//! Calls, cancels and calls again (27, without schemas and batches).

use harp_tests::{Chromium, HttpRequest};
use serde_json::json;

use super::{assert_well_behaved, click_words, fill, jobs, open, submit_call, url, wait_for_words};

#[test]
fn a_call_is_made_once_cancelled_with_a_question_and_made_again() {
    let Some(mut browser) = Chromium::start() else {
        return;
    };
    let cluster = open().start();
    browser.open(&url(&cluster, "#/call"));
    fill(&mut browser, "#arguments", "[1,]");
    fill(&mut browser, "#procedure", "silent_stream");
    wait_for_words(&mut browser, "line 1, column 4");
    browser.evaluate("document.querySelector('form.call').requestSubmit()");
    wait_for_words(&mut browser, "is needed");
    assert_eq!(jobs(&cluster), 0);
    fill(&mut browser, "#arguments", "[]");
    fill(&mut browser, "#host", "nobody");
    wait_for_words(&mut browser, "does not know this host");
    fill(&mut browser, "#host", "web01");
    wait_for_words(&mut browser, "This would be accepted.");
    browser.evaluate(
        "(form => { form.requestSubmit(); form.requestSubmit(); })(document.querySelector('form.call'))",
    );
    browser.wait_for("document.body.dataset.screen === 'job'");
    wait_for_words(&mut browser, "running");
    assert_eq!(jobs(&cluster), 1);

    // The question names what is meant, and can be answered with no.
    browser.press("x");
    browser.wait_for("document.querySelector('dialog[open]') !== null");
    let question = browser.evaluate("document.querySelector('dialog').innerText");
    let question = question.as_str().unwrap();
    assert!(
        question.contains("silent_stream") && question.contains("web01"),
        "{question}"
    );
    browser.press("Escape");
    browser.wait_for("document.querySelector('dialog') === null");
    click_words(&mut browser, "Cancel");
    click_words(&mut browser, "Cancel the job");
    wait_for_words(&mut browser, "Cancelled, confirmed");
    wait_for_words(&mut browser, "It was cancelled.");

    click_words(&mut browser, "Call again");
    browser.wait_for("document.body.dataset.screen === 'call' && document.querySelector('#procedure').value === 'silent_stream'");
    browser.wait_for("document.activeElement.textContent === 'Call again'");
    browser.press("Enter");
    browser.wait_for("document.body.dataset.screen === 'job'");
    wait_for_words(&mut browser, "running");
    assert_eq!(jobs(&cluster), 2);
    assert_well_behaved(&mut browser, &url(&cluster, ""));
}

#[test]
fn a_job_says_why_it_waits_and_a_queue_is_cancelled_at_once() {
    let Some(mut browser) = Chromium::start() else {
        return;
    };
    let cluster = open().start();
    let call = json!({
        "host": "web01", "procedure": "silent_stream",
        "queue": {"name": {"deploy": "a/b \u{e4}"}, "concurrency": 1},
    });
    let ids: Vec<String> = (0..3).map(|_| submit_call(&cluster, &call)).collect();
    browser.open(&url(&cluster, &format!("#/jobs/{}", ids[2])));
    wait_for_words(
        &mut browser,
        "2 jobs of its queue must end first; the queue has 1 place.",
    );
    // The jobs that it waits for are named.
    browser.wait_for(&format!(
        "document.querySelector('.sentence a[href=\"#/jobs/{}\"]') !== null",
        ids[0]
    ));
    // Its place is kept up with.
    let path = format!("/api/v1/jobs/{}/cancel", ids[1]);
    let answer = HttpRequest::post(&path, "{}").ask(cluster.http_address());
    assert_eq!(answer.status(), 200);
    wait_for_words(&mut browser, "1 job of its queue must end first");
    browser.evaluate("document.querySelector('.sentence a[href^=\"#/queues\"]').click()");
    browser.wait_for("document.body.dataset.screen === 'queue'");
    browser.wait_for("document.querySelectorAll('[data-job]').length === 2");
    let order =
        browser.evaluate("[...document.querySelectorAll('[data-job]')].map(it => it.dataset.job)");
    assert_eq!(order, json!([ids[0], ids[2]]));
    click_words(&mut browser, "Cancel all");
    click_words(&mut browser, "Cancel all");
    wait_for_words(&mut browser, "2 jobs cancelled.");
    wait_for_words(&mut browser, "No job is in this queue.");
}

#[test]
fn a_schema_makes_fields_and_what_is_wrong_stands_at_them() {
    let Some(mut browser) = Chromium::start() else {
        return;
    };
    let schema = json!({
        "type": "object",
        "required": ["release"],
        "properties": {
            // That it must not be zero is known to the dispatcher alone.
            "release": {"type": "integer", "description": "Which one", "minimum": 1},
            "force": {"type": "boolean"},
            "where": {"enum": ["here", "there"]},
            "tags": {"type": "array", "items": {"type": "string"}},
        },
    });
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("schema.json");
    std::fs::write(&file, schema.to_string()).unwrap();
    let declared = format!(
        "[[procedure]]\nprocedure = 'echo'\ndescription = 'Says it back'\n\
         arguments_schema = {file:?}\n"
    );
    let cluster = open().tables(&declared).start();
    browser.open(&url(&cluster, "#/hosts/web01"));
    wait_for_words(&mut browser, "Says it back");
    browser.evaluate("location.hash = '#/call?host=web01&procedure=echo'");
    wait_for_words(&mut browser, "Says it back");
    wait_for_words(&mut browser, "Which one");
    // What is needed is told where it is missing.
    browser.evaluate("document.querySelector('form.call').requestSubmit()");
    let at_release = "document.querySelector('[inputmode=numeric]').closest('.field').innerText";
    browser.wait_for(&format!("{at_release}.includes('is needed')"));
    fill(&mut browser, "[inputmode=numeric]", "0");
    browser.wait_for(&format!(
        "{at_release}.includes('less than the minimum of 1')"
    ));
    assert_eq!(
        browser
            .evaluate("document.querySelector('[inputmode=numeric]').getAttribute('aria-invalid')"),
        "true"
    );
    fill(&mut browser, "[inputmode=numeric]", "12345678901234567890");
    click_words(&mut browser, "Add");
    fill(&mut browser, ".entry input", "nightly");
    browser.evaluate(
        "(choice => { choice.value = '\"there\"'; choice.dispatchEvent(new Event('input')); })\
         (document.querySelector('.arguments select'))",
    );
    wait_for_words(&mut browser, "This would be accepted.");
    click_words(&mut browser, "Write them as JSON");
    let written = browser.evaluate("document.querySelector('#arguments').value");
    assert_eq!(
        written,
        "{\n  \"release\": 12345678901234567890,\n  \"tags\": [\n    \"nightly\"\n  ],\n  \"where\": \"there\"\n}"
    );
    click_words(&mut browser, "Fill in fields");
    click_words(&mut browser, "Call");
    browser.wait_for("document.body.dataset.screen === 'job'");
    browser.wait_for(
        "document.querySelector('.outcome .value')?.textContent.includes('12345678901234567890')",
    );
}

#[test]
fn what_is_learned_late_takes_nothing_from_under_somebodys_hands() {
    let Some(mut browser) = Chromium::start() else {
        return;
    };
    let cluster = open().start();
    let mut entry = cluster.entry("web01");
    entry["procedures"] = json!({"say": {"description": "Says it"}});
    cluster.set_registry(&[entry]);
    assert!(cluster.run(&["hosts-refresh"]).status.success());
    browser.open(&url(&cluster, "#/nothing"));
    browser.evaluate(
        "window.held = []; window.real = window.fetch; window.fetch = async (url, request) => { \
         if (String(url).includes('/procedures')) await new Promise(go => { held.push(go); }); \
         return real(url, request); }; location.hash = '#/call?host=web01&procedure=say'",
    );
    browser.wait_for("held.length > 0");
    fill(&mut browser, "#arguments", "[\"a");
    browser.evaluate("held.forEach(go => go())");
    wait_for_words(&mut browser, "Says it");
    browser.insert(" b\"]");
    assert_eq!(
        browser.evaluate("document.querySelector('#arguments').value"),
        "[\"a b\"]"
    );
    wait_for_words(&mut browser, "This would be accepted.");
}
