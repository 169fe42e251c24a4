//! MIGRATION.md, with stand-ins for what an administrator has of the original.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::{LOG, Machine, block, blocks, is_there, text};

#[test]
fn the_migration_guides_commands_lead_to_a_call() {
    let guide = blocks("MIGRATION.md");
    if !is_there("openssl") || !is_there("python3") {
        return;
    }
    let mut machine = Machine::new();
    machine.run(block(&blocks("README.md"), "mkdir -p /etc/harpd"));
    // The original's users, of whom one has this password, and its configuration.
    let users = "rpc:$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5\n";
    machine.write("harpd/users.txt", users);
    let mode = fs::Permissions::from_mode(0o600);
    fs::set_permissions(machine.path("harpd/users.txt"), mode).unwrap();
    machine.write(
        "harpd/harpd.conf",
        "network:\n  address: 127.0.0.1\n  port: 0\n  certfile: /etc/harpd/harpd.cert.pem\n  \
         keyfile: /etc/harpd/harpd.key.pem\nauthentication:\n  module: harpd.auth.passfile\n  \
         file: /etc/harpd/users.txt\n",
    );
    machine.run(block(&guide, "harpd convert"));
    let toml = machine.path("harpd/harpd.toml");
    let converted = fs::read_to_string(&toml).unwrap();
    let copies = block(&guide, "cp /etc/harpd/harpd.py");
    if converts() {
        machine.write("harpd/harpd.py", &module("xrange"));
        machine.run(copies);
    } else {
        machine.write("harpd/harpd.py", &module("range"));
        machine.run(copies.lines().next().unwrap());
    }
    let copied = text(&machine.path("harpd/harpd3.py"));
    let converted = converted.replace("/etc/harpd/harpd.py", &copied);
    fs::write(&toml, format!("{LOG}{converted}")).unwrap();
    let toml = text(&toml);
    machine.put("harpd --test", format!("harpd --config {toml} --test"));
    machine.put("harpd list", format!("harpd --config {toml} list"));
    let listed = machine.run(block(&guide, "harpd --test"));
    assert!(
        listed.contains("PROCEDURE") && listed.contains("count"),
        "{listed}"
    );
    let (_harpd, address) = machine.start("harpd", &["--config", &toml]);

    let line = serde_json::json!({
        "hostname": "web01", "address": "127.0.0.1", "port": address.port(),
        "credentials": {"user": "rpc", "password": "Hello world!"},
    });
    machine.write_program(
        "harpcaller/hosts.new",
        &format!("#!/bin/sh\necho '{line}'\n"),
    );
    machine.write(
        "harpcaller/new.toml",
        &format!(
            "{LOG}listen = ['127.0.0.1:0']\nstream_directory = '/var/lib/harpcaller/jobs'\n\
             host_db = '/var/lib/harpcaller/hosts'\nhost_db_script = '/etc/harpcaller/hosts.new'\n\
             known_certs_file = '/etc/harpd/harpd.cert.pem'\nhost_db_refresh = 900\n\
             [erlang]\nnode_name = 'harpcaller'\nname_type = 'longnames'\n\
             cookie_file = '/etc/harpcaller/cookie.txt'\ndistributed_immediate = false\n"
        ),
    );
    let commands = block(&guide, "harpcallerd check-config --hosts");
    let (check, start) = commands.split_once('\n').unwrap();
    let told = machine.run(check);
    assert!(told.contains("1 of 1 hosts"), "{told}");
    let start = machine.here(start.trim());
    let mut words = start.split_whitespace();
    assert_eq!(words.next(), Some("harpcallerd"));
    let words: Vec<&str> = words.collect();
    let (_dispatcher, address) = machine.start("harpcallerd", &words);
    machine.put("127.0.0.1:3503", address);
    let call = machine.run(block(&guide, "harp call --dispatcher"));
    assert_eq!(call.trim(), "moved");
    let streamed = block(&guide, "harp call --dispatcher").replace("PROCEDURE", "count");
    let streamed = machine.run(&streamed);
    assert_eq!(streamed, "{\"number\":1}\n{\"number\":2}\n");
}

/// A module with what the original's sample has: a procedure, and one that streams in a loop over
/// this.
fn module(range: &str) -> String {
    format!(
        "#!/usr/bin/python\nfrom harpd.proc import procedure, streaming_procedure, Result\n\
         @procedure\ndef PROCEDURE():\n    return 'moved'\n\
         @streaming_procedure\ndef count():\n    for number in {range}(1, 3):\n        \
         yield {{'number': number}}\n    yield Result({{'said': 'all'}})\n"
    )
}

/// Whether 2to3(1) is there, which Python has no more since 3.13.
fn converts() -> bool {
    let tried = Command::new("2to3").arg("--list-fixes").output();
    let is_there = tried.is_ok_and(|output| output.status.success());
    if !is_there {
        println!("skipped: a module of Python 2, since 2to3 is not there");
    }
    is_there
}
