//! A browser without a screen, driven over a pipe (DevTools protocol).

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::wait::until;

const PLACES: [&str; 4] = [
    "/usr/bin/chromium",
    "/usr/bin/chromium-browser",
    "/usr/bin/google-chrome",
    "/snap/bin/chromium",
];

/// A browser with a profile of its own. Dropping it ends it.
#[derive(Debug)]
pub struct Chromium {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    last_id: u64,
    /// The page that is driven.
    session: Option<String>,
    /// What the pages have told by themselves since it was taken.
    events: Vec<Value>,
    _profile: TempDir,
}

/// A page of a browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tab {
    session: String,
    target: String,
}

impl Chromium {
    /// `None` if there is none on this machine, which is said.
    ///
    /// # Panics
    ///
    /// If there is one that cannot be run.
    #[must_use]
    pub fn start() -> Option<Chromium> {
        let Some(program) = PLACES.into_iter().find(|place| Path::new(place).exists()) else {
            println!("skipped: Chromium is not installed");
            return None;
        };
        let profile = tempfile::tempdir().expect("a temporary directory");
        let mut child = Command::new("sh")
            // It reads requests from descriptor 3 and answers on descriptor 4.
            .args([
                "-c",
                "exec \"$0\" \"$@\" 3<&0 4>&1 >/dev/null 2>&1",
                program,
            ])
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--disable-dev-shm-usage",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--no-first-run",
                "--enable-precise-memory-info",
                "--window-size=1200,800",
                "--remote-debugging-pipe",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a browser that can be run");
        Some(Chromium {
            requests: child.stdin.take().expect("a pipe"),
            answers: BufReader::new(child.stdout.take().expect("a pipe")),
            child,
            last_id: 0,
            session: None,
            events: Vec::new(),
            _profile: profile,
        })
    }

    /// What it calls itself.
    pub fn version(&mut self) -> String {
        let version = self.ask("Browser.getVersion", &json!({}));
        version["product"].as_str().unwrap_or_default().to_owned()
    }

    /// Opens a page, waits until it is there, and drives it from now on.
    ///
    /// # Panics
    ///
    /// If it does not come.
    pub fn open(&mut self, url: &str) -> Tab {
        self.session = None;
        let parameters = json!({"url": "about:blank"});
        let target = self.ask("Target.createTarget", &parameters)["targetId"].take();
        let parameters = json!({"targetId": target, "flatten": true});
        let attached = self.ask("Target.attachToTarget", &parameters);
        let text = |value: &Value| value.as_str().expect("an id").to_owned();
        let tab = Tab {
            session: text(&attached["sessionId"]),
            target: text(&target),
        };
        self.session = Some(tab.session.clone());
        for domain in [
            "Page.enable",
            "Runtime.enable",
            "Log.enable",
            "Network.enable",
        ] {
            self.ask(domain, &json!({}));
        }
        self.go(url);
        tab
    }

    /// Drives another page from now on, and has it in front.
    pub fn turn_to(&mut self, tab: &Tab) {
        self.session = Some(tab.session.clone());
        let _ = self.try_ask("Page.bringToFront", &json!({}));
    }

    /// Closes a page.
    pub fn close(&mut self, tab: &Tab) {
        self.session = None;
        self.ask("Target.closeTarget", &json!({"targetId": tab.target}));
    }

    /// Goes to an address, and waits until it is there.
    pub fn go(&mut self, url: &str) {
        self.ask("Page.navigate", &json!({ "url": url }));
        self.wait_for("document.readyState === 'complete' && location.href !== 'about:blank'");
    }

