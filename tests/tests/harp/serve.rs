//! `harp serve`: a worker whose jobs a command answers.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use harp_tests::{Cluster, HttpClient, HttpRequest, refusing_address, until};
use rustix::process::{Pid, Signal, test_kill_process};
use serde_json::{Value, json};

use crate::command::{Done, Harp};

/// A service of a dispatcher that listens for HTTP, on a Unix socket too: that stays where it
/// is over restarts.
struct Service {
    cluster: Cluster,
    directory: tempfile::TempDir,
}

impl Service {
    fn new() -> Service {
        Service::with(&json!({"name": "s"}))
    }

    fn with(body: &Value) -> Service {
        let directory = tempfile::tempdir().unwrap();
        let tables = format!(
            "[[listen_http]]\npath = '{}'\nrequire_authentication = false\n\
             [[listen_http]]\naddress = '127.0.0.1:0'\nrequire_authentication = false\n",
            directory.path().join("http").display()
        );
        let cluster = Cluster::builder().tables(&tables).hosts(0).start();
        let service = Service { cluster, directory };
        service.post("/services", body);
        service
    }

    fn url(&self) -> String {
        format!("unix:{}", self.directory.path().join("http").display())
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let answer = HttpRequest::post(&format!("/api/v1{path}"), body);
        let answer = answer.ask(self.cluster.http_address());
        assert!(answer.status() < 300, "{}", answer.text());
        answer.json()
    }

    fn get(&self, path: &str) -> Value {
        let answer = HttpRequest::get(&format!("/api/v1{path}")).ask(self.cluster.http_address());
        assert_eq!(answer.status(), 200, "{}", answer.text());
        answer.json()
    }

    /// Calls the service; the job's id.
    fn submit(&self, arguments: Value) -> String {
        let call = json!({"host": "topchef", "procedure": "s", "arguments": arguments});
        let job = self.post("/jobs", &call);
        job["id"].as_str().unwrap().to_owned()
    }

    fn job(&self, id: &str) -> Value {
        self.get(&format!("/jobs/{id}"))
    }

    /// Waits for a job's end.
    fn result(&self, id: &str) -> Value {
        until("the job ends", || {
            let job = self.job(id);
            (job["state"] == "ended").then_some(())
        });
        self.get(&format!("/jobs/{id}/result"))
    }

    fn packets(&self, id: &str) -> Vec<Value> {
        let packets = self.get(&format!("/jobs/{id}/packets"));
        let packets = packets["packets"].as_array().unwrap().iter();
        packets.map(|packet| packet["data"].clone()).collect()
    }

    /// The worker, not started yet.
    fn serve(&self, options: &[&str], command: &[&str]) -> Harp {
        let url = self.url();
        let mut line = vec!["serve", "--url", &url, "s"];
        line.extend(options);
        line.push("--");
        line.extend(command);
        Harp::new(&line)
    }

    fn serve_script(&self, options: &[&str], script: &str) -> Harp {
        self.serve(options, &["sh", "-c", script])
    }

    fn file(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }
}

fn number_in(file: &str) -> Pid {
    let number = until("the command has begun", || {
        let text = fs::read_to_string(file).ok()?;
        text.trim().parse().ok()
    });
    Pid::from_raw(number).unwrap()
}

fn wait_gone(process: Pid) {
    until("the command is gone", || {
        test_kill_process(process).is_err().then_some(())
    });
}

