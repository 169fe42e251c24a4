//! That the host of a running job cannot be reached is shown by every face.

use std::process::Command;

use harp_tests::{Cluster, HttpRequest, Way, binary, until};
use serde_json::{Value, json};

use super::{behind_a_proxy, streaming};

const OPEN: &str = "[[listen_http]]\naddress = '127.0.0.1:0'\nrequire_authentication = false\n";

/// What the faces say of the job: the HTTP API, its list, the client protocol's, the
/// administrative socket, and the command `harp jobs`.
fn shown(cluster: &Cluster, job: &str) -> [Value; 5] {
    let http = |target: String| HttpRequest::get(&target).ask(cluster.http_address()).json();
    let state = |job: &Value| job["host_state"]["unreachable_since"].clone();
    let one = http(format!("/api/v1/jobs/{job}"));
    let list = http("/api/v1/jobs?state=running".to_owned());
    let line = json!({"harpcaller": 1, "list_jobs": {"state": ["running"]}});
    let of_line = cluster.caller().ask(line);
    let listed = cluster.lines(&["list"]);
    let listed: Value = serde_json::from_str(&listed[0]).unwrap();
    let table = Command::new(binary("harp"))
        .args(["jobs", "--dispatcher"])
        .arg(cluster.address().to_string())
        .output()
        .unwrap();
    let table = String::from_utf8(table.stdout).unwrap();
    let row = table.lines().find(|line| line.contains(job)).unwrap();
    [
        state(&one),
        state(&list["jobs"][0]),
        state(&of_line["jobs"][0]),
        listed["unreachable_since"].clone(),
        if row.contains("running, unreachable") {
            json!(true)
        } else {
            Value::Null
        },
    ]
}

#[test]
fn every_face_says_that_a_host_is_away_and_since_when() {
    let (cluster, proxy) = behind_a_proxy(Cluster::builder().tables(OPEN));
    let caller = cluster.caller();
    let (job, feed, _following) = streaming(&cluster, "far", "");
    assert_eq!(shown(&cluster, &job), [(); 5].map(|()| Value::Null));
    let started = caller.status(&job)["time"]["start"].as_u64().unwrap();
    proxy.set(Way::Closed);
    let away = until("all faces say so", || {
        let shown = shown(&cluster, &job);
        shown.iter().all(|shown| !shown.is_null()).then_some(shown)
    });
    let since = away[0].as_u64().unwrap();
    assert!(since / 1000 >= started, "{away:?}");
    assert_eq!(away[1..3], [json!(since), json!(since)]);
    assert_eq!(away[3], json!(since / 1000));
    proxy.set(Way::Open);
    until("all faces say that it is back", || {
        let shown = shown(&cluster, &job);
        shown.iter().all(Value::is_null).then_some(())
    });
    feed.finish();
    assert_eq!(caller.result(&job), json!({"result": null}));
}
