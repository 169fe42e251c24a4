//! A job as a stream of events (section 7; acceptance 5).

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;

use harp_tests::{HttpEnd, HttpRequest, HttpStream};
use serde_json::{Value, json};

use super::{address, api, assert_problem, call, get, open, result, submit};

/// A reader as browsers have it: it remembers the last id.
struct EventSource {
    stream: BufReader<HttpStream>,
    last: Option<String>,
}

/// One event.
#[derive(Debug, Clone, PartialEq)]
struct Event {
    name: String,
    id: Option<String>,
    data: Value,
}

impl EventSource {
    fn open(address: SocketAddr, path: &str, last: Option<&str>) -> EventSource {
        let mut request = HttpRequest::get(&api(path));
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        let stream = request.stream(address);
        assert_eq!(stream.head.status, 200);
        let head = &stream.head.headers;
        assert_eq!(head["content-type"], "text/event-stream");
        assert_eq!(
            (&*head["cache-control"], &*head["x-accel-buffering"]),
            ("no-store", "no")
        );
        assert!(!head.contains_key("content-encoding"));
        EventSource {
            stream: BufReader::new(stream),
            last: last.map(str::to_owned),
        }
    }

    /// The next event; `None` at the end of the stream, or where it is cut.
    fn next(&mut self) -> Option<Event> {
        let mut event = Event {
            name: "message".to_owned(),
            id: None,
            data: Value::Null,
        };
        let mut has_data = false;
        loop {
            let mut line = String::new();
            match self.stream.read_line(&mut line) {
                Ok(1..) => {}
                Ok(0) | Err(_) => return None,
            }
            let line = line.strip_suffix('\n')?;
            match line.split_once(": ") {
                None if line.is_empty() && has_data => {
                    if event.id.is_some() {
                        self.last.clone_from(&event.id);
                    }
                    return Some(event);
                }
                Some(("event", name)) => name.clone_into(&mut event.name),
                Some(("id", id)) => event.id = Some(id.to_owned()),
                Some(("data", data)) => {
                    event.data = serde_json::from_str(data).unwrap();
                    has_data = true;
                }
                _ => {}
            }
        }
    }
}

#[test]
fn a_job_is_told_from_its_beginning_to_its_end() {
    let cluster = open().start();
    let mut feed = cluster.feed("feed");
    let mut held = call("feed", json!([cluster.path("feed")]));
    held["queue"] = json!({"name": {"q": 1}});
    let first = submit(&cluster, &held);
    let mut waiting = call("say", json!(["one", "two"]));
    waiting["queue"] = json!({"name": {"q": 1}});
    let id = submit(&cluster, waiting);
    let mut events = EventSource::open(address(&cluster), &format!("/jobs/{id}/events"), None);
    let queued = events.next().unwrap();
    assert_eq!(
        (queued.name.as_str(), queued.id.as_deref()),
        ("job", Some("-1"))
    );
    assert_eq!(queued.data["state"], "queued");
    assert_eq!(queued.data["arguments_head"], "[\"one\",\"two\"]");
    feed.wait_read();
    feed.finish();
    result(&cluster, &first);
    let rest: Vec<Event> = std::iter::from_fn(|| events.next()).collect();
    let packets: Vec<&Event> = rest
        .iter()
        .filter(|event| event.name == "message")
        .collect();
    assert_eq!(packets.len(), 2);
    assert_eq!(packets[1].id.as_deref(), Some("1"));
    assert_eq!(
        (&packets[1].data["packet"], &packets[1].data["data"]),
        (&json!(1), &json!("two"))
    );
    let states: Vec<_> = rest.iter().filter(|event| event.name == "job").collect();
    assert_eq!(states.last().unwrap().data["state"], "ended");
    let end = rest.last().unwrap();
    assert_eq!((end.name.as_str(), end.id.as_deref()), ("end", Some("end")));
    assert!(
        end.data.get("result").is_some() && end.data["ended"].is_u64(),
        "{end:?}"
    );
}

