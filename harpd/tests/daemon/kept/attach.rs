//! A call that goes on without its connection, and who may have it.

use rustix::process::Pid;
use serde_json::json;

use super::caller::{Kept, call_id, connected};
use crate::host::{Host, is_gone, wait_for};

/// Prints a number each time a line comes to the named pipe `go`.
const STEPS: &str = "n=0; while read -r line; do echo $n; n=$((n+1)); \
    [ \"$line\" = end ] && exit 0; done < go";

fn stepping() -> Host {
    let host = Host::new();
    let keys = format!("output = \"lines\"\n{}", host.here());
    rustix::fs::mknodat(
        rustix::fs::CWD,
        host.path("go"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    host.script("steps", &keys, STEPS)
}

#[tokio::test]
async fn a_call_is_made_acknowledged_and_forgotten() {
    let host = Host::new().script("count", "output = \"lines\"", "echo a; echo b");
    let harpd = host.start();
    let (mut kept, boot) = connected(&harpd).await;
    for number in 1..4 {
        let mut request = Kept::request(&boot, &call_id(number), 7, "count");
        if number > 1 {
            request["up"] = kept.up.clone();
        }
        let answer = kept.asks(&request).await;
        assert_eq!(answer["stream_result"], json!(true));
        assert_eq!(answer["keep"], json!(300));
        assert_eq!(answer["boot"], boot);
        let (packets, end) = kept.rest().await;
        assert_eq!(packets, ["a", "b"]);
        assert_eq!(end, json!({ "result": { "exit_code": 0 } }));
        kept.ack_end(2).await;
    }
    let mut attach = Kept::attach(&call_id(1), 8, 0);
    attach["up"] = kept.up.clone();
    let error = kept.refused(&attach).await;
    assert_eq!(error["type"], "no_such_call");
    assert_eq!(error["data"]["boot"], boot);
    assert_eq!(error["data"]["remembers"], json!(0));
}

#[tokio::test]
async fn a_call_goes_on_without_its_connection_and_nothing_is_lost() {
    let harpd = stepping().start();
    let mut go = std::fs::File::options()
        .read(true)
        .write(true)
        .open(harpd.host.path("go"))
        .unwrap();
    let mut step = |line: &str| std::io::Write::write_all(&mut go, line.as_bytes()).unwrap();
    let (mut first, boot) = connected(&harpd).await;
    first
        .asks(&Kept::request(&boot, &call_id(1), 1, "steps"))
        .await;
    step("x\nx\n");
    assert_eq!(first.packet().await, "0");
    first.ack(1).await;
    assert_eq!(first.packet().await, "1");
    // A close that would cancel a call of `harp/1`.
    first.caller.close().await;
    drop(first);
    step("x\nx\nx\n");

    let mut second = Kept::connect(&harpd).await;
    let answer = second.asks(&Kept::attach(&call_id(1), 2, 1)).await;
    assert_eq!(
        (&answer["since"], &answer["ended"]),
        (&json!(1), &json!(false))
    );
    assert_eq!(answer["boot"], boot);
    for expected in ["1", "2", "3", "4"] {
        assert_eq!(second.packet().await, expected);
    }
    // What was acknowledged is not given out again.
    let mut third = Kept::connect(&harpd).await;
    let error = third.refused(&Kept::attach(&call_id(1), 3, 0)).await;
    assert_eq!(
        (&error["type"], &error["data"]),
        (&json!("lost_packets"), &json!({"first": 1}))
    );
    // The newest has it, and the one before is closed.
    third.asks(&Kept::attach(&call_id(1), 3, 4)).await;
    assert_eq!(second.next().await, None);
    step("end\n");
    let (packets, end) = third.rest().await;
    assert_eq!(packets, ["4", "5"]);
    assert_eq!(end, json!({ "result": { "exit_code": 0 } }));
    drop(third);

    // The end waits too.
    let mut last = Kept::connect(&harpd).await;
    let answer = last.asks(&Kept::attach(&call_id(1), 4, 6)).await;
    assert_eq!(
        (&answer["since"], &answer["ended"]),
        (&json!(6), &json!(true))
    );
    assert_eq!(last.rest().await.1, json!({ "result": { "exit_code": 0 } }));
    last.ack_end(6).await;
}

#[tokio::test]
async fn a_cancel_over_another_connection_cancels_and_proves_it() {
    let host = Host::new().script("hang", "output = \"lines\"", "echo $$; exec sleep 1000");
    let harpd = host.start();
    let (mut first, boot) = connected(&harpd).await;
    first
        .asks(&Kept::request(&boot, &call_id(1), 1, "hang"))
        .await;
    let pid: i32 = first.packet().await.as_str().unwrap().parse().unwrap();
    let pid = Pid::from_raw(pid).unwrap();
    drop(first);
    let mut second = Kept::connect(&harpd).await;
    second.asks(&Kept::attach(&call_id(1), 2, 1)).await;
    assert!(!is_gone(pid));
    second.cancel().await;
    let (_, end) = second.rest().await;
    assert_eq!(end["error"]["type"], "cancelled");
    assert_eq!(end["error"]["data"], json!({ "processes": 0 }));
    wait_for("the process to be gone", || is_gone(pid)).await;
    second.ack_end(1).await;
}
