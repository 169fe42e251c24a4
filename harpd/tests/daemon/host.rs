//! A host of its own for each test: a directory with a certificate, users and scripts,
//! a harpd that runs with them, and callers.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Nothing in these tests takes this long unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// `rpc` with the password `secret`, with few rounds to make many calls quick.
const USERS: &str = "rpc:$5$rounds=1000$saltsalt$eKLZU9t9OoPWrqOQsoTIKG0aYkZ5rGOoOQhiIvoSWX2\n";

/// The files of one harpd.
pub(crate) struct Host {
    pub(crate) directory: TempDir,
    pub(crate) top: String,
    pub(crate) procedures: String,
    /// Shell commands that run before harpd in the same process.
    before: String,
    user: Option<&'static str>,
    /// More options of setpriv(1) then.
    privileges: &'static str,
    /// Its `state_directory`, if that is another's.
    state: Option<PathBuf>,
}

impl Host {
    pub(crate) fn new() -> Host {
        let host = Host {
            directory: tempfile::tempdir().unwrap(),
            top: String::new(),
            procedures: String::new(),
            before: String::new(),
            user: None,
            privileges: "",
            state: None,
        };
        host.write_certificate();
        host.write("users", USERS);
        host
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// A new certificate with its key.
    pub(crate) fn write_certificate(&self) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        self.write("cert.pem", &made.cert.pem());
        self.write("key.pem", &made.signing_key.serialize_pem());
    }

    /// The key that starts a script in this host's directory.
    pub(crate) fn here(&self) -> String {
        format!("directory = {:?}", self.directory.path())
    }

    /// Lets harpd open only so many files.
    pub(crate) fn limit_files(self, count: u32) -> Host {
        self.before_start(&format!("ulimit -n {count}"))
    }

    /// Runs a shell command in the process that then becomes harpd.
    pub(crate) fn before_start(mut self, command: &str) -> Host {
        self.before.push_str(command);
        self.before.push(';');
        self
    }

    /// Runs harpd as this user.
    pub(crate) fn started_by(mut self, user: &'static str) -> Host {
        self.user = Some(user);
        self
    }

    /// Gives harpd, which runs as another user, capabilities that its programs would inherit.
    pub(crate) fn with_privileges(mut self, options: &'static str) -> Host {
        self.privileges = options;
        self
    }

    /// Lets every user into the directory, and read what is in it.
    pub(crate) fn readable_by_all(self) -> Host {
        let mode = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        mode(self.directory.path(), 0o755);
        self
    }

    /// Keeps its state where another does.
    pub(crate) fn in_state(mut self, directory: &Path) -> Host {
        self.state = Some(directory.to_owned());
        self
    }

    /// A key at the top of the configuration.
    pub(crate) fn set(mut self, line: &str) -> Host {
        self.top.push_str(line);
        self.top.push('\n');
        self
    }

    /// A procedure that is a shell script; `keys` are more keys of its table.
    pub(crate) fn script(self, name: &str, keys: &str, body: &str) -> Host {
        let file = self.write(name, &format!("#!/bin/sh\n{body}\n"));
        make_executable(&file);
        self.command(name, keys, &[file.to_str().unwrap()])
    }

    /// A procedure that is any command.
    pub(crate) fn command(mut self, name: &str, keys: &str, command: &[&str]) -> Host {
        let table = format!("[procedure.{name}]\ncommand = {command:?}\n{keys}\n");
        self.procedures.push_str(&table);
        self
    }

    pub(crate) fn write_config(&self) -> PathBuf {
        let Host {
            top, procedures, ..
        } = self;
        let file = |name| self.path(name).display().to_string();
        self.write(
            "harpd.toml",
            &format!(
                "listen = [\"127.0.0.1:0\"]\n\
                 certificate = {:?}\nprivate_key = {:?}\nusers_file = {:?}\n\
                 kill_grace = 1\nlog_format = \"json\"\n\
                 state_directory = {:?}\n{top}{procedures}",
                file("cert.pem"),
                file("key.pem"),
                file("users"),
                self.state.clone().unwrap_or_else(|| self.path("state")),
            ),
        )
    }