#[test]
fn a_stream_begins_with_when_to_come_again_and_beats_while_nothing_happens() {
    let cluster = open().start();
    let id = submit(&cluster, call("silent", json!([])));
    let path = api(&format!("/jobs/{id}/events"));
    let mut lines = BufReader::new(HttpRequest::get(&path).stream(address(&cluster))).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "retry: 2000");
    drop(lines);
    let paths = [format!("/jobs/{id}/events"), "/events".to_owned()];
    let streams = paths.map(|path| (EventSource::open(address(&cluster), &path, None), path));
    for (mut events, path) in streams {
        let beat = std::iter::from_fn(|| events.next()).find(|event| event.name == "heartbeat");
        let beat = beat.expect("a heartbeat");
        assert!(beat.id.is_none() && beat.data["time"].is_u64(), "{beat:?}");
        if path != "/events" {
            assert_eq!(beat.data["packets"], 0);
        }
    }
    let both = get(&cluster, &format!("/jobs/{id}/events?since=0&recent=1"));
    assert_problem(&both, 400, "invalid_request");
}

#[test]
fn a_reader_of_a_job_that_is_pruned_is_told_that_it_is_gone() {
    let cluster = open().start();
    // More than a connection and the dispatcher hold for a reader that takes nothing.
    let id = submit(&cluster, call("count", json!(["300000"])));
    result(&cluster, &id);
    let path = format!("/jobs/{id}/events");
    let mut events = EventSource::open(address(&cluster), &path, None);
    assert_eq!(events.next().unwrap().name, "job");
    let output = api(&format!("/jobs/{id}/output?format=ndjson"));
    let output = HttpRequest::get(&output).stream(address(&cluster));
    let pruned = cluster.run(&["prune-jobs", "--age", "0"]);
    assert!(pruned.status.success(), "{pruned:?}");
    assert_problem(&get(&cluster, &path), 404, "invalid_jobid");
    let mut numbers = 0;
    let last = loop {
        let event = events.next().expect("a word at the end");
        if event.name != "message" {
            break event;
        }
        assert_eq!(event.data["packet"], numbers);
        numbers += 1;
    };
    assert_eq!((last.name.as_str(), &last.data), ("gone", &json!({})));
    assert!(numbers < 300_000 && events.next().is_none(), "{numbers}");
    // A download is not ended, but cut: its reader sees that it is not whole.
    let (text, end) = output.rest();
    assert_eq!(end, HttpEnd::Cut, "{} bytes", text.len());
}

#[test]
fn a_reader_that_loses_its_connection_has_each_packet_once() {
    let mut cluster = open().start();
    let id = submit(&cluster, call("count", json!(["20000"])));
    let path = format!("/jobs/{id}/events");
    let (mut next, mut last) = (0, None::<String>);
    let mut cuts = 0;
    let end = loop {
        let mut events = EventSource::open(address(&cluster), &path, last.as_deref());
        // Cut anywhere, more often than not in the middle of something.
        let most = (cuts * 7919) % 400 + 1;
        let mut ended = None;
        for _ in 0..most {
            let Some(event) = events.next() else { break };
            match event.name.as_str() {
                "message" => {
                    assert_eq!(event.data["packet"], next);
                    next += 1;
                }
                "end" => ended = Some(event),
                _ => {}
            }
        }
        last = events.last;
        cuts += 1;
        if let Some(end) = ended {
            break end;
        }
    };
    assert_eq!((next, end.id.as_deref()), (20_000, Some("end")));
    assert!(cuts > 20, "{cuts}");

    // Behind the end there is nothing, over a restart too.
    cluster.restart_dispatcher();
    let again = HttpRequest::get(&api(&path)).header("Last-Event-ID", "end");
    assert_eq!(again.ask(address(&cluster)).status(), 204);
    let mut events = EventSource::open(address(&cluster), &path, Some("19998"));
    let names: Vec<_> = std::iter::from_fn(|| events.next())
        .map(|event| event.name)
        .collect();
    assert_eq!(names, ["job", "message", "end"]);
    let wrong = HttpRequest::get(&api(&path)).header("Last-Event-ID", "x");
    assert_problem(&wrong.ask(address(&cluster)), 400, "invalid_request");
    assert_eq!(
        get(&cluster, &format!("{path}?recent=1"))
            .text()
            .matches("id: 19999")
            .count(),
        1
    );
}

