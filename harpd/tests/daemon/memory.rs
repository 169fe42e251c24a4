//! What harpd holds in memory, whatever strangers send, procedures print and callers do not
//! take; and that it gives it back.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::host::{Harpd, Host};
use crate::kept::caller::{Kept, call_id, connected};

/// What harpd may take in all.
const MOST: u64 = 64 << 20;
/// How many do it at once.
const CROWD: usize = 10;
/// A little less than the longest request, result or packet there may be.
const LARGE: usize = 15_000_000;

fn memory(harpd: &Harpd, which: &str) -> u64 {
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", harpd.pid().as_raw_nonzero())).unwrap();
    let line = status.lines().find(|line| line.starts_with(which));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1));
    kilobytes.unwrap().parse::<u64>().unwrap() * 1024
}

/// Prints so much text that has to be escaped nowhere.
fn printing(before: &str, after: &str) -> String {
    format!(
        "printf '{before}'; head -c {LARGE} /dev/zero | tr '\\0' x; printf '{after}'; sleep 1000"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_fetches_is_bounded_together_also_with_full_spools() {
    let chatty =
        "while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done";
    let harpd = Host::new()
        .set("max_calls = 300")
        .set("keep_spool = \"1M\"")
        .set("keep_spool_total = \"8M\"")
        .script("small", "", "echo 1")
        .script(
            "text",
            "output = 'text'",
            &printing("", "").replace("; sleep 1000", ""),
        )
        .script("lines", "output = 'lines'", &printing("", "\\n"))
        .script("chatty", "output = 'lines'", chatty)
        .start();
    let (_, boot) = connected(&harpd).await;
    let mut number = 0;
    for _ in 0..10 {
        for (name, count) in [("text", 1), ("lines", 1), ("chatty", 10)] {
            for _ in 0..count {
                number += 1;
                let mut kept = Kept::connect(&harpd).await;
                let request = Kept::request(&boot, &call_id(number), 1, name);
                kept.asks(&request).await;
            }
        }
    }
    let output = "call ended";
    harpd.logged(output).await;
    for _ in 0..2 {
        let began = Instant::now();
        assert_eq!(harpd.end("small", json!([])).await, json!({"result": 1}));
        assert!(began.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    let most = memory(&harpd, "VmHWM:");
    assert!(most < MOST, "{} MiB for {number} calls", most >> 20);
    // Whole, whatever it waits in.
    let mut kept = Kept::connect(&harpd).await;
    kept.asks(&Kept::attach(&call_id(2), 2, 0)).await;
    assert_eq!(kept.packet().await.as_str().unwrap().len(), LARGE);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_crowds_send_and_do_not_take_is_bounded_together_and_given_back() {
    let result = |before: &str, after: &str| printing(before, after).replace("; sleep 1000", "");
    let harpd = Host::new()
        .set("max_calls = 200")
        .script("small", "", "echo 1")
        .script("asleep", "", "exec sleep 1000")
        .script("text", "output = 'text'", &result("", ""))
        .script("json", "output = 'json'", &result("\"", "\""))
        .script("lines", "output = 'lines'", &printing("", "\\n"))
        .script("open", "output = 'lines'", &printing("", ""))
        .script(
            "json_lines",
            "output = 'json-lines'",
            &printing("\"", "\"\\n"),
        )
        .script(
            "harp",
            "output = 'harp'\nstream = true",
            &printing("{\"stream\":\"", "\"}\\n"),
        )
        .start();
    let idle = memory(&harpd, "VmRSS:");
    let mut crowd = Vec::new();
    for _ in 0..3 {
        let mut asleep = harpd.call("asleep", json!(["x".repeat(LARGE)])).await;
        asleep.acknowledged(false).await;
        crowd.push(asleep);
    }
    for _ in 0..CROWD {
        for name in ["text", "json", "lines", "open", "json_lines", "harp"] {
            // Nothing of it is ever read.
            crowd.push(harpd.call(name, json!([])).await);
        }
    }
    let mut strangers = Vec::new();
    for _ in 0..2 * CROWD {
        let mut caller = harpd.connect().await;
        strangers.push(tokio::spawn(async move {
            // Until it is done, or given up.
            let _ = caller.stream.write_all(&vec![b'x'; LARGE]).await;
            std::future::pending::<()>().await;
        }));
    }
    for _ in 0..2 {
        let began = Instant::now();
        assert_eq!(harpd.end("small", json!([])).await, json!({"result": 1}));
        assert!(began.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    let most = memory(&harpd, "VmHWM:");
    assert!(most < MOST, "{} MiB", most >> 20);
    drop(crowd);
    strangers.iter().for_each(tokio::task::JoinHandle::abort);
    let began = Instant::now();
    while memory(&harpd, "VmRSS:") > idle + (16 << 20) {
        let kept = memory(&harpd, "VmRSS:") >> 20;
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "{kept} MiB are kept"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(harpd.end("small", json!([])).await, json!({"result": 1}));
}
