//! Files that others could change (harpd.toml, `allow_unsafe_permissions`).

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::json;

use crate::host::Host;

fn open_to_all(path: &Path) {
    set_permissions(path, Permissions::from_mode(0o777)).unwrap();
}

/// True if harpd is root here, and so whatever it runs.
fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        println!("skipped: files of root's are refused to root alone");
    }
    is_root
}

#[tokio::test]
async fn what_others_could_change_does_not_run_as_root() {
    if !is_root() {
        return;
    }
    let host = Host::new()
        .readable_by_all()
        .script("whole", "", "echo 1")
        .script("torn", "", "echo 2")
        .script("nobodys", "user = 'nobody'", "echo 3");
    for name in ["torn", "nobodys"] {
        open_to_all(&host.path(name));
    }
    let tested = host.harpd(&["--test"]);
    let said = String::from_utf8_lossy(&tested.stderr).into_owned();
    assert!(!tested.status.success(), "{said}");
    assert!(said.contains("procedure torn: "), "{said}");
    assert!(said.contains("could be changed by everybody"), "{said}");
    // Told, and run: it does nothing that its user could not do anyway.
    assert!(said.contains("nobodys could be changed"), "{said}");

    let harpd = host.start();
    assert_eq!(harpd.end("whole", json!([])).await["result"], 1);
    assert_eq!(harpd.end("nobodys", json!([])).await["result"], 3);
    let refused = harpd.end("torn", json!([])).await;
    assert_eq!(refused["error"]["type"], "procedure_loading_error");
    let message = refused["error"]["message"].as_str().unwrap();
    assert!(message.contains("chmod go-w"), "{message}");
}

#[tokio::test]
async fn harpd_of_root_does_not_go_by_files_that_others_could_change() {
    if !is_root() {
        return;
    }
    let host = Host::new().script("p", "", "echo 1");
    let config = host.write_config();
    for file in [config.clone(), host.path("users")] {
        let before = std::fs::metadata(&file).unwrap().permissions();
        open_to_all(&file);
        let tested = host.harpd(&["--test"]);
        let said = String::from_utf8_lossy(&tested.stderr).into_owned();
        assert!(!tested.status.success(), "{said}");
        assert!(said.contains("could be changed by everybody"), "{said}");
        set_permissions(&file, before).unwrap();
    }
}

#[tokio::test]
async fn an_operator_may_want_it_so() {
    if !is_root() {
        return;
    }
    let host = Host::new()
        .set("allow_unsafe_permissions = true")
        .script("torn", "", "echo 2");
    open_to_all(&host.path("torn"));
    let tested = host.harpd(&["--test"]);
    let said = String::from_utf8_lossy(&tested.stderr).into_owned();
    assert!(tested.status.success(), "{said}");
    assert!(said.contains("could be changed by everybody"), "{said}");
    let verdict = String::from_utf8_lossy(&tested.stdout).into_owned();
    assert!(
        verdict.ends_with(": can be used, with 1 warning\n"),
        "{verdict}"
    );
    let harpd = host.start();
    assert_eq!(harpd.end("torn", json!([])).await["result"], 2);
}
