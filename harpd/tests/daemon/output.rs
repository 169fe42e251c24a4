//! Every output mode and both argument modes.

use serde_json::{Value, json};

use crate::host::Host;

fn ack(stream_result: bool) -> Value {
    json!({ "harp": 1, "stream_result": stream_result })
}

fn packet(data: impl Into<Value>) -> Value {
    json!({ "stream": data.into() })
}

fn result(data: impl Into<Value>) -> Value {
    json!({ "result": data.into() })
}

#[tokio::test]
async fn documents_become_the_result() {
    let harpd = Host::new()
        .script("echo", "", "cat")
        .script("nothing", "", "true")
        .script("text", "output = 'text'", "printf 'a\\n\\377b\\n'")
        .start();
    for arguments in [json!([]), json!(["a", 1, null]), json!({"x": {"y": [1.5]}})] {
        assert_eq!(
            harpd.answers("echo", arguments.clone()).await,
            [ack(false), result(arguments)]
        );
    }
    assert_eq!(harpd.end("nothing", json!([])).await, result(Value::Null));
    assert_eq!(
        harpd.answers("text", json!([])).await,
        [ack(false), result("a\n\u{fffd}b\n")]
    );
}

#[tokio::test]
async fn json_keeps_its_text() {
    let written = r#"{ "b": 1.0, "a": 1e2, "b": 12345678901234567890123 }"#;
    let harpd = Host::new()
        .script("raw", "", &format!("echo '{written}'"))
        .start();
    let mut caller = harpd.call("raw", json!([])).await;
    let mut text = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut caller.stream, &mut text)
        .await
        .unwrap();
    let compact = written.replace(' ', "");
    assert!(
        text.contains(&format!("{{\"result\":{compact}}}\n")),
        "{text}"
    );
}

#[tokio::test]
async fn lines_are_streamed_as_soon_as_they_are_complete() {
    let host = Host::new();
    let here = format!("output = 'lines'\n{}", host.here());
    let harpd = host
        .script(
            "lines",
            &here,
            "echo one; printf two; while [ ! -e go ]; do sleep 0.01; done; echo ' and a half'; printf end",
        )
        .start();
    let mut caller = harpd.call("lines", json!([])).await;
    caller.acknowledged(true).await;
    assert_eq!(caller.packet().await, "one");
    harpd.host.write("go", "");
    assert_eq!(
        caller.rest().await,
        [
            packet("two and a half"),
            packet("end"),
            result(json!({"exit_code": 0}))
        ]
    );
}

#[tokio::test]
async fn json_lines_are_streamed_as_values() {
    let harpd = Host::new()
        .script(
            "values",
            "output = 'json-lines'",
            "echo '{\"a\": 1}'; echo 2; echo '\"x\"'",
        )
        .start();
    assert_eq!(
        harpd.answers("values", json!([])).await,
        [
            ack(true),
            packet(json!({"a": 1})),
            packet(2),
            packet("x"),
            result(Value::Null)
        ]
    );
}

#[tokio::test]
async fn harp_lines_say_everything_themselves() {
    let exception = r#"{"exception": {"type": "Oops", "message": "m", "data": {"class": "C"}}}"#;
    let harpd = Host::new()
        .script(
            "stream",
            "output = 'harp'\nstream = true",
            "echo '{\"stream\": 1}'; echo '{\"stream\": [2]}'; echo '{\"result\": 3}'",
        )
        .script("single", "output = 'harp'", "echo '{\"result\": 3}'")
        .script(
            "raise",
            "output = 'harp'",
            &format!("echo '{exception}'; exit 1"),
        )
        .start();
    assert_eq!(
        harpd.answers("stream", json!([])).await,
        [ack(true), packet(1), packet(json!([2])), result(3)]
    );
    assert_eq!(
        harpd.answers("single", json!([])).await,
        [ack(false), result(3)]
    );
    let exception: Value = serde_json::from_str(exception).unwrap();
    assert_eq!(
        harpd.answers("raise", json!([])).await,
        [ack(false), exception]
    );
}

