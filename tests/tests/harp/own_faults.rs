//! What this machine cannot do is no host's fault.

use harp_tests::Cluster;

use crate::command::{Harp, detached};
use crate::direct::{address, direct};

/// Sixty names for one host.
fn sixty_hosts() -> Cluster {
    let cluster = Cluster::start();
    let entries: Vec<_> = (1..=60)
        .map(|number| {
            let mut entry = cluster.entry("web01");
            entry["hostname"] = format!("web{number:02}").into();
            entry
        })
        .collect();
    cluster.set_registry(&entries);
    assert!(cluster.run(&["hosts-refresh"]).status.success());
    cluster
}

#[test]
fn no_more_hosts_are_called_at_once_than_there_are_descriptors_for() {
    let cluster = sixty_hosts();
    let line = ["call", "--hosts", "web[01-60]", "--parallel", "60", "echo"];
    let run = |limits: &str| Harp::of(&cluster, &line).after(limits).run().expect(0);
    let lowered = run("ulimit -n 48").says(&["60 hosts: 60 returned", "not 60", "48 files"]);
    assert_eq!(lowered.out.lines().count(), 60, "{lowered:#?}");
    // What is in force is raised to what may be.
    let raised = run("ulimit -Sn 20 && ulimit -Hn 400").says(&["60 hosts: 60 returned"]);
    assert!(!raised.err.contains("warning"), "{raised:#?}");
}

#[test]
fn what_this_machine_cannot_do_is_no_hosts_fault() {
    let cluster = Cluster::start();
    let host = address(&cluster);
    let job = detached(&cluster, &["web01", "echo"]);
    let mut faults = 0;
    // Somewhere on the way up there is enough for everything but the connection.
    for limit in 7..14 {
        let limits = format!("ulimit -n {limit}");
        let calls = [
            direct(&cluster, &[&host, "echo", "1"]),
            Harp::of(&cluster, &["status", &job]),
        ];
        for call in calls {
            let done = call.after(&limits).run();
            assert!(![3, 6].contains(&done.code), "{limit}: {done:#?}");
            if done.code == 10 {
                faults += 1;
                let done = done.says(&["Too many open files"]);
                assert!(!done.err.contains("firewall"), "{done:#?}");
                assert!(!done.err.contains("listen"), "{done:#?}");
            }
        }
    }
    assert!(faults >= 2);
}