#[test]
fn the_command_answers_each_job() {
    let service = Service::new();
    let (first, second) = (
        service.submit(json!([7])),
        service.submit(json!({"a": 1.50})),
    );
    let script = "read arguments; echo \"got $arguments\"; echo \"$HARP_SERVICE $HARP_JOB\"";
    let done = service.serve_script(&["--jobs", "2", "--name", "bench 7"], script);
    done.run().expect(0).says(&[&first, "returned"]);
    for (id, got) in [(&first, "got [7]"), (&second, r#"got {"a":1.5}"#)] {
        assert_eq!(service.result(id), json!({"result": {"exit_code": 0}}));
        assert_eq!(service.packets(id), [json!(got), json!(format!("s {id}"))]);
    }
}

#[test]
fn output_becomes_what_the_mode_says() {
    let service = Service::new();
    for (mode, script, packets, end) in [
        ("json", "cat", json!([]), json!({"result": [1]})),
        (
            "text",
            "echo a; echo b",
            json!([]),
            json!({"result": "a\nb\n"}),
        ),
        (
            "json-lines",
            "echo 1.5; echo '[2]'",
            json!([1.5, [2]]),
            json!({"result": null}),
        ),
        (
            "harp",
            "echo '{\"stream\": 1}'; echo '{\"result\": {\"a\": 2}}'",
            json!([1]),
            json!({"result": {"a": 2}}),
        ),
    ] {
        let id = service.submit(json!([1]));
        let done = service.serve_script(&["--jobs", "1", "--output", mode], script);
        done.run().expect(0);
        assert_eq!(service.result(&id), end, "{mode}");
        assert_eq!(json!(service.packets(&id)), packets, "{mode}");
    }
}

#[test]
fn a_command_that_fails_is_an_exception_and_the_worker_goes_on() {
    let service = Service::with(&json!({"name": "s", "result_schema": {"type": "array"}}));
    let jobs =
        ["exit", "kill", "garbage", "schema", "good"].map(|how| service.submit(json!([how])));
    let script = "read arguments; case $arguments in
        *exit*) echo too hot >&2; exit 3;;
        *kill*) kill -9 $$;;
        *garbage*) echo '{';;
        *schema*) echo '{}';;
        *) echo '[]';;
        esac";
    let done = service.serve_script(&["--jobs", "5", "--output", "json", "--json"], script);
    let done = done.run().expect(0);
    let ends = jobs.each_ref().map(|id| service.result(id));
    let told = ends.each_ref().map(|end| end["exception"]["type"].clone());
    assert_eq!(
        told,
        ["exit_status", "signal", "invalid_output", "invalid_result"]
            .map(Value::from)
            .into_iter()
            .chain([Value::Null])
            .collect::<Vec<_>>()[..]
    );
    assert_eq!(ends[0]["exception"]["message"], "too hot");
    assert_eq!(
        ends[0]["exception"]["data"],
        json!({"exit_code": 3, "stderr": "too hot\n"})
    );
    assert_eq!(ends[1]["exception"]["data"]["signal"], "SIGKILL");
    assert_eq!(ends[3]["exception"]["data"]["errors"][0]["keyword"], "type");
    assert_eq!(ends[4], json!({"result": []}));
    let events = done.events();
    assert_eq!(events.len(), 10, "{events:?}");
    assert_eq!(
        events[0],
        json!({"event": "claimed", "job": jobs[0], "service": "s"})
    );
    assert_eq!(events[9]["outcome"], "returned");
}

#[test]
fn an_interrupt_finishes_the_job_at_hand() {
    let service = Service::new();
    let (pid, go) = (service.file("pid"), service.file("go"));
    let script = format!("echo $$ > {pid}; until test -e {go}; do sleep 0.05; done; echo done");
    let (first, second) = (service.submit(json!([1])), service.submit(json!([2])));
    let worker = service.serve_script(&[], &script).start();
    number_in(&pid);
    worker.signal(Signal::INT);
    fs::write(&go, "").unwrap();
    let done: Done = worker.finish().expect(0);
    assert!(done.err.contains("ends when its job has"), "{done:?}");
    assert_eq!(service.packets(&first), [json!("done")]);
    assert_eq!(
        service.job(&second)["state"],
        "queued",
        "nobody has fetched it"
    );
}

#[test]
fn a_second_interrupt_ends_the_job() {
    let service = Service::new();
    let (pid, child) = (service.file("pid"), service.file("child"));
    let script = format!("sleep 600 & echo $! > {child}; echo $$ > {pid}; wait");
    let id = service.submit(json!([]));
    let worker = service.serve_script(&["--json"], &script).start();
    let (shell, sleep) = (number_in(&pid), number_in(&child));
    // Two that are told apart, so that neither is lost in the other.
    worker.signal(Signal::INT);
    worker.signal(Signal::TERM);
    worker.finish().expect(130);
    assert_eq!(service.result(&id)["exception"]["type"], "interrupted");
    wait_gone(shell);
    wait_gone(sleep);
}