    /// Runs harpd to its end, for what it prints.
    pub(crate) fn harpd(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_harpd"))
            .arg("--config")
            .arg(self.write_config())
            .args(arguments)
            .output()
            .unwrap()
    }

    pub(crate) fn start(self) -> Harpd {
        let log = Arc::default();
        let (process, address) = self.spawn(&log);
        Harpd {
            host: self,
            address,
            process,
            log,
        }
    }

    /// Starts harpd, and waits until it listens.
    fn spawn(&self, log: &Arc<Mutex<Vec<Value>>>) -> (Child, SocketAddr) {
        let config = self.write_config();
        let become_user = self.user.map_or(String::new(), |user| {
            format!(
                "setpriv --reuid {user} --regid nogroup --clear-groups {}",
                self.privileges
            )
        });
        let script = format!("{} exec {become_user} \"$@\"", self.before);
        let mut process = Command::new("sh")
            .args(["-c", &script, "sh"])
            .arg(env!("CARGO_BIN_EXE_harpd"))
            .arg("--config")
            .arg(config)
            .env("FROM_OUTSIDE", "yes")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (told, listening) = mpsc::channel();
        let lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let copy = Arc::clone(log);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let line: Value = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if line["message"] == "listening" {
                    let address = line["address"].as_str().unwrap().to_owned();
                    told.send(address).unwrap();
                }
                copy.lock().unwrap().push(line);
            }
        });
        let address = listening.recv_timeout(PATIENCE);
        let address = address.unwrap_or_else(|_| panic!("{:#?}", log.lock().unwrap()));
        (process, address.parse().unwrap())
    }
}

/// Makes a program of a file, in a copy that this process has never had open for writing:
/// what another thread has just forked would hold it open until its own `exec`, and the
/// program could not be run meanwhile (`ETXTBSY`).
pub(crate) fn make_executable(file: &Path) {
    let copy = file.with_extension("copy");
    let status = std::process::Command::new("install")
        .args(["-m", "755"])
        .args([file, &copy])
        .status()
        .unwrap();
    assert!(status.success(), "install: {status}");
    std::fs::rename(copy, file).unwrap();
}

/// A running harpd; ended when dropped.
pub(crate) struct Harpd {
    pub(crate) host: Host,
    pub(crate) address: SocketAddr,
    process: Child,
    log: Arc<Mutex<Vec<Value>>>,
}

