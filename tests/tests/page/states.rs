//! Loading, empty, failed, forbidden, gone: each has a face of its own (26).

use harp_tests::disk::{Mount, limit_files};
use harp_tests::{Chromium, Cluster, Proxy, Way};
use serde_json::json;

use super::{OPEN, click_words, fill, finished, jobs, open, submit, url, wait_for_words};

fn is_there(state: &str) -> String {
    format!("document.querySelector('main [data-{state}]')?.checkVisibility() === true")
}

fn is_not_there(state: &str) -> String {
    format!("document.querySelector('main [data-{state}]') === null")
}

#[test]
fn loading_and_empty_are_told_apart() {
    let Some(mut browser) = Chromium::start() else {
        return;
    };
    let cluster = open().start();
    let proxy = Proxy::to(cluster.http_address());
    browser.open(&format!("http://{}/#/nothing", proxy.address()));
    wait_for_words(&mut browser, "There is no such screen");
    for screen in ["jobs", "queues"] {
        proxy.set(Way::Swallowing);
        browser.evaluate(&format!("location.hash = '#/{screen}'"));
        browser.wait_for(&is_there("loading"));
        assert_eq!(browser.evaluate(&is_not_there("empty")), true, "{screen}");
        proxy.set(Way::Open);
        browser.wait_for(&is_there("empty"));
        assert_eq!(browser.evaluate(&is_not_there("loading")), true, "{screen}");
        browser.evaluate("location.hash = '#/nothing'");
        wait_for_words(&mut browser, "There is no such screen");
    }
    browser.evaluate("location.hash = '#/jobs?host=nobody'");
    wait_for_words(&mut browser, "No job fits.");
}

#[test]
fn what_failed_says_so_and_may_be_tried_again() {
    let Some(mut browser) = Chromium::start() else {
        return;
    };
    let mut cluster = open().start();
    let job = finished(&cluster, "say", json!(["a line"]));
    browser.open(&url(&cluster, "#/nothing"));
    // An answer that the dispatcher gives when its disk fails.
    browser.evaluate(
        "window.real = window.fetch; window.fetch = async (url, request) => \
         String(url).includes('/jobs') ? new Response(JSON.stringify({ \
         type: 'urn:harpcaller:problem:os_error', title: 'Internal error', status: 500, \
         detail: 'the disk is on fire', request_id: '4-2' }), { status: 500, \
         headers: { 'Content-Type': 'application/problem+json' } }) : real(url, request); \
         location.hash = '#/jobs'",
    );
    browser.wait_for(&is_there("error=failed"));
    wait_for_words(&mut browser, "the disk is on fire");
    wait_for_words(&mut browser, "4-2");
    assert_eq!(browser.evaluate(&is_not_there("empty")), true);
    // It may be tried again, and is by itself.
    click_words(&mut browser, "Try again");
    browser.wait_for(&is_there("error=failed"));
    browser.evaluate("window.fetch = window.real");
    browser.wait_for(&format!(
        "document.querySelector('[data-job=\"{job}\"]') !== null"
    ));

    let other = format!("{}0000", &job[..job.len() - 4]);
    browser.evaluate(&format!("location.hash = '#/jobs/{other}'"));
    browser.wait_for(&is_there("error=missing"));
    wait_for_words(&mut browser, "No such job");

    // The server is gone while a job is asked for that was not seen yet.
    cluster.kill_dispatcher();
    browser.evaluate(&format!("location.hash = '#/jobs/{job}'"));
    browser.wait_for(&is_there("error=unreachable"));
    cluster.start_dispatcher();
}

