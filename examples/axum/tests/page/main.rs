//! The application against a real dispatcher and a real host: by HTTP, and in a browser
//! where Chromium is installed.

mod app;
mod http;

use std::path::Path;

use harp_tests::{Chromium, Cluster, Feed};
use serde_json::{Value, json};

use app::App;
use http::Events;

fn arguments(feed: &Feed) -> Value {
    serde_json::from_str(&feed.arguments()).unwrap()
}

#[test]
fn packets_go_on_behind_the_last_that_was_seen() {
    let cluster = Cluster::start();
    let mut feed = cluster.feed("feed");
    let mut app = App::start(&cluster);
    let call = json!({"host": "web01", "procedure": "feed", "arguments": arguments(&feed)});
    let started = http::post(app.address(), "/jobs", &call);
    let id = started["id"].as_str().expect("a job id").to_owned();
    let path = format!("/jobs/{id}/events");

    let mut events = Events::open(app.address(), &path, None);
    for number in 0..3 {
        feed.send(&number.to_string());
        assert_eq!(events.next_packet(), (number, number.to_string()));
    }
    assert_eq!(http::get(app.address(), "/jobs")[0]["state"], "running");
    drop(events);
    // While nobody listens, and while there is no application, the job runs on.
    feed.send("3");
    app.restart(&cluster);
    feed.send("4");
    let mut events = Events::open(app.address(), &path, Some(2));
    assert_eq!(events.next_packet(), (3, "3".to_owned()));
    assert_eq!(events.next_packet(), (4, "4".to_owned()));
    drop(feed);
    assert_eq!(events.end(), json!({"outcome": "returned", "result": null}));

    // Finished ones are listed, by an application that was not there at their end.
    app.restart(&cluster);
    let jobs = http::get(app.address(), "/jobs");
    assert_eq!(
        (&jobs[0]["id"], &jobs[0]["outcome"], &jobs[0]["procedure"]),
        (&json!(id), &json!("returned"), &json!("feed"))
    );
    let mut events = Events::open(app.address(), &path, None);
    for number in 0..5 {
        assert_eq!(events.next_packet().0, number);
    }
    assert_eq!(events.end()["outcome"], "returned");
}

#[test]
fn what_goes_wrong_is_told() {
    let mut cluster = Cluster::start();
    let app = App::start(&cluster);
    let call = json!({"host": "web01", "procedure": "echo", "arguments": 7});
    let answer = http::post(app.address(), "/jobs", &call);
    assert_eq!(answer["kind"], "invalid_input");
    let text = answer["message"].as_str().expect("an error");
    assert!(text.starts_with("arguments: 7 is a single value"), "{text}");
    // A cancel of a job that never was does nothing, and there is nothing to follow.
    let unknown = "/jobs/8ec71d6b-28d1-4ce2-aa23-f3ea7887beda";
    let answer = http::post(app.address(), &format!("{unknown}/cancel"), &json!({}));
    assert_eq!(answer, json!({"cancelled": false}));
    let mut events = Events::open(app.address(), &format!("{unknown}/events"), None);
    assert_eq!(events.failed()["kind"], "not_found");

    let call = json!({"host": "web01", "procedure": "fail", "arguments": ["3", "oh"]});
    let started = http::post(app.address(), "/jobs", &call);
    let path = format!("/jobs/{}/events", started["id"].as_str().unwrap());
    let end = Events::open(app.address(), &path, None).end();
    assert_eq!(end["outcome"], "exception");
    let told = end["exception"]["message"].as_str().unwrap();
    assert!(told.contains("oh"), "{end}");

    cluster.kill_dispatcher();
    let answer = http::post(app.address(), "/jobs", &call);
    assert_eq!(answer["retryable"], true);
    let text = answer["message"].as_str().expect("an error");
    assert!(text.contains(&cluster.address().to_string()), "{text}");
}

#[test]
fn a_page_in_a_browser() {
    let Some(mut browser) = Chromium::start() else {
        return;
    };
    println!("in {}", browser.version());
    let cluster = Cluster::start();
    let mut feed = cluster.feed("feed");
    let mut app = App::start(&cluster);
    browser.open(&format!("http://{}/", app.address()));
    let fill = |host: &str, procedure: &str, arguments: &str| {
        let [host, procedure, arguments] = [host, procedure, arguments].map(|text| json!(text));
        format!(
            "(form => {{ form.host.value = {host}; form.procedure.value = {procedure}; \
             form.arguments.value = {arguments}; form.requestSubmit(); }})\
             (document.querySelector('#start'))"
        )
    };
    browser.evaluate(&fill("web01", "feed", &feed.arguments()));
    for number in 0..3 {
        feed.send(&json!({"line": number}).to_string());
    }
    browser.wait_for("document.querySelectorAll('#packets li').length === 3");

    // The application goes away and comes back: the browser does so by itself, and each
    // packet is on the page once.
    app.stop();
    feed.send("3");
    app.restart(&cluster);
    feed.send("4");
    browser.wait_for("document.querySelectorAll('#packets li').length >= 5");
    let numbers = "[...document.querySelectorAll('#packets span')].map(one => one.textContent)";
    assert_eq!(browser.evaluate(numbers), json!(["0", "1", "2", "3", "4"]));
    drop(feed);
    browser.wait_for("document.querySelector('#end .state')?.textContent === 'returned'");
    browser.wait_for("document.querySelector('#jobs li')?.dataset.state === 'returned'");

    // Another one, cancelled; a mistake; and the first again, after a reload.
    browser.evaluate(&fill("web01", "silent_stream", "[]"));
    browser.wait_for("document.querySelectorAll('#jobs li').length === 2");
    browser.evaluate("document.querySelector('#cancel').click()");
    browser.wait_for("document.querySelector('#end .state')?.textContent === 'cancelled'");
    browser.evaluate(&fill("web01", "echo", "oops"));
    browser.wait_for("document.querySelector('#problem').textContent.includes('not JSON')");
    browser.evaluate("document.querySelectorAll('#jobs button')[1].click()");
    browser.wait_for("document.querySelectorAll('#packets li').length === 5");
    browser.screenshot(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("page.png"));
    browser.evaluate("window.before = true; location.reload()");
    browser.wait_for(
        "!window.before && document.querySelector('#end .state')?.textContent === 'returned' \
         && document.querySelectorAll('#jobs li').length === 2",
    );
}
