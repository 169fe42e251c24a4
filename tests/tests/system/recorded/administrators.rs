//! Administrators: commands of every kind.

use std::fs;
use std::io::BufReader;
use std::os::unix::net::UnixStream;

use harp_tests::{Cluster, until};

use super::transcript::Transcript;
use crate::assertions::NO_JOB;

#[test]
fn administrators_are_told_what_they_always_were() {
    let mut cluster = Cluster::start();
    let address = cluster.address();
    let caller = cluster.caller();
    let mut played = Transcript::new(&cluster);
    let connect =
        |cluster: &Cluster| BufReader::new(UnixStream::connect(cluster.socket()).unwrap());
    let mut socket = connect(&cluster);

    played.about("Without jobs.");
    for line in [
        r#"{"command":"status"}"#,
        r#"{"command":"status","wait":true}"#,
        r#"{"command":"list_jobs"}"#,
        r#"{"command":"list_jobs","stream":true}"#,
        r#"{"command":"list_queues"}"#,
        r#"{"command":"list_queue","queue":{"q":1}}"#,
        r#"{"command":"cancel_queue","queue":{"q":1}}"#,
        r#"{"command":"list_hosts"}"#,
        r#"{"command":"refresh_hosts"}"#,
        r#"{"command":"prune_jobs","max_age":3600}"#,
        r#"{"command":"reopen_logs"}"#,
    ] {
        played.administer(&mut socket, line, 1);
    }

    played.about("What is no request.");
    for line in [
        "",
        "nonsense",
        "[]",
        r#"{"command":"dance"}"#,
        r#"{"command":"job_info"}"#,
        r#"{"command":"list_queue"}"#,
        r#"{"command":"list_queue","queue":"x"}"#,
        r#"{"command":"prune_jobs"}"#,
        r#"{"command":"prune_jobs","max_age":-1}"#,
    ] {
        played.administer(&mut socket, line, 1);
    }
    let mut other = connect(&cluster);
    played.administer(&mut other, &"x".repeat(70_000), 1);

    played.about("Jobs.");
    let job = played.call(
        address,
        r#""host":"web01","procedure":"echo","arguments":["a",1.50],"info":{"b":1}"#,
    );
    played.ask(
        address,
        &format!(r#"{{"harpcaller":1,"get_result":"{job}"}}"#),
    );
    let queued = r#""host":"web01","procedure":"silent","arguments":[],"queue":{"name":{"q":1.0}}"#;
    let running = played.call(address, queued);
    until("it runs", || caller.has_started(&running).then_some(()));
    let waiting = played.call(address, queued);
    played.call(address, queued);
    for (line, replies) in [
        (r#"{"command":"list_jobs"}"#.to_owned(), 1),
        (r#"{"command":"list_jobs","list_all":true}"#.to_owned(), 1),
        (r#"{"command":"list_jobs","stream":true}"#.to_owned(), 4),
        (
            r#"{"command":"list_jobs","list_all":true,"stream":true}"#.to_owned(),
            5,
        ),
        (r#"{"command":"list_queues"}"#.to_owned(), 1),
        (
            r#"{"command":"list_queue","queue":{"q":1.0}}"#.to_owned(),
            1,
        ),
        (format!(r#"{{"command":"job_info","job":"{job}"}}"#), 1),
        (format!(r#"{{"command":"job_info","job":"{waiting}"}}"#), 1),
        (
            format!(r#"{{"command":"cancel_job","job":"{waiting}"}}"#),
            1,
        ),
        (format!(r#"{{"command":"job_info","job":"{waiting}"}}"#), 1),
        (
            format!(r#"{{"command":"cancel_job","job":"{running}"}}"#),
            1,
        ),
        (
            format!(r#"{{"command":"cancel_job","job":"{running}"}}"#),
            1,
        ),
        (
            r#"{"command":"cancel_queue","queue":{"q":1.0}}"#.to_owned(),
            1,
        ),
        (r#"{"command":"list_jobs"}"#.to_owned(), 1),
        (format!(r#"{{"command":"job_info","job":"{NO_JOB}"}}"#), 1),
        (r#"{"command":"job_info","job":"x"}"#.to_owned(), 1),
        (format!(r#"{{"command":"cancel_job","job":"{NO_JOB}"}}"#), 1),
        (r#"{"command":"cancel_job","job":"x"}"#.to_owned(), 1),
        (r#"{"command":"prune_jobs","max_age":0}"#.to_owned(), 1),
    ] {
        played.administer(&mut socket, &line, replies);
    }

    played.about("Another configuration.");
    let reload = r#"{"command":"reload_config"}"#;
    let (config, good) = (
        cluster.config(),
        fs::read_to_string(cluster.config()).unwrap(),
    );
    played.administer(&mut socket, reload, 1);
    for (more, name) in [
        ("cache_size = \"9M\"\n", "cache_size"),
        ("audit_file = \"/x\"\n", "audit_file"),
        ("max_live_jobs = \"many\"\nslot_grace = -1\n", "wrong keys"),
        ("tokens_file = \"/nowhere/tokens\"\n", "no tokens file"),
    ] {
        played.about(name);
        fs::write(&config, format!("{more}{good}")).unwrap();
        played.administer(&mut socket, reload, 1);
    }
    played.about("A registry that cannot be had.");
    cluster.set_registry_script("echo out of order >&2; exit 3");
    played.administer(&mut socket, r#"{"command":"refresh_hosts"}"#, 1);

    played.about("The end.");
    played.administer(&mut socket, r#"{"command":"stop"}"#, 1);
    assert!(cluster.wait_dispatcher_ended().success());
    played.hold_against("administrators.txt");
}
