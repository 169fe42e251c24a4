//! The unmodified Python client of TopChef (acceptance 17), where there is a checkout of it:
//! it has no licence, so that none is here.

use std::process::Command;

use super::topchef::{BOTH, cluster};

/// Names a checkout of TopChefClient.
const CHECKOUT: &str = "HARP_TOPCHEF_CLIENT";

#[test]
fn the_python_client_itself_works_on_a_service() {
    let Some(checkout) = std::env::var_os(CHECKOUT) else {
        return println!("skipped: {CHECKOUT} names no checkout of TopChefClient");
    };
    let modules = Command::new("python3")
        .args(["-c", "import requests, six"])
        .output();
    if !modules.is_ok_and(|done| done.status.success()) {
        return println!("skipped: there is no python3 with requests and six");
    }
    let cluster = cluster(BOTH);
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/system/http/topchef_client.py"
    );
    let done = Command::new("timeout")
        .args(["120", "python3", script])
        .arg(checkout)
        .arg(format!("http://{}/topchef/v1", cluster.http_address()))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    assert_eq!(done.stdout, b"all right\n", "{said}");
}
