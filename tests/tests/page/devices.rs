//! Which devices are alive.

use harp_tests::{Chromium, FakeDevice};

use super::{open, url, wait_for_words};

#[test]
fn a_device_that_goes_away_is_seen_to() {
    let Some(mut browser) = Chromium::start() else {
        return;
    };
    let device = FakeDevice::start();
    let cluster = open().entry(device.entry("rig1")).start();
    device.wait_for_subscribers(1);
    device.beat("0.12.0", 1.0);
    device.beat("0.12.0", 601.0);
    browser.open(&url(&cluster, "#/hosts"));
    let standing = "document.querySelector('[data-host=rig1] [data-standing]')";
    browser.wait_for(&format!("{standing}.dataset.standing === 'reachable'"));
    wait_for_words(&mut browser, "version 0.12.0");
    // Of a host that tells nothing by itself, only calls are known.
    wait_for_words(&mut browser, "not called yet");
    browser.evaluate("location.hash = '#/hosts/rig1'");
    wait_for_words(&mut browser, "a heartbeat every 10 min");
    wait_for_words(&mut browser, "calls itself fake");
    device.stop();
    wait_for_words(&mut browser, "unreachable");
}
