//! What no client sends that means well: requests that two servers could take for different
//! ones, and floods of frames (acceptance 13).

use std::thread;
use std::time::{Duration, Instant};

use harp_tests::certificates::Authority;
use harp_tests::http2::{END_HEADERS, END_STREAM, Http2Client, head, kind};
use harp_tests::{Cluster, HttpClient, HttpRequest, PATIENCE};
use serde_json::json;

use super::large::{MIB, memory};
use super::services::{ask, claim, job, register, under};
use super::{address, api, assert_problem, call, get, open, post, result, submit};
use crate::access::identity::Files;

/// A cluster with a listener for HTTP/2, for everybody.
fn over_tls(files: &Files, keys: &str) -> Cluster {
    let own = Authority::shared().issue(&["127.0.0.1"]);
    let (certificate, key) = (
        files.write("c.pem", &own.pem),
        files.write("k.pem", &own.key_pem),
    );
    let tables = format!(
        "{keys}[[listen_http]]\naddress = '127.0.0.1:0'\nrequire_authentication = false\n\
         certificate = {certificate:?}\nprivate_key = {key:?}\n"
    );
    Cluster::builder().tables(&tables).start()
}

/// Asks whether the dispatcher lives, on a connection of its own.
#[track_caller]
fn assert_alive(cluster: &Cluster) {
    let mut other = Http2Client::connect(address(cluster), Authority::shared());
    assert!(other.request(END_STREAM, 1, "GET", "/healthz"));
    let body = other
        .find(|frame| frame.kind == kind::DATA)
        .expect("an answer");
    assert_eq!(body.payload, b"{\"status\":\"ok\"}");
}

/// Holds what a flood has left in the dispatcher's memory against what was there before.
#[track_caller]
fn assert_little_grown(cluster: &Cluster, before: u64) {
    let grown = memory(cluster).saturating_sub(before) / MIB;
    assert!(grown < 64, "{grown} MiB");
}

#[test]
fn requests_that_could_be_taken_for_others_are_not() {
    let cluster = open().hosts(0).start();
    // Behind each of them stands what must not be taken for a request of its own.
    const BEHIND: &str = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let shapes = [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 6\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding:\u{b}chunked\r\n",
        "X: a\r\n folded: b\r\n",
        "X: a\0b\r\n",
        "X: a\rb\r\n",
        " X: a\r\n",
        ": a\r\n",
        "X\r\n",
    ];
    for shape in shapes {
        let mut client = HttpClient::connect(address(&cluster));
        let path = api("/jobs");
        client.send_bytes(
            format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n{shape}\r\n{BEHIND}").as_bytes(),
        );
        let answer = client.answer("POST");
        assert_eq!(answer.status(), 400, "{shape:?}: {}", answer.text());
        assert!(client.at_end(), "{shape:?}");
    }
    // Chunks count where both are there, and nothing else comes on that connection.
    let mut client = HttpClient::connect(address(&cluster));
    let body = "{\"host\":\"h\",\"procedure\":\"p\"}";
    client.send_bytes(
        format!(
            "POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n{BEHIND}",
            api("/jobs"),
            body.len()
        )
        .as_bytes(),
    );
    assert_eq!(client.answer("POST").status(), 201);
    assert!(client.at_end());
    for bad in [
        "\0",
        "GET",
        "GET  / HTTP/1.1\r\n\r\n",
        "G\u{e4}T / HTTP/1.1\r\n\r\n",
    ] {
        let mut client = HttpClient::connect(address(&cluster));
        client.send_bytes(format!("{bad}\r\n\r\n").as_bytes());
        assert_eq!(client.answer("GET").status(), 400, "{bad:?}");
        assert!(client.at_end(), "{bad:?}");
    }
    let alive = HttpRequest::get("/healthz").ask(address(&cluster));
    assert_eq!(alive.status(), 200);
}

