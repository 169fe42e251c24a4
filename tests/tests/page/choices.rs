//! What a person chooses for the page (section 14): colours, times, keys; kept over a reload.

use harp_tests::Chromium;
use serde_json::json;

use super::{finished, open, url, wait_for_words};

const OPTIONS: &str = "document.querySelector('dialog[open]') !== null";
const NO_OPTIONS: &str = "document.querySelector('dialog') === null";

/// Sets a box of the options by its label.
fn set(browser: &mut Chromium, label: &str, on: bool) {
    browser.evaluate(&format!(
        "(box => {{ if (box.checked !== {on}) box.click(); }})([...document.querySelectorAll('dialog label')]\
         .find(it => it.textContent === {}).querySelector('input'))",
        json!(label)
    ));
}

fn reload(browser: &mut Chromium) {
    browser.evaluate("window.before = true; location.reload()");
    browser.wait_for("window.before === undefined && document.body.dataset.screen === 'job'");
}

#[test]
fn colours_times_and_keys_are_as_they_were_chosen() {
    let Some(mut browser) = Chromium::start() else {
        return;
    };
    let cluster = open().start();
    let job = finished(&cluster, "say", json!(["a line"]));
    browser.open(&url(&cluster, &format!("#/jobs/{job}")));
    wait_for_words(&mut browser, "a line");
    let theme = "document.documentElement.dataset.theme";
    // The system says so.
    for scheme in ["dark", "light", "dark"] {
        browser.show_as(1280, 720, scheme);
        browser.wait_for(&format!("{theme} === '{scheme}'"));
    }
    let submitted = "[...document.querySelectorAll('.facts time')].at(0)";
    let local = browser.evaluate(&format!(
        "/ [+-]\\d\\d:\\d\\d$/.test({submitted}.textContent) \
         && !isNaN(Date.parse({submitted}.dateTime))"
    ));
    assert_eq!(local, true, "a local time says its offset");

    browser.press("?");
    browser.wait_for(OPTIONS);
    browser.evaluate(
        "(choice => { choice.value = 'light'; choice.dispatchEvent(new Event('change')); })\
         (document.querySelector('#theme'))",
    );
    assert_eq!(browser.evaluate(theme), "light");
    set(&mut browser, "Times in UTC", true);
    set(&mut browser, "Keys without Ctrl or Alt", false);
    browser.press("Escape");
    browser.wait_for(NO_OPTIONS);
    for _ in 0..2 {
        wait_for_words(&mut browser, "a line");
        assert_eq!(browser.evaluate(theme), "light");
        browser.wait_for(&format!("{submitted}.textContent.endsWith(' UTC')"));
        // No single key does anything; Escape, which is none, does.
        browser.press("c");
        browser.press("?");
        assert_eq!(browser.evaluate("document.body.dataset.screen"), "job");
        assert_eq!(browser.evaluate(NO_OPTIONS), true);
        reload(&mut browser);
    }
    browser.press("Escape");
    browser.wait_for("document.body.dataset.screen === 'jobs'");
    browser.evaluate("document.querySelector('.choices button').click()");
    browser.wait_for(OPTIONS);
    set(&mut browser, "Keys without Ctrl or Alt", true);
    browser.press("Escape");
    browser.wait_for(NO_OPTIONS);
    browser.press("c");
    browser.wait_for("document.body.dataset.screen === 'call'");
}