#[test]
fn a_worker_without_a_job_ends_at_once() {
    let service = Service::new();
    let worker = service.serve(&[], &["cat"]).start();
    until("the worker asks", || {
        (service.get("/services")["services"][0]["workers"] == 1).then_some(())
    });
    worker.signal(Signal::TERM);
    worker.finish().expect(0);
}

#[test]
fn a_cancel_ends_the_command_and_the_worker_goes_on() {
    let service = Service::new();
    let pid = service.file("pid");
    let script = format!("read a; test \"$a\" = '[2]' && exit; echo $$ > {pid}; exec sleep 600");
    let (first, second) = (service.submit(json!([1])), service.submit(json!([2])));
    let worker = service.serve_script(&["--jobs", "2"], &script).start();
    let command = number_in(&pid);
    service.post(&format!("/jobs/{first}/cancel"), &json!({}));
    worker.finish().expect(0).says(&["had ended otherwise"]);
    wait_gone(command);
    assert_eq!(service.result(&first), json!({"cancelled": true}));
    assert_eq!(service.result(&second), json!({"result": {"exit_code": 0}}));
}

#[test]
fn what_a_command_leaves_behind_does_not_hold_its_job() {
    let service = Service::new();
    let pid = service.file("pid");
    let script = format!("sleep 600 & echo $! > {pid}; echo said");
    let id = service.submit(json!([]));
    service
        .serve_script(&["--jobs", "1"], &script)
        .run()
        .expect(0);
    assert_eq!(service.packets(&id), [json!("said")]);
    wait_gone(number_in(&pid));
}

#[test]
fn a_dispatcher_that_is_killed_interrupts_no_command() {
    let mut service = Service::new();
    let (pid, go) = (service.file("pid"), service.file("go"));
    let step =
        |number: u32| format!("until test -e {go}{number}; do sleep 0.05; done; echo {number}; ");
    let script = format!("echo $$ > {pid}; echo 0; {}{}{}", step(1), step(2), step(3));
    let id = service.submit(json!([]));
    let worker = service.serve_script(&["--jobs", "1"], &script).start();
    number_in(&pid);
    let shows = |service: &Service, count: usize| {
        until("the packets are there", || {
            (service.packets(&id).len() == count).then_some(())
        });
    };
    shows(&service, 1);
    for number in 1..=3 {
        service.cluster.kill_dispatcher();
        // Said while nobody listens.
        fs::write(format!("{go}{number}"), "").unwrap();
        service.cluster.start_dispatcher();
        shows(&service, number + 1);
    }
    worker.finish().expect(0);
    assert_eq!(
        service.packets(&id),
        [0, 1, 2, 3].map(|number| json!(number.to_string()))
    );
    assert_eq!(service.result(&id), json!({"result": {"exit_code": 0}}));
}

#[test]
fn two_workers_never_swap_their_jobs() {
    let service = Service::new();
    let jobs: Vec<_> = (0..20)
        .map(|number| service.submit(json!([number])))
        .collect();
    let start = |name| {
        let options = ["--jobs", "10", "--output", "json", "--name", name];
        service.serve(&options, &["cat"]).start()
    };
    let workers = [start("one"), start("two")];
    for worker in workers {
        worker.finish().expect(0);
    }
    for (number, id) in jobs.iter().enumerate() {
        assert_eq!(service.result(id), json!({"result": [number]}));
    }
}

/// A way to a dispatcher on which the first answer to each verb of a worker is lost, and with it
/// its connection.
struct LosingWay {
    address: SocketAddr,
    lost: Arc<Mutex<BTreeSet<String>>>,
}

impl LosingWay {
    fn to(dispatcher: SocketAddr) -> LosingWay {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let lost = Arc::default();
        let losing = Arc::clone(&lost);
        thread::spawn(move || {
            for worker in listener.incoming().flatten() {
                let lost = Arc::clone(&losing);
                thread::spawn(move || pass_on(BufReader::new(worker), dispatcher, &lost));
            }
        });
        LosingWay { address, lost }
    }
}

