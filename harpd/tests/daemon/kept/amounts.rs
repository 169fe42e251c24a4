//! What a call says is kept up to its limits, and nothing of it is lost.

use std::time::{Duration, Instant};

use serde_json::json;

use super::caller::{Kept, call_id, connected};
use crate::host::{Host, PATIENCE, wait_for};

/// Counts, and says on the side how far it has come.
const COUNT: &str = "i=0; while [ $i -lt 20000 ]; do echo $i xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; \
    i=$((i+1)); [ $((i % 100)) = 0 ] && echo $i > progress; done";

#[tokio::test]
async fn a_procedure_waits_when_its_spool_is_full_and_nothing_is_lost() {
    let host = Host::new()
        .set("keep_memory = \"16K\"")
        .set("keep_spool = \"256K\"");
    let keys = format!("output = \"lines\"\n{}", host.here());
    let harpd = host.script("count", &keys, COUNT).start();
    let (mut kept, boot) = connected(&harpd).await;
    kept.asks(&Kept::request(&boot, &call_id(1), 1, "count"))
        .await;
    drop(kept);
    let progress = || -> u64 {
        let text = std::fs::read_to_string(harpd.host.path("progress")).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    };
    let mut before = 0;
    let mut stood = 0;
    wait_for("the procedure to wait", || {
        let now = progress();
        stood = if now == before { stood + 1 } else { 0 };
        before = now;
        now > 0 && stood > 100
    })
    .await;
    // 256 KiB, 16 KiB, and what is in the pipe.
    assert!((2000..8000).contains(&before), "{before}");
    let state = std::fs::read_dir(harpd.host.path("state")).unwrap();
    let names: Vec<_> = state.map(|entry| entry.unwrap().file_name()).collect();
    assert!(
        names
            .iter()
            .all(|name| !name.to_string_lossy().contains("tmp")),
        "{names:?}"
    );

    let mut next: u64 = 0;
    let mut epoch = 2;
    // Over several connections, with and without acknowledgements.
    loop {
        let mut kept = Kept::connect(&harpd).await;
        let acknowledged = next;
        kept.asks(&Kept::attach(&call_id(1), epoch, acknowledged))
            .await;
        epoch += 1;
        let until = next + 4000;
        while next < until {
            let message = kept.next().await.unwrap();
            let Some(packet) = message.get("stream") else {
                assert_eq!(message, json!({ "result": { "exit_code": 0 } }));
                assert_eq!(next, 20_000);
                kept.ack_end(next).await;
                return;
            };
            assert!(
                packet.as_str().unwrap().starts_with(&format!("{next} ")),
                "{next}: {packet}"
            );
            next += 1;
            if next.is_multiple_of(500) {
                kept.ack(next).await;
            }
        }
        next -= next % 500;
        // What is acknowledged has to have arrived before the next comes.
        kept.send(&json!({ "ack": next, "up": kept.up })).await;
    }
}

