//! What is no message, comes at the wrong time or from the wrong one: it gets the error of
//! the protocol, and harms no call.

use serde_json::{Value, json};

use super::caller::{Kept, call_id, connected};
use crate::host::{Harpd, Host};

const USERS: &str = "rpc:$5$rounds=1000$saltsalt$eKLZU9t9OoPWrqOQsoTIKG0aYkZ5rGOoOQhiIvoSWX2\n\
    other:$5$rounds=1000$saltsalt$eKLZU9t9OoPWrqOQsoTIKG0aYkZ5rGOoOQhiIvoSWX2\n";

fn host() -> Host {
    let host = Host::new()
        .script("wait", "output = \"lines\"", "echo 0; exec sleep 1000")
        .script("nothing", "", "true");
    host.write("users", USERS);
    host
}

/// A call that has sent its first packet.
async fn waiting(harpd: &Harpd, boot: &Value, number: u32) -> Kept {
    let mut kept = Kept::connect(harpd).await;
    kept.asks(&Kept::request(boot, &call_id(number), 5, "wait"))
        .await;
    assert_eq!(kept.packet().await, "0");
    kept
}

#[tokio::test]
async fn a_line_that_is_no_message_closes_the_connection_and_leaves_the_call() {
    let harpd = host().start();
    let (_, boot) = connected(&harpd).await;
    let request = Kept::request(&boot, &call_id(99), 5, "wait");
    let attach = Kept::attach(&call_id(1), 7, 0);
    let too_long = format!("{{\"ack\": 0, \"up\": 1, \"x\": \"{}\"}}", "x".repeat(5000));
    let future = "{\"ack\": 0, \"up\": 1e9}".to_owned();
    let lines = [
        ("nonsense".to_owned(), Value::Null),
        ("[]".to_owned(), Value::Null),
        ("{}".to_owned(), Value::Null),
        ("{\"ack\": -1, \"up\": 1}".to_owned(), json!("ack")),
        ("{\"ack\": 0}".to_owned(), json!("up")),
        (
            "{\"ack\": 0, \"up\": 0, \"end\": 1}".to_owned(),
            json!("end"),
        ),
        ("{\"cancel\": false}".to_owned(), json!("cancel")),
        (
            "{\"cancel\": true, \"ack\": 0, \"up\": 0}".to_owned(),
            json!("cancel"),
        ),
        // More than has been sent.
        ("{\"ack\": 2, \"up\": 0}".to_owned(), json!("ack")),
        (
            "{\"ack\": 1, \"up\": 0, \"end\": true}".to_owned(),
            json!("end"),
        ),
        (future, json!("up")),
        (request.to_string(), Value::Null),
        (attach.to_string(), Value::Null),
        (too_long, Value::Null),
    ];
    let mut number = 0;
    for (line, field) in lines {
        number += 1;
        let mut kept = waiting(&harpd, &boot, number).await;
        kept.caller.send_line(&line).await;
        let answer = kept.next().await.unwrap_or_else(|| panic!("{line}"));
        assert_eq!(
            answer["error"]["type"], "invalid_request",
            "{line}: {answer}"
        );
        assert_eq!(answer["error"]["data"]["field"], field, "{line}: {answer}");
        assert_eq!(kept.next().await, None, "{line}");

        let mut again = Kept::connect(&harpd).await;
        let answer = again.asks(&Kept::attach(&call_id(number), 6, 0)).await;
        assert_eq!(answer["ended"], json!(false), "{line}");
        assert_eq!(again.packet().await, "0", "{line}");
        again.cancel().await;
        assert_eq!(again.rest().await.1["error"]["type"], "cancelled");
        again.ack_end(1).await;
    }
}

