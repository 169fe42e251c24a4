//! Ctrl-C.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;

use harp_tests::{Cluster, unique_address, until};
use rustix::process::Signal;

use crate::command::{Harp, job_in, path};
use crate::terminal::{CTRL_C, Terminal};

const QUESTION: &str = "Cancel (c), detach and let it go on (d)";

/// A call on a terminal that has printed a packet and then been asked to stop.
fn interrupted(cluster: &Cluster, feed: &mut harp_tests::Feed) -> Option<Terminal> {
    let line = ["call", "web01", "feed", &path(feed)];
    let mut terminal = Terminal::start(Harp::of(cluster, &line))?;
    feed.send("\"packet 0\"");
    terminal.wait_for("packet 0");
    terminal.press(CTRL_C);
    terminal.wait_for(QUESTION);
    Some(terminal)
}

#[test]
fn on_a_terminal_the_operator_may_detach() {
    let cluster = Cluster::start();
    let mut feed = cluster.feed("feed");
    let Some(mut terminal) = interrupted(&cluster, &mut feed) else {
        return;
    };
    terminal.press("d\n");
    let (code, shown) = terminal.finish();
    assert_eq!(code, 5, "{shown}");
    let job = job_in(&shown);
    assert!(
        shown.contains(&format!("harp follow {job} --since 1")),
        "{shown}"
    );
    feed.send("\"packet 1\"");
    feed.finish();
    // It went on, and is picked up where it was left.
    let done = Harp::of(&cluster, &["follow", &job, "--since", "1"]).run();
    assert_eq!(done.expect(0).out, "packet 1\n");
}

#[test]
fn on_a_terminal_the_operator_may_cancel() {
    let cluster = Cluster::start();
    let mut feed = cluster.feed("feed");
    let Some(mut terminal) = interrupted(&cluster, &mut feed) else {
        return;
    };
    terminal.press("c\n");
    let (code, shown) = terminal.finish();
    assert_eq!(code, 4, "{shown}");
    assert!(shown.contains("cancelled"), "{shown}");
    feed.wait_abandoned();
}

#[test]
fn on_a_terminal_the_operator_may_go_on_and_is_asked_once() {
    let cluster = Cluster::start();
    let mut feed = cluster.feed("feed");
    let Some(mut terminal) = interrupted(&cluster, &mut feed) else {
        return;
    };
    terminal.press("\n");
    feed.send("\"packet 1\"");
    terminal.wait_for("packet 1");
    terminal.press(CTRL_C);
    let (code, shown) = terminal.finish();
    assert_eq!(code, 5, "{shown}");
    assert_eq!(shown.matches(QUESTION).count(), 1, "{shown}");
    assert!(shown.contains("--since 2"), "{shown}");
    feed.finish();
}

#[test]
fn a_second_ctrl_c_detaches_at_once() {
    let cluster = Cluster::start();
    let mut feed = cluster.feed("feed");
    let Some(mut terminal) = interrupted(&cluster, &mut feed) else {
        return;
    };
    terminal.press(CTRL_C);
    let (code, shown) = terminal.finish();
    assert_eq!(code, 5, "{shown}");
    assert!(shown.contains("to pick it up again"), "{shown}");
    feed.finish();
}

#[test]
fn without_a_terminal_the_job_goes_on_unless_told_otherwise() {
    let cluster = Cluster::start();
    for signal in [Signal::INT, Signal::TERM] {
        let mut feed = cluster.feed(&format!("detached {signal:?}"));
        let line = ["call", "web01", "feed", &path(&feed)];
        let mut running = Harp::of(&cluster, &line).start();
        feed.send("1");
        assert_eq!(running.line(), "1");
        running.signal(signal);
        let done = running.finish().expect(5).says(&["to pick it up again"]);
        let job = job_in(&done.err);
        feed.finish();
        Harp::of(&cluster, &["result", "--wait", &job])
            .run()
            .expect(0);
    }
    let mut feed = cluster.feed("cancelled");
    let line = [
        "call",
        "--on-interrupt",
        "cancel",
        "web01",
        "feed",
        &path(&feed),
    ];
    let mut running = Harp::of(&cluster, &line).start();
    feed.send("1");
    assert_eq!(running.line(), "1");
    running.signal(Signal::INT);
    running.finish().expect(4);
    feed.wait_abandoned();
}

#[test]
fn a_dispatcher_that_never_answers_is_given_up_with_the_third() {
    let listener = TcpListener::bind((unique_address(), 0)).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let line = ["call", "--dispatcher", &address, "web01", "echo"];
    let running = Harp::new(&line).start();
    // It listens to signals by the time that it speaks.
    let (dispatcher, _) = listener.accept().unwrap();
    let mut greeting = String::new();
    BufReader::new(&dispatcher)
        .read_line(&mut greeting)
        .unwrap();
    running
        .signal_until_the_end(Signal::INT)
        .expect(130)
        .says(&["given up", "may have been accepted"]);
}

#[test]
fn hosts_that_were_not_called_are_not_called_any_more() {
    let cluster = Cluster::builder().hosts(2).start();
    let mut feed = cluster.feed("feed");
    let path = path(&feed);
    let line = [
        "call",
        "--json",
        "--hosts",
        "web01,web02",
        "--parallel",
        "1",
    ];
    let line = [&line[..], &["--on-interrupt", "cancel", "feed", &path]].concat();
    let mut running = Harp::of(&cluster, &line).start();
    feed.send("1");
    until("the packet is there", || {
        running.line().contains("packet").then_some(())
    });
    running.signal(Signal::INT);
    let done = running.finish().expect(5);
    let events = done.events();
    assert_eq!(events[0]["outcome"], "cancelled", "{events:?}");
    assert_eq!(events[1]["event"], "not_called", "{events:?}");
    assert_eq!(events[1]["host"], "web02", "{events:?}");
    feed.wait_abandoned();
}
