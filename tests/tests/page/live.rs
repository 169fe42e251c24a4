//! Output as it comes (22), and following.

use harp_tests::Chromium;
use serde_json::Value;

use super::{click, numbers, open, submit, url, wait_for_words};

fn arguments(feed: &harp_tests::Feed) -> Value {
    serde_json::from_str(&feed.arguments()).unwrap()
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
