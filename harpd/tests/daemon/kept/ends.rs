//! How kept calls end when nobody is there, and what the next harpd knows of them.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use serde_json::{Value, json};

use super::caller::{Kept, call_id, connected};
use crate::host::{Harpd, Host, PATIENCE, is_gone, wait_for};

const HANG: &str = "echo $$; exec sleep 1000";

fn hanging() -> Host {
    Host::new().script("hang", "output = \"lines\"", HANG)
}

/// Starts a call that hangs and keeps it for so long. Returns its process.
async fn hang(kept: &mut Kept, boot: &Value, number: u32, keep: u64) -> Pid {
    let mut request = Kept::request(boot, &call_id(number), 1, "hang");
    request["keep"] = json!(keep);
    if kept.up != Value::Null {
        request["up"] = kept.up.clone();
    }
    kept.asks(&request).await;
    let pid = kept.packet().await.as_str().unwrap().parse().unwrap();
    Pid::from_raw(pid).unwrap()
}

/// The error of the call's end, as an attach finds it.
async fn end_of(harpd: &Harpd, number: u32, epoch: u64) -> Value {
    let mut kept = Kept::connect(harpd).await;
    kept.asks(&Kept::attach(&call_id(number), epoch, 1)).await;
    let (_, end) = kept.rest().await;
    kept.ack_end(1).await;
    end["error"].clone()
}

#[tokio::test]
async fn a_call_that_nobody_takes_up_ends_with_its_lease() {
    let harpd = hanging().set("max_keep = 2").start();
    let (mut kept, boot) = connected(&harpd).await;
    let pid = hang(&mut kept, &boot, 1, 300).await;
    let began = Instant::now();
    drop(kept);
    wait_for("the lease to be over", || is_gone(pid)).await;
    let lasted = began.elapsed();
    assert!(lasted > Duration::from_millis(900), "{lasted:?}");
    let error = end_of(&harpd, 1, 2).await;
    assert_eq!(error["type"], "keep_over");
    assert_eq!(error["data"], json!({ "processes": 0 }));
}

#[tokio::test]
async fn answered_beats_keep_a_call_and_one_that_is_not_answered_is_broken() {
    let harpd = hanging().start();
    let (mut kept, boot) = connected(&harpd).await;
    let pid = hang(&mut kept, &boot, 1, 6).await;
    let began = Instant::now();
    // For longer than the lease. Beats come a second apart, and are answered.
    while began.elapsed() < Duration::from_secs(8) {
        let soon = tokio::time::timeout(Duration::from_millis(500), kept.next()).await;
        assert!(soon.is_err(), "{soon:?}");
    }
    assert!(kept.beats >= 4, "{}", kept.beats);
    assert!(!is_gone(pid));

    kept.answers = false;
    // With the lease's end the call's would come.
    assert_eq!(kept.next().await, None, "taken for broken");
    wait_for("the lease to be over", || is_gone(pid)).await;
    assert_eq!(end_of(&harpd, 1, 2).await["type"], "keep_over");
}