#[tokio::test]
async fn a_beat_does_not_wait_behind_megabytes_in_the_system() {
    let host = Host::new().script(
        "large",
        "output = \"lines\"",
        "head -c 12000000 /dev/zero | tr '\\0' x; echo; exec sleep 1000",
    );
    let harpd = host.start();
    let (mut kept, boot) = connected(&harpd).await;
    kept.asks(&Kept::request(&boot, &call_id(1), 1, "large"))
        .await;
    // The caller does not read. In the system's table of connections: its own port, then
    // `tx_queue` of what harpd sends to it.
    let port = kept
        .caller
        .stream
        .get_ref()
        .get_ref()
        .0
        .local_addr()
        .unwrap()
        .port();
    let peer = format!(":{port:04X}");
    let unsent = || {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let mut lines = table.lines().map(|line| line.split_whitespace());
        let line = lines.find(|fields| fields.clone().nth(2).is_some_and(|it| it.ends_with(&peer)));
        let queues = line.and_then(|mut fields| fields.nth(4)).unwrap_or("0:0");
        u64::from_str_radix(queues.split(':').next().unwrap(), 16).unwrap()
    };
    let (mut before, mut stood) = (0, 0);
    // A busy machine takes its time for so much.
    let until = Instant::now() + 4 * PATIENCE;
    while before == 0 || stood < 50 {
        assert!(Instant::now() < until, "{before} bytes, and they move");
        let now = unsent();
        stood = if now == before { stood + 1 } else { 0 };
        before = now;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(before < 1 << 20, "{before}");
}

#[tokio::test]
async fn a_large_result_waits_on_the_disk() {
    let host = Host::new().script(
        "large",
        "output = \"text\"",
        "head -c 4000000 /dev/zero | tr '\\0' x",
    );
    let harpd = host.start();
    let (mut kept, boot) = connected(&harpd).await;
    kept.asks(&Kept::request(&boot, &call_id(1), 1, "large"))
        .await;
    drop(kept);
    harpd.logged("call ended").await;
    let mut kept = Kept::connect(&harpd).await;
    kept.asks(&Kept::attach(&call_id(1), 2, 0)).await;
    let (_, end) = kept.rest().await;
    assert_eq!(end["result"].as_str().unwrap().len(), 4_000_000);
}

#[tokio::test]
async fn the_operator_sees_which_calls_there_are() {
    let host = Host::new().script("hang", "output = \"lines\"", "echo 0; exec sleep 1000");
    let harpd = host.set("max_calls = 2").start();
    let (mut kept, boot) = connected(&harpd).await;
    kept.asks(&Kept::request(&boot, &call_id(1), 1, "hang"))
        .await;
    kept.packet().await;
    let mut plain = harpd.call("hang", json!([])).await;
    plain.acknowledged(true).await;
    let list = || harpd.listed();
    let listed = list();
    let fields: Vec<Vec<&str>> = listed
        .lines()
        .map(|line| line.split('\t').collect())
        .collect();
    assert_eq!(fields.len(), 2, "{listed}");
    for fields in &fields {
        assert_eq!(fields[0..2], ["hang", "rpc"]);
        assert_eq!(fields[4..6], ["runs", "connected"]);
    }
    let id = call_id(1);
    assert!(fields.iter().any(|fields| fields[6] == id));
    assert!(fields.iter().any(|fields| fields[6] == "-"));
    drop(kept);
    drop(plain);
    wait_for("the connections to be gone", || {
        let listed = list();
        listed.lines().count() == 1 && listed.contains("alone since ")
    })
    .await;
    // One that waits for a slot, kept or not, says so.
    let mut kept = Kept::connect(&harpd).await;
    kept.asks(&Kept::request(&boot, &call_id(2), 1, "hang"))
        .await;
    kept.packet().await;
    let mut kept = Kept::connect(&harpd).await;
    kept.asks(&Kept::request(&boot, &call_id(3), 1, "hang"))
        .await;
    let mut plain = harpd.call("hang", json!([])).await;
    plain.acknowledged(true).await;
    let listed = list();
    let mut standings: Vec<&str> = listed
        .lines()
        .filter_map(|line| line.split('\t').nth(4))
        .collect();
    standings.sort_unstable();
    assert_eq!(standings, ["runs", "runs", "waits", "waits"], "{listed}");
    let mode = std::fs::metadata(harpd.host.path("state/calls.socket")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(&mode.permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn who_has_authenticated_takes_no_place_from_strangers() {
    let host = Host::new().set("max_calls = 300");
    let harpd = host.script("small", "", "echo 1").start();
    // More than there is memory for strangers at once.
    let mut callers = Vec::new();
    for _ in 0..200 {
        let mut kept = Kept::connect(&harpd).await;
        kept.boot().await;
        callers.push(kept);
    }
    assert_eq!(harpd.end("small", json!([])).await, json!({"result": 1}));
    // And all of them are served.
    for kept in &mut callers {
        kept.boot().await;
    }
}
