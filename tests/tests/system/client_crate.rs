//! The client crate against real daemons.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use futures_util::TryStreamExt;
use harp_client::{ErrorKind, HarpServer, JobState, Outcome};
use harp_tests::{Cluster, Feed};
use serde_json::{Value, json};

/// The argument of the procedures `feed` and `gate`.
fn arguments(feed: &Feed) -> Vec<String> {
    serde_json::from_str(&feed.arguments()).unwrap()
}

/// Some runtime: the harness blocks, and the client must not be blocked by it.
fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.unwrap().block_on(future)
}

#[test]
fn a_call_is_made_and_its_value_comes_back() {
    let cluster = Cluster::start();
    run(async {
        let web01 = cluster.client().host("web01");
        let echoed: (u32, String) = web01
            .call("echo", (1, "a"))
            .await
            .unwrap()
            .get()
            .await
            .unwrap();
        assert_eq!(echoed, (1, "a".to_owned()));
        let named = BTreeMap::from([("k", 1)]);
        let echoed: Value = web01
            .call("echo", &named)
            .await
            .unwrap()
            .get()
            .await
            .unwrap();
        assert_eq!(echoed, json!({"k": 1}));
        let procedure = web01.procedure("echo");
        assert_eq!((procedure.host(), procedure.procedure()), ("web01", "echo"));
        let echoed: Value = procedure.call(()).await.unwrap().get().await.unwrap();
        assert_eq!(echoed, json!([]));
    });
}