#[tokio::test]
async fn acknowledgements_of_old_beats_make_no_lease_longer() {
    let harpd = hanging().start();
    let (mut kept, boot) = connected(&harpd).await;
    let pid = hang(&mut kept, &boot, 1, 2).await;
    let old = kept.up.clone();
    let began = Instant::now();
    while !is_gone(pid) {
        kept.send(&json!({ "ack": 0, "up": old })).await;
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_stop_ends_calls_and_waits_for_somebody_to_fetch_their_ends() {
    let mut harpd = hanging().set("stop_grace = 600").start();
    let (mut kept, boot) = connected(&harpd).await;
    let pid = hang(&mut kept, &boot, 1, 300).await;
    drop(kept);
    harpd.signal(Signal::TERM);
    harpd.logged("stopping").await;
    // A request is not taken, an attach is.
    let mut kept = Kept::connect(&harpd).await;
    let request = Kept::request(&boot, &call_id(2), 1, "hang");
    assert_eq!(kept.refused(&request).await["type"], "shutdown");
    kept.asks(&Kept::attach(&call_id(1), 2, 1)).await;
    let (_, end) = kept.rest().await;
    assert_eq!(end["error"]["type"], "shutdown");
    assert!(is_gone(pid));
    kept.ack_end(1).await;
    // It waits for nothing else.
    assert_eq!(harpd.exit_code().await, Some(0));
}

#[tokio::test]
async fn a_stop_does_not_wait_for_ever() {
    let mut harpd = hanging().set("stop_grace = 1").start();
    let (mut kept, boot) = connected(&harpd).await;
    hang(&mut kept, &boot, 1, 300).await;
    drop(kept);
    let began = Instant::now();
    harpd.signal(Signal::TERM);
    assert_eq!(harpd.exit_code().await, Some(0));
    let lasted = began.elapsed();
    assert!(lasted > Duration::from_secs(1), "{lasted:?}");
}

#[tokio::test]
async fn time_that_a_procedure_may_take_counts_without_a_connection() {
    let keys = "output = \"lines\"\ntimeout = 2";
    let harpd = Host::new().script("hang", keys, HANG).start();
    let (mut kept, boot) = connected(&harpd).await;
    let pid = hang(&mut kept, &boot, 1, 300).await;
    drop(kept);
    wait_for("the time to be over", || is_gone(pid)).await;
    assert_eq!(end_of(&harpd, 1, 2).await["type"], "timeout");
}

#[tokio::test]
async fn an_end_that_nobody_acknowledges_is_forgotten_after_twice_its_keep() {
    let harpd = Host::new()
        .script("nothing", "", "true")
        .set("max_keep = 600")
        .start();
    // The lease counts from the connection on.
    let began = Instant::now();
    let (mut kept, boot) = connected(&harpd).await;
    for (number, keep) in [(1, 5), (2, 600)] {
        let mut request = Kept::request(&boot, &call_id(number), 1, "nothing");
        request["keep"] = json!(keep);
        kept.asks(&request).await;
        assert_eq!(kept.rest().await.1, json!({ "result": null }));
        kept = Kept::connect(&harpd).await;
    }
    wait_for("the end to be forgotten", || {
        !harpd.listed().contains(&call_id(1))
    })
    .await;
    assert!(began.elapsed() >= Duration::from_secs(10));
    let mut kept = Kept::connect(&harpd).await;
    let error = kept.refused(&Kept::attach(&call_id(1), 2, 0)).await;
    assert_eq!(error["type"], "no_such_call", "{error}");
    assert_eq!(error["data"]["remembers"], json!(0), "{error}");
    assert!(harpd.listed().contains(&call_id(2)));
    assert_eq!(
        kept.asks(&Kept::attach(&call_id(2), 2, 0)).await["ended"],
        json!(true)
    );
}

/// Asks a harpd for a call that it has never had.
async fn not_there(harpd: &Harpd, number: u32) -> Value {
    let mut kept = Kept::connect(harpd).await;
    let error = kept.refused(&Kept::attach(&call_id(number), 9, 0)).await;
    assert_eq!(error["type"], "no_such_call", "{error}");
    error["data"].clone()
}

#[tokio::test]
async fn a_new_life_ends_what_a_killed_one_has_left_and_says_so() {
    let mut harpd = hanging()
        .script(
            "stray",
            "output = \"lines\"",
            "setsid sh -c 'echo $$; trap \"\" TERM; sleep 1000'",
        )
        .start();
    let (mut kept, first) = connected(&harpd).await;
    let pid = hang(&mut kept, &first, 1, 300).await;
    let mut other = Kept::connect(&harpd).await;
    other
        .asks(&Kept::request(&first, &call_id(2), 1, "stray"))
        .await;
    let stray = other.packet().await.as_str().unwrap().parse().unwrap();
    let stray = Pid::from_raw(stray).unwrap();
    harpd.signal(Signal::KILL);
    harpd.exit_code().await;
    assert!(!is_gone(pid) && !is_gone(stray));

    harpd.restart();
    let data = not_there(&harpd, 1).await;
    assert!(is_gone(pid) && is_gone(stray));
    let second = data["boot"].clone();
    assert_ne!(second, first);
    assert_eq!(data["earlier"], json!([first]));
    assert_eq!(data["remembers"], Value::Null);
    harpd.signal(Signal::TERM);
    assert_eq!(harpd.exit_code().await, Some(0));

    harpd.restart();
    let data = not_there(&harpd, 1).await;
    assert_eq!(data["earlier"], json!([first, second]));
}

#[tokio::test]
async fn a_life_whose_calls_may_be_left_is_not_named() {
    let mut harpd = hanging().start();
    let (mut kept, first) = connected(&harpd).await;
    let pid = hang(&mut kept, &first, 1, 300).await;
    // Nobody can say afterwards what was below this one.
    let keeper = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid())).unwrap();
    let keeper: i32 = keeper
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    harpd.signal(Signal::STOP);
    rustix::process::kill_process(Pid::from_raw(keeper).unwrap(), Signal::KILL).unwrap();
    harpd.signal(Signal::KILL);
    harpd.exit_code().await;
    harpd.restart();
    let data = not_there(&harpd, 1).await;
    assert_eq!(data["earlier"], json!([]), "{data}");
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
}

#[tokio::test]
async fn two_never_use_one_directory() {
    let first = hanging().start();
    let directory = first.host.path("state");
    let second = Host::new()
        .script("one", "", "echo 1")
        .in_state(&directory)
        .start();
    second.logged("state_directory cannot be used").await;
    let caller = crate::host::connect(second.address, super::caller::keeping()).await;
    let agreed = caller.stream.get_ref().get_ref().1.alpn_protocol();
    assert_eq!(agreed, Some(&b"harp/1"[..]));
    assert_eq!(second.end("one", json!([])).await, json!({"result": 1}));
}
