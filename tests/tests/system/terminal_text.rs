//! What clients have chosen, on its way to an administrator's terminal.

use harp_tests::{Cluster, until};
use serde_json::{Value, json};

/// A control character of C1, a mark of direction, one without width, a tag beyond the first
/// plane, and DEL.
const ODD: &str = "web\u{9b}2J\u{202e}01\u{200b}\u{e0041}\u{7f}";

fn is_odd(character: char) -> bool {
    character == '\x1b' || (ODD.contains(character) && !character.is_ascii_graphic())
}

#[test]
fn nothing_that_a_client_has_chosen_steers_a_terminal() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let mut feed = cluster.feed("feed");
    let queue = json!({"name": {ODD: format!("{ODD}\x1b[31m")}}).to_string();
    let queue = format!(r#""queue": {queue}, "info": {}"#, json!(ODD));
    let first = caller.call_with("web01", "gate", &feed.arguments(), &queue);
    feed.wait_read();
    let odd = caller.call_with(ODD, ODD, &json!([ODD, {ODD: 1}]).to_string(), &queue);
    for command in [
        &["list"][..],
        &["list", "--all", "--queue"],
        &["info", &odd],
        &["queue-list"],
    ] {
        let text = cluster.lines(command).join("\n");
        assert!(
            text.contains(r"\u009b2J\u202e01\u200b\udb40\udc41\u007f"),
            "{text}"
        );
        assert!(!text.contains(is_odd), "{command:?}: {text}");
    }
    // As JSON it is what was sent.
    let info: Value = serde_json::from_str(&cluster.lines(&["info", &odd]).concat()).unwrap();
    assert_eq!(info["call"]["host"], ODD);
    assert_eq!(info["call"]["arguments"], json!([ODD, {ODD: 1}]));
    let wrong = cluster.run(&["queue-list", &format!("{ODD}\x1b[31m")]);
    let told = String::from_utf8(wrong.stderr).unwrap();
    assert!(told.contains("queue") && !told.contains(is_odd), "{told}");

    feed.finish();
    let _ = caller.result(&first);
    assert_eq!(caller.result(&odd)["error"]["type"], "unknown_host");
}

#[test]
fn nothing_that_a_client_has_chosen_steers_whoever_reads_the_log() {
    for format in ["text", "json"] {
        let mut cluster = Cluster::start();
        // From now on its port is in its configuration.
        cluster.restart_dispatcher();
        let log = cluster.path("read by people.log");
        cluster.set("log_file", &json!(log).to_string());
        cluster.set("log_format", &json!(format).to_string());
        assert!(cluster.reload().status.success());
        let caller = cluster.caller();
        let job = caller.call(ODD, ODD, "[]");
        assert_eq!(caller.result(&job)["error"]["type"], "unknown_host");
        let text = until("the job's lines are in the log", || {
            let text = std::fs::read_to_string(&log).unwrap();
            (text.contains("job accepted") && text.contains("job ended")).then_some(text)
        });
        let shown = match format {
            "text" => r"web\u{9b}2J\u{202e}01\u{200b}\u{e0041}\u{7f}",
            _ => r"web\u009b2J\u202e01\u200b\udb40\udc41\u007f",
        };
        assert!(text.contains(shown), "{text}");
        assert!(!text.contains(is_odd), "{text}");
    }
}
