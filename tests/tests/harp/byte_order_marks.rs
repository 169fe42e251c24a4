//! Files and standard input that begin with a byte order mark.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use harp_tests::{Cluster, PASSWORD};

use crate::command::Harp;
use crate::direct::{address, direct};

/// Writes a private file that begins with the mark, and returns its path.
fn marked(directory: &Path, name: &str, text: &str) -> String {
    let path = directory.join(name);
    fs::write(&path, format!("\u{feff}{text}")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn it_is_part_of_no_host_argument_or_password() {
    let cluster = Cluster::builder().hosts(2).start();
    let directory = tempfile::tempdir().unwrap();
    let hosts = "web01\r\n\u{feff}web02\r\n";
    let file = marked(directory.path(), "hosts", hosts);
    for (option, input) in [
        (format!("@{file}"), String::new()),
        ("@-".to_owned(), format!("\u{feff}{hosts}")),
    ] {
        let done = Harp::of(&cluster, &["call", "--hosts", &option, "echo", "7"]);
        let done = done.input(&input).run().expect(0);
        let mut lines: Vec<_> = done.out.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["web01: [7]", "web02: [7]"]);
    }
    let arguments = ["call", "web01", "echo", "--args", "-"];
    let done = Harp::of(&cluster, &arguments).input("\u{feff}[8]\n").run();
    assert_eq!(done.expect(0).out, "[8]\n");

    let password = marked(directory.path(), "password", &format!("{PASSWORD}\r\n"));
    let host = address(&cluster);
    let mut call = direct(
        &cluster,
        &["--password-file", &password, &host, "echo", "9"],
    );
    call.command.env_remove("HARP_PASSWORD");
    assert_eq!(call.run().expect(0).out, "[9]\n");

    fs::create_dir(directory.path().join("harp")).unwrap();
    let dispatcher = format!("dispatcher = '{}'\n", cluster.address());
    marked(&directory.path().join("harp"), "config.toml", &dispatcher);
    let done = Harp::new(&["call", "web01", "echo", "10"])
        .env("XDG_CONFIG_HOME", directory.path().to_str().unwrap())
        .run();
    assert_eq!(done.expect(0).out, "[10]\n");
}