/// Passes requests on, and answers back, until an answer is lost or either side has gone.
fn pass_on(
    mut worker: BufReader<TcpStream>,
    dispatcher: SocketAddr,
    lost: &Mutex<BTreeSet<String>>,
) -> Option<()> {
    let line = |worker: &mut BufReader<TcpStream>| {
        let mut line = String::new();
        worker.read_line(&mut line).ok()?;
        let line = line.trim_end();
        (!line.is_empty()).then(|| line.to_owned())
    };
    loop {
        let first = line(&mut worker)?;
        let target = first.split(' ').nth(1)?.to_owned();
        let mut headers = Vec::new();
        while let Some(header) = line(&mut worker) {
            let (name, value) = header.split_once(": ")?;
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        let header = |wanted: &str| headers.iter().find(|(name, _)| name == wanted);
        let length = header("content-length").map_or(Some(0), |(_, length)| length.parse().ok());
        let mut body = vec![0; length?];
        worker.read_exact(&mut body).ok()?;
        let mut request = HttpRequest::post(&target, String::from_utf8(body).ok()?);
        if let Some((_, key)) = header("idempotency-key") {
            request = request.header("Idempotency-Key", key);
        }
        let answer = HttpClient::try_connect(dispatcher)?.try_ask(&request)?;
        let verb = target.split('?').next()?.rsplit('/').next()?;
        if lost.lock().unwrap().insert(verb.to_owned()) {
            return None;
        }
        let (status, length) = (answer.status(), answer.body.len());
        let head = format!("HTTP/1.1 {status} -\r\nContent-Length: {length}\r\n\r\n");
        let answer = [head.as_bytes(), &answer.body].concat();
        worker.get_mut().write_all(&answer).ok()?;
    }
}

#[test]
fn an_answer_that_was_lost_is_asked_for_again_and_nothing_is_done_twice() {
    let service = Service::new();
    let (first, second) = (service.submit(json!([1])), service.submit(json!([2])));
    let way = LosingWay::to(service.cluster.http_address());
    let url = format!("http://{}", way.address);
    let ran = service.file("ran");
    let script = format!("cat; echo $HARP_JOB >> {ran}");
    let line = [
        "serve", "--url", &url, "s", "--jobs", "1", "--", "sh", "-c", &script,
    ];
    Harp::new(&line).run().expect(0);
    assert_eq!(service.result(&first), json!({"result": {"exit_code": 0}}));
    assert_eq!(service.packets(&first), [json!("[1]")]);
    assert_eq!(fs::read_to_string(ran).unwrap(), format!("{first}\n"));
    // The answer that was lost was to the question for that job, and not for another.
    assert_eq!(service.job(&second)["state"], "queued");
    let lost = way.lost.lock().unwrap();
    let verbs: Vec<_> = lost.iter().map(String::as_str).collect();
    assert!(
        ["claims", "finish", "packets"]
            .iter()
            .all(|verb| verbs.contains(verb)),
        "{verbs:?}"
    );
}

#[test]
fn what_cannot_work_is_said_at_once() {
    let nobody = format!("http://{}", refusing_address());
    let serve = |words: &[&str]| {
        let mut line = vec!["serve"];
        line.extend(words);
        Harp::new(&line).run()
    };
    serve(&["--url", &nobody, "s", "--", "cat"])
        .expect(6)
        .says(&["listen_http", "--url"]);
    serve(&["--url", &nobody, "s", "--", "no-such-command-here"])
        .expect(2)
        .says(&["no-such-command-here", "no such command"]);
    serve(&["--url", "https://127.0.0.1:1", "s", "--", "cat"])
        .expect(2)
        .says(&["--ca-file"]);
    serve(&["--url", "web:3580", "s", "--", "cat"])
        .expect(2)
        .says(&["http://"]);
    let service = Service::new();
    assert!(Path::new(&service.file("http")).exists());
    let unknown = Harp::new(&["serve", "nothing", "--", "cat"]);
    unknown
        .env("HARPCALLER_URL", &service.url())
        .run()
        .expect(7)
        .says(&["unknown_service", "no service with this id"]);
    // A listener of the client protocol.
    let other = format!("http://{}", service.cluster.address());
    serve(&["--url", &other, "s", "--", "cat"]).expect(6);
}
