//! Pruning while calls run (daemon specification, `prune-jobs`, `max_store_size`); by age
//! it is in `clock_jump`, by number in `reload`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use harp_tests::{Cluster, until};
use serde_json::json;

#[test]
fn calls_go_on_while_all_ended_jobs_are_pruned_and_live_ones_are_not_touched() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let mut feed = cluster.feed("feed");
    let running = caller.call("web01", "feed", &feed.arguments());
    let queue = r#""queue": {"name": {"q": 1}, "concurrency": 1}"#;
    let holds = caller.call_with("web01", "silent", "[]", queue);
    let queued = caller.call_with("web01", "echo", "[7]", queue);
    feed.send("\"before\"");
    for _ in 0..30 {
        let job = caller.call("web01", "count", r#"["300"]"#);
        let _ = caller.result(&job);
    }
    assert_eq!(cluster.lines(&["list", "--all"]).len(), 33);

    let done = AtomicBool::new(false);
    let mut longest = Duration::ZERO;
    let mut pruned = 0;
    thread::scope(|scope| {
        let pruning = scope.spawn(|| {
            let mut rounds = 0;
            while !done.load(Ordering::Relaxed) {
                let _ = cluster.lines(&["prune-jobs", "--age", "0"]);
                rounds += 1;
            }
            rounds
        });
        for number in 0..100 {
            let begun = Instant::now();
            let job = caller.call("web01", "echo", &format!("[{number}]"));
            let answer = caller.result(&job);
            longest = longest.max(begun.elapsed());
            // It may have been pruned by the time it is asked for.
            let is_gone = answer["error"]["type"] == "no_such_job";
            assert!(is_gone || answer == json!({"result": [number]}), "{answer}");
        }
        done.store(true, Ordering::Relaxed);
        pruned = pruning.join().unwrap();
    });
    println!("longest of 100 calls under {pruned} prunings: {longest:?}");
    assert!(longest < Duration::from_secs(5), "{longest:?}");
    assert!(pruned > 1);

    let _ = cluster.lines(&["prune-jobs", "--age", "0"]);
    let left = cluster.lines(&["list", "--all"]);
    assert_eq!(left.len(), 3, "{left:?}");
    feed.send("\"after\"");
    feed.finish();
    let page = caller.read(&running, "");
    until("it has ended", || {
        caller.status(&running)["time"]["end"]
            .is_u64()
            .then_some(())
    });
    let packets = caller.read(&running, "").packets;
    assert!(page.packets.len() <= packets.len());
    assert_eq!(packets.len(), 2, "its first packet is there too");
    assert!(caller.cancel(&holds));
    assert_eq!(caller.result(&queued), json!({"result": [7]}));
}

#[test]
fn the_oldest_ended_jobs_go_when_the_store_is_too_large() {
    let mut cluster = Cluster::start();
    cluster.restart_dispatcher();
    let caller = cluster.caller();
    let live = caller.call("web01", "silent", "[]");
    let jobs: Vec<_> = (0..10)
        .map(|_| {
            let job = caller.call("web01", "big_result", r#"["100000"]"#);
            let _ = caller.result(&job);
            job
        })
        .collect();
    cluster.set("max_store_size", "'350K'");
    assert!(cluster.reload().status.success());
    let left = until("those beyond the limit are gone", || {
        let left = cluster.lines(&["list", "--all"]);
        (left.len() == 4).then_some(left)
    });
    for kept in jobs[7..].iter().chain([&live]) {
        assert!(left.iter().any(|line| line.contains(kept)), "{left:?}");
    }
}
