//! Procedures that fail, each in its way.

use serde_json::{Value, json};

use crate::host::Host;

#[tokio::test]
async fn an_exit_code_or_signal_is_an_exception_with_stderr() {
    let harpd = Host::new()
        .script(
            "code",
            "",
            "echo '\"result\"'; echo first >&2; echo 'the cause' >&2; exit 3",
        )
        .script("silent", "", "exit 4")
        .script("signal", "output = 'lines'", "echo half; kill -TERM $$")
        .script("killed", "", "kill -KILL $$")
        .script("talkative", "", "seq 1 100000 >&2; exit 1")
        .start();
    assert_eq!(
        harpd.end("code", json!([])).await,
        json!({"exception": {
            "type": "exit_status",
            "message": "the cause",
            "data": {"exit_code": 3, "stderr": "first\nthe cause\n"},
        }})
    );
    assert_eq!(
        harpd.end("silent", json!([])).await["exception"],
        json!({
            "type": "exit_status",
            "message": "the command exited with code 4",
            "data": {"exit_code": 4, "stderr": ""},
        })
    );
    let answers = harpd.answers("signal", json!([])).await;
    assert_eq!(answers[1], json!({"stream": "half"}));
    assert_eq!(
        answers[2]["exception"],
        json!({
            "type": "signal",
            "message": "the command was ended by SIGTERM",
            "data": {"signal": "SIGTERM", "stderr": ""},
        })
    );
    let end = harpd.end("killed", json!([])).await;
    assert_eq!(end["exception"]["data"]["signal"], "SIGKILL");
    let end = harpd.end("talkative", json!([])).await;
    assert_eq!(end["exception"]["message"], "100000");
    let stderr = end["exception"]["data"]["stderr"].as_str().unwrap().len();
    assert!((8100..=8192).contains(&stderr), "{stderr}");
}

#[tokio::test]
async fn output_that_does_not_fit_is_shown() {
    let harpd = Host::new()
        .script("text", "", "echo hello")
        .script(
            "lines",
            "output = 'json-lines'",
            "echo 1; echo no; sleep 1000",
        )
        .script("harp", "output = 'harp'", "true")
        .start();
    for (procedure, line) in [("text", "hello\n"), ("lines", "no"), ("harp", "")] {
        let end = harpd.end(procedure, json!([])).await;
        assert_eq!(end["exception"]["type"], "invalid_output", "{end}");
        assert_eq!(end["exception"]["data"]["line"], line);
    }
    let answers = harpd.answers("lines", json!([])).await;
    assert_eq!(answers[1], json!({"stream": 1}));
}

#[tokio::test]
async fn too_much_output_stops_the_procedure() {
    let harpd = Host::new()
        .script("document", "max_output = '1K'", "yes")
        .script(
            "line",
            "output = 'lines'\nmax_output = '1K'",
            "echo ok; yes | tr -d '\\n'",
        )
        .start();
    for procedure in ["document", "line"] {
        let end = harpd.end(procedure, json!([])).await;
        assert_eq!(end["exception"]["type"], "output_too_large", "{end}");
        assert_eq!(end["exception"]["data"], json!({"limit": 1024}));
    }
}

#[tokio::test]
async fn a_time_out_kills() {
    let harpd = Host::new()
        .script(
            "slow",
            "output = 'lines'\ntimeout = 1",
            "echo $$; exec sleep 1000",
        )
        .start();
    let mut caller = harpd.call("slow", json!([])).await;
    caller.acknowledged(true).await;
    let pid = caller.pid().await;
    let end = caller.rest().await;
    assert_eq!(end[0]["error"]["type"], "timeout");
    assert_eq!(
        end[0]["error"]["data"],
        json!({"limit": "timeout", "seconds": 1, "set_by": "procedure"})
    );
    assert!(crate::host::is_gone(pid));
}

#[tokio::test]
async fn what_cannot_be_started_is_told_when_it_is_called() {
    let host = Host::new()
        .command("missing", "", &["/nonexistent/command"])
        .command("not_in_path", "", &["no-such-command"])
        .command("directory", "", &["/tmp"])
        .script("nowhere", "directory = '/nonexistent'", "true")
        .script("good", "", "echo 1");
    let data = host.write("data", "no program");
    let odd = host.write("odd", "no program");
    crate::host::make_executable(&odd);
    let lost = host.write("lost", "#!/nonexistent/interpreter\n");
    crate::host::make_executable(&lost);
    let harpd = host
        .command("data", "", &[data.to_str().unwrap()])
        .command("odd", "", &[odd.to_str().unwrap()])
        .command("lost", "", &[lost.to_str().unwrap()])
        .start();
    for (procedure, cause) in [
        ("missing", "/nonexistent/command"),
        ("not_in_path", "no-such-command"),
        ("directory", "not a file"),
        ("nowhere", "/nonexistent"),
        ("data", "not executable"),
        ("odd", "must begin with #!"),
        ("lost", "interpreter"),
    ] {
        let end = harpd.end(procedure, json!([])).await;
        assert_eq!(end["error"]["type"], "procedure_loading_error", "{end}");
        let message = end["error"]["message"].as_str().unwrap();
        assert!(message.contains(cause), "{message}");
    }
    assert_eq!(harpd.end("good", json!([])).await, json!({"result": 1}));
    harpd.logged("procedure missing: command not found").await;
}

