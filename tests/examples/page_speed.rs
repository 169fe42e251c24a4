//! How soon a browser shows what there is: a packet after it was printed, the beginning and the
//! end of a million packets, a tab that comes to the front. Figures are in `TESTING.md`.
//!
//! ```sh
//! cargo run --release -p harp-tests --example page_speed
//! ```

use std::time::{SystemTime, UNIX_EPOCH};

use harp_tests::{Chromium, Cluster, HttpRequest};
use serde_json::{Value, json};

/// Defines `seen`: when a packet's row is there, in milliseconds since 1970.
const SEEN: &str = "window.seen = number => new Promise(done => { const look = () => \
     document.querySelector(`[data-packet=\"${number}\"]`)?.checkVisibility() \
     ? done(Date.now()) : setTimeout(look, 2); look(); }); 0";

fn main() {
    let Some(mut browser) = Chromium::start() else {
        return;
    };
    let open = "[[listen_http]]\naddress = '127.0.0.1:0'\nrequire_authentication = false\n";
    let cluster = Cluster::builder().tables(open).start();
    lines(&mut browser, &cluster);
    million(&mut browser, &cluster);
    tabs(&mut browser, &cluster);
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(now.expect("a time after 1970").as_millis()).expect("a time of this age")
}

fn tell(what: &str, mut times: Vec<u64>) {
    times.sort_unstable();
    let (half, longest) = (times[times.len() / 2], times[times.len() - 1]);
    println!(
        "{what}: half within {half} ms, all {} within {longest} ms",
        times.len()
    );
}

fn submit(cluster: &Cluster, procedure: &str, arguments: &Value) -> String {
    let call = json!({"host": "web01", "procedure": procedure, "arguments": arguments});
    let answer = HttpRequest::post("/api/v1/jobs", &call).ask(cluster.http_address());
    answer.json()["id"].as_str().expect("a job").to_owned()
}

fn url(cluster: &Cluster, hash: &str) -> String {
    format!("http://{}/{hash}", cluster.http_address())
}

/// When what `window.waiting` waits for was there.
fn waited(browser: &mut Chromium) -> u64 {
    browser.evaluate("window.waiting").as_u64().expect("a time")
}

fn lines(browser: &mut Chromium, cluster: &Cluster) {
    let mut feed = cluster.feed("speed");
    let arguments: Value = serde_json::from_str(&feed.arguments()).expect("JSON");
    let job = submit(cluster, "feed", &arguments);
    browser.open(&url(cluster, &format!("#/jobs/{job}")));
    browser.evaluate(SEEN);
    feed.send("\"first\"");
    browser.evaluate("seen(0)");
    let times = (1..=100).map(|number| {
        browser.evaluate(&format!("window.waiting = seen({number}); 0"));
        let sent = now();
        feed.send("\"a line\"");
        waited(browser).saturating_sub(sent)
    });
    tell("a packet is shown after it was printed", times.collect());
}

fn million(browser: &mut Chromium, cluster: &Cluster) {
    let job = submit(cluster, "count", &json!(["1000000"]));
    let path = format!("/api/v1/jobs/{job}/result?wait=60");
    while HttpRequest::get(&path).ask(cluster.http_address()).status() != 200 {}
    let (mut first, mut last) = (Vec::new(), Vec::new());
    browser.open(&url(cluster, "#/queues"));
    browser.evaluate(SEEN);
    for _ in 0..10 {
        browser.evaluate("location.hash = '#/queues'");
        browser.wait_for("document.body.dataset.screen === 'queues'");
        let show = format!(
            "window.begun = Date.now(); window.waiting = seen(0); location.hash = '#/jobs/{job}'; 0"
        );
        browser.evaluate(&show);
        let shown = waited(browser);
        let begun = browser.evaluate("window.begun").as_u64().expect("a time");
        first.push(shown.saturating_sub(begun));
        browser.evaluate("window.waiting = seen(999_999); 0");
        let pressed = now();
        browser.press("End");
        last.push(waited(browser).saturating_sub(pressed));
    }
    tell(
        "the first of a million packets is shown after its job was chosen",
        first,
    );
    tell("the last one after the key End", last);
}

/// What a browser with a screen tells a page that is behind others, or in front.
fn is_seen(is: bool) -> String {
    let state = if is { "visible" } else { "hidden" };
    format!(
        "Object.defineProperty(document, 'visibilityState', {{ value: '{state}', configurable: true }}); \
         window.begun = Date.now(); document.dispatchEvent(new Event('visibilitychange'))"
    )
}

fn tabs(browser: &mut Chromium, cluster: &Cluster) {
    let mut tabs = Vec::new();
    for number in 0..12 {
        let mut feed = cluster.feed(&format!("tab{number}"));
        let arguments: Value = serde_json::from_str(&feed.arguments()).expect("JSON");
        let job = submit(cluster, "feed", &arguments);
        feed.send("\"first\"");
        let tab = browser.open(&url(cluster, &format!("#/jobs/{job}")));
        browser.evaluate(SEEN);
        browser.evaluate("seen(0)");
        browser.evaluate(&is_seen(false));
        tabs.push((tab, feed));
    }
    let (mut caught_up, mut live) = (Vec::new(), Vec::new());
    for (tab, feed) in &mut tabs {
        feed.send("\"while it was hidden\"");
        browser.turn_to(tab);
        browser.evaluate(&format!("window.waiting = seen(1); {}", is_seen(true)));
        let shown = waited(browser);
        let begun = browser.evaluate("window.begun").as_u64().expect("a time");
        caught_up.push(shown.saturating_sub(begun));
        browser.evaluate("window.waiting = seen(2); 0");
        let sent = now();
        feed.send("\"while it is seen\"");
        live.push(waited(browser).saturating_sub(sent));
        browser.evaluate(&is_seen(false));
    }
    tell(
        "one of 12 tabs has caught up after it came to the front",
        caught_up,
    );
    tell("and shows a packet after it was printed", live);
}