#[tokio::test]
async fn a_first_line_that_is_no_message_is_refused() {
    let harpd = host().start();
    let (_, boot) = connected(&harpd).await;
    let whole = Kept::request(&boot, &call_id(1), 5, "nothing");
    let changed = |key: &str, value: Value| {
        let mut request = whole.clone();
        match value {
            Value::String(text) if text == "none" => {
                request.as_object_mut().unwrap().remove(key);
            }
            value => request[key] = value,
        }
        request.to_string()
    };
    for (line, error_type, field) in [
        ("nonsense".to_owned(), "parse_error", Value::Null),
        ("7".to_owned(), "invalid_protocol", Value::Null),
        (
            "{\"cancel\":true}".to_owned(),
            "invalid_request",
            Value::Null,
        ),
        (
            "{\"ack\":0,\"up\":0}".to_owned(),
            "invalid_request",
            Value::Null,
        ),
        (
            changed("call", json!("none")),
            "invalid_request",
            json!("call"),
        ),
        (
            changed("call", json!("x")),
            "invalid_request",
            json!("call"),
        ),
        (changed("keep", json!(0)), "invalid_request", json!("keep")),
        (
            changed("keep", json!("none")),
            "invalid_request",
            json!("keep"),
        ),
        (
            changed("epoch", json!(-1)),
            "invalid_request",
            json!("epoch"),
        ),
        (
            changed("epoch", json!(1_u64 << 53)),
            "invalid_request",
            json!("epoch"),
        ),
        (changed("boot", json!(7)), "invalid_request", json!("boot")),
        (changed("up", json!(1e9)), "invalid_request", json!("up")),
        (changed("up", json!(-1)), "invalid_request", json!("up")),
        (changed("more", json!(1)), "invalid_request", json!("more")),
        // A request of `harp/1`.
        (
            crate::host::request("nothing", &json!([])),
            "invalid_request",
            json!("call"),
        ),
    ] {
        let mut kept = Kept::connect(&harpd).await;
        kept.caller.send_line(&line).await;
        let answer = kept.next().await.unwrap();
        assert_eq!(answer["error"]["type"], error_type, "{line}: {answer}");
        assert_eq!(answer["error"]["data"]["field"], field, "{line}: {answer}");
        assert_eq!(kept.next().await, None, "{line}");
    }
    // None of them has been accepted.
    let mut kept = Kept::connect(&harpd).await;
    kept.asks(&whole).await;
}

#[tokio::test]
async fn an_attach_that_is_no_message_is_refused_and_leaves_every_call() {
    let harpd = host().start();
    let (_, boot) = connected(&harpd).await;
    let mut going_on = waiting(&harpd, &boot, 1).await;
    let whole = Kept::attach(&call_id(1), 9, 0);
    for (key, values) in [
        (
            "attach",
            vec![json!("x"), json!(7), json!(format!("{}/0", call_id(1)))],
        ),
        (
            "since",
            vec![Value::Null, json!(-1), json!(0.5), json!("0")],
        ),
        (
            "epoch",
            vec![Value::Null, json!(-1), json!(1_u64 << 53), json!("9")],
        ),
        ("up", vec![json!(1e9), json!(-1), json!("1")]),
        (
            "auth",
            vec![Value::Null, json!("rpc"), json!({ "user": "rpc" })],
        ),
        ("procedure", vec![json!("nothing")]),
    ] {
        for value in values {
            let mut attach = whole.clone();
            attach[key] = value.clone();
            let mut kept = Kept::connect(&harpd).await;
            let error = kept.refused(&attach).await;
            assert_eq!(error["type"], "invalid_request", "{key}: {value}: {error}");
            assert_eq!(kept.next().await, None, "{key}: {value}");
        }
    }
    // The call has noticed nothing.
    going_on.cancel().await;
    assert_eq!(going_on.rest().await.1["error"]["type"], "cancelled");
}

#[tokio::test]
async fn a_refused_request_leaves_the_connection_for_the_next() {
    let harpd = host().start();
    let (mut kept, boot) = connected(&harpd).await;
    let unknown = Kept::request(&boot, &call_id(1), 5, "unknown");
    assert_eq!(kept.refused(&unknown).await["type"], "no_such_procedure");
    // An acknowledgement and a cancel that cross the refusal are nothing.
    kept.send(&json!({ "ack": 0, "up": 0 })).await;
    kept.cancel().await;
    let stale = Kept::request(&json!("another"), &call_id(1), 5, "nothing");
    let error = kept.refused(&stale).await;
    assert_eq!(error["type"], "wrong_boot");
    let takes = json!(["traceparent"]);
    assert_eq!(error["data"], json!({ "boot": boot, "takes": takes }));
    let mut since = Kept::attach(&call_id(1), 6, 0);
    assert_eq!(kept.refused(&since).await["type"], "no_such_call");
    let overtaken = Kept::request(&boot, &call_id(1), 5, "nothing");
    assert_eq!(kept.refused(&overtaken).await["type"], "stale_epoch");
    kept.asks(&Kept::request(&boot, &call_id(1), 7, "nothing"))
        .await;
    assert_eq!(kept.rest().await.1, json!({ "result": null }));
    kept.ack_end(0).await;
    // On a connection that has had a call, a request says how new it is.
    since["epoch"] = json!(9);
    let error = kept.refused(&since).await;
    assert_eq!(error["data"]["field"], "up");
}

