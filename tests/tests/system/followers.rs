//! Following is exact, whoever follows, however many and however slowly (section 6).

use std::thread;
use std::time::Duration;

use harp_tests::{Caller, Cluster, Page};
use serde_json::json;

/// A follower's packets are `from..PACKETS`, each its own number.
fn assert_exact(page: &Page, from: Option<u64>, packets: u64) {
    assert_eq!(page.last, json!({"result": null}));
    let first = page.first.unwrap_or(packets);
    if let Some(from) = from {
        assert_eq!(first, from);
    }
    let expected: Vec<String> = (first..packets).map(|number| number.to_string()).collect();
    assert_eq!(page.packets, expected);
}

#[test]
fn a_follower_that_joins_at_any_time_misses_nothing() {
    const PACKETS: u64 = 3_000;
    let cluster = Cluster::builder()
        .procedure(
            "drip",
            "output = 'json-lines'",
            "i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i + 1)); [ $((i % 30)) = 0 ] && sleep 0.01; done; exit 0",
        )
        .start();
    let caller = cluster.caller();
    let job = caller.call("web01", "drip", "[]");
    thread::scope(|scope| {
        let followers: Vec<_> = (0..40_u64)
            .map(|number| {
                let job = &job;
                scope.spawn(move || {
                    // Any time will do: they only have to be different.
                    thread::sleep(Duration::from_millis(number * 29 % 1000));
                    let (more, from) = match number % 4 {
                        0 => (r#""since": 0"#, Some(0)),
                        1 => (r#""since": 1500"#, Some(1500)),
                        2 => (r#""recent": 50"#, None),
                        _ => ("", None),
                    };
                    let mut client = caller.follow(job, more);
                    assert_exact(&Page::read(&mut client), from, PACKETS);
                })
            })
            .collect();
        for follower in followers {
            follower.join().expect("an exact stream");
        }
    });
}

#[test]
fn many_followers_see_the_same() {
    const FOLLOWERS: usize = 200;
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let mut feed = cluster.feed("feed");
    let job = caller.call("web01", "feed", &feed.arguments());
    let mut followers: Vec<_> = (0..FOLLOWERS)
        .map(|_| caller.follow(&job, r#""since": 0"#))
        .collect();
    for number in 0..100 {
        feed.send(&number.to_string());
    }
    for follower in &mut followers {
        assert_eq!(follower.raw_line(), r#"{"packet":0,"data":0}"#);
    }
    feed.finish();
    for follower in &mut followers {
        let page = Page::read(follower);
        assert_eq!((page.first, page.packets.len()), (Some(1), 99));
        assert_eq!(page.last, json!({"result": null}));
    }
}

#[test]
fn a_slow_follower_delays_nobody_and_misses_nothing() {
    const PACKETS: usize = 60;
    let cluster = Cluster::start();
    let caller = cluster.caller();
    // 60 MB: far more than the sockets between us can hold.
    let sizes = vec![1_000_000; PACKETS];
    let job = caller.call("web01", "blob", &json!(sizes).to_string());
    let mut slow = caller.follow(&job, r#""since": 0"#);
    assert!(slow.raw_line().starts_with(r#"{"packet":0,"#));
    // While it reads no more, others do, and the job ends.
    let quick = Page::read(&mut caller.follow(&job, r#""since": 0"#));
    assert_eq!(
        (quick.packets.len(), &quick.last),
        (PACKETS, &json!({"result": null}))
    );
    assert_eq!(caller.result(&job), json!({"result": null}));
    submit_and_follow(caller);
    let page = Page::read(&mut slow);
    assert_eq!((page.first, page.packets.len()), (Some(1), PACKETS - 1));
    assert!(page.packets.iter().all(|data| data.len() == 1_000_000));
    assert_eq!(page.last, json!({"result": null}));
}

fn submit_and_follow(caller: Caller) {
    let job = caller.call("web01", "count", "[10]");
    assert_exact(
        &Page::read(&mut caller.follow(&job, r#""since": 0"#)),
        Some(0),
        10,
    );
}

#[test]
fn many_jobs_stream_at_once() {
    const JOBS: usize = 20;
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let jobs: Vec<_> = (0..JOBS)
        .map(|_| caller.call("web01", "count", "[2000]"))
        .collect();
    let mut following: Vec<_> = jobs
        .iter()
        .map(|job| caller.follow(job, r#""since": 0"#))
        .collect();
    for client in &mut following {
        assert_exact(&Page::read(client), Some(0), 2000);
    }
}
