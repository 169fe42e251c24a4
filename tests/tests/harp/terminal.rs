//! `harp` on a terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use harp_tests::{Cluster, until};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::command::Harp;

/// A terminal that `harp` runs on.
pub(crate) struct Terminal {
    child: Child,
    keyboard: File,
    screen: Arc<Mutex<Vec<u8>>>,
}

/// What Ctrl-C sends.
pub(crate) const CTRL_C: &str = "\x03";

impl Terminal {
    /// Starts `harp` on a terminal. `None`, with a word about it, where `setsid` cannot
    /// give it one.
    pub(crate) fn start(harp: Harp) -> Option<Terminal> {
        let known = Command::new("setsid").arg("--help").output();
        if !known.is_ok_and(|help| String::from_utf8_lossy(&help.stdout).contains("--ctty")) {
            println!("skipped: there is no `setsid --ctty` (util-linux)");
            return None;
        }
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&keyboard).expect("a terminal of our own");
        unlockpt(&keyboard).expect("a terminal of our own");
        let name = ptsname(&keyboard, Vec::new()).expect("the terminal's name");
        let open = || -> OwnedFd {
            let flags = OFlags::RDWR | OFlags::NOCTTY;
            rustix::fs::open(&name, flags, Mode::empty()).expect("the terminal")
        };
        // `setsid` becomes the command, so the process is the one that was started.
        let mut command = Command::new("setsid");
        command
            .arg("--ctty")
            .arg(harp.command.get_program())
            .args(harp.command.get_args());
        for (variable, value) in harp.command.get_envs() {
            match value {
                Some(value) => command.env(variable, value),
                None => command.env_remove(variable),
            };
        }
        let child = command
            .stdin(Stdio::from(open()))
            .stdout(Stdio::from(open()))
            .stderr(Stdio::from(open()))
            .spawn()
            .expect("setsid can be run");
        let keyboard = File::from(keyboard);
        let screen = Arc::new(Mutex::new(Vec::new()));
        let mut reader = keyboard.try_clone().expect("a descriptor");
        let shown = Arc::clone(&screen);
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            // An error is how a terminal says that nobody is left on it.
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
                shown.extend_from_slice(&buffer[..length]);
            }
        });
        Some(Terminal {
            child,
            keyboard,
            screen,
        })
    }

    /// All that has been shown so far.
    pub(crate) fn shown(&self) -> String {
        let screen = self.screen.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&screen).into_owned()
    }

    pub(crate) fn wait_for(&self, text: &str) {
        until(&format!("{text:?} is shown"), || {
            self.shown().contains(text).then_some(())
        });
    }

    pub(crate) fn press(&mut self, keys: &str) {
        self.keyboard
            .write_all(keys.as_bytes())
            .expect("a terminal that takes keys");
    }

    /// Waits for the end: the exit code, and all that was shown.
    pub(crate) fn finish(mut self) -> (i32, String) {
        let status = until("harp ends", || {
            self.child.try_wait().expect("a process of our own")
        });
        // What it wrote last may still be on its way through the terminal.
        let mut last = self.shown();
        until("the screen is still", || {
            thread::sleep(std::time::Duration::from_millis(50));
            let now = self.shown();
            let still = now == last;
            last = now;
            still.then_some(())
        });
        (status.code().expect("an exit code"), self.shown())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Only of interest if the test failed before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How a colour begins.
const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";

#[test]
fn colours_and_the_bar_are_for_a_terminal_alone() {
    let cluster = Cluster::builder().hosts(2).start();
    let line = ["call", "--hosts", "web01,web02,nobody", "echo", "1"];
    let Some(terminal) = Terminal::start(Harp::of(&cluster, &line)) else {
        return;
    };
    let (code, shown) = terminal.finish();
    assert_eq!(code, 3, "{shown}");
    assert!(shown.contains(GREEN) && shown.contains(RED), "{shown:?}");
    assert!(shown.contains("/3 hosts"), "no bar in {shown:?}");

    let plain = Harp::of(&cluster, &line).run().expect(3);
    assert!(
        !plain.err.contains('\x1b') && !plain.out.contains('\x1b'),
        "{plain:#?}"
    );
    assert!(!plain.err.contains("/3 hosts"), "{plain:#?}");

    let uncoloured = Harp::of(&cluster, &line).env("NO_COLOR", "1");
    let (_, shown) = Terminal::start(uncoloured).expect("as before").finish();
    assert!(!shown.contains(GREEN) && !shown.contains(RED), "{shown:?}");
}
