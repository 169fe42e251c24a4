//! Logging in and out (21).

use std::fs;

use harp_tests::Chromium;

use super::{Closed, assert_well_behaved, click_words, closed, fill, url, wait_for_words};

#[test]
fn a_token_is_asked_for_once_and_kept_nowhere() {
    let Some(mut browser) = Chromium::start() else {
        return;
    };
    let closed = closed();
    let Closed {
        cluster, tokens, ..
    } = &closed;
    let token = closed.token.as_str();
    browser.open(&url(cluster, "#/queues"));
    browser.wait_for("document.body.dataset.screen === 'login'");
    assert_eq!(browser.evaluate("document.activeElement.type"), "password");
    fill(&mut browser, "#token", "wrong");
    browser.press("Enter");
    wait_for_words(&mut browser, "This token is not known here.");
    fill(&mut browser, "#token", token);
    browser.press("Enter");
    // Where it was meant to go before.
    browser.wait_for("document.body.dataset.screen === 'queues'");
    wait_for_words(&mut browser, "token:ann");
    browser.evaluate("window.before = true; location.reload()");
    browser.wait_for("window.before === undefined && document.body.dataset.screen === 'queues'");

    let kept = browser.evaluate(
        "JSON.stringify(localStorage) + JSON.stringify(sessionStorage) + document.cookie + location",
    );
    assert!(!kept.as_str().unwrap().contains(token), "{kept}");
    for request in browser.told("Network.requestWillBeSent") {
        let url = request["params"]["request"]["url"].as_str().unwrap();
        assert!(!url.contains(token), "{url}");
    }
    assert!(!cluster.log().text().contains(token));

    // A token that is gone takes its sessions with it.
    let line = fs::read_to_string(tokens).unwrap();
    fs::write(tokens, "# nobody\n").unwrap();
    wait_for_words(&mut browser, "The session is over");
    fs::write(tokens, line).unwrap();
    fill(&mut browser, "#token", token);
    browser.press("Enter");
    browser.wait_for("document.body.dataset.screen === 'queues'");

    click_words(&mut browser, "Log out");
    browser.wait_for("document.body.dataset.screen === 'login'");
    browser.evaluate("window.before = true; location.reload()");
    browser.wait_for("window.before === undefined && document.body.dataset.screen === 'login'");
    assert_well_behaved(&mut browser, &url(cluster, ""));
}
