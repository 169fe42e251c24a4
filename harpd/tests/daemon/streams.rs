//! Standard output and standard error of harpd's commands as other processes have left them.

use std::io::Read;
use std::process::{Child, Command, Stdio};

use rustix::fs::OFlags;
use rustix::io::ioctl_fionread;

use crate::host::Host;

/// More procedures than lines of a list that fit into a pipe.
const MANY: usize = 900;

/// The name of a procedure, long enough for that.
fn name(number: usize) -> String {
    format!("{number:0100}")
}

fn host() -> Host {
    let add = |host: Host, number| host.command(&name(number), "", &["/bin/true"]);
    (0..MANY).fold(Host::new(), add)
}

fn start(host: &Host, arguments: &[&str], stdout: Stdio, stderr: Stdio) -> Child {
    Command::new(env!("CARGO_BIN_EXE_harpd"))
        .arg("--config")
        .arg(host.write_config())
        .args(arguments)
        .stdout(stdout)
        .stderr(stderr)
        .spawn()
        .unwrap()
}

#[test]
fn a_non_blocking_output_loses_no_line_of_a_list() {
    let host = host();
    let (reader, writer) = std::io::pipe().unwrap();
    rustix::fs::fcntl_setfl(&writer, OFlags::NONBLOCK).unwrap();
    let mut child = start(&host, &["list"], Stdio::from(writer), Stdio::null());
    let begun = std::time::Instant::now();
    while ioctl_fionread(&reader).unwrap() < 60_000 {
        assert!(
            begun.elapsed() < crate::host::PATIENCE,
            "the pipe is not full"
        );
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let mut got = String::new();
    (&reader).read_to_string(&mut got).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let names = got.lines().map(|line| line.split('\t').next().unwrap());
    assert!(names.eq((0..MANY).map(name)), "{}", got.lines().count());
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let host = host();
    for (arguments, code) in [(&["list"][..], 0), (&["--test"], 0), (&["nonsense"], 2)] {
        let gone = || {
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            Stdio::from(writer)
        };
        let mut child = start(&host, arguments, gone(), gone());
        assert_eq!(child.wait().unwrap().code(), Some(code), "{arguments:?}");
    }
    // What is wrong is told by the exit code where nobody hears it.
    let host = host.set("users_file = 1");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut child = start(&host, &["--test"], Stdio::null(), Stdio::from(writer));
    assert_eq!(child.wait().unwrap().code(), Some(1));
}