#[test]
fn a_flood_of_workers_costs_nobody_a_job() {
    const BOUND: usize = 64 * 1024;
    let cluster = open()
        .hosts(0)
        .set("max_packet_size", &format!("'{BOUND}'"))
        .set("max_request_size", &format!("'{BOUND}'"))
        .set("max_streams_per_peer", "4")
        .start();
    let service = register(&cluster, json!({"name": "s", "timeout": 600}));
    let id = submit(&cluster, ask("s", json!([])));
    let claimed = claim(&cluster, &service, json!({"worker": "honest"})).unwrap();
    let other = submit(&cluster, ask("s", json!([])));
    let held = claim(&cluster, &service, json!({"worker": "flood"})).unwrap();
    let before = memory(&cluster);
    let said = |answer: &harp_tests::HttpAnswer, statuses: &[u16]| {
        let status = answer.status();
        assert!(statuses.contains(&status), "{status} {}", answer.text());
    };
    thread::scope(|scope| {
        for number in 0..4 {
            let (cluster, service, held) = (&cluster, &service, &held);
            scope.spawn(move || {
                let stranger = json!({"claim": format!("{}f", held["claim"].as_str().unwrap())});
                let large = json!({"first": 0, "packets": ["x".repeat(BOUND + 1)]});
                let early = json!({"first": 1_000_000 + number, "packets": [1, 2]});
                for round in 0..25 {
                    said(&under(cluster, held, "packets", large.clone()), &[413]);
                    said(&under(cluster, held, "packets", early.clone()), &[409]);
                    said(&under(cluster, held, "renew", json!({})), &[200]);
                    said(
                        &under(cluster, &stranger, "finish", json!({"result": 1})),
                        &[404],
                    );
                    said(&under(cluster, &stranger, "packets", early.clone()), &[404]);
                    let waits = format!("/services/{service}/claims?wait=0");
                    said(
                        &post(cluster, &waits, json!({"worker": format!("{round}")})),
                        &[204],
                    );
                    let body = json!({"worker": "w".repeat(BOUND)});
                    let claims = format!("/services/{service}/claims");
                    said(&post(cluster, &claims, body), &[400, 413]);
                }
            });
        }
        // Meanwhile one that means well is served.
        for first in 0..200 {
            let packets = json!({"first": first, "packets": [first]});
            said(&under(&cluster, &claimed, "packets", packets), &[200]);
        }
    });
    said(
        &under(&cluster, &claimed, "finish", json!({"result": "done"})),
        &[200],
    );
    assert_eq!(result(&cluster, &id), json!({"result": "done"}));
    let packets = get(&cluster, &format!("/jobs/{id}/packets")).json();
    let packets = packets["packets"].as_array().unwrap().iter();
    let packets: Vec<_> = packets
        .filter_map(|packet| packet["data"].as_u64())
        .collect();
    assert!(packets.into_iter().eq(0..200));
    // Nothing of what was refused is with the other's job, and nobody else has it.
    let shown = job(&cluster, &other);
    assert_eq!(
        (&shown["state"], &shown["worker"], &shown["packets"]),
        (&json!("running"), &json!("flood"), &json!(0))
    );
    // More may not wait at once than the limit says.
    let waits = format!("/services/{service}/claims?wait=60");
    let told = thread::scope(|scope| {
        let (answers, answered) = std::sync::mpsc::channel();
        for _ in 0..5 {
            let (cluster, waits, answers) = (&cluster, &waits, answers.clone());
            scope.spawn(move || answers.send(post(cluster, waits, json!({}))));
        }
        let refused = answered.recv_timeout(PATIENCE).unwrap();
        // The others get what they wait for.
        for number in 0..4 {
            submit(&cluster, ask("s", json!([number])));
        }
        for _ in 0..4 {
            said(&answered.recv_timeout(PATIENCE).unwrap(), &[201]);
        }
        refused
    });
    assert_problem(&told, 429, "too_many_streams");
    assert_little_grown(&cluster, before);
}

#[test]
fn streams_that_are_given_up_at_once_are_not_served_for_ever() {
    let files = Files::new();
    let cluster = over_tls(&files, "");
    assert_alive(&cluster);
    let before = memory(&cluster);
    let mut client = Http2Client::connect(address(&cluster), Authority::shared());
    let cancelled = 8_u32.to_be_bytes();
    for number in 0..5000_u32 {
        let stream = 2 * number + 1;
        if !client.request(END_STREAM, stream, "GET", &api("/jobs"))
            || !client.send(kind::RST_STREAM, 0, stream, &cancelled)
        {
            break;
        }
    }
    assert_alive(&cluster);
    // Either the connection was given up, or all of it is behind it.
    if client.request(END_STREAM, 20_001, "GET", "/healthz") {
        let last = client.find(|frame| {
            frame.kind == kind::GOAWAY || (frame.kind == kind::DATA && frame.stream == 20_001)
        });
        drop(last);
    }
    assert_little_grown(&cluster, before);
}

