//! The page in Firefox, where that is installed: browsers differ in how they scroll, draw and
//! stream.

use harp_tests::Firefox;
use serde_json::{Value, json};

use super::{finished, jobs, open, submit, url};

// Keys, as WebDriver names them.
const ENTER: &str = "\u{e007}";
const END: &str = "\u{e010}";
const HOME: &str = "\u{e011}";

fn wait_for_words(browser: &mut Firefox, words: &str) {
    browser.wait_for(&format!(
        "document.body.innerText.includes({})",
        json!(words)
    ));
}

/// Whether a packet's row is seen.
fn is_seen(number: u64) -> String {
    format!(
        "(row => row !== null && row.getBoundingClientRect().bottom \
         <= document.querySelector('.log').getBoundingClientRect().bottom + 1)\
         (document.querySelector('[data-packet=\"{number}\"]'))"
    )
}

#[test]
fn it_works_in_firefox_too() {
    let Some(mut browser) = Firefox::start() else {
        return;
    };
    println!("{}", browser.version());
    let cluster = open().start();
    let long = finished(&cluster, "count", json!(["300000"]));
    let mut feed = cluster.feed("feed");
    let arguments: Value = serde_json::from_str(&feed.arguments()).unwrap();
    let running = submit(&cluster, "feed", arguments);

    // A list that is live, and output that is followed and scrolled.
    browser.open(&url(&cluster, "#/jobs"));
    browser.wait_for(&format!(
        "document.querySelector('[data-job=\"{running}\"]').dataset.state === 'running'"
    ));
    browser.evaluate(&format!("(location.hash = '#/jobs/{running}', 0)"));
    wait_for_words(&mut browser, "running");
    for number in 0..300 {
        feed.send(&format!("\"\\u001b[32mline\\u001b[0m {number}\""));
    }
    browser.wait_for(&is_seen(299));
    browser.evaluate("(document.querySelector('.log').scrollTop = 0, 0)");
    browser.wait_for(&is_seen(0));
    feed.send("\"one more\"");
    wait_for_words(&mut browser, "1 new, follow");
    browser.press("f");
    browser.wait_for(&is_seen(300));
    drop(feed);
    wait_for_words(&mut browser, "The procedure returned.");

    // More rows than are laid out, by keys, by the bar and by a link.
    browser.evaluate(&format!("(location.hash = '#/jobs/{long}', 0)"));
    browser.wait_for(&is_seen(0));
    browser.press(END);
    browser.wait_for(&is_seen(299_999));
    browser.press(HOME);
    browser.wait_for(&is_seen(0));
    browser.evaluate(
        "(log => { log.scrollTop = (log.scrollHeight - log.clientHeight) / 2; })(document.querySelector('.log'))",
    );
    browser.wait_for(
        "[...document.querySelectorAll('[data-packet]')].some(row => Math.abs(row.dataset.packet - 150000) < 200)",
    );
    browser.evaluate("(location.hash += '?packet=200000', 0)");
    browser.wait_for(&is_seen(200_000));

    // A call, a question before it is cancelled, and nothing beyond the edge of a small window.
    browser.evaluate("(location.hash = '#/call?host=web01&procedure=silent_stream', 0)");
    wait_for_words(&mut browser, "Arguments");
    browser.evaluate("(document.querySelector('form.call').requestSubmit(), 0)");
    browser.wait_for("document.body.dataset.screen === 'job'");
    wait_for_words(&mut browser, "running");
    browser.press("x");
    wait_for_words(&mut browser, "Cancel this job?");
    browser.press(ENTER);
    wait_for_words(&mut browser, "Cancelled, confirmed");
    assert_eq!(jobs(&cluster), 3);
    browser.resize(500, 700);
    for hash in ["#/jobs", "#/queues", "#/hosts", "#/call"] {
        browser.evaluate(&format!("(location.hash = '{hash}', 0)"));
        browser.wait_for("document.querySelector('main h1') !== null");
        let beyond = "document.documentElement.scrollWidth - innerWidth";
        browser.wait_for(&format!("{beyond} <= 0"));
    }
}