impl Harpd {
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.process)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.pid(), signal).unwrap();
    }

    /// Starts the next one with the same files, after this one has ended.
    pub(crate) fn restart(&mut self) {
        (self.process, self.address) = self.host.spawn(&self.log);
    }

    /// Waits for the process to end and returns its exit code.
    pub(crate) async fn exit_code(&mut self) -> Option<i32> {
        let process = &mut self.process;
        let mut status = None;
        wait_for("harpd to exit", || {
            status = process.try_wait().unwrap();
            status.is_some()
        })
        .await;
        status.unwrap().code()
    }

    /// The calls that it has, or whose ends it keeps: what `harpd list --calls` prints.
    pub(crate) fn listed(&self) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_harpd"))
            .arg("--config")
            .arg(self.host.path("harpd.toml"))
            .args(["list", "--calls"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn log(&self) -> Vec<Value> {
        self.log.lock().unwrap().clone()
    }

    /// Waits for a log line that has this text anywhere in it.
    pub(crate) async fn logged(&self, text: &str) -> Value {
        let mut found = None;
        wait_for(&format!("{text:?} in the log"), || {
            found = self
                .log()
                .into_iter()
                .find(|line| line.to_string().contains(text));
            found.is_some()
        })
        .await;
        found.unwrap()
    }

    pub(crate) async fn connect(&self) -> Caller {
        connect(self.address, client_config()).await
    }

    /// Calls with an array or object of arguments.
    pub(crate) async fn call(&self, procedure: &str, arguments: Value) -> Caller {
        let mut caller = self.connect().await;
        caller.send_line(&request(procedure, &arguments)).await;
        caller
    }

    /// Calls, and returns all messages.
    pub(crate) async fn answers(&self, procedure: &str, arguments: Value) -> Vec<Value> {
        self.call(procedure, arguments).await.rest().await
    }

    /// Calls, and returns the message that ends the call.
    pub(crate) async fn end(&self, procedure: &str, arguments: Value) -> Value {
        let answers = self.answers(procedure, arguments).await;
        answers.last().expect("no answer").clone()
    }
}

impl Drop for Harpd {
    fn drop(&mut self) {
        // Not killed, so that it ends what it has started.
        let _ = rustix::process::kill_process(self.pid(), Signal::TERM);
        let _ = self.process.wait();
    }
}

/// One connection to a harpd.
pub(crate) struct Caller {
    pub(crate) stream: tokio::io::BufReader<TlsStream<TcpStream>>,
}

impl Caller {
    pub(crate) async fn send_line(&mut self, line: &str) {
        self.send(format!("{line}\n").as_bytes()).await;
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// The next line; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        let mut line = String::new();
        let read = tokio::time::timeout(PATIENCE, self.stream.read_line(&mut line));
        let count = read.await.expect("no line came").unwrap();
        if count == 0 {
            return None;
        }
        assert!(line.ends_with('\n'), "half a line: {line}");
        Some(serde_json::from_str(&line).expect(&line))
    }

    /// The next line, which must be a packet.
    pub(crate) async fn packet(&mut self) -> Value {
        let message = self.next().await.expect("a packet");
        message
            .get("stream")
            .unwrap_or_else(|| panic!("{message}"))
            .clone()
    }

    /// The next line, a packet that is a process's number.
    pub(crate) async fn pid(&mut self) -> Pid {
        let number = self.packet().await.as_str().unwrap().parse().unwrap();
        Pid::from_raw(number).unwrap()
    }

    pub(crate) async fn acknowledged(&mut self, stream_result: bool) {
        assert_eq!(
            self.next().await.unwrap(),
            json!({ "harp": 1, "stream_result": stream_result })
        );
    }

    /// All lines that are left.
    pub(crate) async fn rest(&mut self) -> Vec<Value> {
        let mut lines = Vec::new();
        while let Some(line) = self.next().await {
            lines.push(line);
        }
        lines
    }

    /// Says that nothing more will come, by close_notify; reading goes on.
    pub(crate) async fn close(&mut self) {
        self.stream.get_mut().shutdown().await.unwrap();
    }

    /// Ends the sending side of the connection without a word of TLS.
    pub(crate) async fn close_rudely(&mut self) {
        self.stream.get_mut().get_mut().0.shutdown().await.unwrap();
    }
}

pub(crate) async fn connect(address: SocketAddr, config: Arc<ClientConfig>) -> Caller {
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(config)
        .connect(name, stream)
        .await
        .unwrap();
    Caller {
        stream: tokio::io::BufReader::new(stream),
    }
}

pub(crate) fn request(procedure: &str, arguments: &Value) -> String {
    let auth = json!({ "user": "rpc", "password": "secret" });
    json!({ "harp": 1, "procedure": procedure, "arguments": arguments, "auth": auth }).to_string()
}

/// Waits for a condition.
pub(crate) async fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < until, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// True if there is no such process any more, not even as a zombie.
pub(crate) fn is_gone(pid: Pid) -> bool {
    rustix::process::test_kill_process(pid).is_err()
}

pub(crate) fn client_config() -> Arc<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    Arc::new(config)
}

/// Takes every certificate: these tests are not about the other end's identity.
#[derive(Debug)]
pub(crate) struct AnyCertificate(pub(crate) Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
