//! Output that is slow, gone, or meant for somebody else's terminal.

use std::io::Read;
use std::process::{Command, Stdio};

use harp_tests::{Cluster, until};
use rustix::fs::OFlags;
use rustix::io::ioctl_fionread;

use crate::command::{Harp, job_in, path};
use crate::terminal::{CTRL_C, Terminal};

#[test]
fn a_non_blocking_output_loses_nothing() {
    let cluster = Cluster::builder()
        .procedure("many", "output = 'lines'", "seq 1 30000")
        .start();
    let (reader, writer) = std::io::pipe().unwrap();
    rustix::fs::fcntl_setfl(&writer, OFlags::NONBLOCK).unwrap();
    let mut harp = Harp::of(&cluster, &["call", "web01", "many"]);
    let mut child = harp
        .command
        .stdout(Stdio::from(writer))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // The command has its own end of the pipe alone once this is gone.
    drop(harp);
    until("the pipe is full", || {
        (ioctl_fionread(&reader).unwrap() > 60_000).then_some(())
    });
    let mut got = String::new();
    (&reader).read_to_string(&mut got).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(got.lines().eq((1..=30000).map(|line| line.to_string())));
}

#[test]
fn hosts_that_were_not_called_are_told_when_the_reader_goes() {
    let cluster = Cluster::builder().hosts(3).start();
    let line = ["call", "--hosts", "web[01-03]", "--parallel", "1", "busy"];
    let mut running = Harp::of(&cluster, &line).start();
    assert_eq!(running.line(), "web01: tick");
    running.stop_reading();
    let done = running.finish().expect(9);
    let done = done.says(&["1 of 3 hosts were called, 2 were not", "harp follow"]);
    // The command that is shown is one that works.
    let job = job_in(&done.err);
    Harp::of(&cluster, &["cancel", &job]).run().expect(0);
}

#[test]
fn a_full_disk_is_told_with_the_way_to_pick_the_job_up() {
    let cluster = Cluster::start();
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let mut harp = Harp::of(&cluster, &["call", "web01", "busy"]);
    let output = harp.command.stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(9));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("harp follow"), "{said}");
    Harp::of(&cluster, &["cancel", &job_in(&said)])
        .run()
        .expect(0);
}

#[test]
fn one_hosts_lines_do_not_run_over_those_of_others() {
    let script = r"printf '10%%\r20%%\r100%%\n\033[31mred\n\033[2Jx\302\2331m\342\200\256y\n'";
    let cluster = Cluster::builder()
        .procedure("paints", "output = 'lines'", script)
        .hosts(2)
        .start();
    let line = ["call", "--hosts", "web01 web02", "paints"];
    let done = Harp::of(&cluster, &line).run().expect(0);
    for host in ["web01", "web02"] {
        assert!(done.out.contains(&format!("{host}: 100%\n")), "{done:#?}");
    }
    assert!(
        !done.out.contains(['\r', '\x1b', '\u{9b}', '\u{202e}']),
        "{done:#?}"
    );
    assert!(done.out.contains("web01: \\u{1b}[31mred\n"), "{done:#?}");
    // Of one host it is what was printed.
    let done = Harp::of(&cluster, &["call", "web01", "paints"])
        .run()
        .expect(0);
    assert!(done.out.contains("\x1b[31mred\n"), "{done:#?}");
}

#[test]
fn a_pager_keeps_its_keys() {
    let cluster = Cluster::start();
    let mut feed = cluster.feed("feed");
    let mut harp = Harp::of(&cluster, &["call", "web01", "feed", &path(&feed)]);
    let direct = std::mem::replace(&mut harp.command, Command::new("sh"));
    harp.command
        .args(["-c", r#""$@" | (trap "" INT; cat)"#, "sh"])
        .arg(direct.get_program())
        .args(direct.get_args());
    for (name, value) in direct.get_envs() {
        match value {
            Some(value) => harp.command.env(name, value),
            None => harp.command.env_remove(name),
        };
    }
    let Some(mut terminal) = Terminal::start(harp) else {
        return;
    };
    feed.send("\"packet 0\"");
    terminal.wait_for("packet 0");
    terminal.press(CTRL_C);
    // It detaches, as without a terminal.
    terminal.wait_for("--since 1");
    assert!(
        !terminal.shown().contains("Cancel (c)"),
        "{}",
        terminal.shown()
    );
    feed.finish();
}
