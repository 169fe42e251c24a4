//! Output: pages, downloads, search (section 6; acceptance 2 and 9).

use std::io::Read;
use std::time::Instant;

use harp_tests::{HttpEnd, HttpRequest, until};
use serde_json::json;

use super::{address, api, assert_problem, call, get, open, result, submit};

#[test]
fn a_page_has_packets_and_says_how_it_goes_on() {
    let cluster = open().start();
    let id = submit(&cluster, call("count", json!(["2500"])));
    result(&cluster, &id);
    let page = |query: &str| {
        let answer = get(&cluster, &format!("/jobs/{id}/packets{query}"));
        assert_eq!(answer.status(), 200, "{}", answer.text());
        answer.json()
    };
    let first = page("");
    let packets = first["packets"].as_array().unwrap();
    assert_eq!(packets.len(), 1000);
    assert_eq!(
        (&packets[7]["packet"], &packets[7]["data"]),
        (&json!(7), &json!(7))
    );
    assert!(packets[7]["time"].as_u64().unwrap() > 1_600_000_000_000);
    assert_eq!(
        (&first["next"], &first["total"]),
        (&json!(1000), &json!(2500))
    );
    assert!(first["end"].is_null());
    let last = page("?since=2000&limit=10000");
    assert_eq!(last["packets"].as_array().unwrap().len(), 500);
    assert_eq!(
        (&last["next"], &last["end"]["result"]),
        (&json!(2500), &json!(null))
    );
    assert!(last["end"].is_object());
    assert_eq!(page("?recent=3")["packets"][0]["packet"], 2497);
    let beyond = page("?since=9000");
    assert_eq!(beyond["packets"], json!([]));
    assert!(beyond["end"].is_object());
    for query in ["?since=1&recent=1", "?limit=0", "?limit=10001", "?since=-1"] {
        let answer = get(&cluster, &format!("/jobs/{id}/packets{query}"));
        assert_problem(&answer, 400, "invalid_request");
    }
}

#[test]
fn packets_are_the_text_that_they_were() {
    let cluster = open().start();
    let texts = [
        r#"{"n":12345678901234567890.10,"a":1,"a":2}"#,
        r#""\/\ud83d\ude00""#,
    ];
    let id = submit(&cluster, call("packets", json!(texts)));
    result(&cluster, &id);
    let all = |path: &str| get(&cluster, &format!("/jobs/{id}/{path}"));
    let forms = ["packets", "output?format=ndjson", "events"];
    for form in forms {
        let text = all(form).text();
        for data in texts {
            assert!(text.contains(&format!("\"data\":{data}")), "{form}: {text}");
        }
    }
    for form in ["packets?values=text", "events?values=text"] {
        let text = all(form).text();
        for data in texts {
            assert!(
                text.contains(&format!("\"data\":{}", json!(data))),
                "{form}: {text}"
            );
        }
    }
    let text = all("output").text();
    assert_eq!(text, format!("{}\n/\u{1f600}\n", texts[0]));
}

#[test]
fn a_download_is_text_or_lines() {
    let cluster = open().start();
    let id = submit(
        &cluster,
        call("say", json!(["one", "\u{1b}[31mtwo\u{1b}[0m", "three"])),
    );
    result(&cluster, &id);
    let output = |query: &str| get(&cluster, &format!("/jobs/{id}/output{query}"));
    let answer = output("");
    assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(answer.header("accept-ranges"), "none");
    assert_eq!(answer.text(), "one\n\u{1b}[31mtwo\u{1b}[0m\nthree\n");
    assert_eq!(output("?ansi=strip&since=1&until=2").text(), "two\n");
    let timed = output("?times=true&until=1").text();
    assert!(
        timed.ends_with("Z one\n") && timed.starts_with("20"),
        "{timed}"
    );
    let answer = output("?download=true&format=ndjson");
    assert_eq!(
        answer.header("content-disposition"),
        format!("attachment; filename=\"{id}.ndjson\"")
    );
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    // Line by line what the line protocol says.
    let mut wire = harp_tests::RawClient::connect(cluster.address());
    wire.send(json!({"harpcaller": 1, "read_stream": id, "timestamps": true}));
    let lines: Vec<String> = wire.rest();
    assert_eq!(answer.text().lines().collect::<Vec<_>>(), lines);

    // Without packets the result is the output.
    let id = submit(&cluster, call("echo", json!({"a": 1})));
    result(&cluster, &id);
    assert_eq!(
        get(&cluster, &format!("/jobs/{id}/output")).text(),
        "{\"a\":1}\n"
    );
}

