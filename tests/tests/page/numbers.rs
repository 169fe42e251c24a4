//! Numbers that JavaScript would change (29).

use harp_tests::Chromium;
use serde_json::json;

use super::{click_words, fill, finished, jobs, open, url, wait_for_words};

const NUMBER: &str = "12345678901234567890";

#[test]
fn numbers_stay_what_they_were() {
    let Some(mut browser) = Chromium::start() else {
        return;
    };
    let cluster = open().start();
    let job = finished(
        &cluster,
        "packets",
        json!([NUMBER, format!("{{\"n\":{NUMBER}.50}}")]),
    );
    browser.open(&url(&cluster, &format!("#/jobs/{job}")));
    browser.wait_for("document.querySelectorAll('.row .text').length === 2");
    assert_eq!(
        browser.evaluate("[...document.querySelectorAll('.row .text')].map(it => it.textContent)"),
        json!([NUMBER, format!("{{\"n\":{NUMBER}.50}}")])
    );

    // There and back: typed into the form, shown as arguments and as the result.
    browser.go(&url(&cluster, "#/call?host=web01&procedure=echo"));
    fill(&mut browser, "#arguments", &format!("[{NUMBER}]"));
    click_words(&mut browser, "Queue, limits, info");
    fill(&mut browser, "#info", NUMBER);
    browser.press("Enter");
    browser.wait_for("document.body.dataset.screen === 'job'");
    wait_for_words(&mut browser, &format!("Arguments [{NUMBER}]"));
    browser.wait_for(&format!(
        "document.querySelector('.outcome .value')?.textContent.includes('{NUMBER}')"
    ));
    assert_eq!(jobs(&cluster), 2);
    browser.go(&url(&cluster, "#/jobs"));
    wait_for_words(&mut browser, &format!("[{NUMBER}] {NUMBER}"));
}
