//! A million packets (23).

use harp_tests::Chromium;
use serde_json::json;

use super::{finished, numbers, open, url, wait_for_words};

/// Rows in the document at most.
const ROWS: usize = 400;

fn is_there(number: u64) -> String {
    format!(
        "(row => row !== null && row.getBoundingClientRect().bottom \
         <= document.querySelector('.log').getBoundingClientRect().bottom + 1)\
         (document.querySelector('[data-packet=\"{number}\"]'))"
    )
}

#[test]
fn a_million_packets_are_seen_by_bar_by_key_and_by_link() {
    let Some(mut browser) = Chromium::start() else {
        return;
    };
    let cluster = open().start();
    let job = finished(&cluster, "count", json!(["1000000"]));
    browser.open(&url(&cluster, &format!("#/jobs/{job}")));
    browser.wait_for(&is_there(0));
    browser.press("End");
    browser.wait_for(&is_there(999_999));
    browser.press("Home");
    browser.wait_for(&is_there(0));
    // Through all of it by the bar.
    browser.evaluate("window.log = document.querySelector('.log')");
    for step in 1..=40 {
        browser.evaluate(&format!(
            "log.scrollTop = (log.scrollHeight - log.clientHeight) * {step} / 40"
        ));
        let wanted = 25_000 * step;
        browser.wait_for(&format!(
            "document.querySelector('[data-missing]') === null \
             && [...document.querySelectorAll('[data-packet]')]\
             .some(row => Math.abs(row.dataset.packet - {wanted}) < 200)"
        ));
        let seen = numbers(&mut browser);
        assert!(seen.len() <= ROWS, "{} rows", seen.len());
        assert!(seen.windows(2).all(|two| two[1] == two[0] + 1), "{seen:?}");
    }
    browser.wait_for(&is_there(999_999));
    let heap = browser.evaluate("performance.memory.usedJSHeapSize");
    assert!(heap.as_u64().unwrap() < 150 << 20, "{heap} bytes");

    browser.evaluate("location.hash += '?packet=500000'");
    browser.wait_for(&is_there(500_000));
    // Where the bar is scaled, the wheel and keys still move by rows.
    browser.evaluate("log.focus()");
    browser.press("PageDown");
    browser.wait_for("![...document.querySelectorAll('[data-packet]')].some(it => it.dataset.packet === '499980')");
    assert!(numbers(&mut browser).contains(&500_020));
    browser.go(&url(&cluster, "#/"));
    browser.go(&url(&cluster, &format!("#/jobs/{job}?packet=999999")));
    browser.wait_for(&is_there(999_999));

    // A search looks at all of it.
    browser.press("/");
    browser.insert("99999");
    browser.press("Enter");
    wait_for_words(&mut browser, "of 19 packets");
    browser.wait_for(&is_there(99_999));
    browser.evaluate("document.activeElement.blur()");
    browser.press("N");
    browser.wait_for(&is_there(999_999));
    let marked = browser.evaluate("[...document.querySelectorAll('mark')].at(-1).textContent");
    assert_eq!(marked, "99999");
    // As an expression, by the dispatcher's own machine.
    browser.evaluate(
        "(() => { const boxes = document.querySelectorAll('.finder [type=checkbox]'); \
         const field = document.querySelector('.finder .search'); \
         field.value = '^9{6}$'; boxes[1].click(); })()",
    );
    wait_for_words(&mut browser, "1 of 1 packet");
    browser.wait_for("document.querySelector('mark')?.textContent === '999999'");
}
