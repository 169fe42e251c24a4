//! Users and what they may call: the users file, `add-user`, `allow`, certificates of callers.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::host::{Harpd, Host, connect, request};
use crate::tls::{Authority, refused};

/// `rpc` with the password `secret`.
const SLOW_USER: &str = "rpc:$6$rounds=60000$saltsalt$h3eMbmIzt6T7q7Dt.aokfVWxK7FzPcJKioI7caQKWhJeOwFlexi5zVnsDl1esW3NsCkNrip9eztiRN738Cgg/1\n";

/// The last answer to a call by this user.
async fn end(harpd: &Harpd, user: &str, password: &str, procedure: &str) -> Value {
    let auth = json!({ "user": user, "password": password });
    let line = json!({"harp": 1, "procedure": procedure, "arguments": [], "auth": auth});
    let mut caller = harpd.connect().await;
    caller.send_line(&line.to_string()).await;
    caller.rest().await.pop().unwrap()
}

/// `harpd add-user` with this on standard input.
fn add_user(host: &Host, name: &str, input: &str) -> Output {
    add_user_by(&host.write_config(), name, input)
}

fn add_user_by(config: &Path, name: &str, input: &str) -> Output {
    let mut process = Command::new(env!("CARGO_BIN_EXE_harpd"))
        .arg("--config")
        .arg(config)
        .args(["add-user", name])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // May be refused before it is read.
    let _ = process.stdin.take().unwrap().write_all(input.as_bytes());
    process.wait_with_output().unwrap()
}

