//! A dispatcher that cannot be reached for a while (22).

use harp_tests::{Chromium, Proxy, Way};
use serde_json::{Value, json};

use super::{assert_well_behaved, finished, numbers, open, submit, wait_for_words};

const STALE: &str = "document.body.dataset.connection === 'stale'";
const LIVE: &str = "document.body.dataset.connection === 'live'";

fn through_a_break(way: Way) {
    let Some(mut browser) = Chromium::start() else {
        return;
    };
    let cluster = open().start();
    let proxy = Proxy::to(cluster.http_address());
    let mut feed = cluster.feed("feed");
    let arguments: Value = serde_json::from_str(&feed.arguments()).unwrap();
    let job = submit(&cluster, "feed", arguments);
    let origin = format!("http://{}/", proxy.address());
    browser.open(&format!("{origin}#/jobs/{job}"));
    for number in 0..10 {
        feed.send(&number.to_string());
    }
    browser.wait_for("document.querySelector('[data-packet=\"9\"]') !== null");
    proxy.set(way);
    for number in 10..20 {
        feed.send(&number.to_string());
    }
    browser.wait_for(STALE);
    wait_for_words(&mut browser, "has not answered since");
    // What was shown is there, and what would act is not to be pressed.
    assert_eq!(numbers(&mut browser), (0..10).collect::<Vec<_>>());
    assert_eq!(
        browser.evaluate("document.querySelector('.title .danger').disabled"),
        true
    );
    proxy.set(Way::Open);
    browser.wait_for(LIVE);
    browser.wait_for("document.querySelector('[data-packet=\"19\"]') !== null");
    assert_eq!(numbers(&mut browser), (0..20).collect::<Vec<_>>());
    assert_eq!(
        browser.evaluate(
            "[...document.querySelectorAll('[data-packet] .text')].map(it => it.textContent).join()"
        ),
        (0..20)
            .map(|number| number.to_string())
            .collect::<Vec<_>>()
            .join(",")
    );
    assert_eq!(
        browser.evaluate("document.querySelector('.title .danger').disabled"),
        false
    );
    drop(feed);
    wait_for_words(&mut browser, "The procedure returned.");
    assert_well_behaved(&mut browser, &origin);
}

#[test]
fn a_break_is_told_and_costs_no_packet() {
    through_a_break(Way::Closed);
}

#[test]
fn a_connection_that_only_seems_to_be_there_is_found_out() {
    through_a_break(Way::Swallowing);
}

#[test]
fn a_screen_on_which_nothing_happens_learns_of_it_too() {
    let Some(mut browser) = Chromium::start() else {
        return;
    };
    let cluster = open().start();
    let job = finished(&cluster, "say", json!(["a line"]));
    let proxy = Proxy::to(cluster.http_address());
    for hash in [format!("#/jobs/{job}"), "#/call".to_owned()] {
        browser.open(&format!("http://{}/{hash}", proxy.address()));
        browser.wait_for("document.querySelector('main h1') !== null");
        browser.wait_for(LIVE);
        proxy.set(Way::Closed);
        browser.wait_for(STALE);
        wait_for_words(&mut browser, "has not answered since");
        proxy.set(Way::Open);
        browser.wait_for(LIVE);
    }
    // What acts can be used again.
    assert_eq!(
        browser.evaluate("document.querySelector('form.call [type=submit]').disabled"),
        false
    );
}
