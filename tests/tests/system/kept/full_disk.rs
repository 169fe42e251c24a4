//! The disk under a host's spools is full: that is a limit that is reached, and nothing is lost.

use std::time::{Duration, Instant};

use harp_tests::disk::Mount;
use harp_tests::{Cluster, until};
use serde_json::json;

/// Packets of a kilobyte, and how far it has come on the side.
const COUNT: &str = r#"number=0
    padding=$(head -c 1000 /dev/zero | tr '\0' x)
    while [ $number -lt 20000 ]; do
        echo "\"$number $padding\""
        number=$((number + 1))
        [ $((number % 100)) -ne 0 ] || echo $number > "$1"
    done"#;

#[test]
fn a_procedure_waits_while_the_disk_of_its_spool_is_full() {
    let directory = tempfile::tempdir().unwrap();
    let Some(disk) = Mount::tmpfs("4m", &directory.path().join("disk")) else {
        return;
    };
    let state = json!(disk.at().join("state")).to_string();
    let mut cluster = Cluster::builder()
        .set_host("state_directory", &state)
        .procedure("padded", "output = 'json-lines'\narguments = 'argv'", COUNT)
        .start();
    let caller = cluster.caller();
    let progress = cluster.path("progress");
    let arguments = json!([progress]).to_string();
    let job = caller.call("web01", "padded", &arguments);
    let come = || -> u64 {
        let text = std::fs::read_to_string(&progress).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    };
    until("it runs", || (come() > 0).then_some(()));
    cluster.kill_dispatcher();
    let mut before = (0, Instant::now());
    until("the procedure waits", || {
        let now = come();
        if now != before.0 {
            before = (now, Instant::now());
        }
        (now > 0 && before.1.elapsed() > Duration::from_secs(2)).then_some(())
    });
    let told = cluster.host_log("web01").text();
    let warning = "cannot write to a file of state_directory";
    assert!(told.contains(warning), "{told}");
    assert!(before.0 < 20000, "it has come to {}", before.0);

    cluster.start_dispatcher();
    // Another call runs meanwhile.
    let other = caller.call("web01", "echo", "[1]");
    assert_eq!(caller.result(&other), json!({"result": [1]}));
    assert_eq!(caller.result(&job), json!({"result": null}));
    let page = caller.read(&job, r#""since": 0"#);
    for (number, packet) in page.packets.iter().enumerate() {
        let beginning = format!("\"{number} ");
        assert!(packet.starts_with(&beginning), "{number}: {packet:.20}");
    }
    assert_eq!(page.packets.len(), 20000);
}