#[test]
fn all_jobs_are_told_and_a_reader_goes_on_where_it_was() {
    let mut cluster = open().set("max_event_backlog", "20").start();
    let mut events = EventSource::open(address(&cluster), "/events?procedure=say", None);
    let ready = events.next().unwrap();
    assert_eq!((ready.name.as_str(), &ready.data), ("ready", &json!({})));
    submit(&cluster, call("echo", json!([])));
    let id = submit(&cluster, call("say", json!(["a"])));
    let mut told = BTreeSet::new();
    while ["submitted", "started", "ended"]
        .iter()
        .any(|change| !told.contains(*change))
    {
        let event = events.next().unwrap();
        assert_eq!(
            (event.name.as_str(), &event.data["id"]),
            ("job", &json!(id))
        );
        assert!(event.data.get("arguments").is_none());
        let change = event.data["change"].as_str().unwrap().to_owned();
        if change == "ended" {
            assert_eq!(event.data["state"], "ended", "{event:?}");
            assert_eq!(event.data["outcome"], "returned", "{event:?}");
        }
        assert!(told.insert(change), "told twice: {event:?}");
    }
    let last = events.last.clone().unwrap();
    drop(events);

    // What happened meanwhile comes first, and nothing twice.
    let id = submit(&cluster, call("say", json!(["b"])));
    result(&cluster, &id);
    let mut events = EventSource::open(address(&cluster), "/events?procedure=say", Some(&last));
    loop {
        let event = events.next().unwrap();
        if event.data["id"] == id {
            assert_eq!(event.data["change"], "submitted");
            break;
        }
        assert_eq!(event.data["change"], "released", "{event:?}");
    }
    // Beyond the backlog, and after a restart, the list has to be read again.
    for number in 0..10 {
        let id = submit(&cluster, call("echo", json!([number])));
        result(&cluster, &id);
    }
    let mut late = EventSource::open(address(&cluster), "/events", Some(&last));
    assert_eq!(late.next().unwrap().name, "reset");
    let last = late.last.clone().unwrap();
    cluster.restart_dispatcher();
    let mut after = EventSource::open(address(&cluster), "/events", Some(&last));
    assert_eq!(after.next().unwrap().name, "reset");
    for wrong in ["x", "7", "-1"] {
        let request = HttpRequest::get(&api("/events")).header("Last-Event-ID", wrong);
        assert_problem(&request.ask(address(&cluster)), 400, "invalid_request");
    }
}

#[test]
fn whoever_may_read_all_jobs_is_told_which_are_gone() {
    let rules = "[[allow]]\nclient = '*'\noperations = ['observe', 'call']\n";
    for (read, is_told) in [
        ("[[allow]]\nclient = '*'\noperations = 'read'\n", true),
        (
            "[[allow]]\nclient = '*'\noperations = 'read'\nhost = 'web*'\n",
            false,
        ),
    ] {
        let cluster = open().tables(rules).tables(read).start();
        let id = submit(&cluster, call("echo", json!([])));
        result(&cluster, &id);
        let mut events = EventSource::open(address(&cluster), "/events", None);
        assert_eq!(events.next().unwrap().name, "ready");
        assert!(cluster.run(&["prune-jobs", "--age", "0"]).status.success());
        let next = submit(&cluster, call("echo", json!([])));
        let mut gone = Vec::new();
        loop {
            let event = events.next().unwrap();
            match event.name.as_str() {
                "gone" => gone.push(event.data["id"].clone()),
                "job" if event.data["id"] == next => break,
                _ => {}
            }
        }
        assert_eq!(gone, if is_told { vec![json!(id)] } else { Vec::new() });
    }
}