#[test]
fn output_is_followed_to_the_end() {
    let cluster = open().start();
    let mut feed = cluster.feed("feed");
    let id = submit(&cluster, call("feed", json!([cluster.path("feed")])));
    let follow = HttpRequest::get(&api(&format!("/jobs/{id}/output?follow=true")));
    let mut stream = follow.stream(address(&cluster));
    feed.wait_read();
    for number in 0..5 {
        feed.send(&number.to_string());
        let mut line = [0; 2];
        stream.read_exact(&mut line).unwrap();
        assert_eq!(line, format!("{number}\n").as_bytes());
    }
    feed.finish();
    assert_eq!(stream.rest(), (Vec::new(), HttpEnd::Whole));
}

#[test]
fn a_stop_cuts_what_is_followed() {
    let mut cluster = open().set("stop_grace", "0").start();
    let id = submit(&cluster, call("silent_stream", json!([])));
    let follow = HttpRequest::get(&api(&format!("/jobs/{id}/output?follow=true")));
    let stream = follow.stream(address(&cluster));
    let events = HttpRequest::get(&api(&format!("/jobs/{id}/events"))).stream(address(&cluster));
    cluster.ask_dispatcher_to_stop();
    let (text, end) = stream.rest();
    // Either the end of the job came, or the connection was cut.
    assert!(text.is_empty(), "{text:?}");
    assert!([HttpEnd::Cut, HttpEnd::Whole].contains(&end));
    let (_, end) = events.rest();
    assert_eq!(end, HttpEnd::Whole);
    assert!(cluster.wait_dispatcher_ended().success());
}

#[test]
fn an_empty_page_is_held_until_there_is_a_packet() {
    let cluster = open().start();
    let mut feed = cluster.feed("feed");
    let id = submit(&cluster, call("feed", json!([cluster.path("feed")])));
    feed.wait_read();
    let path = format!("/jobs/{id}/packets?since=0&wait=30");
    let asking = {
        let (address, request) = (address(&cluster), HttpRequest::get(&api(&path)));
        std::thread::spawn(move || request.ask(address).json())
    };
    feed.send("7");
    let page = asking.join().unwrap();
    assert_eq!(page["packets"][0]["data"], 7);
    let asked = Instant::now();
    let page = get(&cluster, &format!("/jobs/{id}/packets?since=1&wait=1")).json();
    assert_eq!(page["packets"], json!([]));
    assert!(asked.elapsed().as_secs() >= 1);
    feed.finish();
}

#[test]
fn output_is_searched_to_its_end() {
    let cluster = open().start();
    let id = submit(&cluster, call("count", json!(["20000"])));
    result(&cluster, &id);
    let search = |query: &str| {
        let answer = get(&cluster, &format!("/jobs/{id}/search?{query}"));
        assert_eq!(answer.status(), 200, "{}", answer.text());
        answer.json()
    };
    let mut since = 0;
    let found = until("all of it is looked at", || {
        let found = search(&format!("q=19999&since={since}"));
        match found["next"].as_u64() {
            Some(next) => {
                since = next;
                None
            }
            None => Some(found),
        }
    });
    assert_eq!(
        found["matches"],
        json!([{"packet": 19999, "head": "19999", "ranges": [[0, 5]]}])
    );
    assert_eq!(
        (&found["through"], &found["total"]),
        (&json!(20000), &json!(20000))
    );
    let few = search("q=%5E7%2B%24&regex=true&limit=2");
    assert_eq!(few["matches"][1]["packet"], 77);
    assert_eq!(few["next"], 78);
    for query in ["", "q=", "q=(&regex=true", "q=a&case=yes"] {
        let answer = get(&cluster, &format!("/jobs/{id}/search?{query}"));
        assert_problem(&answer, 400, "invalid_request");
    }
    // A word is found whatever its case, without what colours it.
    let id = submit(
        &cluster,
        call("say", json!(["an \u{1b}[31mErr\u{1b}[0mor"])),
    );
    result(&cluster, &id);
    let found = get(&cluster, &format!("/jobs/{id}/search?q=error")).json();
    assert_eq!(found["matches"][0]["head"], "an Error");
    let found = get(&cluster, &format!("/jobs/{id}/search?q=error&case=true")).json();
    assert_eq!(found["matches"], json!([]));
}

#[test]
fn all_of_it_is_for_who_may_read_it() {
    let cluster = open().start();
    let none = "019aa9c0-0000-7000-8000-000000000000";
    for path in ["packets", "output", "search?q=x", "events"] {
        let answer = get(&cluster, &format!("/jobs/{none}/{path}"));
        assert_problem(&answer, 404, "invalid_jobid");
    }
}
