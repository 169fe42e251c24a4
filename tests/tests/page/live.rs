//! Output as it comes (22), and following.

use harp_tests::{Chromium, HttpRequest};
use serde_json::{Value, json};

use super::{click, numbers, open, submit, url, wait_for_words};

fn arguments(feed: &harp_tests::Feed) -> Value {
    serde_json::from_str(&feed.arguments()).unwrap()
}

#[test]
fn new_jobs_move_nothing_that_somebody_is_at() {
    let Some(mut browser) = Chromium::start() else {
        return;
    };
    let cluster = open().start();
    let first = submit(&cluster, "silent_stream", json!([]));
    browser.open(&url(&cluster, "#/jobs"));
    let row = format!("document.querySelector('[data-job=\"{first}\"]')");
    browser.wait_for(&format!("{row} !== null"));
    // Nobody is at the list: what comes is taken in.
    let second = submit(&cluster, "say", json!([]));
    browser.wait_for(&format!(
        "document.querySelector('[data-job=\"{second}\"]') !== null"
    ));
    browser.evaluate(&format!("{row}.querySelector('.main').focus()"));
    let top = browser.evaluate(&format!("{row}.getBoundingClientRect().top"));
    submit(&cluster, "say", json!([]));
    wait_for_words(&mut browser, "1 new job: show");
    // Its own row still says what becomes of it.
    let path = format!("/api/v1/jobs/{first}/cancel");
    let answer = HttpRequest::post(&path, "{}").ask(cluster.http_address());
    assert_eq!(answer.status(), 200);
    browser.wait_for(&format!("{row}.dataset.outcome === 'cancelled'"));
    assert_eq!(
        browser.evaluate("document.querySelectorAll('.jobs > li').length"),
        2
    );
    assert_eq!(
        browser.evaluate(&format!(
            "document.activeElement === {row}.querySelector('.main')"
        )),
        true
    );
    browser.evaluate("document.activeElement.blur()");
    let now = browser.evaluate(&format!("{row}.getBoundingClientRect().top"));
    assert_eq!(now, top);
    click(&mut browser, ".job-list .fresh");
    browser.wait_for("document.querySelectorAll('.jobs > li').length === 3");
}

#[test]
fn lines_appear_and_are_followed_until_somebody_looks_elsewhere() {
    let Some(mut browser) = Chromium::start() else {
        return;
    };
    let cluster = open().start();
    let mut feed = cluster.feed("feed");
    let job = submit(&cluster, "feed", arguments(&feed));
    browser.open(&url(&cluster, &format!("#/jobs/{job}")));
    wait_for_words(&mut browser, "running");
    for number in 0..200 {
        feed.send(&format!("\"line {number}\""));
    }
    browser.wait_for("document.querySelector('[data-packet=\"199\"]') !== null");
    let seen = numbers(&mut browser);
    assert!(seen.windows(2).all(|two| two[1] == two[0] + 1), "{seen:?}");

    // Somebody scrolls up: what comes moves nothing.
    browser.evaluate("document.querySelector('.log').scrollTop = 0");
    browser.wait_for("document.querySelector('[data-packet=\"0\"]') !== null");
    feed.send("\"one more\"");
    wait_for_words(&mut browser, "1 new, follow");
    assert!(numbers(&mut browser).contains(&0));
    click(&mut browser, ".output > .fresh");
    browser.wait_for("document.querySelector('[data-packet=\"200\"]') !== null");
    drop(feed);
    wait_for_words(&mut browser, "The procedure returned.");
    assert!(numbers(&mut browser).contains(&200));
}
