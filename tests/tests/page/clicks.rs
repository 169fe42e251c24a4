//! Three clicks at most from the beginning (30).

use harp_tests::Chromium;
use serde_json::{Value, json};

use super::{click, click_words, finished, jobs, open, submit, submit_call, url, wait_for_words};

/// Goes home, and back there between the ways.
fn home(browser: &mut Chromium, address: &str) {
    browser.go("about:blank#");
    browser.go(address);
    browser.wait_for("document.querySelectorAll('[data-job]').length >= 3");
}

#[test]
fn three_clicks_are_enough() {
    let Some(mut browser) = Chromium::start() else {
        return;
    };
    let cluster = open().start();
    let home_address = url(&cluster, "");
    let failed = finished(&cluster, "fail_streaming", json!(["3", "what went wrong"]));
    let queue = json!({"name": {"deploy": "web"}, "concurrency": 1});
    let call = json!({"host": "web01", "procedure": "silent_stream", "queue": queue});
    submit_call(&cluster, &call);
    let waiting = submit_call(&cluster, &call);
    let mut feed = cluster.feed("feed");
    let arguments: Value = serde_json::from_str(&feed.arguments()).unwrap();
    let running = submit(&cluster, "feed", arguments);
    feed.send("\"so far\"");
    let row = |job: &str| format!("[data-job='{job}'] .main");

    browser.open(&home_address);
    // A job's output: 1.
    home(&mut browser, &home_address);
    click(&mut browser, &row(&running));
    wait_for_words(&mut browser, "so far");
    // Its end and error: 1.
    home(&mut browser, &home_address);
    click(&mut browser, &row(&failed));
    wait_for_words(&mut browser, "what went wrong");
    wait_for_words(&mut browser, "exit_status");
    // Why it waits: 1.
    home(&mut browser, &home_address);
    click(&mut browser, &row(&waiting));
    wait_for_words(&mut browser, "must end first");
    // A cancel takes 3, with its question.
    click(&mut browser, ".title .danger");
    click(&mut browser, "dialog .danger");
    wait_for_words(&mut browser, "Cancelled, confirmed");
    // What has failed is called again, by 3 clicks.
    home(&mut browser, &home_address);
    let before = jobs(&cluster);
    click(&mut browser, &row(&failed));
    click_words(&mut browser, "Call again");
    browser.wait_for("document.querySelector('#procedure')?.value === 'fail_streaming'");
    click(&mut browser, "form.call [type=submit]");
    browser.wait_for("document.body.dataset.screen === 'job'");
    assert_eq!(jobs(&cluster), before + 1);
    // Failures of the last hour: 1.
    home(&mut browser, &home_address);
    click(&mut browser, ".count.failed");
    browser.wait_for("document.querySelectorAll('[data-job]').length === 2");
    let outcomes = browser
        .evaluate("[...document.querySelectorAll('[data-job]')].map(it => it.dataset.outcome)");
    assert_eq!(outcomes, json!(["exception", "exception"]));
    // Jobs of a host: 1, by the host's name in a row.
    home(&mut browser, &home_address);
    click(&mut browser, &format!("[data-job='{running}'] .host a"));
    browser.wait_for("document.body.dataset.screen === 'host'");
    browser.wait_for("document.querySelectorAll('[data-job]').length >= 3");
    // A download: 2.
    home(&mut browser, &home_address);
    click(&mut browser, &row(&failed));
    browser.wait_for("document.querySelector('.title a[download]') !== null");
    let link = browser.evaluate("document.querySelector('.title a[download]').href");
    let text = browser.evaluate(&format!("fetch({link}).then(answer => answer.text())"));
    assert_eq!(text, "one\ntwo\n");
}
