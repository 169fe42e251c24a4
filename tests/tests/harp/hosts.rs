//! Several hosts at once.

use std::fs;

use harp_tests::{Cluster, refusing_address};

use crate::command::Harp;

#[test]
fn each_host_has_its_line_and_the_summary_names_those_that_failed() {
    let cluster = Cluster::builder()
        .hosts(3)
        .other_host("web04", refusing_address())
        .start();
    let list = "web01,web02,web03,web04";
    let line = ["call", "--hosts", list, "say", "one", "two"];
    let done = Harp::of(&cluster, &line).run().expect(3);
    let mut lines: Vec<&str> = done.out.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "web01: one",
            "web01: two",
            "web02: one",
            "web02: two",
            "web03: one",
            "web03: two"
        ]
    );
    for host in ["web01", "web02", "web03"] {
        let begin = format!("returned     {host}");
        let mut ended = done.err.lines().filter(|line| line.starts_with(&begin));
        assert!(ended.next().unwrap().contains("exit_code"), "{done:#?}");
        assert_eq!(ended.next(), None, "{done:#?}");
    }
    let done = done.says(&["error        web04", "network_error", "phase connect"]);
    let summary = done.err.lines().last().unwrap();
    assert_eq!(summary, "4 hosts: 3 returned, 1 error (web04)");

    // A result is printed under its host's name, too.
    let line = ["call", "--quiet", "--hosts", "web01,web02", "echo", "7"];
    let done = Harp::of(&cluster, &line).run().expect(0);
    let mut lines: Vec<&str> = done.out.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        (lines, done.err.as_str()),
        (vec!["web01: [7]", "web02: [7]"], "")
    );
}

#[test]
fn the_hosts_may_stand_in_a_file() {
    let cluster = Cluster::builder().hosts(2).start();
    let file = cluster.path("hosts.txt");
    fs::write(&file, "# all of them\nweb01\n\nweb02 # the other\nweb01\n").unwrap();
    let list = format!("@{}", file.display());
    let done = Harp::of(&cluster, &["call", "--hosts", &list, "echo"]).run();
    done.expect(0).says(&["2 hosts: 2 returned"]);
    let piped = Harp::of(&cluster, &["call", "--hosts", "@-", "--detach", "echo"]);
    let done = piped.input("web02\n").run().expect(0);
    assert!(done.out.starts_with("web02: "), "{done:#?}");
    done.says(&["1 host: 1 submitted"]);
}

#[test]
fn no_more_are_called_at_a_time_than_wanted() {
    let cluster = Cluster::builder().hosts(3).start();
    let trace = cluster.path("trace");
    let list = "web01,web02,web03";
    let line = ["call", "--hosts", list, "--parallel", "1", "trace"];
    let line = [&line[..], &[trace.to_str().unwrap(), "x"]].concat();
    Harp::of(&cluster, &line).run().expect(0);
    let text = fs::read_to_string(trace).unwrap();
    assert_eq!(text, "start x\nend x\n".repeat(3));
}

#[test]
fn the_exit_code_is_the_greatest() {
    let cluster = Cluster::builder().hosts(2).start();
    let call = |hosts: &str| {
        let line = ["call", "--hosts", hosts, "fail", "1", "oh"];
        Harp::of(&cluster, &line).run()
    };
    call("web01,web02").expect(1);
    call("web01,nobody").expect(3);
}
