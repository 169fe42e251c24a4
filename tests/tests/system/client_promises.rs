//! What the client crate may ask of a dispatcher of today: keys, `start_by` and confirmed
//! cancels.

use std::time::Duration;

use harp_client::blocking::HarpCaller;
use harp_client::{Cancellation, ErrorKind, Outcome, OutcomeKind};
use harp_tests::{Cluster, Feed};
use serde_json::{Value, json};

fn client(cluster: &Cluster) -> HarpCaller {
    HarpCaller::new(cluster.address().to_string()).unwrap()
}

fn arguments(feed: &Feed) -> Vec<String> {
    serde_json::from_str(&feed.arguments()).unwrap()
}

#[test]
fn the_same_key_is_the_same_job() {
    let mut cluster = Cluster::start();
    let rpc = client(&cluster);
    let web01 = rpc.host("web01").key("deploy 17");
    let first = web01.call("echo", [1]).unwrap();
    assert!(!first.existing());
    let again = web01.call("echo", [1]).unwrap();
    assert_eq!((again.id(), again.existing()), (first.id(), true));
    assert_eq!(again.get::<Value>().unwrap(), json!([1]));
    let error = web01.call("echo", [2]).map(drop).unwrap_err();
    assert_eq!(
        (error.kind(), error.wire_type()),
        (ErrorKind::KeyTaken, Some("invalid_request"))
    );
    let found = rpc.job_of_key("deploy 17").unwrap().unwrap();
    assert_eq!(found.id(), first.id());
    assert!(rpc.job_of_key("deploy 18").unwrap().is_none());
    let listed: Result<Vec<_>, _> = rpc.jobs(|jobs| jobs.host("web*").limit(9)).collect();
    let listed = listed.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (listed[0].id, listed[0].outcome),
        (first.id(), Some(OutcomeKind::Returned))
    );
    assert!(rpc.ping().unwrap().features.contains(&"key".to_owned()));
    cluster.restart_dispatcher();
    let again = web01.call("echo", [1]).unwrap();
    assert_eq!((again.id(), again.existing()), (first.id(), true));

    // The second call of the hour is the first one.
    let hourly = rpc.host("web01").key("hourly");
    let hourly = hourly.unless_since(Duration::from_secs(3600));
    let one = hourly.call("echo", ()).unwrap();
    one.wait().unwrap();
    assert_eq!(hourly.call("echo", ()).unwrap().id(), one.id());
}

#[test]
fn a_queued_job_is_not_started_too_late() {
    let cluster = Cluster::start();
    let feed = cluster.feed("feed");
    let web01 = client(&cluster).host("web01").queue(json!({}));
    let running = web01.call("gate", arguments(&feed)).unwrap();
    let late = web01.start_by(Duration::from_secs(1));
    let error = late.call("echo", ()).unwrap().get::<Value>().unwrap_err();
    assert_eq!(
        (error.kind(), error.wire_type()),
        (ErrorKind::Remote, Some("timeout"))
    );
    assert!(error.data().unwrap().as_str().contains("start_by"));
    assert_eq!(running.result().unwrap(), None);
}

#[test]
fn a_cancel_is_confirmed_by_the_host() {
    let cluster = Cluster::start();
    let mut feed = cluster.feed("feed");
    let rpc = client(&cluster);
    let job = rpc.host("web01").call("gate", arguments(&feed)).unwrap();
    feed.wait_read();
    assert_eq!(job.cancel_confirmed().unwrap(), Cancellation::Confirmed);
    feed.wait_abandoned();
    assert_eq!(job.wait().unwrap(), Outcome::Cancelled);
    assert_eq!(job.cancel_confirmed().unwrap(), Cancellation::NotRunning);
}