#[tokio::test]
async fn nobody_else_gets_at_a_call() {
    let harpd = host().start();
    let (_, boot) = connected(&harpd).await;
    let mut owner = waiting(&harpd, &boot, 1).await;
    let others = |mut message: Value| {
        message["auth"] = json!({ "user": "other", "password": "secret" });
        message
    };
    let mut thief = Kept::connect(&harpd).await;
    for message in [
        others(Kept::attach(&call_id(1), 99, 0)),
        others(Kept::request(&boot, &call_id(1), 99, "nothing")),
    ] {
        let error = thief.refused(&message).await;
        assert_eq!(error["type"], "no_such_call");
        let nothing = json!({ "boot": null, "earlier": [], "remembers": 0 });
        assert_eq!(error["data"], nothing);
    }
    let mut wrong = Kept::attach(&call_id(1), 99, 0);
    wrong["auth"]["password"] = json!("wrong");
    assert_eq!(thief.refused(&wrong).await["type"], "auth_error");
    assert_eq!(thief.next().await, None);
    // An older one of the right user does not either.
    let mut older = Kept::connect(&harpd).await;
    let stale = older.refused(&Kept::attach(&call_id(1), 4, 0)).await;
    assert_eq!(stale["type"], "stale_epoch");
    // Nor does one with the epoch of the request: it would be a copy of who has it.
    let copy = older.refused(&Kept::attach(&call_id(1), 5, 0)).await;
    assert_eq!(copy["type"], "stale_epoch");
    let beyond = older.refused(&Kept::attach(&call_id(1), 6, 7)).await;
    assert_eq!(beyond["data"]["field"], "since");

    let mut newest = Kept::connect(&harpd).await;
    newest
        .asks(&Kept::attach(&call_id(1), (1 << 53) - 1, 0))
        .await;
    assert_eq!(owner.next().await, None);
    newest.cancel().await;
    assert_eq!(newest.rest().await.1["error"]["type"], "cancelled");
}

#[tokio::test]
async fn the_same_request_twice_is_one_run() {
    let host = host();
    let keys = format!("output = \"lines\"\n{}", host.here());
    let harpd = host
        .script("once", &keys, "echo run >> runs; echo 0; sleep 1; echo 1")
        .start();
    let (mut first, boot) = connected(&harpd).await;
    let mut request = Kept::request(&boot, &call_id(1), 5, "once");
    first.asks(&request).await;
    let mut second = Kept::connect(&harpd).await;
    request["epoch"] = json!(6);
    let answer = second.asks(&request).await;
    assert_eq!(answer["since"], json!(0));
    assert_eq!(second.rest().await.0, ["0", "1"]);
    second.ack(1).await;
    request["epoch"] = json!(7);
    let mut third = Kept::connect(&harpd).await;
    // Its place in the order of the two connections is not known.
    loop {
        third.send(&request).await;
        let answer = third.next().await.unwrap();
        if answer["error"]["type"] == "lost_packets" {
            assert_eq!(answer["error"]["data"], json!({ "first": 1 }));
            break;
        }
        third = Kept::connect(&harpd).await;
    }
    let runs = std::fs::read_to_string(harpd.host.path("runs")).unwrap();
    assert_eq!(runs, "run\n");
}

#[tokio::test]
async fn a_request_that_was_held_up_does_not_run() {
    let harpd = host().start();
    let (_, boot) = connected(&harpd).await;
    let mut kept = Kept::connect(&harpd).await;
    let mut request = Kept::request(&boot, &call_id(1), 5, "nothing");
    request["keep"] = json!(1);
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let error = kept.refused(&request).await;
    assert_eq!(error["type"], "keep_over");
    assert_eq!(error["data"], json!({ "processes": 0 }));
}
