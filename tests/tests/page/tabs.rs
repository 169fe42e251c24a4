//! A dozen tabs over HTTP/1.1 (25).

use harp_tests::Chromium;
use serde_json::Value;

use super::{open, submit, url, wait_for_words};

/// What a browser with a screen tells a page that is behind others, or in front.
fn seen(is: bool) -> String {
    let state = if is { "visible" } else { "hidden" };
    format!(
        "Object.defineProperty(document, 'visibilityState', {{ value: '{state}', configurable: true }}); \
         document.dispatchEvent(new Event('visibilitychange'))"
    )
}

#[test]
fn a_dozen_tabs_leave_each_other_their_connections() {
    let Some(mut browser) = Chromium::start() else {
        return;
    };
    let cluster = open().start();
    let mut tabs = Vec::new();
    for number in 0..12 {
        let mut feed = cluster.feed(&format!("feed{number}"));
        let arguments: Value = serde_json::from_str(&feed.arguments()).unwrap();
        let job = submit(&cluster, "feed", arguments);
        feed.send("\"first\"");
        let tab = browser.open(&url(&cluster, &format!("#/jobs/{job}")));
        wait_for_words(&mut browser, "first");
        browser.evaluate(&seen(false));
        tabs.push((tab, feed));
    }
    for (tab, feed) in &mut tabs {
        feed.send("\"while it was hidden\"");
        browser.turn_to(tab);
        assert_eq!(
            browser.evaluate("document.querySelectorAll('[data-packet]').length"),
            1
        );
        browser.evaluate(&seen(true));
        wait_for_words(&mut browser, "while it was hidden");
        feed.send("\"while it is seen\"");
        wait_for_words(&mut browser, "while it is seen");
        assert_eq!(
            browser.evaluate("document.querySelectorAll('[data-packet]').length"),
            3
        );
        browser.evaluate(&seen(false));
    }
}