#[test]
fn options_reach_the_dispatcher() {
    let cluster = Cluster::start();
    let feed = cluster.feed("feed");
    run(async {
        let web01 = cluster
            .client()
            .host("web01")
            .queue(json!({"q": 1}))
            .concurrency(1)
            .timeout(Duration::from_secs(30))
            .max_exec_time(Duration::from_secs(1))
            .info(json!({"ticket": 17}));
        let running = web01.call("gate", arguments(&feed)).await.unwrap();
        let queued = web01.call("echo", [1]).await.unwrap();
        assert_eq!(queued.result().await.unwrap(), None);
        let status = queued.status().await.unwrap();
        assert_eq!(
            (status.host.as_str(), status.procedure.as_str()),
            ("web01", "echo")
        );
        assert_eq!(
            (status.arguments.as_str(), status.info.as_str()),
            ("[1]", r#"{"ticket":17}"#)
        );
        assert_eq!((status.start_time, status.end_time), (None, None));
        let age = SystemTime::now()
            .duration_since(status.submit_time)
            .unwrap();
        assert!(age < Duration::from_secs(60));
        // The first is stopped by max_exec_time, and the second has its turn.
        let error = running.get::<Value>().await.unwrap_err();
        assert_eq!(
            (error.kind(), error.wire_type()),
            (ErrorKind::Remote, Some("timeout"))
        );
        assert_eq!(queued.get::<Vec<u8>>().await.unwrap(), [1]);
    });
}

#[test]
fn each_way_to_end_is_told_apart() {
    let cluster = Cluster::start();
    let feed = cluster.feed("feed");
    run(async {
        let rpc = cluster.client();
        let web01 = rpc.host("web01");
        let job = web01.call("fail", (3, "went wrong")).await.unwrap();
        let error = job.get::<Value>().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Exception);
        assert_eq!(error.wire_type(), Some("exit_status"));
        assert_eq!(error.wire_message(), Some("went wrong"));
        assert!(error.data().unwrap().as_str().contains(r#""exit_code":3"#));
        assert!(matches!(
            job.result().await.unwrap(),
            Some(Outcome::Exception(_))
        ));

        let job = rpc.host("web99").call("echo", ()).await.unwrap();
        let error = job.get::<Value>().await.unwrap_err();
        assert_eq!(
            (error.kind(), error.wire_type()),
            (ErrorKind::Remote, Some("unknown_host"))
        );

        let job = web01.call("gate", arguments(&feed)).await.unwrap();
        assert!(job.cancel().await.unwrap());
        assert!(!job.cancel().await.unwrap());
        assert_eq!(job.wait().await.unwrap(), Outcome::Cancelled);
        assert_eq!(
            job.get::<Value>().await.unwrap_err().kind(),
            ErrorKind::Cancelled
        );

        let unknown = rpc.job("8ec71d6b-28d1-4ce2-aa23-f3ea7887beda".parse().unwrap());
        for error in [
            unknown.result().await.map(drop).unwrap_err(),
            unknown.wait().await.map(drop).unwrap_err(),
            unknown.status().await.map(drop).unwrap_err(),
            unknown
                .stream()
                .try_collect::<Vec<_>>()
                .await
                .map(drop)
                .unwrap_err(),
            unknown
                .follow()
                .try_collect::<Vec<_>>()
                .await
                .map(drop)
                .unwrap_err(),
        ] {
            assert_eq!(
                (error.kind(), error.wire_type()),
                (ErrorKind::NotFound, Some("invalid_jobid"))
            );
        }
        assert!(!unknown.cancel().await.unwrap());
    });
}

#[test]
fn packets_are_followed_and_read() {
    let cluster = Cluster::start();
    run(async {
        let rpc = cluster.client();
        let job = rpc.host("web01").call("count", [2500]).await.unwrap();
        let mut following = job.follow().since(0).timestamps();
        let mut expected = 0;
        while let Some(packet) = following.next().await {
            let packet = packet.unwrap();
            assert_eq!(
                (packet.number, packet.data.as_str()),
                (expected, &*expected.to_string())
            );
            assert!(packet.time.is_some());
            expected += 1;
        }
        assert_eq!(expected, 2500);
        assert!(matches!(following.outcome(), Some(Outcome::Returned(_))));
        let now = job.snapshot().await.unwrap();
        assert_eq!((now.state(), now.packets), (JobState::Ended, 2500));
        assert_eq!(now.outcome, following.outcome().cloned());
        let submitted = now.status.submit_time;
        assert!(now.status.end_time.unwrap() >= submitted);
        // On record are whole seconds of the same times.
        let recorded = job.status().await.unwrap().submit_time;
        assert!(submitted.duration_since(recorded).unwrap() < Duration::from_secs(1));

        for (packets, count) in [
            (job.stream(), 2500),
            (job.stream().since(2400), 100),
            (job.stream().recent(10), 10),
            (job.follow(), 0),
            (job.follow().recent(10), 10),
            (job.follow().since(9999), 0),
        ] {
            let all: Vec<_> = packets.try_collect().await.unwrap();
            assert_eq!(all.len(), count);
            assert!(all.last().is_none_or(|packet| packet.number == 2499));
        }
    });
}

#[test]
fn following_and_waiting_go_on_across_a_crash_of_the_dispatcher() {
    let mut cluster = Cluster::builder().unkept().set("slot_grace", "0").start();
    let mut feed = cluster.feed("feed");
    let feed_arguments = arguments(&feed);
    run(async {
        let rpc = cluster.client();
        let web01 = rpc.host("web01").queue(json!({}));
        let running = web01.call("feed", feed_arguments).await.unwrap();
        let queued = web01.call("count", [3]).await.unwrap();
        let following_queued = tokio::spawn({
            let packets = queued.follow().since(0);
            async move { packets.try_collect::<Vec<_>>().await.unwrap().len() }
        });
        let waiting_queued = tokio::spawn({
            let queued = queued.clone();
            async move { queued.get::<Value>().await.unwrap() }
        });
        let mut following = running.follow().since(0);
        for number in 0..10 {
            feed.send(&number.to_string());
            assert_eq!(following.next().await.unwrap().unwrap().number, number);
        }
        tokio::task::block_in_place(|| {
            cluster.kill_dispatcher();
            cluster.start_dispatcher();
        });
        assert!(following.next().await.is_none(), "no packet comes twice");
        let Some(Outcome::Error(failure)) = following.outcome() else {
            panic!("{:?}", following.outcome());
        };
        assert_eq!(failure.error_type, "missing_result");
        assert_eq!(following_queued.await.unwrap(), 3);
        assert_eq!(waiting_queued.await.unwrap(), Value::Null);
        assert_eq!(
            running
                .stream()
                .try_collect::<Vec<_>>()
                .await
                .unwrap()
                .len(),
            10
        );
    });
}

#[test]
fn a_long_replay_goes_on_across_an_orderly_restart() {
    let mut cluster = Cluster::start();
    run(async {
        let rpc = cluster.client();
        let job = rpc
            .host("web01")
            .call("blob", vec![500_000; 40])
            .await
            .unwrap();
        job.wait().await.unwrap();
        let mut following = job.follow().since(0);
        for number in 0..5 {
            assert_eq!(following.next().await.unwrap().unwrap().number, number);
        }
        // Connections that still write are cut off when the dispatcher stops.
        tokio::task::block_in_place(|| cluster.restart_dispatcher());
        for number in 5..40 {
            let packet = following.next().await.unwrap().unwrap();
            assert_eq!(
                (packet.number, packet.data.as_bytes().len()),
                (number, 500_000)
            );
        }
        assert!(following.next().await.is_none());
        assert!(matches!(following.outcome(), Some(Outcome::Returned(_))));
    });
}

#[test]
fn requests_of_ones_own_making_are_answered_too() {
    let cluster = Cluster::start();
    run(async {
        let reply = cluster
            .client()
            .request(&json!({"harpcaller": 1, "hello": {}}))
            .await
            .unwrap();
        let reply: Value = reply.decode().unwrap();
        assert!(reply["server"].is_string());
        let reply = cluster
            .client()
            .request(&json!({"harpcaller": 1}))
            .await
            .unwrap();
        let reply: Value = reply.decode().unwrap();
        assert_eq!(reply["error"]["type"], "invalid_request");
    });
}

#[test]
fn a_refusal_that_may_be_retried_says_so() {
    let cluster = Cluster::builder().set("max_live_jobs", "1").start();
    let feed = cluster.feed("feed");
    run(async {
        let web01 = cluster.client().host("web01");
        let _running = web01.call("gate", arguments(&feed)).await.unwrap();
        let error = web01.call("echo", ()).await.map(drop).unwrap_err();
        assert_eq!(
            (error.kind(), error.wire_type()),
            (ErrorKind::Busy, Some("overloaded"))
        );
        assert!(error.is_retryable());
    });
}

#[test]
fn a_host_is_called_without_a_dispatcher() {
    let cluster = Cluster::start();
    let port = cluster.entry("web01")["port"].as_u64().unwrap();
    let mut feed = cluster.feed("feed");
    run(async {
        let server = HarpServer::builder("127.0.0.1", harp_tests::USER, harp_tests::PASSWORD)
            .port(u16::try_from(port).unwrap())
            .ca_file(cluster.path("ca.pem"))
            .build()
            .unwrap();
        let call = server.call("echo", [1]).await.unwrap();
        assert!(!call.streams());
        assert_eq!(call.get::<Vec<u8>>().await.unwrap(), [1]);

        let mut call = server.call("count", [3]).await.unwrap();
        assert!(call.streams());
        let mut packets = Vec::new();
        while let Some(packet) = call.next().await {
            packets.push(packet.unwrap().to_string());
        }
        assert_eq!(packets, ["0", "1", "2"]);
        assert!(matches!(call.outcome(), Some(Outcome::Returned(_))));

        let call = server.call("gate", arguments(&feed)).await.unwrap();
        tokio::task::block_in_place(|| feed.wait_read());
        drop(call);
        tokio::task::block_in_place(|| feed.wait_abandoned());

        let stranger = HarpServer::builder("127.0.0.1", "stranger", harp_tests::PASSWORD)
            .port(u16::try_from(port).unwrap())
            .ca_file(cluster.path("ca.pem"))
            .build()
            .unwrap();
        let error = stranger.call("echo", ()).await.map(drop).unwrap_err();
        assert_eq!(
            (error.kind(), error.wire_type()),
            (ErrorKind::Remote, Some("auth_error"))
        );
    });
}
