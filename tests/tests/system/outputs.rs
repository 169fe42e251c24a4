//! Standard output of the dispatcher's commands as other processes have left them.

use std::io::Read;
use std::process::Stdio;

use harp_tests::{Cluster, until};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use serde_json::{Value, json};

/// How many jobs there are.
const JOBS: usize = 25;

#[test]
fn a_non_blocking_output_loses_nothing_of_a_list() {
    let cluster = Cluster::builder().hosts(0).start();
    let caller = cluster.caller();
    let text = "x".repeat(4000);
    let jobs: Vec<String> = (0..JOBS)
        .map(|_| caller.call("nowhere", "p", &json!([text]).to_string()))
        .collect();
    for job in &jobs {
        let _ = caller.result(job);
    }
    let all = |arguments: &[&str]| {
        let (reader, writer) = std::io::pipe().unwrap();
        rustix::fs::fcntl_setfl(&writer, OFlags::NONBLOCK).unwrap();
        let full = writer.try_clone().unwrap();
        let mut command = cluster.command();
        command.args(arguments).stderr(Stdio::null());
        let mut child = command.stdout(Stdio::from(writer)).spawn().unwrap();
        // The command has its own end of the pipe alone once this is gone.
        drop(command);
        until("the pipe is full", || {
            let mut can_be_written = [PollFd::new(&full, PollFlags::OUT)];
            let ready = poll(&mut can_be_written, Some(&Timespec::default())).unwrap();
            (ready == 0).then_some(())
        });
        drop(full);
        let mut got = Vec::new();
        (&reader).read_to_end(&mut got).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{arguments:?}");
        got
    };
    let listed = String::from_utf8(all(&["list", "--all"])).unwrap();
    let listed = listed.lines().map(|line| {
        let line: Value = serde_json::from_str(line).unwrap();
        line["job"].as_str().unwrap().to_owned()
    });
    let mut listed: Vec<String> = listed.collect();
    listed.sort_unstable();
    let mut jobs = jobs;
    jobs.sort_unstable();
    assert_eq!(listed, jobs);
}

#[test]
fn a_reader_of_a_list_that_has_seen_enough_is_no_failure() {
    let cluster = Cluster::builder().hosts(0).start();
    for arguments in [
        &["list", "--all"][..],
        &["status"],
        &["completions", "bash"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = cluster.command();
        let status = command.args(arguments).stdout(Stdio::from(writer)).status();
        assert_eq!(status.unwrap().code(), Some(0), "{arguments:?}");
    }
}
