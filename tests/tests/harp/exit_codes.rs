//! Each exit code of harp(1). Usage errors are in `bad_input.rs`, an unreachable
//! dispatcher too.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::thread;

use harp_tests::{Cluster, unique_address};

use crate::command::{Harp, detached, path};

const NO_JOB: &str = "8ec71d6b-28d1-4ce2-aa23-f3ea7887beda";

#[test]
fn what_a_procedure_did_is_told_by_the_exit_code() {
    let cluster = Cluster::start();
    let call = |line: &[&str]| Harp::of(&cluster, &[&["call"], line].concat()).run();
    let done = call(&["web01", "echo"]).expect(0);
    assert_eq!(done.out, "[]\n");
    call(&["web01", "fail", "3", "oh no"])
        .expect(1)
        .says(&["exception: exit_status: oh no"]);
    // Packets are printed before.
    let done = call(&["web01", "fail_streaming", "3", "oh no"]).expect(1);
    assert_eq!(done.out, "one\ntwo\n");
    call(&["nobody", "echo"])
        .expect(3)
        .says(&["error: unknown_host", "nobody"]);
}

#[test]
fn a_job_that_goes_on_is_told_by_the_exit_code_and_so_is_its_cancel() {
    let cluster = Cluster::start();
    let mut feed = cluster.feed("feed");
    let job = detached(&cluster, &["web01", "feed", &path(&feed)]);
    let harp = |line: &[&str]| Harp::of(&cluster, line).run();
    feed.wait_read();
    harp(&["result", &job])
        .expect(5)
        .says(&["has not ended", "harp follow"]);
    harp(&["stream", &job]).expect(5);
    let done = harp(&["status", &job]).expect(0);
    assert!(done.out.contains("state      running for"), "{done:#?}");

    let following = Harp::of(&cluster, &["follow", &job]).start();
    harp(&["cancel", "--confirm", &job])
        .expect(0)
        .says(&["nothing of the call is left"]);
    following.finish().expect(4).says(&["cancelled"]);
    feed.wait_abandoned();

    harp(&["result", &job]).expect(4);
    harp(&["cancel", &job])
        .expect(8)
        .says(&["nothing to cancel"]);
    let done = harp(&["status", &job]).expect(0);
    assert!(done.out.contains("state      ended"), "{done:#?}");
}

#[test]
fn a_refusal_is_told_by_the_exit_code() {
    let cluster = Cluster::start();
    for verb in ["follow", "stream", "result", "status"] {
        Harp::of(&cluster, &[verb, NO_JOB])
            .run()
            .expect(7)
            .says(&["invalid_jobid", "came from HARPCALLER"]);
    }
}

#[test]
fn output_that_cannot_be_written_is_told_by_the_exit_code() {
    let cluster = Cluster::start();
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let mut harp = Harp::of(&cluster, &["call", "web01", "echo"]);
    let output = harp.command.stdout(full()).output().unwrap();
    assert_eq!(output.status.code(), Some(9));
    assert!(String::from_utf8_lossy(&output.stderr).contains("standard output"));

    // A reader that has had enough, such as head(1), is no reason to complain.
    let mut running = Harp::of(&cluster, &["call", "web01", "busy"]).start();
    assert_eq!(running.line(), "tick");
    running.stop_reading();
    let done = running.finish().expect(9);
    assert_eq!(done.err.lines().count(), 1, "only the job's id: {done:#?}");
}

/// A dispatcher that answers `hello`, and then this to the call; with nothing it goes away.
fn answering(answer: &'static str) -> String {
    let listener = TcpListener::bind((unique_address(), 0)).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut lines = BufReader::new(client.try_clone().unwrap()).lines();
        lines.next().unwrap().unwrap();
        let hello = "{\"harpcaller\":1,\"server\":\"x 1\",\"extensions\":[\"key\"]}\n";
        client.write_all(hello.as_bytes()).unwrap();
        lines.next().unwrap().unwrap();
        client.write_all(answer.as_bytes()).unwrap();
    });
    address
}

#[test]
fn a_call_of_which_nobody_knows_is_told_by_the_exit_code() {
    let error = |outcome: &str| {
        format!(
            "{{\"error\":{{\"type\":\"storage_error\",\"message\":\"full\",\
             \"data\":{{\"outcome\":\"{outcome}\"}}}}}}\n"
        )
    };
    let (unknown, none): (&str, &str) = (error("unknown").leak(), error("none").leak());
    for (answer, code) in [("", 11), (unknown, 11), (none, 7)] {
        let address = answering(answer);
        let line = ["call", "--dispatcher", &address, "web01", "echo"];
        let done = Harp::new(&line).run().expect(code);
        if code == 11 {
            done.says(&["not known whether there is a job", "harp jobs", "--key"]);
        }
    }
    let address = answering("");
    let line = ["call", "--json", "--dispatcher", &address, "web01", "echo"];
    let done = Harp::new(&line).run().expect(11);
    assert!(done.out.contains("\"unknown\""), "{done:#?}");
}
