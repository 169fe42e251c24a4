//! How a device stands, on every face.

use harp_tests::{FakeDevice, HttpRequest, until};
use serde_json::{Value, json};

use super::{around, reachable, wait_for_standing};

const OPEN: &str = "[[listen_http]]\naddress = '127.0.0.1:0'\nrequire_authentication = false\n";

#[test]
fn heartbeats_are_shown_on_every_face() {
    let device = FakeDevice::start();
    let mut cluster = around(&device).tables(OPEN).start();
    device.wait_for_subscribers(1);
    reachable(&cluster);
    device.beat("0.12.0", 100.0);
    device.beat("0.12.0", 105.0);
    let host = wait_for_standing(&cluster, |host| host["device"]["interval"] == json!(5000));
    assert_eq!(
        (&host["kind"], &host["state"]),
        (&json!("autotrainer"), &json!("reachable"))
    );
    let told = &host["device"];
    assert_eq!(
        (&told["identifier"], &told["version"]),
        (&json!("fake"), &json!("0.12.0"))
    );
    assert!(told["age"].is_u64() && told["heartbeat"].is_u64(), "{host}");
    assert_eq!(host["last_contact"], told["heartbeat"]);

    let by_http = HttpRequest::get("/api/v1/hosts/rig1").ask(cluster.http_address());
    assert_eq!(by_http.json()["device"]["version"], "0.12.0");
    let metrics = HttpRequest::get("/metrics").ask(cluster.http_address());
    let metrics = metrics.text().to_owned();
    assert!(
        metrics.contains("harpcaller_device_up{host=\"rig1\"} 1\n"),
        "{metrics}"
    );
    assert!(
        metrics.contains("harpcaller_device_heartbeat_age_seconds{host=\"rig1\"} "),
        "{metrics}"
    );
    let listed = cluster.lines(&["hosts-list"]);
    let listed: Value = serde_json::from_str(&listed[0]).unwrap();
    assert_eq!(
        (&listed["state"], &listed["device"]["version"]),
        (&json!("reachable"), &json!("0.12.0"))
    );

    // What is known of it outlives the dispatcher.
    cluster.restart_dispatcher();
    let host = wait_for_standing(&cluster, |host| host["state"] == json!("reachable"));
    assert_eq!(host["device"]["interval"], 5000);
    assert_eq!(host["device"]["heartbeat"], Value::Null);
    let metrics = HttpRequest::get("/metrics").ask(cluster.http_address());
    assert!(!metrics.text().contains("heartbeat_age_seconds{"));

    device.stop();
    wait_for_standing(&cluster, |host| host["state"] == json!("unreachable"));
    until("the metric tells", || {
        let metrics = HttpRequest::get("/metrics").ask(cluster.http_address());
        metrics
            .text()
            .contains("harpcaller_device_up{host=\"rig1\"} 0\n")
            .then_some(())
    });
}

#[test]
fn a_check_of_the_configuration_looks_for_devices() {
    let device = FakeDevice::start();
    let cluster = around(&device).set("connect_timeout", "1").start();
    let config = cluster.config();
    let check = || {
        let output = cluster.run(&[
            "check-config",
            "--hosts",
            "--config",
            config.to_str().unwrap(),
        ]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let said = check();
    assert!(said.contains("1 of 1 hosts can be reached"), "{said}");
    assert!(!said.contains("encryption"), "{said}");
    // The ports the wrong way round; and one that is no loopback.
    let mut swapped = device.entry("rig2");
    swapped["event_port"] = device.entry("x")["command_port"].clone();
    let mut far = device.entry("rig3");
    far["address"] = json!("rig.invalid");
    cluster.set_registry(&[swapped, far]);
    let said = check();
    assert!(said.contains("a REP socket listens there"), "{said}");
    assert!(said.contains("rig3: devices know no encryption"), "{said}");
    assert!(said.contains("0 of 2 hosts can be reached"), "{said}");
}
