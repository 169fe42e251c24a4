//! Listeners and identities: tokens, client certificates, Unix sockets (section 8;
//! harpcaller.toml, `[[listener]]`).

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use harp_tests::certificates::{Authority, HostCertificate};
use harp_tests::{Cluster, ClusterBuilder, LineClient, binary, until};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::assertions::{NO_JOB, assert_refused};

/// A directory with the files of listeners.
pub(crate) struct Files(TempDir);

impl Files {
    pub(crate) fn new() -> Files {
        Files(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    /// Replaces the listener's certificate and key, as an administrator would.
    fn set_certificate(&self, certificate: &HostCertificate) {
        self.write("cert.pem", &certificate.pem);
        self.write("key.pem", &certificate.key_pem);
    }

    /// A TLS listener that asks for certificates of an authority.
    pub(crate) fn tls_listener(&self, clients: &Authority) -> String {
        self.set_certificate(&Authority::shared().issue(&["127.0.0.1"]));
        self.write("clients.pem", &clients.pem());
        format!(
            "[[listener]]\naddress = '127.0.0.1:0'\ncertificate = {:?}\nprivate_key = {:?}\n\
             client_ca_file = {:?}\n",
            self.path("cert.pem"),
            self.path("key.pem"),
            self.path("clients.pem")
        )
    }

    /// Makes a token with the daemon's own command, and enters it into `tokens`.
    pub(crate) fn new_token(&self, name: &str) -> String {
        let output = Command::new(binary("harpcallerd"))
            .args(["new-token", name])
            .output()
            .unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let [_, token, _, line] = lines[..] else {
            panic!("{text}");
        };
        let known = fs::read_to_string(self.path("tokens")).unwrap_or_default();
        self.write("tokens", &format!("{known}{line}\n"));
        token.to_owned()
    }
}

fn quoted(path: &Path) -> String {
    json!(path).to_string()
}

/// A cluster without hosts that reads the tokens of these files.
pub(crate) fn with_tokens(files: &Files) -> ClusterBuilder {
    Cluster::builder()
        .hosts(0)
        .set("tokens_file", &quoted(&files.path("tokens")))
}

/// The addresses of the listeners behind `listen`, in their order.
pub(crate) fn listeners(cluster: &Cluster) -> Vec<SocketAddr> {
    // The log is read beside the test.
    until("the listeners are in the log", || {
        let entries = cluster.log().all("listening");
        let addresses = entries.iter().filter_map(|entry| entry["address"].as_str());
        let addresses = addresses.filter_map(|text| text.parse().ok());
        let behind: Vec<SocketAddr> = addresses.skip(1).collect();
        (!behind.is_empty()).then_some(behind)
    })
}

pub(crate) fn hello(token: &str) -> Value {
    json!({"harpcaller": 1, "hello": {"token": token}})
}

fn cancel() -> Value {
    json!({"harpcaller": 1, "cancel": NO_JOB})
}

#[track_caller]
fn assert_may_ask(client: &mut LineClient) {
    assert_eq!(client.ask(cancel()).unwrap(), json!({"cancelled": false}));
}

#[track_caller]
fn assert_unauthorized(answer: &Value) {
    assert_refused(answer, "unauthorized", &Value::Null);
}

#[test]
fn a_token_opens_a_listener_that_wants_one() {
    let files = Files::new();
    let token = files.new_token("shop");
    let cluster = with_tokens(&files)
        .tables("[[listener]]\naddress = '127.0.0.1:0'")
        .start();
    let address = listeners(&cluster)[0];
    let ask = |line: Value| harp_tests::ask(address, line);

    // Whatever is asked without it is refused, and not looked at.
    assert_unauthorized(&ask(cancel()));
    assert_unauthorized(&ask(json!({"harpcaller": 1, "hello": {"client": "shop"}})));
    assert_unauthorized(&ask(json!({"harpcaller": 1, "hello": {}})));
    let mut client = harp_tests::RawClient::connect(address);
    client.try_send_bytes(&vec![b'x'; 100 * 1024]);
    assert_unauthorized(&client.line());

    let mut client = harp_tests::RawClient::connect(address);
    client.send(hello(&token));
    assert!(client.line()["server"].is_string());
    client.send(cancel());
    assert_eq!(client.line(), json!({"cancelled": false}));

    // A wrong one takes time, is told, and is logged without being shown.
    let wrong = "f".repeat(64);
    let asked = Instant::now();
    assert_unauthorized(&ask(hello(&wrong)));
    assert!(asked.elapsed().as_secs_f32() > 0.9);
    let _ = cluster.log().wait_for("wrong token");
    assert_eq!(cluster.log().count("wrong token"), 1);
    assert!(!cluster.log().text().contains(&wrong));
    assert!(!cluster.log().text().contains(&token));

    // The file is looked at for each hello, and tells nobody the token.
    assert!(
        !fs::read_to_string(files.path("tokens"))
            .unwrap()
            .contains(&token)
    );
    files.write("tokens", "# nobody\n");
    assert_unauthorized(&ask(hello(&token)));
    let another = files.new_token("another");
    assert!(ask_once(address, &another));
}

/// Runs `new-token`, which adds the line itself.
fn appended_token(files: &Files, options: &[&str]) -> String {
    let output = Command::new(binary("harpcallerd"))
        .args(["new-token", "shop", "--append"])
        .arg(files.path("tokens"))
        .args(options)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_client_has_several_tokens_and_a_start_goes_on_past_wrong_lines() {
    let files = Files::new();
    let first = appended_token(&files, &[]);
    let mode = fs::metadata(files.path("tokens")).unwrap().permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    let second = appended_token(&files, &["--expires", "2999-12-31"]);
    let past = appended_token(&files, &["--expires", "2020-01-01T00:00:00Z"]);
    // An editor that leaves no newline at the end costs no line.
    let text = fs::read_to_string(files.path("tokens")).unwrap();
    files.write("tokens", &format!("{text}operator:not-a-hash"));
    let third = appended_token(&files, &[]);
    let mut cluster = with_tokens(&files)
        .tables("[[listener]]\naddress = '127.0.0.1:0'")
        .start();
    let address = listeners(&cluster)[0];
    for token in [&first, &second, &third] {
        assert!(ask_once(address, token));
    }
    assert!(!ask_once(address, &past));
    let told = cluster.log().text();
    assert!(told.contains("tokens:4: must be NAME:HASH"), "{told}");
    assert!(told.contains("\"level\":\"ERROR\""), "{told}");
    cluster.stop_dispatcher();

    let wrong = Command::new(binary("harpcallerd"))
        .args(["new-token", "shop", "--expires", "soon", "--append"])
        .arg(files.path("other"))
        .output()
        .unwrap();
    assert!(!wrong.status.success());
    assert!(!files.path("other").exists());
}

fn ask_once(address: SocketAddr, token: &str) -> bool {
    let mut client = harp_tests::RawClient::connect(address);
    client.send(hello(token));
    client.line()["server"].is_string()
}

#[test]
fn a_client_certificate_opens_a_listener_that_wants_one() {
    let files = Files::new();
    let clients = Authority::new("clients");
    let cluster = Cluster::builder()
        .hosts(0)
        .tables(&files.tls_listener(&clients))
        .start();
    let address = listeners(&cluster)[0];
    let server = Authority::shared();

    let shop = clients.issue_to("shop");
    assert_may_ask(&mut LineClient::tls(address, server, Some(&shop)).unwrap());

    // Without one the handshake succeeds, so that the answer can be told.
    let mut nobody = LineClient::tls(address, server, None).unwrap();
    assert_unauthorized(&nobody.ask(cancel()).unwrap());

    // One of another authority, one that is out of date, and one without a name.
    let stranger = Authority::new("others").issue_to("shop");
    let expired = clients.issue_expired(&["shop"]);
    let nameless = clients.issue_to("");
    for certificate in [stranger, expired, nameless] {
        let answer = LineClient::tls(address, server, Some(&certificate))
            .and_then(|mut client| client.ask(cancel()));
        assert!(answer.is_err(), "{answer:?}");
    }
}

#[test]
fn a_certificate_is_read_again_when_its_file_changes() {
    let files = Files::new();
    let clients = Authority::new("clients");
    let cluster = Cluster::builder()
        .hosts(0)
        .tables(&files.tls_listener(&clients))
        .start();
    let address = listeners(&cluster)[0];
    let shop = clients.issue_to("shop");
    let connect = |authority| LineClient::tls(address, authority, Some(&shop));
    let mut before = connect(Authority::shared()).unwrap();

    let renewed = Authority::new("another");
    files.set_certificate(&renewed.issue(&["127.0.0.1"]));
    assert_may_ask(&mut connect(&renewed).unwrap());
    assert!(connect(Authority::shared()).is_err());

    // Half of a change is no certificate: the last good one stays in force.
    files.write("key.pem", "");
    assert_may_ask(&mut connect(&renewed).unwrap());
    let told = "the listener's certificate is unusable, the last good one stays in force";
    let _ = cluster.log().wait_for(told);
    assert_eq!(cluster.log().count(told), 1);

    // Clients whose authority is trusted no more are let in no more.
    files.set_certificate(&renewed.issue(&["127.0.0.1"]));
    files.write("clients.pem", &Authority::new("new clients").pem());
    let refused = connect(&renewed).and_then(|mut client| client.ask(cancel()));
    assert!(refused.is_err(), "{refused:?}");
    // A client that is connected by it already is told so.
    assert_unauthorized(&before.ask(json!({"harpcaller": 1, "hello": {}})).unwrap());
}

#[test]
fn the_user_behind_a_unix_socket_is_known() {
    let files = Files::new();
    let path = files.path("clients.sock");
    let mut cluster = Cluster::builder()
        .hosts(0)
        .tables(&format!("[[listener]]\npath = {path:?}\nmode = '0600'"))
        .start();
    let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode, 0o600);
    let mut client = LineClient::local(&path).unwrap();
    let greeting = client.ask(json!({"harpcaller": 1, "hello": {}})).unwrap();
    assert!(greeting["server"].is_string());
    assert_may_ask(&mut client);

    // A socket that a crash left behind is replaced; an orderly stop takes it away.
    cluster.kill_dispatcher();
    assert!(path.exists());
    cluster.start_dispatcher();
    until("the socket is served", || LineClient::local(&path).ok());
    assert_may_ask(&mut LineClient::local(&path).unwrap());
    cluster.stop_dispatcher();
    assert!(!path.exists());
}

/// The name of the user that runs the tests, as `id` says it.
fn user() -> String {
    let output = Command::new("id").arg("-un").output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_user_of_this_machine_goes_by_name_in_rules_audit_and_info() {
    let files = Files::new();
    let (path, audit) = (files.path("clients.sock"), files.path("audit"));
    let identity = format!("uid:{}", user());
    let cluster = Cluster::builder()
        .hosts(1)
        .set("audit_file", &json!(audit).to_string())
        .tables(&format!(
            "[[listener]]\npath = {path:?}\nmode = '0600'\n\n\
             [[allow]]\nclient = '{identity}'\nprocedure = 'echo'\n"
        ))
        .start();
    let call = |procedure: &str| json!({"harpcaller": 1, "host": "web01", "procedure": procedure, "arguments": []});
    let ask = |line| LineClient::local(&path).unwrap().ask(line).unwrap();
    let job = ask(call("echo"))["job_id"].as_str().unwrap().to_owned();
    assert_refused(&ask(call("count")), "forbidden", &Value::Null);
    // By the network it is by nobody.
    assert_refused(
        &cluster.caller().ask(call("echo")),
        "forbidden",
        &Value::Null,
    );

    let lines = cluster.lines(&["info", &job]);
    let info: Value = serde_json::from_str(&lines.concat()).unwrap();
    assert_eq!(info["client"], identity.as_str(), "{info}");

    let events = until("all of it is in the audit log", || {
        let text = fs::read_to_string(&audit).ok()?;
        let lines = text.lines().map(|line| serde_json::from_str(line).ok());
        let lines: Vec<Value> = lines.collect::<Option<_>>()?;
        let refused = lines
            .iter()
            .filter(|line| line["event"] == "refused")
            .count();
        (refused == 2).then_some(lines)
    });
    let of = |event: &str| {
        let lines = events.iter().filter(|line| line["event"] == event);
        lines.map(|line| &line["client"]).collect::<Vec<_>>()
    };
    assert_eq!(of("accepted"), [identity.as_str()]);
    assert_eq!(of("refused"), [identity.as_str(), "anonymous"]);
}

#[test]
fn an_open_listener_is_warned_of() {
    const WARNING: &str = "whoever can connect here can make every call: nobody has to \
                           authenticate, and there are no [[allow]] rules";
    let cluster = Cluster::builder().hosts(0).start();
    assert_eq!(cluster.log().count(WARNING), 0, "loopback");
    let cluster = Cluster::builder()
        .hosts(0)
        .set("listen", r#"["*:0"]"#)
        .start();
    let _ = cluster.log().wait_for(WARNING);
}

#[test]
fn a_key_belongs_to_a_client() {
    let files = Files::new();
    let tokens = ["one", "two"].map(|name| files.new_token(name));
    let cluster = with_tokens(&files).start();
    let call = json!({
        "harpcaller": 1, "host": "nowhere", "procedure": "p", "arguments": [], "key": "k",
    });
    let mut clients = vec![cluster.caller().connect()];
    for token in &tokens {
        let mut client = cluster.caller().send(hello(token));
        assert!(client.line()["error"].is_null());
        clients.push(client);
    }
    let mut jobs = Vec::new();
    for client in &mut clients {
        client.send(&call);
        let answer = client.line();
        assert!(answer["existing"].is_null(), "{answer}");
        jobs.push(answer["job_id"].as_str().unwrap().to_owned());
    }
    assert_eq!(BTreeSet::from_iter(&jobs).len(), 3);
    // Each of them has its own again.
    let mut anonymous = cluster.caller().connect();
    for (client, job) in [&mut anonymous]
        .into_iter()
        .chain(&mut clients[1..])
        .zip(&jobs)
    {
        client.send(&call);
        let again = json!({"harpcaller": 1, "job_id": job, "existing": true});
        assert_eq!(client.line(), again);
    }
}