#[test]
fn of_those_who_are_added_at_the_same_moment_none_is_lost() {
    let host = Host::new();
    let config = host.write_config();
    std::thread::scope(|scope| {
        for number in 0..12 {
            let config = &config;
            scope.spawn(move || {
                let output = add_user_by(config, &format!("user{number}"), "secret\n");
                assert!(output.status.success(), "{output:?}");
            });
        }
    });
    let text = std::fs::read_to_string(host.path("users")).unwrap();
    assert_eq!(text.lines().count(), 13, "{text}");
    for number in 0..12 {
        assert!(text.contains(&format!("user{number}:$6$")), "{text}");
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn a_user_is_added_and_gets_a_new_password() {
    let harpd = Host::new().script("one", "", "echo 1").start();
    let result = json!({"result": 1});
    assert_eq!(harpd.end("one", json!([])).await, result);

    let output = add_user(&harpd.host, "web ops", "first password\n");
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("web ops: added to "));
    assert_eq!(
        end(&harpd, "web ops", "first password", "one").await,
        result
    );

    let output = add_user(&harpd.host, "web ops", "second\r\n");
    assert!(String::from_utf8_lossy(&output.stdout).contains("has a new password"));
    assert_eq!(end(&harpd, "web ops", "second", "one").await, result);
    // The one that was remembered counts no more.
    let refused = end(&harpd, "web ops", "first password", "one").await;
    assert_eq!(refused["error"]["type"], "auth_error");
    // The others are as they were.
    assert_eq!(harpd.end("one", json!([])).await, result);
    let text = std::fs::read_to_string(harpd.host.path("users")).unwrap();
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(text.contains("web ops:$6$"), "{text}");
}

#[test]
fn the_users_file_is_private_and_stays_what_it_was_when_something_is_wrong() {
    let host = Host::new();
    let users = host.path("users");
    std::fs::remove_file(&users).unwrap();
    assert!(add_user(&host, "rpc", "secret").status.success());
    assert_eq!(mode(&users), 0o600);
    std::fs::set_permissions(&users, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(add_user(&host, "other", "secret").status.success());
    assert_eq!(mode(&users), 0o640);

    let before = std::fs::read_to_string(&users).unwrap();
    let long = "x".repeat(513);
    for (name, password, told) in [
        ("rpc", "", "the password is empty"),
        ("rpc", "\n", "the password is empty"),
        ("rpc", &long, "at most 512"),
        ("a:b", "secret", "cannot be a user's name"),
        ("", "secret", "must have a name"),
    ] {
        let output = add_user(&host, name, password);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(
            !output.status.success() && stderr.contains(told),
            "{stderr}"
        );
        assert_eq!(std::fs::read_to_string(&users).unwrap(), before);
    }
    host.write("users", "nonsense\n");
    let output = add_user(&host, "rpc", "secret");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("has to be put right first"), "{stderr}");
    assert_eq!(std::fs::read_to_string(&users).unwrap(), "nonsense\n");
}

#[tokio::test]
async fn a_user_may_call_what_is_allowed_and_learns_of_nothing_else() {
    let mut host = Host::new()
        .script("restart-a", "", "echo 1")
        .script("deploy", "", "echo 2")
        .script("uptime", "", "echo 3");
    let table = "[user.rpc]\nallow = ['restart-*', 'uptime', 'old']\n[user.gone]\nallow = []\n";
    host.procedures.push_str(table);
    assert!(add_user(&host, "admin", "secret").status.success());
    let harpd = host.start();
    harpd.logged("user.gone: no such user").await;
    assert_eq!(
        harpd.end("restart-a", json!([])).await,
        json!({"result": 1})
    );
    assert_eq!(harpd.end("uptime", json!([])).await, json!({"result": 3}));
    // Whether there is one or not.
    for procedure in ["deploy", "nothing"] {
        let end = harpd.end(procedure, json!([])).await;
        let expected = json!({"harp": 1, "error": {
            "type": "auth_error",
            "message": format!("user \"rpc\" may not call {procedure:?}"),
            "data": {"procedure": procedure},
        }});
        assert_eq!(end, expected);
    }
    let line = harpd.logged("may not call the procedure").await;
    assert_eq!(line["user"], "rpc");
    let end = harpd.end("old", json!([])).await;
    assert_eq!(end["error"]["type"], "no_such_procedure");
    // A user without a table may call everything.
    let everything = end_as_admin(&harpd).await;
    assert_eq!(everything, json!({"result": 2}));
}

async fn end_as_admin(harpd: &Harpd) -> Value {
    end(harpd, "admin", "secret", "deploy").await
}

#[tokio::test]
async fn a_remembered_password_costs_no_hash_and_a_failure_comes_within_three_seconds() {
    // So many rounds take far longer than a call.
    let host = Host::new().script("one", "", "echo 1");
    host.write("users", SLOW_USER);
    let harpd = host.start();
    let timed = async |user: &str, password: &str| {
        let began = Instant::now();
        let end = end(&harpd, user, password, "one").await;
        (end["error"]["type"].clone(), began.elapsed())
    };
    let (error, first) = timed("rpc", "secret").await;
    assert_eq!(error, Value::Null);
    let (error, second) = timed("rpc", "secret").await;
    assert_eq!(error, Value::Null);
    assert!(second * 2 < first, "{first:?}, then {second:?}");
    for user in ["rpc", "stranger"] {
        let (error, took) = timed(user, "wrong").await;
        assert_eq!(error, "auth_error");
        let (least, most) = (Duration::from_secs(1), Duration::from_secs(3));
        assert!(least <= took && took < most, "{took:?}");
    }
}

#[tokio::test]
async fn with_client_ca_file_callers_need_a_certificate() {
    let (known, unknown) = (Authority::new(), Authority::new());
    let host = Host::new().script("one", "", "echo 1");
    let file = host.write("callers.pem", &known.pem);
    let harpd = host.set(&format!("client_ca_file = {file:?}")).start();

    let client = known.client();
    let mut caller = connect(harpd.address, std::sync::Arc::clone(&client)).await;
    caller.send_line(&request("one", &json!([]))).await;
    assert_eq!(caller.rest().await[1], json!({"result": 1}));

    // The refusal comes after the client's half of the handshake is done.
    let mut caller = connect(harpd.address, unknown.client()).await;
    let answer = refused(&mut caller).await;
    assert!(answer.is_err(), "{answer:?}");
    let end = harpd.end("one", json!([])).await;
    assert_eq!(end["error"]["type"], "auth_error");
    let message = end["error"]["message"].as_str().unwrap();
    assert!(message.contains("must show a certificate"), "{message}");

    // A password is needed all the same.
    let mut caller = connect(harpd.address, client).await;
    let auth = json!({"user": "rpc", "password": "wrong"});
    let line = json!({"harp": 1, "procedure": "one", "arguments": [], "auth": auth});
    caller.send_line(&line.to_string()).await;
    assert_eq!(caller.rest().await[0]["error"]["type"], "auth_error");
}
