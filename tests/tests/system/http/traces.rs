//! Traces, with a collector of our own (section 13; acceptance 16).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use harp_tests::{Cluster, HttpRequest, ask, until};
use serde_json::{Value, json};

use super::{OPEN, address, api, call, get, post, result, submit};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn traceparent() -> String {
    format!("00-{TRACE}-00f067aa0ba902b7-01")
}

/// A collector that keeps the bodies of what it is sent.
struct Collector {
    address: SocketAddr,
    bodies: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Collector {
    fn start() -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&bodies);
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                // One that is broken is the dispatcher's to try again.
                if let Some(body) = socket.ok().and_then(take) {
                    kept.lock().unwrap().push(body);
                }
            }
        });
        Collector { address, bodies }
    }

    fn tables(&self, rest: &str) -> String {
        format!(
            "{OPEN}[traces]\nendpoint = \"http://{}\"\n{rest}",
            self.address
        )
    }

    /// Waits until a body has all of these in it, at a time.
    fn wait_for(&self, texts: &[&[u8]]) {
        until("the spans have come", || {
            let bodies = self.bodies.lock().unwrap();
            let has = |text: &[u8]| {
                bodies
                    .iter()
                    .any(|body| body.windows(text.len()).any(|window| window == text))
            };
            texts.iter().all(|text| has(text)).then_some(())
        });
    }

    fn has(&self, text: &[u8]) -> bool {
        let bodies = self.bodies.lock().unwrap();
        bodies
            .iter()
            .any(|body| body.windows(text.len()).any(|window| window == text))
    }
}

/// Takes one request, and answers it.
fn take(socket: TcpStream) -> Option<Vec<u8>> {
    let mut reader = BufReader::new(socket);
    let (mut length, mut line) = (0, String::new());
    reader.read_line(&mut line).ok()?;
    assert!(line.starts_with("POST /v1/traces HTTP/1.1"), "{line}");
    let mut is_protobuf = false;
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let head = line.trim().to_ascii_lowercase();
        if head.is_empty() {
            break;
        }
        if let Some(text) = head.strip_prefix("content-length:") {
            length = text.trim().parse().ok()?;
        }
        is_protobuf |= head == "content-type: application/x-protobuf";
    }
    assert!(is_protobuf);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    reader.get_mut().write_all(answer).ok()?;
    Some(body)
}

fn trace_bytes() -> Vec<u8> {
    let bytes = (0..TRACE.len()).step_by(2);
    let bytes = bytes.map(|at| u8::from_str_radix(&TRACE[at..at + 2], 16).unwrap());
    bytes.collect()
}

fn traced(cluster: &Cluster, body: &Value) -> Value {
    let answer = HttpRequest::post(&api("/jobs"), body)
        .header("traceparent", &traceparent())
        .ask(address(cluster));
    assert_eq!(answer.status(), 201, "{}", answer.text());
    answer.json()
}

#[test]
fn a_job_is_part_of_the_trace_that_its_call_brings() {
    let cluster = Cluster::builder().tables(OPEN).start();
    let job = traced(&cluster, &call("echo", json!([])));
    assert_eq!(job["trace"], traceparent());
    let mut named = call("echo", json!([]));
    named["traceparent"] = json!(traceparent());
    let job = submit(&cluster, &named);
    assert_eq!(
        get(&cluster, &format!("/jobs/{job}")).json()["trace"],
        traceparent()
    );
    named["traceparent"] = json!("00-0-0-0");
    let job = submit(&cluster, &named);
    assert_eq!(
        get(&cluster, &format!("/jobs/{job}")).json()["trace"],
        json!(null)
    );
    let wire = ask(
        cluster.address(),
        json!({
            "harpcaller": 1, "host": "web01", "procedure": "echo", "arguments": [],
            "traceparent": traceparent(), "start_by": 60,
        }),
    );
    let job = wire["job_id"].as_str().unwrap();
    result(&cluster, job);
    let job = get(&cluster, &format!("/jobs/{job}")).json();
    assert_eq!(
        (&job["trace"], &job["start_by"]),
        (&json!(traceparent()), &json!(60))
    );
    assert!(cluster.log().text().matches(TRACE).count() >= 3);
}

#[test]
fn spans_come_to_the_collector_also_after_a_restart() {
    let collector = Collector::start();
    let tables = collector.tables("sample = 0\nservice_name = \"shop\"\n");
    let mut cluster = Cluster::builder().tables(&tables).start();
    let queue = json!({"name": {"q": "traced"}, "concurrency": 1});
    let mut feed = cluster.feed("gate");
    let arguments = serde_json::from_str(&feed.arguments()).unwrap();
    let mut first = call("gate", arguments);
    first["queue"] = queue.clone();
    let first = submit(&cluster, &first);
    let mut second = call("echo", json!([]));
    second["queue"] = queue;
    let second = traced(&cluster, &second);
    assert_eq!(second["state"], "queued");
    until("the gate is waited at", || feed.is_read().then_some(()));
    cluster.restart_dispatcher();
    // Its end ends the call that waits there.
    drop(feed);
    let second = second["id"].as_str().unwrap().to_owned();
    assert_eq!(result(&cluster, &second), json!({"result": []}));
    collector.wait_for(&[
        &trace_bytes(),
        b"wait {\"q\":\"traced\"}",
        b"rpc.method",
        b"echo",
        second.as_bytes(),
        b"POST /api/v1/jobs",
        b"http.route",
        b"shop",
    ]);
    // Nobody has asked for a trace of the first one, and none is begun.
    assert!(!collector.has(first.as_bytes()));
}

