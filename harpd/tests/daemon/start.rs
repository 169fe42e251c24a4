//! What a command is started with: session, descriptors, user, groups.

use serde_json::{Value, json};

use crate::host::Host;

/// True if these tests may start processes as other users.
fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        println!("skipped: only root may start processes as other users");
    }
    is_root
}

async fn lines(harpd: &crate::host::Harpd, procedure: &str) -> Vec<String> {
    let answers = harpd.answers(procedure, json!([])).await;
    let lines = answers
        .iter()
        .filter_map(|answer| answer["stream"].as_str());
    lines.map(str::to_owned).collect()
}

#[tokio::test]
async fn a_command_leads_a_session_of_its_own() {
    let harpd = Host::new()
        .script(
            "session",
            "output = 'lines'",
            "echo $$; cut -d' ' -f5,6 /proc/$$/stat",
        )
        .start();
    let told = lines(&harpd, "session").await;
    assert_eq!(told[1], format!("{0} {0}", told[0]), "group and session");
}

#[tokio::test]
async fn a_command_inherits_no_descriptor() {
    // The shell that starts harpd leaves one open; harpd itself has many.
    let harpd = Host::new()
        .script("open", "output = 'lines'", "exec ls /proc/$$/fd")
        .before_start("exec 7</dev/null")
        .start();
    let inherited = std::fs::read_link(format!("/proc/{}/fd/7", harpd.pid().as_raw_nonzero()));
    assert_eq!(inherited.unwrap().to_str(), Some("/dev/null"));
    // 3 is the listing's own.
    assert_eq!(lines(&harpd, "open").await, ["0", "1", "2", "3"]);
}

#[tokio::test]
async fn a_command_runs_as_its_user_and_groups() {
    if !is_root() {
        return;
    }
    let host = Host::new();
    let script = "exec grep -E '^(Uid|Gid|Groups|CapEff):' /proc/self/status";
    let keys = |more: &str| format!("output = 'lines'\n{more}");
    let harpd = host
        .script("user", &keys("user = 'nobody'"), script)
        .script(
            "both",
            &keys("user = 'nobody'\ngroup = ['adm', '12345']"),
            script,
        )
        .script("group", &keys("group = ['adm']"), script)
        .readable_by_all()
        .start();
    let field = |lines: &[String], name: &str| {
        let line = lines.iter().find_map(|line| line.strip_prefix(name));
        let words = line.unwrap().split_whitespace();
        words.map(str::to_owned).collect::<Vec<_>>()
    };
    let nobody = id(&["-u", "nobody"]);
    let nogroup = id(&["-g", "nobody"]);
    let told = lines(&harpd, "user").await;
    assert_eq!(field(&told, "Uid:"), vec![nobody.clone(); 4]);
    assert_eq!(field(&told, "Gid:"), vec![nogroup.clone(); 4]);
    assert_eq!(field(&told, "Groups:"), [nogroup]);
    assert_eq!(field(&told, "CapEff:"), ["0000000000000000"]);

    let adm = "4".to_owned();
    let told = lines(&harpd, "both").await;
    assert_eq!(field(&told, "Uid:"), vec![nobody; 4]);
    assert_eq!(field(&told, "Gid:"), vec![adm.clone(); 4]);
    assert_eq!(field(&told, "Groups:"), ["4", "12345"]);

    let told = lines(&harpd, "group").await;
    assert_eq!(field(&told, "Uid:"), vec!["0".to_owned(); 4]);
    assert_eq!(field(&told, "Gid:"), vec![adm; 4]);
    assert_eq!(field(&told, "Groups:"), ["4"]);
}

fn id(arguments: &[&str]) -> String {
    let output = std::process::Command::new("id").args(arguments).output();
    String::from_utf8(output.unwrap().stdout)
        .unwrap()
        .trim()
        .to_owned()
}

#[tokio::test]
async fn a_cancel_ends_the_processes_of_another_user() {
    if !is_root() {
        return;
    }
    let harpd = Host::new()
        .script(
            "wait",
            "output = 'lines'\nuser = 'nobody'",
            "trap '' TERM; echo $$; while :; do sleep 1000; done",
        )
        .readable_by_all()
        .start();
    let mut caller = harpd.call("wait", json!([])).await;
    caller.acknowledged(true).await;
    let pid = caller.pid().await;
    caller.close().await;
    let rest = caller.rest().await;
    assert_eq!(rest[0]["error"]["data"], json!({"processes": 0}));
    assert!(crate::host::is_gone(pid));
}

#[tokio::test]
async fn an_account_that_cannot_be_had_is_told_when_it_is_called() {
    let harpd = Host::new()
        .script("user", "user = 'no-such-user'", "echo 1")
        .script("group", "group = ['no-such-group']", "echo 1")
        .script("good", "", "echo 1")
        .start();
    for (procedure, cause) in [
        ("user", "unknown user \"no-such-user\""),
        ("group", "unknown group \"no-such-group\""),
    ] {
        let end = harpd.end(procedure, json!([])).await;
        assert_eq!(end["error"]["type"], "procedure_loading_error", "{end}");
        assert_eq!(end["error"]["message"], cause);
        harpd
            .logged(&format!("procedure {procedure}: unknown"))
            .await;
    }
    assert_eq!(harpd.end("good", json!([])).await, json!({"result": 1}));
}

#[tokio::test]
async fn what_the_account_may_not_do_is_told() {
    if !is_root() {
        return;
    }
    let host = Host::new();
    let secret = host.path("secret");
    std::fs::create_dir(&secret).unwrap();
    let keys = format!("user = 'nobody'\ndirectory = {secret:?}");
    let harpd = host
        .script("directory", &keys, "echo 1")
        .script("program", "user = 'nobody'", "echo 1")
        .readable_by_all()
        .start();
    let private = |name: &str| {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(harpd.host.path(name), mode).unwrap();
    };
    private("secret");
    private("program");
    let nobody = id(&["-u", "nobody"]);
    for (procedure, cause) in [
        ("directory", "cannot start in the directory"),
        ("program", "cannot execute"),
    ] {
        let end = harpd.end(procedure, json!([])).await;
        assert_eq!(end["error"]["type"], "procedure_loading_error", "{end}");
        let message = end["error"]["message"].as_str().unwrap();
        assert!(message.starts_with(cause), "{message}");
        assert!(message.contains(&format!("as user {nobody}")), "{message}");
    }
    // The operator's check knows before anybody calls.
    let output = harpd.host.harpd(&["--test"]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        told.contains("procedure program: user") && told.contains("may not execute"),
        "{told}"
    );
}

#[tokio::test]
async fn without_root_another_user_is_a_system_error() {
    if !is_root() {
        return;
    }
    let harpd = Host::new()
        .script("other", "user = 'daemon'", "echo 1")
        .script("own", "user = 'nobody'", "id -u")
        .readable_by_all()
        .started_by("nobody")
        .start();
    let end = harpd.end("other", json!([])).await;
    assert_eq!(end["error"]["type"], "system_error", "{end}");
    let message = end["error"]["message"].as_str().unwrap();
    assert!(message.contains("must run as root"), "{message}");
    // Nothing has to be changed for the one that it runs as.
    let own: Value = id(&["-u", "nobody"]).parse().unwrap();
    assert_eq!(harpd.end("own", json!([])).await, json!({ "result": own }));
}
