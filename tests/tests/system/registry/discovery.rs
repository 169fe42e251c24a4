//! Discovery programs of Choria as fillers of the registry.

use std::os::unix::fs::PermissionsExt;

use harp_tests::{Cluster, PASSWORD, USER};
use serde_json::Value;

use super::{assert_known, assert_unknown, error_of, renamed};
use crate::devices::packages::python_with;

/// A cluster with a discovery program that is still to be written, for nodes at its host.
fn discovering(script: bool) -> Cluster {
    let mut cluster = Cluster::start();
    let entry = cluster.entry("web01");
    cluster.set_tables(&format!(
        "[discovery]\ncommand = [{:?}, \"first\"]\n\
         [discovery.options]\nwhich = \"all\"\n\
         [discovery.node]\naddress = {}\nport = {}\nuser = {USER:?}\npassword = {PASSWORD:?}\n",
        cluster.path("discover"),
        entry["address"],
        entry["port"],
    ));
    if !script {
        cluster.set("host_db_script", "");
    }
    cluster
}

/// Has a shell script be the discovery program.
fn discover_by(cluster: &Cluster, body: &str) {
    cluster.set_program("discover", body);
}

const REPLY: &str = r#"{"protocol": "io.choria.choria.discovery.v1.external_reply", "nodes": ["#;

#[test]
fn nodes_become_hosts_by_the_template() {
    let mut cluster = discovering(true);
    let seen = cluster.path("seen");
    discover_by(
        &cluster,
        &format!(
            "env | sort > {0}.env; cp \"$CHORIA_EXTERNAL_REQUEST\" {0}; echo \"$@\" > {0}.arguments\n\
             echo /a/stray/line\n\
             printf '%s' '{REPLY}\"node1\", \"node2\"]}}' > \"$CHORIA_EXTERNAL_REPLY\"",
            seen.display()
        ),
    );
    // Of a host that both tell, the script's line counts.
    let mut entry = renamed(&cluster.entry("web01"), "node2");
    entry["credentials"]["password"] = "another".into();
    cluster.set_registry(&[entry]);
    cluster.restart_dispatcher();
    assert!(cluster.run(&["hosts-refresh"]).status.success());
    assert_known(&cluster, "node1");
    let refused = error_of(&cluster, "node2");
    assert_eq!(refused.as_deref(), Some("auth_error"));
    assert_unknown(&cluster, "web01");
    let read = |name: &str| std::fs::read_to_string(cluster.path(name)).unwrap();
    let request: Value = serde_json::from_str(&read("seen")).unwrap();
    assert_eq!(
        request["protocol"],
        "io.choria.choria.discovery.v1.external_request"
    );
    assert_eq!(request["options"]["which"], "all");
    assert_eq!(request["collective"], "mcollective");
    let environment = read("seen.env");
    let names = environment.lines().filter_map(|line| line.split_once('='));
    let names: Vec<_> = names
        .map(|(name, _)| name)
        // What the shell adds by itself.
        .filter(|name| !["PWD", "OLDPWD", "SHLVL", "_"].contains(name))
        .collect();
    assert_eq!(
        names,
        [
            "CHORIA_EXTERNAL_PROTOCOL",
            "CHORIA_EXTERNAL_REPLY",
            "CHORIA_EXTERNAL_REQUEST",
            "PATH"
        ]
    );
    let arguments = read("seen.arguments");
    assert!(arguments.starts_with("first /"), "{arguments}");
    assert!(arguments.ends_with("external_request\n"), "{arguments}");
}

#[test]
fn a_program_that_tells_no_nodes_leaves_the_registry_as_it_was() {
    let mut cluster = discovering(true);
    assert_known(&cluster, "web01");
    let error = format!(
        "printf '%s' '{REPLY}], \"error\": \"out of order\"}}' > \"$CHORIA_EXTERNAL_REPLY\""
    );
    let other = "echo '{\"protocol\": \"other\", \"nodes\": []}' > \"$CHORIA_EXTERNAL_REPLY\"";
    discover_by(&cluster, ":");
    cluster.restart_dispatcher();
    for (body, told) in [
        (":", "it has left no reply"),
        ("echo oh >&2; exit 3", "exit status: 3: oh"),
        ("echo '{' > \"$CHORIA_EXTERNAL_REPLY\"", "its reply is none"),
        ("rm \"$CHORIA_EXTERNAL_REPLY\"", "cannot be read"),
        (other, "the protocol of its reply is not"),
        (&error, "out of order"),
    ] {
        discover_by(&cluster, body);
        let refreshed = cluster.run(&["hosts-refresh"]);
        assert!(!refreshed.status.success(), "{body}");
        let said = String::from_utf8_lossy(&refreshed.stderr).into_owned();
        assert!(said.contains(told), "{body}: {said}");
        assert_known(&cluster, "web01");
    }
}

#[test]
fn a_program_on_the_published_package_fills_the_registry_alone() {
    let package = "py-choria-discovery==0.1.1";
    let python = match python_with("choria-discovery", &[package]) {
        Ok(python) => python,
        Err(why) => return println!("skipped: cannot have {package}: {why}"),
    };
    let mut cluster = discovering(false);
    let program = format!(
        r#"#!{}
from choria_external.dispatcher import dispatch
from choria_discovery.discovery import Discovery


class Nodes(Discovery):
    def discover(self):
        assert self.request.collective == "mcollective"
        self.reply.nodes = ["one", "two"]


if __name__ == "__main__":
    dispatch(Nodes)
"#,
        python.display()
    );
    let path = cluster.path("discover");
    std::fs::write(&path, program).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    cluster.restart_dispatcher();
    assert!(cluster.run(&["hosts-refresh"]).status.success());
    assert_known(&cluster, "one");
    assert_known(&cluster, "two");
    assert_unknown(&cluster, "web01");
}
