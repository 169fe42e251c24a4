//! Output and names that would like to be more than text (24).

use harp_tests::Chromium;
use serde_json::json;

use super::{assert_well_behaved, finished, open, submit_call, url, wait_for_words};

const LINES: [(&str, &str); 7] = [
    (
        "<img src=x onerror=\"window.ran = true\">",
        "<img src=x onerror=\"window.ran = true\">",
    ),
    (
        "</script><script>window.ran = true</script>",
        "</script><script>window.ran = true</script>",
    ),
    ("\u{1b}[31mred\u{1b}[0m plain", "red plain"),
    (
        "\u{1b}]8;;javascript:window.ran=true\u{7}link\u{1b}]8;;\u{7}",
        "link",
    ),
    ("\u{9b}1mbold\u{9b}0m\u{90}gone\u{9c}", "bold"),
    ("\u{1b}[2J\u{1b}[1;1Hstays", "stays"),
    ("turned \u{202e}round", "turned \u{fffd}round"),
];

#[test]
fn whatever_is_printed_is_text() {
    let Some(mut browser) = Chromium::start() else {
        return;
    };
    let cluster = open().start();
    let packets: Vec<String> = LINES
        .iter()
        .map(|(line, _)| json!(line).to_string())
        .collect();
    let job = finished(&cluster, "packets", json!(packets));
    browser.open(&url(&cluster, &format!("#/jobs/{job}")));
    browser.wait_for("document.querySelector('[data-packet=\"6\"]') !== null");
    let shown =
        browser.evaluate("[...document.querySelectorAll('.row .text')].map(it => it.textContent)");
    let wanted: Vec<&str> = LINES.iter().map(|(_, shown)| *shown).collect();
    assert_eq!(shown, json!(wanted));
    assert_eq!(
        browser.evaluate("document.querySelectorAll('.said img, .said script, .said a').length"),
        0
    );
    assert_eq!(
        browser.evaluate("getComputedStyle(document.querySelector('.fg-1')).color !== getComputedStyle(document.body).color"),
        true
    );

    let name = "<b>host</b>\u{202e}\u{7}";
    let call = json!({
        "host": name, "procedure": "<i>x</i>", "arguments": ["<u>y</u>"], "info": "<s>z</s>",
        "queue": {"name": {"<q>": "</q>"}},
    });
    submit_call(&cluster, &call);
    browser.go(&url(&cluster, "#/jobs"));
    wait_for_words(&mut browser, "<b>host</b>\u{fffd}\u{2407}");
    for text in ["<i>x</i>", "<u>y</u>", "<s>z</s>"] {
        wait_for_words(&mut browser, text);
    }
    assert_eq!(
        browser.evaluate("document.querySelectorAll('main b, main i, main u, main s').length"),
        0
    );
    assert_eq!(browser.evaluate("window.ran === undefined"), true);
    assert_well_behaved(&mut browser, &url(&cluster, ""));
}
