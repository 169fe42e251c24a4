//! A browser without a screen, driven over a pipe (DevTools protocol).

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use harp_tests::until;
use serde_json::{Value, json};
use tempfile::TempDir;

const PLACES: [&str; 4] = [
    "/usr/bin/chromium",
    "/usr/bin/chromium-browser",
    "/usr/bin/google-chrome",
    "/snap/bin/chromium",
];

/// Dropping it ends it.
pub(crate) struct Chromium {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    last_id: u64,
    /// The page that is driven.
    session: Option<String>,
    _profile: TempDir,
}

impl Chromium {
    /// `None` if there is none on this machine.
    pub(crate) fn start() -> Option<Chromium> {
        let program = PLACES.into_iter().find(|place| Path::new(place).exists())?;
        let profile = tempfile::tempdir().unwrap();
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
                "--window-size=1200,800",
                "--remote-debugging-pipe",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Some(Chromium {
            requests: child.stdin.take().unwrap(),
            answers: BufReader::new(child.stdout.take().unwrap()),
            child,
            last_id: 0,
            session: None,
            _profile: profile,
        })
    }

    pub(crate) fn version(&mut self) -> String {
        let version = self.ask("Browser.getVersion", &json!({}));
        version["product"].as_str().unwrap().to_owned()
    }

    /// Opens a page and attaches to it.
    pub(crate) fn open(&mut self, url: &str) {
        let parameters = json!({"url": url});
        let target = self.ask("Target.createTarget", &parameters);
        let parameters = json!({"targetId": target["targetId"], "flatten": true});
        let attached = self.ask("Target.attachToTarget", &parameters);
        self.session = Some(attached["sessionId"].as_str().unwrap().to_owned());
        self.wait_for("document.readyState === 'complete' && location.href !== 'about:blank'");
    }

    /// What an expression on the page comes to; null while the page is being replaced.
    pub(crate) fn evaluate(&mut self, expression: &str) -> Value {
        let parameters = json!({"expression": expression, "returnByValue": true});
        let Ok(mut answer) = self.try_ask("Runtime.evaluate", &parameters) else {
            return Value::Null;
        };
        let thrown = &answer["exceptionDetails"];
        assert!(thrown.is_null(), "{expression}: {thrown}");
        answer["result"]["value"].take()
    }

    pub(crate) fn wait_for(&mut self, condition: &str) {
        until(condition, || {
            (self.evaluate(condition) == true).then_some(())
        });
    }

    /// Takes a picture of the page, into the folder that cargo has for such things.
    pub(crate) fn screenshot(&mut self, name: &str) {
        let picture = self.ask("Page.captureScreenshot", &json!({}));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        // As base64: whoever wants to look at it has a program for that.
        let path = path.with_extension("png.base64");
        std::fs::write(&path, picture["data"].as_str().unwrap()).unwrap();
        println!("the page's picture: {}", path.display());
    }

    fn ask(&mut self, method: &str, parameters: &Value) -> Value {
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
            .unwrap();
        loop {
            let mut message = Vec::new();
            self.answers.read_until(0, &mut message).unwrap();
            assert_eq!(message.pop(), Some(0), "the browser ended during {method}");
            let mut message: Value = serde_json::from_slice(&message).unwrap();
            // Between the answers come the browser's own events.
            if message["id"] == self.last_id {
                return match message["error"].take() {
                    Value::Null => Ok(message["result"].take()),
                    error => Err(error),
                };
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