#[tokio::test]
async fn arguments_go_to_the_command_line() {
    let harpd = Host::new()
        .script(
            "argv",
            "output = 'lines'\narguments = 'argv'",
            "for word; do echo \"<$word>\"; done; cat",
        )
        .start();
    assert_eq!(
        harpd
            .answers("argv", json!(["a b", "$HOME; *", 1, [true, "x"]]))
            .await[1..],
        [
            packet("<a b>"),
            packet("<$HOME; *>"),
            packet("<1>"),
            packet("<[true,\"x\"]>"),
            result(json!({"exit_code": 0}))
        ]
    );
    assert_eq!(
        harpd
            .answers("argv", json!({"name": "a b", "n": null}))
            .await[1],
        packet("<--n=null>")
    );
    let end = harpd.end("argv", json!(["zero \u{0} byte"])).await;
    assert_eq!(end["error"]["type"], "invalid_argument_list");
    let end = harpd.end("argv", json!(["x".repeat(200_000)])).await;
    assert_eq!(end["error"]["type"], "invalid_argument_list");
}

#[tokio::test]
async fn a_command_gets_a_clean_environment() {
    let harpd = Host::new()
        .set("path = '/usr/bin:/bin'")
        .script(
            "environment",
            "output = 'lines'\nenvironment = { LANG = 'C.UTF-8', HARP_USER = 'forged' }\ndirectory = '/tmp'",
            "pwd; env | grep -v '^_=\\|^PWD=\\|^OLDPWD=\\|^SHLVL=' | sort",
        )
        .start();
    let answers = harpd.answers("environment", json!([])).await;
    let lines: Vec<_> = answers
        .iter()
        .filter_map(|answer| answer["stream"].as_str())
        .map(|line| line.trim_end_matches(|c: char| c.is_ascii_digit()))
        .collect();
    assert_eq!(
        lines,
        [
            "/tmp",
            "HARP_PEER=127.0.0.1:",
            "HARP_PROCEDURE=environment",
            "HARP_USER=rpc",
            "LANG=C.UTF-",
            "PATH=/usr/bin:/bin",
        ]
    );
}

#[tokio::test]
async fn large_arguments_and_results_pass() {
    let harpd = Host::new().script("echo", "", "cat").start();
    let large = json!(["x".repeat(8 << 20)]);
    assert_eq!(harpd.end("echo", large.clone()).await, result(large));
}

#[tokio::test]
async fn a_command_need_not_read_its_input() {
    let harpd = Host::new().script("deaf", "", "exec <&-; echo 1").start();
    let large = json!(["x".repeat(1 << 20)]);
    assert_eq!(harpd.end("deaf", large).await, result(1));
}

#[tokio::test]
async fn a_stream_may_be_longer_than_max_output() {
    let harpd = Host::new()
        .script("long", "output = 'lines'\nmax_output = '1K'", "seq 1 20000")
        .start();
    let answers = harpd.answers("long", json!([])).await;
    assert_eq!(answers.len(), 20_002);
    assert_eq!(answers[20_000], packet("20000"));
}

#[tokio::test]
async fn executables_of_the_directory_are_procedures() {
    let host = Host::new();
    let directory = host.path("procedures");
    std::fs::create_dir(&directory).unwrap();
    let file = directory.join("hello");
    std::fs::write(&file, "#!/bin/sh\necho '\"hello\"'\n").unwrap();
    crate::host::make_executable(&file);
    std::fs::write(directory.join("data"), "no program").unwrap();
    let harpd = host.set(&format!("procedures_dir = {directory:?}")).start();
    assert_eq!(harpd.end("hello", json!([])).await, result("hello"));
    for name in ["data", "../procedures/hello", "procedures/hello", "/bin/sh"] {
        let end = harpd.end(name, json!([])).await;
        assert_eq!(end["error"]["type"], "no_such_procedure", "{name}");
        assert_eq!(end["error"]["data"], json!({ "procedure": name }));
    }
}
