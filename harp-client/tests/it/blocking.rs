//! The blocking face, against scripted dispatchers and hosts.

use std::time::{Duration, UNIX_EPOCH};

use harp_client::blocking::{HarpCaller, HarpServer};
use harp_client::{Cancellation, ErrorKind, Outcome};
use serde_json::json;

use crate::certificates::Identity;
use crate::scripted_dispatcher::{Act, JOB, ScriptedDispatcher, packet, reply, request, status};
use crate::scripted_host::{ScriptedHost, Step};

/// The runtime of the other side.
fn stage() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

const EVERYTHING: Act = Act::Hello(&[
    "keep_alive",
    "timestamps",
    "limit",
    "key",
    "unless_since",
    "start_by",
    "confirm",
    "limits",
]);

#[test]
fn every_verb() {
    let call = request(json!({
        "harpcaller": 1, "host": "h", "procedure": "p", "arguments": [1],
        "queue": {"name": {"q": 1}, "concurrency": 2}, "timeout": 1, "max_exec_time": 2,
        "info": "i", "key": "k", "unless_since": 3, "start_by": 4, "limits": true,
    }));
    let plain = request(json!({
        "harpcaller": 1, "host": "h", "procedure": "p", "arguments": [], "info": null,
    }));
    let get_result = |wait| request(json!({"harpcaller": 1, "get_result": JOB, "wait": wait}));
    let follow = request(json!({"harpcaller": 1, "follow_stream": JOB, "since": 1}));
    let read = request(json!({
        "harpcaller": 1, "read_stream": JOB, "recent": 1, "timestamps": true, "limit": 1000,
    }));
    let returned = reply(r#"{"result":7}"#);
    let script = [
        vec![
            EVERYTHING,
            call,
            reply(format!(
                r#"{{"harpcaller":1,"job_id":"{JOB}","existing":true}}"#
            )),
            plain,
            reply(format!(
                r#"{{"harpcaller":1,"job_id":"{JOB}","limits":{{"timeout":1,"max_exec_time":2}}}}"#
            )),
            get_result(false),
            reply(r#"{"no_result":true}"#),
        ],
        status().to_vec(),
        vec![
            follow,
            packet(1),
            packet(2),
            returned.clone(),
            read,
            reply(r#"{"packet":4,"data":4,"time":5}"#),
            reply(r#"{"continue":true}"#),
            get_result(true),
            returned.clone(),
            get_result(true),
            returned,
            request(json!({"harpcaller": 1, "cancel": JOB})),
            reply(r#"{"cancelled":false}"#),
            request(json!({"harpcaller": 1, "cancel": JOB, "confirm": true})),
            reply(r#"{"cancelled":true,"remote":"confirmed"}"#),
        ],
    ]
    .concat();
    let raw = vec![request(json!({"harpcaller": 1, "odd": 1})), reply("{}")];
    let stage = stage();
    let dispatcher = stage.block_on(ScriptedDispatcher::start([script, raw]));

    let rpc = dispatcher.builder().build_blocking().unwrap();
    let host = rpc
        .host("h")
        .queue(json!({"q": 1}))
        .concurrency(2)
        .timeout(Duration::from_secs(1))
        .max_exec_time(Duration::from_secs(2))
        .info("i")
        .key("k")
        .unless_since(Duration::from_secs(3))
        .start_by(Duration::from_secs(4))
        .tell_limits();
    assert_eq!(host.host(), "h");
    assert!(host.call("p", (1,)).unwrap().existing());
    let procedure = rpc.host("h").procedure("p");
    assert_eq!((procedure.host(), procedure.procedure()), ("h", "p"));
    let called = procedure.call(()).unwrap();
    let limits = called.limits().unwrap();
    assert_eq!(limits.timeout, Duration::from_secs(1));
    assert_eq!(limits.max_exec_time, Duration::from_secs(2));
    let id = called.id();
    let job = rpc.job(id);
    assert_eq!(job.result().unwrap(), None);
    assert_eq!(job.status().unwrap().procedure, "p");
    let mut packets = job.follow().since(1);
    let numbers: Vec<u64> = packets
        .by_ref()
        .map(|packet| packet.unwrap().number)
        .collect();
    assert_eq!(numbers, [1, 2]);
    assert_eq!(packets.position(), Some(3));
    assert_eq!(
        packets.outcome(),
        Some(&Outcome::Returned("7".parse().unwrap()))
    );
    let packets: Result<Vec<_>, _> = job.stream().recent(1).timestamps().collect();
    assert_eq!(
        packets.unwrap()[0].time,
        Some(UNIX_EPOCH + Duration::from_millis(5))
    );
    assert_eq!(job.wait().unwrap(), Outcome::Returned("7".parse().unwrap()));
    assert_eq!(job.get::<u8>().unwrap(), 7);
    assert!(!job.cancel().unwrap());
    assert_eq!(job.cancel_confirmed().unwrap(), Cancellation::Confirmed);
    rpc.request(&json!({"harpcaller": 1, "odd": 1})).unwrap();
    drop((rpc, job, host, procedure));
    stage.block_on(dispatcher.finish());
}

fn server(host: &ScriptedHost) -> HarpServer {
    harp_client::HarpServer::builder("127.0.0.1", "u", "p")
        .port(host.endpoint().port)
        .accept_any_certificate()
        .build_blocking()
        .unwrap()
}

#[test]
fn a_host_is_called_directly() {
    let script = vec![
        Step::Request,
        Step::Line(r#"{"harp":1,"stream_result":true}"#.to_owned()),
        Step::Line(r#"{"stream":1}"#.to_owned()),
        Step::Line(r#"{"result":2}"#.to_owned()),
        Step::Close,
    ];
    let stage = stage();
    let host = stage.block_on(ScriptedHost::start(&Identity::self_signed(), script));
    let mut call = server(&host).call("p", ()).unwrap();
    assert!(call.streams());
    let packets: Vec<String> = call
        .by_ref()
        .map(|packet| packet.unwrap().to_string())
        .collect();
    assert_eq!(packets, ["1"]);
    assert_eq!(
        call.outcome(),
        Some(&Outcome::Returned("2".parse().unwrap()))
    );
    let call = server(&host).call("p", ()).unwrap();
    assert_eq!(call.get::<u8>().unwrap(), 2);
}

#[test]
fn inside_a_runtime_is_an_error_and_no_panic() {
    let rpc = HarpCaller::new("127.0.0.1:1").unwrap();
    let job = rpc.job(JOB.parse().unwrap());
    stage().block_on(async move {
        for error in [
            rpc.host("h").call("p", ()).map(drop).unwrap_err(),
            job.status().map(drop).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(
                error.to_string().contains("inside an async runtime"),
                "{error}"
            );
        }
        let mut packets = job.follow();
        assert!(packets.next().unwrap().is_err());
        assert!(packets.next().is_none());
        // Made and dropped there: no panic either.
        let other = HarpCaller::new("127.0.0.1:1").unwrap();
        drop((other, packets, job, rpc));
    });
}

#[test]
fn several_threads_share_a_client() {
    let asked = || [vec![EVERYTHING], status().to_vec()].concat();
    let stage = stage();
    let dispatcher = stage.block_on(ScriptedDispatcher::start([asked(), asked()]));
    let rpc = dispatcher.builder().build_blocking().unwrap();
    // Each in its own time or both at once: none is held up for good.
    std::thread::scope(|scope| {
        let ask = || rpc.job(JOB.parse().unwrap()).status().map(drop);
        for asking in [scope.spawn(ask), scope.spawn(ask)] {
            asking.join().unwrap().unwrap();
        }
    });
    stage.block_on(dispatcher.finish());
}