#[tokio::test]
async fn calls_wait_for_a_slot_in_order() {
    let host = Host::new();
    let keys = format!("output = 'lines'\nmax_calls = 1\n{}", host.here());
    let harpd = host
        .script(
            "one",
            &keys,
            // Each marks its start, and whether it is alone.
            "read line; echo $line >> marks; mkdir busy || echo overlap >> marks; echo running\n\
             while [ ! -e \"go $line\" ]; do sleep 0.01; done; rmdir busy",
        )
        .script("other", "", "echo 1")
        .start();
    let mut calls = Vec::new();
    for number in 1..=3 {
        let mut call = harpd.call("one", json!([number])).await;
        // At once, although only the first has a slot.
        call.acknowledged(true).await;
        if number == 1 {
            assert_eq!(call.packet().await, "running");
        }
        calls.push(call);
    }
    // Another procedure is not kept waiting.
    assert_eq!(harpd.end("other", json!([])).await, json!({"result": 1}));

    let marks = || std::fs::read_to_string(harpd.host.path("marks")).unwrap();
    let mut expected = String::new();
    for (number, mut call) in (1..).zip(calls) {
        if number > 1 {
            assert_eq!(call.packet().await, "running");
        }
        expected.push_str(&format!("[{number}]\n"));
        assert_eq!(marks(), expected);
        harpd.host.write(&format!("go [{number}]"), "");
        assert_eq!(call.rest().await, [json!({"result": {"exit_code": 0}})]);
    }
    assert_eq!(marks(), expected);
}

#[tokio::test]
async fn many_calls_at_once_all_get_their_answer() {
    let harpd = Host::new()
        .set("max_calls = 100")
        .script("echo", "", "cat")
        .start();
    let harpd = std::sync::Arc::new(harpd);
    let calls: Vec<_> = (0..200)
        .map(|number| {
            let harpd = std::sync::Arc::clone(&harpd);
            tokio::spawn(async move { harpd.end("echo", json!([number])).await })
        })
        .collect();
    for (number, call) in calls.into_iter().enumerate() {
        assert_eq!(call.await.unwrap(), json!({"result": [number]}));
    }
}

#[tokio::test]
async fn a_call_ends_when_its_command_does() {
    let host = Host::new();
    let here = format!("output = 'lines'\n{}", host.here());
    let harpd = host
        // The child holds the pipe and outlives its parent.
        .script("leaves", &here, "sleep 1000 & echo $!; echo last")
        .script(
            "stubborn",
            &here,
            "sh -c 'trap \"\" TERM; echo $$; touch ready; while :; do sleep 1000; done' & \
             while [ ! -e ready ]; do sleep 0.01; done",
        )
        .start();
    for procedure in ["leaves", "stubborn"] {
        let mut caller = harpd.call(procedure, json!([])).await;
        caller.acknowledged(true).await;
        let left = caller.pid().await;
        let rest = caller.rest().await;
        assert_eq!(rest.last().unwrap(), &json!({"result": {"exit_code": 0}}));
        assert!(crate::host::is_gone(left), "{procedure}");
    }
}

#[tokio::test]
async fn a_zombie_whose_parent_does_not_reap_goes_with_its_parent() {
    let host = Host::new();
    let here = format!("output = 'lines'\nmax_calls = 1\n{}", host.here());
    let harpd = host
        // A parent that leaves the session and never waits for its child, who stays in it.
        .script(
            "careless",
            &here,
            // It is waited for until it is a program that waits for nobody.
            "sh -c 'sleep 1000 & echo $!; exec setsid sh -c \"echo \\$\\$; exec sleep 1000\"' &\n\
             while ! grep -q sleep /proc/$!/comm; do sleep 0.01; done",
        )
        .start();
    let mut caller = harpd.call("careless", json!([])).await;
    caller.acknowledged(true).await;
    let child = caller.pid().await;
    let parent = caller.pid().await;
    assert_eq!(caller.rest().await, [json!({"result": {"exit_code": 0}})]);
    assert!(crate::host::is_gone(parent) && crate::host::is_gone(child));
}

#[tokio::test]
async fn every_call_is_in_the_log_without_its_arguments() {
    let harpd = Host::new().script("fail", "", "exit 1").start();
    harpd.end("fail", json!(["confidential"])).await;
    let line = harpd.logged("call ended").await;
    assert_eq!(line["procedure"], "fail");
    assert_eq!(line["user"], "rpc");
    assert!(line["peer"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert!(line["seconds"].is_number());
    assert_eq!(line["outcome"], "exception");
    assert_eq!(line["type"], "exit_status");
    let log = Value::from(harpd.log()).to_string();
    assert!(
        !log.contains("confidential") && !log.contains("secret"),
        "{log}"
    );
}
