//! Packets: what is printed where, and from which one on.

use harp_tests::Cluster;

use crate::command::{Harp, detached, job_in, path};

#[test]
fn packets_go_to_standard_output_and_the_rest_to_standard_error() {
    let cluster = Cluster::start();
    let line = [
        "call",
        "web01",
        "packets",
        "7",
        r#""a \"text\"""#,
        "[1.0]",
        r#""""#,
    ];
    let line = [&line[..2], &["packets", "--strings"], &line[3..]].concat();
    let done = Harp::of(&cluster, &line).run().expect(0);
    // Strings are text, everything else is JSON, as it came.
    assert_eq!(done.out, "7\na \"text\"\n[1.0]\n\n");
    let done = done.says(&["job ", "returned null"]);
    let job = job_in(&done.err);

    let done = Harp::of(&cluster, &["follow", &job, "--quiet"])
        .run()
        .expect(0);
    assert_eq!(
        (done.out.as_str(), done.err.as_str()),
        ("7\na \"text\"\n[1.0]\n\n", "")
    );

    let done = Harp::of(&cluster, &["result", &job]).run().expect(0);
    assert_eq!(done.out, "null\n");
    let done = Harp::of(&cluster, &["call", "--wait", "web01", "count", "3"]).run();
    assert_eq!(done.expect(0).out, "null\n");
}

#[test]
fn packets_come_from_where_they_are_wanted() {
    let cluster = Cluster::start();
    let mut feed = cluster.feed("feed");
    let job = detached(&cluster, &["web01", "feed", &path(&feed)]);
    let stream = |options: &[&str]| {
        let line = [&["stream", &job], options].concat();
        Harp::of(&cluster, &line).run().expect(5).out
    };
    let mut all = Harp::of(&cluster, &["follow", &job]).start();
    for number in 0..4 {
        feed.send(&number.to_string());
        assert_eq!(all.line(), number.to_string());
    }
    assert_eq!(stream(&[]), "0\n1\n2\n3\n");
    assert_eq!(stream(&["--since", "3"]), "3\n");
    assert_eq!(stream(&["--recent", "2"]), "2\n3\n");
    let mut since = Harp::of(&cluster, &["follow", &job, "--since", "4"]).start();
    let mut recent = Harp::of(&cluster, &["follow", &job, "--recent", "1"]).start();
    assert_eq!(recent.line(), "3");
    feed.send("4");
    for running in [&mut all, &mut since, &mut recent] {
        assert_eq!(running.line(), "4");
    }
    feed.finish();
    for running in [all, since, recent] {
        assert_eq!(running.finish().expect(0).out, "");
    }
    let done = Harp::of(&cluster, &["stream", &job, "--since", "4"]).run();
    assert_eq!(done.expect(0).out, "4\n");
}

#[test]
fn following_goes_on_where_it_was_after_a_restart_of_the_dispatcher() {
    const PACKETS: usize = 40;
    const SIZE: usize = 500_000;
    let mut cluster = Cluster::start();
    let size = SIZE.to_string();
    let mut line = vec!["web01", "blob"];
    line.resize(2 + PACKETS, &size);
    let job = detached(&cluster, &line);
    Harp::of(&cluster, &["result", "--wait", &job])
        .run()
        .expect(0);

    // More than the pipes and sockets on the way hold, so the dispatcher has to stop in
    // the middle of it.
    let mut following = Harp::of(&cluster, &["follow", &job]).start();
    for _ in 0..5 {
        assert_eq!(following.line().len(), SIZE - 2);
    }
    cluster.restart_dispatcher();
    for _ in 5..PACKETS {
        assert_eq!(following.line().len(), SIZE - 2);
    }
    assert_eq!(following.finish().expect(0).out, "");
}

#[test]
fn a_job_that_a_crash_interrupted_is_told_to_its_followers() {
    let mut cluster = Cluster::builder().unkept().start();
    let mut feed = cluster.feed("feed");
    let job = detached(&cluster, &["web01", "feed", &path(&feed)]);
    let mut following = Harp::of(&cluster, &["follow", &job]).start();
    feed.send("1");
    assert_eq!(following.line(), "1");
    cluster.kill_dispatcher();
    cluster.start_dispatcher();
    following.finish().expect(3).says(&["missing_result"]);
}

#[test]
fn a_dispatcher_that_stays_away_leaves_a_word_about_the_job() {
    let mut cluster = Cluster::start();
    let config = cluster.path("harp.toml");
    std::fs::write(&config, "reconnect_for = 0\n").unwrap();
    let mut harp = Harp::of(&cluster, &["call", "web01", "busy"]);
    harp.command.arg("--config").arg(config);
    let mut running = harp.start();
    assert_eq!(running.line(), "tick");
    cluster.kill_dispatcher();
    let done = running.finish().expect(6);
    let address = cluster.address().to_string();
    done.says(&[&address, "phase", "to pick it up again", "--since"]);
}
