//! That either end is there is said and heard whatever else goes on, and without a call.

use std::time::{Duration, Instant};

use rustix::process::Pid;
use serde_json::json;

use super::caller::{Kept, call_id, connected};
use crate::host::{Host, is_gone, wait_for};

/// Says its number, and prints without an end; on the side, how far it has come.
const FLOOD: &str = "echo $$; i=0; while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; \
    i=$((i+1)); [ $((i % 100)) = 0 ] && echo $i > progress; done";

fn flooding() -> Host {
    let host = Host::new()
        .set("keep_memory = \"16K\"")
        .set("keep_spool = \"64K\"");
    let keys = format!("output = \"lines\"\n{}", host.here());
    host.script("flood", &keys, FLOOD)
}

#[tokio::test]
async fn beats_come_between_packets() {
    let harpd = flooding().start();
    let (mut kept, boot) = connected(&harpd).await;
    let mut request = Kept::request(&boot, &call_id(1), 1, "flood");
    request["keep"] = json!(6);
    kept.asks(&request).await;
    let mut packets = 0;
    // At each beat, how many packets had come.
    let mut beats = Vec::new();
    while beats.len() < 4 {
        kept.packet().await;
        packets += 1;
        if kept.beats as usize > beats.len() {
            beats.push(packets);
        }
        if packets % 500 == 0 {
            kept.ack(packets).await;
        }
    }
    assert!(
        beats.windows(2).all(|two| two[1] > two[0] + 100),
        "there was much else to send: {beats:?}"
    );
    kept.cancel().await;
}

#[tokio::test]
async fn a_caller_that_takes_nothing_is_heard() {
    let harpd = flooding().start();
    let (mut kept, boot) = connected(&harpd).await;
    kept.asks(&Kept::request(&boot, &call_id(1), 1, "flood"))
        .await;
    let pid: i32 = kept.packet().await.as_str().unwrap().parse().unwrap();
    let pid = Pid::from_raw(pid).unwrap();
    let progress = || std::fs::read_to_string(harpd.host.path("progress")).unwrap_or_default();
    let mut before = String::new();
    let mut stood = 0;
    wait_for("nothing to move any more", || {
        let now = progress();
        stood = if now == before { stood + 1 } else { 0 };
        before = now;
        !before.is_empty() && stood > 100
    })
    .await;
    assert!(!is_gone(pid));
    kept.cancel().await;
    wait_for("the cancel to be heard", || is_gone(pid)).await;
}

/// Longer than others, since the times of the protocol are what it is about.
#[tokio::test]
async fn a_connection_without_a_call_has_beats_and_is_closed_after_75_seconds() {
    let harpd = flooding().start();
    let began = Instant::now();
    let (mut kept, _) = connected(&harpd).await;
    let mut beats = 0;
    while let Some(line) = kept.caller.next().await {
        assert!(line["up"].is_number(), "{line}");
        beats += 1;
    }
    assert!(began.elapsed() >= Duration::from_secs(75));
    // One in ten seconds, and room for a machine that stood still.
    assert!((4..=7).contains(&beats), "{beats}");
}