#[test]
fn an_outage_of_the_store_is_told_where_it_matters_and_loses_nothing() {
    let Some(mut browser) = Chromium::start() else {
        return;
    };
    let cluster = open().start();
    let job = finished(&cluster, "say", json!(["a line"]));
    let row = format!("document.querySelector('[data-job=\"{job}\"]') !== null");
    let list = browser.open(&url(&cluster, "#/jobs"));
    browser.wait_for(&row);
    let form = browser.open(&url(&cluster, "#/call?host=web01&procedure=say"));
    browser.turn_to(&form);
    fill(&mut browser, "#arguments", "[\"another\"]");
    wait_for_words(&mut browser, "This would be accepted.");
    limit_files(cluster.dispatcher_id(), Some(1));
    click_words(&mut browser, "Call");
    browser.wait_for(&is_there("error=outage"));
    wait_for_words(
        &mut browser,
        "The job store cannot be written at the moment.",
    );
    // What was typed stays; the list says why nothing comes, and shows what there is.
    let typed = "document.querySelector('#arguments').value";
    assert_eq!(browser.evaluate(typed), "[\"another\"]");
    browser.turn_to(&list);
    let told = "document.querySelector('.counts .warning')?.textContent \
                .startsWith('The job store cannot be written')";
    browser.wait_for(told);
    browser.wait_for(&row);
    limit_files(cluster.dispatcher_id(), None);
    browser.wait_for("document.querySelector('.counts .warning') === null");
    browser.turn_to(&form);
    // Whether the first one was accepted is not known to anybody but the dispatcher.
    click_words(&mut browser, "Call");
    browser.wait_for("document.body.dataset.screen === 'job'");
    wait_for_words(&mut browser, "The procedure returned.");
    assert_eq!(jobs(&cluster), 2, "it is the same call");
}

#[test]
fn a_store_that_stands_still_is_told_and_the_call_is_made_as_soon_as_it_goes_on() {
    let Some(mut browser) = Chromium::start() else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("image");
    let Some(disk) = Mount::in_file(&image, &directory.path().join("disk")) else {
        return;
    };
    let store = json!(disk.at().join("jobs")).to_string();
    let cluster = open().set("stream_directory", &store).start();
    let job = finished(&cluster, "say", json!(["a line"]));
    let form = browser.open(&url(&cluster, "#/call?host=web01&procedure=say"));
    fill(&mut browser, "#arguments", "[\"another\"]");
    wait_for_words(&mut browser, "This would be accepted.");
    let Some(stalled) = disk.stall() else {
        return;
    };
    click_words(&mut browser, "Call");
    wait_for_words(&mut browser, "The dispatcher has not answered yet");
    assert_eq!(
        browser.evaluate("document.querySelector('form.call [type=submit]').disabled"),
        true
    );
    // What there is can be looked at meanwhile.
    browser.open(&url(&cluster, &format!("#/jobs/{job}")));
    wait_for_words(&mut browser, "a line");
    browser.turn_to(&form);
    drop(stalled);
    browser.wait_for("document.body.dataset.screen === 'job'");
    wait_for_words(&mut browser, "The procedure returned.");
    assert_eq!(jobs(&cluster), 2);
}

#[test]
fn what_the_rules_forbid_is_told_and_not_offered() {
    let Some(mut browser) = Chromium::start() else {
        return;
    };
    let rules = "[[allow]]\nclient = '*'\noperations = ['observe']\n\
                 [[allow]]\nclient = '*'\nprocedure = 'say'\noperations = ['call', 'read']\n";
    let cluster = open().tables(rules).start();
    let seen = submit(&cluster, "say", json!(["a line"]));
    browser.open(&url(&cluster, &format!("#/jobs/{seen}")));
    wait_for_words(&mut browser, "Call again");
    assert_eq!(
        browser.evaluate("document.querySelector('.title .danger') === null"),
        true
    );
    drop(cluster);

    let rules = "[[allow]]\nclient = '*'\noperations = ['call']\n";
    let cluster = Cluster::builder().tables(OPEN).tables(rules).start();
    let hidden = submit(&cluster, "say", json!(["a line"]));
    browser.go(&url(&cluster, &format!("#/jobs/{hidden}")));
    browser.wait_for(&is_there("error=forbidden"));
    assert_eq!(browser.evaluate(&is_not_there("empty")), true);
    // No queues and hosts for somebody who may not observe; of services those that may be called
    // are shown.
    assert_eq!(
        browser.evaluate("[...document.querySelectorAll('.ways a')].map(it => it.textContent)"),
        json!(["Jobs", "Services", "Call"])
    );
}