#[test]
fn a_head_without_end_is_not_collected_for_ever() {
    let files = Files::new();
    let cluster = over_tls(&files, "");
    let mut client = Http2Client::connect(address(&cluster), Authority::shared());
    let begin = head(&[
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", "/healthz"),
    ]);
    assert!(client.send(kind::HEADERS, END_STREAM, 1, &begin));
    let more = head(&[("x", &"y".repeat(16_000))]);
    let before = memory(&cluster);
    // A hundred megabytes and more, as long as they are taken.
    for _ in 0..8000 {
        if !client.send(kind::CONTINUATION, 0, 1, &more) {
            break;
        }
    }
    // The connection is given up, with a word or without.
    let last = client.find(|frame| frame.kind == kind::GOAWAY);
    drop(last);
    assert_little_grown(&cluster, before);
    assert_alive(&cluster);

    // One that is whole and too long is answered, and the connection goes on.
    let mut client = Http2Client::connect(address(&cluster), Authority::shared());
    assert!(client.send(kind::HEADERS, END_STREAM, 1, &begin));
    for _ in 0..2 {
        assert!(client.send(kind::CONTINUATION, 0, 1, &more));
    }
    assert!(client.send(kind::CONTINUATION, END_HEADERS, 1, &more));
    let told = client.find(|frame| frame.stream == 1).expect("an answer");
    assert!(
        [kind::HEADERS, kind::RST_STREAM].contains(&told.kind),
        "{told:?}"
    );
    assert!(client.request(END_STREAM, 3, "GET", "/healthz"));
    let body = client.find(|frame| frame.kind == kind::DATA && frame.stream == 3);
    assert_eq!(body.expect("an answer").payload, b"{\"status\":\"ok\"}");
}

#[test]
fn one_connection_has_so_many_requests_at_once_and_no_more() {
    let files = Files::new();
    let cluster = over_tls(&files, "max_streams_per_peer = 3\n");
    let mut client = Http2Client::connect(address(&cluster), Authority::shared());
    // A job that does not end, by a request of this kind.
    let body = call("silent", json!([])).to_string();
    assert!(client.request(0, 1, "POST", &api("/jobs")));
    assert!(client.send(kind::DATA, END_STREAM, 1, body.as_bytes()));
    let job = client
        .find(|frame| frame.kind == kind::DATA)
        .expect("a job");
    let job: serde_json::Value = serde_json::from_slice(&job.payload).unwrap();
    let path = api(&format!(
        "/jobs/{}/result?wait=60",
        job["id"].as_str().unwrap()
    ));
    for number in 0..300_u32 {
        assert!(client.request(END_STREAM, 2 * number + 3, "GET", &path));
    }
    // Three wait. The others are told that they are too many, or that there are too many
    // streams; nobody is answered by silence.
    let mut told = std::collections::BTreeSet::new();
    while told.len() < 297 {
        let frame = client.find(|frame| {
            let is_answer = frame.kind == kind::DATA || frame.kind == kind::RST_STREAM;
            is_answer && frame.stream > 1
        });
        let frame = frame.expect("the connection goes on");
        if frame.kind == kind::DATA && !frame.payload.is_empty() {
            let text = String::from_utf8_lossy(&frame.payload).into_owned();
            assert!(text.contains("too_many_streams"), "{text}");
        }
        told.insert(frame.stream);
    }
    assert_alive(&cluster);
}

#[test]
fn a_body_that_does_not_come_by_http2_is_answered() {
    let files = Files::new();
    let cluster = over_tls(&files, "request_timeout = 3\n");
    let mut client = Http2Client::connect(address(&cluster), Authority::shared());
    let begun = Instant::now();
    assert!(client.request(0, 1, "POST", &api("/jobs")));
    assert!(client.send(kind::DATA, 0, 1, b"{"));
    // The connection goes on meanwhile.
    assert!(client.request(END_STREAM, 3, "GET", "/healthz"));
    let alive = client
        .find(|frame| frame.kind == kind::DATA)
        .expect("an answer");
    assert_eq!(alive.stream, 3);
    let late = client
        .find(|frame| frame.kind == kind::DATA)
        .expect("an answer");
    let problem: serde_json::Value = serde_json::from_slice(&late.payload).unwrap();
    assert_eq!(problem["status"], 408, "{problem}");
    assert!(begun.elapsed() >= Duration::from_millis(2900));
}