    /// What an expression on the page comes to, or its promise; null while the page is being
    /// replaced.
    ///
    /// # Panics
    ///
    /// If it throws.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let parameters =
            json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let Ok(mut answer) = self.try_ask("Runtime.evaluate", &parameters) else {
            return Value::Null;
        };
        let thrown = &answer["exceptionDetails"];
        assert!(thrown.is_null(), "{expression}: {thrown}");
        answer["result"]["value"].take()
    }

    /// Waits until a condition holds on the page; one that throws does not.
    pub fn wait_for(&mut self, condition: &str) {
        let tried =
            format!("(() => {{ try {{ return {condition}; }} catch {{ return false; }} }})()");
        until(condition, || (self.evaluate(&tried) == true).then_some(()));
    }

    /// Presses a key, by the name that the page sees; one character is typed, too.
    pub fn press(&mut self, key: &str) {
        let text = match key {
            "Enter" => Some("\r"),
            key if key.chars().count() == 1 => Some(key),
            _ => None,
        };
        let code = match key {
            "Enter" => 13,
            "Tab" => 9,
            "Escape" => 27,
            "End" => 35,
            "Home" => 36,
            _ => 0,
        };
        let mut down = json!({"type": "keyDown", "key": key, "windowsVirtualKeyCode": code});
        if let Some(text) = text {
            down["text"] = json!(text);
        }
        self.ask("Input.dispatchKeyEvent", &down);
        self.ask(
            "Input.dispatchKeyEvent",
            &json!({"type": "keyUp", "key": key, "windowsVirtualKeyCode": code}),
        );
    }

    /// Puts a text where the focus is, as by a paste.
    pub fn insert(&mut self, text: &str) {
        self.ask("Input.insertText", &json!({ "text": text }));
    }

    /// Makes the page so large, in pixels, and has it see this colour scheme.
    pub fn show_as(&mut self, width: u32, height: u32, scheme: &str) {
        let size = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false,
        });
        self.ask("Emulation.setDeviceMetricsOverride", &size);
        let scheme = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.ask("Emulation.setEmulatedMedia", &scheme);
    }

    /// Takes a picture of the page as it is seen, PNG.
    ///
    /// # Panics
    ///
    /// If it cannot be written.
    pub fn screenshot(&mut self, path: &Path) {
        let picture = self.ask("Page.captureScreenshot", &json!({}));
        let picture = picture["data"].as_str().unwrap_or_default();
        // The system's own program undoes base64.
        let mut decoder = Command::new("base64")
            .arg("-d")
            .stdin(Stdio::piped())
            .stdout(File::create(path).expect("a writable directory"))
            .spawn()
            .expect("the program base64");
        let mut input = decoder.stdin.take().expect("a pipe");
        input.write_all(picture.as_bytes()).expect("base64 reads");
        drop(input);
        assert!(decoder.wait().is_ok_and(|status| status.success()));
        println!("the page's picture: {}", path.display());
    }

    /// What pages have told by themselves, with this name, since it was asked for last.
    pub fn told(&mut self, method: &str) -> Vec<Value> {
        // What has come so far comes before this answer.
        self.evaluate("0");
        let (told, rest) = std::mem::take(&mut self.events)
            .into_iter()
            .partition(|event| event["method"] == method);
        self.events = rest;
        told
    }

    /// Has the browser do something; what it answers.
    ///
    /// # Panics
    ///
    /// If it refuses.
    pub fn ask(&mut self, method: &str, parameters: &Value) -> Value {
        self.try_ask(method, parameters)
            .unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    fn try_ask(&mut self, method: &str, parameters: &Value) -> Result<Value, Value> {
        self.last_id += 1;
        let mut request = json!({"id": self.last_id, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            request["sessionId"] = json!(session);
        }
        self.requests
            .write_all(format!("{request}\0").as_bytes())
            .expect("the browser reads");
        loop {
            let mut message = Vec::new();
            self.answers
                .read_until(0, &mut message)
                .expect("the browser writes");
            assert_eq!(message.pop(), Some(0), "the browser ended during {method}");
            let mut message: Value = serde_json::from_slice(&message).expect("JSON");
            // Between the answers come the browser's own events.
            if message["id"] == self.last_id {
                return match message["error"].take() {
                    Value::Null => Ok(message["result"].take()),
                    error => Err(error),
                };
            }
            if message["method"].is_string() {
                self.events.push(message);
            }
        }
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        self.session = None;
        let _ = self
            .requests
            .write_all(b"{\"id\":0,\"method\":\"Browser.close\"}\0");
        if std::thread::panicking() {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}
