//! Devices of auto-trainer as hosts: a scripted one for every fault, and those of the
//! published packages.

mod commands;
mod faults;
pub(crate) mod packages;
mod recordings;
mod standing;
mod streams;

use harp_tests::{Caller, Cluster, ClusterBuilder, FakeDevice, until};
use serde_json::{Value, json};

/// A cluster whose only host is this device, by the name `rig1`.
fn around(device: &FakeDevice) -> ClusterBuilder {
    Cluster::builder().hosts(0).entry(device.entry("rig1"))
}

/// The like, with further keys in the device's line.
fn around_with(device: &FakeDevice, more: &Value) -> ClusterBuilder {
    let mut entry = device.entry("rig1");
    for (key, value) in more.as_object().into_iter().flatten() {
        entry[key] = value.clone();
    }
    Cluster::builder().hosts(0).entry(entry)
}

/// The data of a job's packets so far.
fn packets(caller: &Caller, job: &str) -> Vec<Value> {
    let page = caller.read(job, "\"since\": 0");
    let packets = page.packets.iter();
    packets
        .map(|packet| serde_json::from_str(packet).expect("a packet is JSON"))
        .collect()
}

/// Waits until a job has so many packets; their data.
fn wait_for_packets(caller: &Caller, job: &str, count: usize) -> Vec<Value> {
    until("the job has its packets", || {
        let packets = packets(caller, job);
        (packets.len() >= count).then_some(packets)
    })
}

/// What the dispatcher says of the device, once that is so.
fn wait_for_standing(cluster: &Cluster, is_so: impl Fn(&Value) -> bool) -> Value {
    until("the device stands so", || {
        let answer = cluster
            .caller()
            .ask(r#"{"harpcaller": 1, "list_hosts": {}}"#);
        let host = answer["hosts"][0].clone();
        is_so(&host).then_some(host)
    })
}

fn reachable(cluster: &Cluster) {
    wait_for_standing(cluster, |host| host["state"] == json!("reachable"));
}