/// What a call's process is told of its job and of its trace.
fn told_to_procedure(cluster: &Cluster, body: &Value) -> (String, String, String) {
    let job = traced(cluster, body)["id"].as_str().unwrap().to_owned();
    let told = result(cluster, &job);
    let told = told["result"].as_str().unwrap_or_else(|| panic!("{told}"));
    let (id, place) = told.trim_end().split_once(' ').unwrap();
    (job, id.to_owned(), place.to_owned())
}

fn with_origin(tables: &str) -> harp_tests::ClusterBuilder {
    let script = "echo \"${HARP_JOB-none} ${TRACEPARENT-none}\"";
    let builder = Cluster::builder().tables(tables);
    builder.procedure("origin", "output = 'text'", script)
}

#[test]
fn a_procedure_is_told_of_its_job_and_of_its_place_in_the_trace() {
    let collector = Collector::start();
    let mut cluster = with_origin(&collector.tables("")).start();
    let origin = call("origin", json!([]));
    for round in 0..2 {
        let (job, id, place) = told_to_procedure(&cluster, &origin);
        assert_eq!(id, job);
        // It stands below the span of the call, which the collector gets.
        let parts: Vec<&str> = place.split('-').collect();
        assert_eq!(
            (parts[0], parts[1], parts[3]),
            ("00", TRACE, "01"),
            "{place}"
        );
        assert_ne!(parts[2], "00f067aa0ba902b7");
        let span = u64::from_str_radix(parts[2], 16).unwrap();
        collector.wait_for(&[&span.to_be_bytes()]);
        if round == 0 {
            // Another life of harpd says anew what it takes.
            cluster.stop_host("web01");
            cluster.start_host("web01");
        }
    }
    // A call that is part of no trace says nothing of one.
    let cluster = with_origin(OPEN).start();
    let job = submit(&cluster, &origin);
    let told = result(&cluster, &job);
    assert_eq!(told["result"], format!("{job} none\n"));
    // Where no spans are sent, its caller's span is the one above.
    let (_, _, place) = told_to_procedure(&cluster, &origin);
    assert_eq!(place, traceparent());
}

#[test]
fn a_host_that_keeps_no_calls_is_told_of_neither() {
    let cluster = with_origin(OPEN).unkept().start();
    let (_, id, place) = told_to_procedure(&cluster, &call("origin", json!([])));
    assert_eq!((id.as_str(), place.as_str()), ("none", "none"));
}

#[test]
fn what_brings_no_trace_may_begin_one() {
    let collector = Collector::start();
    let cluster = Cluster::builder().tables(&collector.tables("")).start();
    let job = submit(&cluster, call("fail", json!(["1", "x"])));
    result(&cluster, &job);
    let trace = get(&cluster, &format!("/jobs/{job}")).json()["trace"].clone();
    assert!(
        trace.as_str().is_some_and(|trace| trace.len() == 55),
        "{trace}"
    );
    collector.wait_for(&[job.as_bytes(), b"error.type"]);
    let wire = ask(
        cluster.address(),
        json!({"harpcaller": 1, "host": "web01", "procedure": "echo", "arguments": []}),
    );
    collector.wait_for(&[wire["job_id"].as_str().unwrap().as_bytes()]);
    assert!(!collector.has(b"readyz"));
}

#[test]
fn a_collector_that_is_gone_slows_nothing() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = gone.local_addr().unwrap();
    drop(gone);
    let tables = format!("{OPEN}[traces]\nendpoint = \"http://{address}\"\n");
    let cluster = Cluster::builder().tables(&tables).start();
    for number in 0..20 {
        let answer = post(&cluster, "/jobs?wait=30", call("echo", json!([number])));
        assert_eq!(answer.json()["end"]["result"], json!([number]));
    }
    until("losses are counted", || {
        let metrics = HttpRequest::get("/metrics")
            .ask(super::address(&cluster))
            .text();
        let line = metrics
            .lines()
            .find(|line| line.starts_with("harpcaller_trace_spans_lost_total "));
        (line? != "harpcaller_trace_spans_lost_total 0").then_some(())
    });
    // It is said once, however often spans are lost.
    let told = "the collector takes no spans; they are lost";
    let _ = cluster.log().wait_for(told);
    assert_eq!(cluster.log().count(told), 1);
}
