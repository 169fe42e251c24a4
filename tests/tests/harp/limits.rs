//! Limits of time that were asked for, and those that hold.

use harp_tests::Cluster;
use serde_json::json;

use crate::command::Harp;

#[test]
fn a_limit_above_the_ceiling_is_said_to_be_lowered() {
    let cluster = Cluster::builder().set("max_exec_time", "60").start();
    let call = |options: &[&str]| {
        let line = [&["call", "-q"], options, &["web01", "echo"]].concat();
        Harp::of(&cluster, &line).run().expect(0)
    };
    let done = call(&["--max-exec-time", "15m"]);
    assert_eq!(
        done.err,
        "harp: warning: max_exec_time lowered from 900 s to 60 s by the dispatcher \
         (its max_exec_time)\n"
    );
    call(&["--timeout", "15m"]).says(&["900 s is longer", "after 60 s (its max_exec_time)"]);
    for options in [
        &["--timeout", "60", "--max-exec-time", "1m"][..],
        &["--timeout", "900", "--max-exec-time", "30"],
        &[],
    ] {
        assert_eq!(call(options).err, "", "{options:?}");
    }
}

#[test]
fn programs_are_told_the_limits_that_hold() {
    let cluster = Cluster::builder().set("max_exec_time", "60").start();
    let line = ["call", "--json", "--max-exec-time", "90", "--timeout", "5"];
    let done = Harp::of(&cluster, &[&line[..], &["web01", "echo"]].concat()).run();
    let done = done.expect(0).says(&["lowered from 90 s to 60 s"]);
    let limits = json!({"timeout": 5, "max_exec_time": 60});
    assert_eq!(done.events()[0]["limits"], limits);
}

#[test]
fn one_dispatcher_says_it_once_for_many_hosts() {
    let cluster = Cluster::builder().set("max_exec_time", "60").start();
    let hosts = ["call", "--hosts", "web01,db01", "--max-exec-time", "90"];
    let done = Harp::of(&cluster, &[&hosts[..], &["echo"]].concat()).run();
    assert_eq!(done.err.matches("lowered").count(), 1, "{done:#?}");
}
