//! Life that is no line: progress bars, dots, and what is said on standard error.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use crate::host::{Caller, Host, PATIENCE};

async fn lines(caller: &mut Caller) -> Vec<Value> {
    let answers = caller.rest().await;
    let packets = answers.iter().filter_map(|answer| answer.get("stream"));
    packets.cloned().collect()
}

#[tokio::test]
async fn the_newest_state_of_a_progress_bar_is_shown() {
    let go = "while [ ! -e go ]; do sleep 0.01; done";
    let host = Host::new();
    let here = format!("output = 'lines'\n{}", host.here());
    let harpd = host
        // Each state ends in \r, or begins with it.
        .script(
            "behind",
            &here,
            &format!("echo begin; printf ' 10%%\\r'; {go}; printf '100%%\\r\\nend\\n'"),
        )
        .script(
            "before",
            &here,
            &format!("echo begin; printf '\\r 10%%'; {go}; printf '\\r100%%\\nend\\n'"),
        )
        .start();
    for (procedure, rest) in [
        // What stands there when the line ends is shown once.
        ("behind", json!(["100%\r", "end"])),
        ("before", json!(["100%", "end"])),
    ] {
        let mut caller = harpd.call(procedure, json!([])).await;
        caller.acknowledged(true).await;
        assert_eq!(caller.packet().await, "begin");
        assert_eq!(caller.packet().await, " 10%\r");
        harpd.host.write("go", "");
        assert_eq!(Value::from(lines(&mut caller).await), rest, "{procedure}");
        std::fs::remove_file(harpd.host.path("go")).unwrap();
    }
}

#[tokio::test]
async fn at_most_ten_states_a_second_are_shown_and_no_line_is_lost() {
    let harpd = Host::new()
        .script(
            "bar",
            "output = 'lines'\nmax_output = '1K'",
            "for i in $(seq 1 100); do printf '%s of 100\\r' $i; sleep 0.01; done; \
             printf '\\ndone\\n'; printf 'a\\rb\\nc\\r\\n'",
        )
        .start();
    let began = std::time::Instant::now();
    let mut caller = harpd.call("bar", json!([])).await;
    caller.acknowledged(true).await;
    let packets = lines(&mut caller).await;
    let states = packets
        .iter()
        .filter(|packet| packet.as_str().unwrap().ends_with(" of 100\r"));
    let most = began.elapsed().as_secs_f64() * 10.0 + 2.0;
    let count = states.count();
    assert!(
        count >= 2 && (count as f64) < most,
        "{count} of {most}: {packets:?}"
    );
    assert_eq!(
        packets[packets.len() - 3..],
        [json!("done"), json!("a\rb"), json!("c\r")]
    );
    assert!(packets.contains(&json!("100 of 100\r")), "{packets:?}");
}

#[tokio::test]
async fn a_progress_bar_may_be_longer_than_max_output() {
    let harpd = Host::new()
        .script(
            "bar",
            "output = 'lines'\nmax_output = '1K'",
            "for i in $(seq 1 2000); do printf 'state %s\\r' $i; done; echo; echo end",
        )
        .start();
    let mut caller = harpd.call("bar", json!([])).await;
    caller.acknowledged(true).await;
    let packets = lines(&mut caller).await;
    assert_eq!(
        packets[packets.len() - 2..],
        [json!("state 2000\r"), json!("end")]
    );
}

#[tokio::test]
async fn whatever_is_printed_is_a_sign_of_life() {
    let dots = "for i in 1 2 3 4 5 6; do printf .; sleep 0.3; done; echo; echo end";
    let harpd = Host::new()
        .script("dots", "output = 'lines'", dots)
        .script(
            "stderr",
            "output = 'json-lines'",
            "for i in 1 2 3 4 5 6; do echo . >&2; sleep 0.3; done; echo '\"end\"'",
        )
        .script("document", "output = 'text'", dots)
        .script("quiet", "output = 'lines'", "sleep 1; echo end")
        .start();
    for (procedure, lives) in [
        ("dots", true),
        ("stderr", true),
        ("document", false),
        ("quiet", false),
    ] {
        let mut caller = harpd.call(procedure, json!([])).await;
        let mut answer = String::new();
        let read = caller.stream.read_to_string(&mut answer);
        tokio::time::timeout(PATIENCE, read).await.unwrap().unwrap();
        let before_the_end = answer.split_once('\n').unwrap().1;
        let signs = before_the_end.len() - before_the_end.trim_start_matches(' ').len();
        assert_eq!(signs >= 2, lives, "{procedure}: {answer:?}");
        // Four a second.
        assert!(Duration::from_millis(250) * (signs as u32) < Duration::from_secs(20));
        // They are white space of the next message.
        for line in answer.lines() {
            let _: Value = serde_json::from_str(line).expect(line);
        }
    }
}