#[test]
fn an_answer_by_http2_for_which_no_room_is_made_is_given_up() {
    let files = Files::new();
    let cluster = over_tls(&files, "write_timeout = 1\n");
    let mut client = Http2Client::connect(address(&cluster), Authority::shared());
    let body = call("count", json!(["10"])).to_string();
    assert!(client.request(0, 1, "POST", &api("/jobs")));
    assert!(client.send(kind::DATA, END_STREAM, 1, body.as_bytes()));
    let job = client
        .find(|frame| frame.kind == kind::DATA)
        .expect("a job");
    let job: serde_json::Value = serde_json::from_slice(&job.payload).unwrap();
    // From now on a stream has room for ten bytes, and never more (INITIAL_WINDOW_SIZE).
    assert!(client.send(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 10]));
    let begun = Instant::now();
    let path = api(&format!("/jobs/{}/events", job["id"].as_str().unwrap()));
    assert!(client.request(END_STREAM, 3, "GET", &path));
    let begin = client
        .find(|frame| frame.kind == kind::DATA)
        .expect("its beginning");
    assert_eq!((begin.stream, &*begin.payload), (3, &b"retry: 200"[..]));
    let more = client.find(|frame| frame.kind == kind::DATA);
    assert!(more.is_none(), "{more:?}");
    assert!(begun.elapsed() >= Duration::from_millis(900));
    assert_alive(&cluster);
}

#[test]
fn a_flood_of_pings_and_settings_delays_nobody() {
    let files = Files::new();
    let cluster = over_tls(&files, "");
    let mut client = Http2Client::connect(address(&cluster), Authority::shared());
    for number in 0..3000_u64 {
        if !client.send(kind::PING, 0, 0, &number.to_be_bytes())
            || !client.send(kind::SETTINGS, 0, 0, &[])
        {
            break;
        }
    }
    // None of it is read here: what the dispatcher answers has nowhere to go.
    assert_alive(&cluster);
    drop(client);
}

#[test]
fn what_was_answered_exists_after_a_crash_and_what_was_not_is_made_once() {
    let fixed = harp_tests::unused_address();
    let tables = format!("[[listen_http]]\naddress = '{fixed}'\nrequire_authentication = false\n");
    let mut cluster = Cluster::builder().hosts(0).tables(&tables).start();
    let request = |round: u32, number: u32| {
        let body = json!({"host": "nowhere", "procedure": "p", "info": number});
        let key = format!("\"{round}-{number}\"");
        HttpRequest::post(&api("/jobs"), body).header("Idempotency-Key", &key)
    };
    let ask = |request: &HttpRequest| {
        let answer = harp_tests::until("it has started", || {
            let answer = HttpClient::try_connect(fixed)?.try_ask(request)?;
            (answer.status() != 503).then_some(answer)
        });
        (answer.status(), answer.json()["id"].clone())
    };
    for round in 0..4 {
        let submitting = std::thread::spawn(move || {
            let mut made = Vec::new();
            let mut client = HttpClient::connect(fixed);
            while let Some(answer) = client.try_ask(&request(round, made.len() as u32)) {
                assert_eq!(answer.status(), 201, "{}", answer.text());
                made.push(answer.json()["id"].clone());
            }
            made
        });
        std::thread::sleep(Duration::from_millis(100 + 70 * u64::from(round)));
        cluster.kill_dispatcher();
        let made = submitting.join().unwrap();
        cluster.start_dispatcher();
        for (number, id) in (0..).zip(&made) {
            // Once by its id, once by its key.
            let path = api(&format!("/jobs/{}", id.as_str().unwrap()));
            assert_eq!(ask(&HttpRequest::get(&path)), (200, id.clone()));
            if number % 8 == 0 {
                assert_eq!(ask(&request(round, number)), (200, id.clone()));
            }
        }
        // The one that was not answered is there or not; made again it is one job.
        let last = made.len() as u32;
        let (status, id) = ask(&request(round, last));
        assert!([200, 201].contains(&status), "{status}");
        assert_eq!(ask(&request(round, last)), (200, id.clone()));
        let path = api(&format!("/jobs?key={round}-{last}"));
        let listed = HttpRequest::get(&path).ask(fixed).json();
        assert_eq!(listed["jobs"].as_array().unwrap().len(), 1, "{listed}");
        assert_eq!(listed["jobs"][0]["id"], id);
    }
}
