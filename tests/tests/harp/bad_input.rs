//! Bad input gets a message that names the argument and shows the right form; a broken
//! dispatcher one that names its address and how far things had come.

use std::io::Write as _;
use std::net::TcpListener;
use std::thread;

use harp_tests::{Cluster, refusing_address, unique_address};

use crate::command::Harp;

#[test]
fn a_message_names_the_argument_and_shows_the_right_form() {
    let job = "8ec71d6b-28d1-4ce2-aa23-f3ea7887beda";
    for (line, parts) in [
        (
            &["call", "web01"][..],
            &["PROCEDURE is missing", "harp call web01 PROCEDURE"][..],
        ),
        (
            &["call", "web01", "p", "a", "b=2"],
            &[
                "`a` is positional",
                "`b=2` is named",
                "NAME=a",
                r#"'"b=2"'"#,
            ],
        ),
        (
            &["call", "web01", "p", "{a: 1}"],
            &["argument 1 `{a: 1}`", "--strings"],
        ),
        (
            &["call", "web01", "p", "x:=y"],
            &["argument 1 `x:=y`", "x=y"],
        ),
        (&["call", "web01", "p", "-n"], &["'-n'", "-- -n"]),
        (
            &["call", "web01", "p", "--args", "7"],
            &["--args: 7", "[\"nginx\", 7]"],
        ),
        (
            &["call", "web01", "p", "--args", "[]", "x"],
            &["argument 1 `x`", "--args"],
        ),
        (
            &["call", "web01", "p", "--timeout", "soon"],
            &["--timeout", "'soon'", "90s, 5m"],
        ),
        (
            &["call", "web01", "p", "--queue", "{a}"],
            &["--queue", "plain name"],
        ),
        (&["call", "web01", "p", "--concurrency", "2"], &["--queue"]),
        (&["call", "web01", "p", "--unless-since", "5m"], &["--key"]),
        (
            &["call", "web01", "p", "--wait", "--detach"],
            &["--wait", "--detach"],
        ),
        (
            &["call", "--hosts", "a,,b", "p"],
            &["--hosts \"a,,b\"", "web01,web02"],
        ),
        (
            &["call", "--hosts", "@/nonexistent", "p"],
            &["@/nonexistent", "one host's name a line"],
        ),
        (&["follow", "7"], &["'7'", "JOB", "8ec71d6b-28d1"]),
        (
            &["follow", job, "--since", "1", "--recent", "1"],
            &["--since", "--recent"],
        ),
        (
            &["status", job, "--dispatcher", "a:b"],
            &["\"a:b\"", "HOST:PORT", "unix:/PATH", "from --dispatcher"],
        ),
        (
            &["status", job, "-d", "unix:/run/clients", "--insecure"],
            &["unix:/run/clients", "Unix socket", "--no-tls"],
        ),
        (
            &["status", job, "--ca-file", "/nonexistent"],
            &["/nonexistent"],
        ),
        (
            &["status", job, "--token-file", "/nonexistent"],
            &["--token-file /nonexistent"],
        ),
        (&["direct", "web01:x", "p"], &["\"web01:x\"", "[IPV6]:PORT"]),
        (&["direct", "web01", "p"], &["no user", "--user"]),
        (
            &["direct", "web01", "p", "-u", "u"],
            &["certificate", "--ca-file", "--fingerprint"],
        ),
        (
            &["direct", "web01", "p", "-u", "u", "--insecure"],
            &["no password", "--password-file"],
        ),
        (&["statsu"], &["statsu", "status"]),
    ] {
        let done = Harp::new(line).run().expect(2).says(parts);
        assert_eq!(done.out, "", "{line:?}");
    }
}

#[test]
fn a_dispatcher_that_cannot_be_reached_is_named_with_the_phase() {
    let refusing = refusing_address().to_string();
    let status = ["status", "8ec71d6b-28d1-4ce2-aa23-f3ea7887beda"];
    let harp = || Harp::new(&status).env("HARPCALLER", &refusing);
    harp()
        .run()
        .expect(6)
        .says(&[&refusing, "phase connect", "came from HARPCALLER"]);

    let unknown = ["call", "web01", "p", "--dispatcher", "dispatcher.invalid"];
    Harp::new(&unknown).run().expect(6).says(&[
        "dispatcher.invalid:3502",
        "phase resolve",
        "came from --dispatcher",
    ]);
}

#[test]
fn whoever_answers_in_place_of_a_dispatcher_is_found_out() {
    let listener = TcpListener::bind((unique_address(), 0)).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for client in listener.incoming() {
            let _ = client.unwrap().write_all(b"SSH-2.0-server\r\n");
        }
    });
    let line = ["call", "web01", "p", "--dispatcher", &address];
    Harp::new(&line)
        .run()
        .expect(6)
        .says(&[&address, "not a reply of the HarpCaller client protocol"]);

    // One without TLS where TLS is wanted.
    let cluster = Cluster::start();
    let ca = cluster.path("ca.pem");
    let line = ["status", "8ec71d6b-28d1-4ce2-aa23-f3ea7887beda"];
    let mut harp = Harp::of(&cluster, &line);
    harp.command.arg("--ca-file").arg(ca);
    harp.run().expect(6).says(&[
        &cluster.address().to_string(),
        "phase tls",
        "from HARPCALLER",
    ]);
}
