//! `harpd add-user` on a terminal: the password is asked for twice and not shown.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

use crate::host::{Host, wait_for};

/// A terminal on which `add-user` runs.
struct Terminal {
    process: Child,
    keyboard: File,
    shown: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    /// `None`, with a word about it, where `setsid` cannot give a terminal.
    fn start(host: &Host, name: &str) -> Option<Terminal> {
        let known = Command::new("setsid").arg("--help").output();
        if !known.is_ok_and(|help| String::from_utf8_lossy(&help.stdout).contains("--ctty")) {
            println!("skipped: there is no `setsid --ctty` (util-linux)");
            return None;
        }
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&keyboard).unwrap();
        unlockpt(&keyboard).unwrap();
        let name_of_terminal = ptsname(&keyboard, Vec::new()).unwrap();
        let open = || -> OwnedFd {
            let flags = OFlags::RDWR | OFlags::NOCTTY;
            rustix::fs::open(&name_of_terminal, flags, Mode::empty()).unwrap()
        };
        let process = Command::new("setsid")
            .args(["--ctty", env!("CARGO_BIN_EXE_harpd"), "--config"])
            .arg(host.write_config())
            .args(["add-user", name])
            .stdin(Stdio::from(open()))
            .stdout(Stdio::from(open()))
            .stderr(Stdio::from(open()))
            .spawn()
            .unwrap();
        let keyboard = File::from(keyboard);
        let shown = Arc::new(Mutex::new(Vec::new()));
        let (mut screen, copy) = (keyboard.try_clone().unwrap(), Arc::clone(&shown));
        std::thread::spawn(move || {
            let mut buffer = [0; 1024];
            // An error is how a terminal says that nobody is left on it.
            while let Ok(length @ 1..) = screen.read(&mut buffer) {
                copy.lock().unwrap().extend_from_slice(&buffer[..length]);
            }
        });
        Some(Terminal {
            process,
            keyboard,
            shown,
        })
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }

    /// Types a line once it is asked for, and not shown.
    async fn answer(&mut self, prompt: &str, line: &str) {
        wait_for(prompt, || {
            let echoes = tcgetattr(&self.keyboard).unwrap().local_modes;
            self.shown().ends_with(prompt) && !echoes.contains(LocalModes::ECHO)
        })
        .await;
        self.keyboard.write_all(line.as_bytes()).unwrap();
    }

    async fn finish(mut self, last: &str) -> (ExitStatus, String) {
        wait_for(last, || self.shown().contains(last)).await;
        (self.process.wait().unwrap(), self.shown())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Only of interest if the test failed before.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn a_password_is_asked_for_twice_and_not_shown() {
    let host = Host::new();
    let Some(mut terminal) = Terminal::start(&host, "ops") else {
        return;
    };
    terminal.answer("Password: ", "pass phrase\n").await;
    terminal.answer("Again: ", "pass phrase\n").await;
    let (status, shown) = terminal.finish("ops: added to").await;
    assert!(status.success() && !shown.contains("phrase"), "{shown}");
    let users = std::fs::read_to_string(host.path("users")).unwrap();
    assert!(users.contains("ops:$6$"), "{users}");

    let mut terminal = Terminal::start(&host, "ops").unwrap();
    terminal.answer("Password: ", "one\n").await;
    terminal.answer("Again: ", "another\n").await;
    let (status, shown) = terminal.finish("the passwords differ").await;
    assert!(!status.success(), "{shown}");
    assert_eq!(std::fs::read_to_string(host.path("users")).unwrap(), users);
}
