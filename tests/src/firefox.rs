//! Firefox without a screen, driven by its own protocol (Marionette), where it is installed.

use std::fs;
use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::wait::until;

const PLACES: [&str; 3] = [
    "/usr/bin/firefox-esr",
    "/usr/bin/firefox",
    "/snap/bin/firefox",
];

/// What the browser goes by: a port of its choice, and no word to anybody by itself.
const PREFERENCES: &str = r#"
user_pref("marionette.port", 0);
user_pref("app.update.enabled", false);
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("network.proxy.type", 0);
user_pref("services.settings.server", "data:,");
user_pref("toolkit.telemetry.enabled", false);
"#;

/// A browser with a profile of its own, and one page. Dropping it ends it.
#[derive(Debug)]
pub struct Firefox {
    child: Child,
    stream: BufReader<TcpStream>,
    last_id: u64,
    _profile: TempDir,
}

impl Firefox {
    /// `None` if there is none on this machine, which is said.
    ///
    /// # Panics
    ///
    /// If there is one that cannot be run.
    #[must_use]
    pub fn start() -> Option<Firefox> {
        let Some(program) = PLACES.into_iter().find(|place| Path::new(place).exists()) else {
            println!("skipped: Firefox is not installed");
            return None;
        };
        let profile = tempfile::tempdir().expect("a temporary directory");
        fs::write(profile.path().join("user.js"), PREFERENCES).expect("a profile");
        let mut child = Command::new(program)
            .args(["--headless", "--no-remote", "--marionette", "--profile"])
            .arg(profile.path())
            // What it keeps elsewhere is below its profile, too.
            .env("HOME", profile.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a browser that can be run");
        let port = profile.path().join("MarionetteActivePort");
        let stream = until("the browser listens", || {
            assert!(
                child.try_wait().is_ok_and(|ended| ended.is_none()),
                "the browser has ended"
            );
            let port: u16 = fs::read_to_string(&port).ok()?.trim().parse().ok()?;
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
        let mut browser = Firefox {
            child,
            stream: BufReader::new(stream),
            last_id: 0,
            _profile: profile,
        };
        browser.read();
        browser.ask("WebDriver:NewSession", &json!({}));
        Some(browser)
    }

    /// Opens an address in its page.
    pub fn open(&mut self, url: &str) {
        self.ask("WebDriver:Navigate", &json!({ "url": url }));
    }

    /// What an expression on the page comes to, or its promise.
    ///
    /// # Panics
    ///
    /// If it throws.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let script = format!("return {expression}");
        let parameters = json!({"script": script, "args": []});
        self.ask("WebDriver:ExecuteScript", &parameters)["value"].take()
    }

    /// Waits until a condition holds on the page; one that throws does not.
    pub fn wait_for(&mut self, condition: &str) {
        let tried =
            format!("(() => {{ try {{ return {condition}; }} catch {{ return false; }} }})()");
        until(condition, || (self.evaluate(&tried) == true).then_some(()));
    }

    /// Presses a key, by its character or, of others, its code in WebDriver.
    pub fn press(&mut self, key: &str) {
        let steps = json!([{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]);
        let keys = json!({"actions": [{"type": "key", "id": "keys", "actions": steps}]});
        self.ask("WebDriver:PerformActions", &keys);
    }

    /// Makes its window so large, in pixels.
    pub fn resize(&mut self, width: u32, height: u32) {
        let size = json!({"width": width, "height": height});
        self.ask("WebDriver:SetWindowRect", &size);
    }

    /// What it calls itself.
    pub fn version(&mut self) -> String {
        let told = self.evaluate("navigator.userAgent");
        told.as_str().unwrap_or_default().to_owned()
    }

    fn ask(&mut self, method: &str, parameters: &Value) -> Value {
        self.last_id += 1;
        let request = json!([0, self.last_id, method, parameters]).to_string();
        let framed = format!("{}:{request}", request.len());
        let stream = self.stream.get_mut();
        stream.write_all(framed.as_bytes()).expect("the browser");
        let mut answer = self.read();
        assert_eq!(answer[1], self.last_id, "{method}: {answer}");
        assert!(answer[2].is_null(), "{method}: {}", answer[2]);
        answer[3].take()
    }

    /// A message, with its length before it.
    fn read(&mut self) -> Value {
        let mut length = 0;
        loop {
            let mut digit = [0];
            self.stream.read_exact(&mut digit).expect("the browser");
            match digit[0] {
                b':' => break,
                digit => length = 10 * length + usize::from(digit - b'0'),
            }
        }
        let mut text = vec![0; length];
        self.stream.read_exact(&mut text).expect("the browser");
        serde_json::from_slice(&text).expect("JSON")
    }
}

impl Drop for Firefox {
    fn drop(&mut self) {
        // Its other processes end with this one.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
