//! Packets, each exactly once, whatever happens to the connection.

use std::time::{Duration, SystemTime};

use futures_util::{StreamExt, TryStreamExt};
use harp_client::{ErrorKind, JobEvent, JobId, Outcome, Packet, Packets};
use serde_json::{Value, json};

use crate::scripted_dispatcher::{Act, JOB, MODERN, ScriptedDispatcher, packet, reply, request};

fn id() -> JobId {
    JOB.parse().unwrap()
}

fn follow_since(number: u64) -> Act {
    request(json!({"harpcaller": 1, "follow_stream": JOB, "since": number}))
}

fn read(key: &str, number: u64, limit: Option<u64>) -> Act {
    let mut read = json!({"harpcaller": 1, "read_stream": JOB, key: number});
    if let Some(limit) = limit {
        read["limit"] = Value::from(limit);
    }
    request(read)
}

fn returned() -> Act {
    reply(r#"{"result":"end"}"#)
}

fn goes_on() -> Act {
    reply(r#"{"continue":true}"#)
}

async fn numbers(packets: &mut Packets) -> Vec<u64> {
    packets
        .map_ok(|packet: Packet| packet.number)
        .try_collect()
        .await
        .unwrap()
}

#[track_caller]
fn assert_returned(packets: &Packets) {
    let expected = Outcome::Returned(r#""end""#.parse().unwrap());
    assert_eq!(packets.outcome(), Some(&expected));
}

#[tokio::test]
async fn follow_ends_with_the_outcome_at_hand() {
    let script = vec![MODERN, follow_since(0), packet(0), packet(1), returned()];
    let dispatcher = ScriptedDispatcher::start([script]).await;
    let mut packets = dispatcher.client().job(id()).follow().since(0);
    let first = packets.next().await.unwrap().unwrap();
    assert_eq!(first.data.decode::<u64>().unwrap(), 0);
    assert_eq!(packets.outcome(), None);
    assert_eq!(packets.position(), Some(1));
    assert_eq!(numbers(&mut packets).await, [1]);
    assert_returned(&packets);
    assert!(packets.next().await.is_none());
    dispatcher.finish().await;
}

#[tokio::test]
async fn events_have_the_end_behind_the_last_packet() {
    let script = vec![MODERN, follow_since(7), packet(7), returned()];
    let dispatcher = ScriptedDispatcher::start([script]).await;
    let events = dispatcher.client().job(id()).follow().after(6).events();
    let events: Vec<JobEvent> = events.try_collect().await.unwrap();
    let shown: Vec<String> = events
        .iter()
        .map(|event| serde_json::to_string(event).unwrap())
        .collect();
    assert_eq!(
        shown,
        [
            r#"{"event":"packet","number":7,"data":7}"#,
            r#"{"event":"ended","outcome":"returned","result":"end"}"#
        ]
    );
    let JobEvent::Packet(first) = &events[0] else {
        panic!("{events:?}")
    };
    assert_eq!(first.decode::<u8>().unwrap(), 7);
    let error = first.decode::<String>().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedResult);
    dispatcher.finish().await;

    // What was collected of a job that goes on has no end.
    let script = vec![MODERN, read("since", 0, Some(1000)), packet(0), goes_on()];
    let dispatcher = ScriptedDispatcher::start([script]).await;
    let events = dispatcher.client().job(id()).stream().events();
    let events: Vec<JobEvent> = events.try_collect().await.unwrap();
    assert!(matches!(&events[..], [JobEvent::Packet(_)]), "{events:?}");
    dispatcher.finish().await;
}

#[tokio::test]
async fn follow_goes_on_behind_a_break() {
    let broken = |acts: &[Act]| [&[MODERN][..], acts].concat();
    let dispatcher = ScriptedDispatcher::start([
        broken(&[
            follow_since(0),
            packet(0),
            packet(1),
            Act::Bytes(br#"{"packet":2,"da"#.to_vec()),
        ]),
        broken(&[follow_since(2)]),
        // What is sent again is dropped.
        broken(&[follow_since(2), packet(1), packet(2), packet(3)]),
        broken(&[follow_since(4), packet(4), returned()]),
    ])
    .await;
    let mut packets = dispatcher.client().job(id()).follow().since(0);
    assert_eq!(numbers(&mut packets).await, [0, 1, 2, 3, 4]);
    assert_returned(&packets);
    dispatcher.finish().await;
}

#[tokio::test]
async fn follow_survives_a_restart() {
    let before = vec![MODERN, follow_since(7), packet(7)];
    let dispatcher = ScriptedDispatcher::start([before]).await;
    let mut packets = dispatcher.client().job(id()).follow().since(7);
    assert_eq!(packets.next().await.unwrap().unwrap().number, 7);
    let port = dispatcher.port;
    dispatcher.finish().await;

    let next = tokio::spawn(async move { numbers(&mut packets).await });
    let after = vec![MODERN, follow_since(8), packet(8), returned()];
    let dispatcher = ScriptedDispatcher::start_at(port, [after]).await;
    assert_eq!(next.await.unwrap(), [8]);
    dispatcher.finish().await;
}

#[tokio::test]
async fn following_from_now_on_loses_nothing_to_a_break() {
    // Unless told otherwise: the last packet's number tells where now is.
    let dispatcher = ScriptedDispatcher::start([
        vec![
            MODERN,
            read("recent", 1, None),
            packet(41),
            goes_on(),
            follow_since(42),
        ],
        vec![MODERN, follow_since(42), packet(42), returned()],
    ])
    .await;
    let mut packets = dispatcher.client().job(id()).follow();
    assert_eq!(packets.position(), None);
    assert_eq!(numbers(&mut packets).await, [42]);
    assert_returned(&packets);
    dispatcher.finish().await;

    // Where there is no packet yet, the first is the next.
    let script = vec![
        MODERN,
        read("recent", 1, None),
        goes_on(),
        follow_since(0),
        packet(0),
        returned(),
    ];
    let dispatcher = ScriptedDispatcher::start([script]).await;
    let mut packets = dispatcher.client().job(id()).follow();
    assert_eq!(numbers(&mut packets).await, [0]);
    dispatcher.finish().await;

    // A job that has ended has nothing to follow.
    let script = vec![MODERN, read("recent", 1, None), packet(5), returned()];
    let dispatcher = ScriptedDispatcher::start([script]).await;
    let mut packets = dispatcher.client().job(id()).follow();
    assert!(numbers(&mut packets).await.is_empty());
    assert_returned(&packets);
    dispatcher.finish().await;

    let script = vec![
        MODERN,
        read("recent", 2, None),
        packet(8),
        packet(9),
        goes_on(),
        follow_since(10),
        returned(),
    ];
    let dispatcher = ScriptedDispatcher::start([script]).await;
    let mut packets = dispatcher.client().job(id()).follow().recent(2);
    assert_eq!(numbers(&mut packets).await, [8, 9]);
    dispatcher.finish().await;
}

#[tokio::test]
async fn a_hole_is_an_error_and_the_last_item() {
    let script = vec![MODERN, follow_since(0), packet(0), packet(2)];
    let dispatcher = ScriptedDispatcher::start([script]).await;
    let mut packets = dispatcher.client().job(id()).follow().since(0);
    assert!(packets.next().await.unwrap().is_ok());
    let error = packets.next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(packets.next().await.is_none());
    assert_eq!(packets.outcome(), None);
}

#[tokio::test]
async fn an_unknown_job() {
    let fault = r#"{"harpcaller":1,"error":{"type":"invalid_jobid","message":"no job"}}"#;
    let script = vec![MODERN, follow_since(0), reply(fault)];
    let dispatcher = ScriptedDispatcher::start([script]).await;
    let mut packets = dispatcher.client().job(id()).follow().since(0);
    let error = packets.next().await.unwrap().unwrap_err();
    assert_eq!(error.wire_type(), Some("invalid_jobid"));
    dispatcher.finish().await;

    // The original dispatcher closes the connection without a word.
    let hello = request(json!({"harpcaller": 1, "hello": {"client": "test"}}));
    let dispatcher = ScriptedDispatcher::start([vec![hello], vec![follow_since(0)]]).await;
    let mut packets = dispatcher.client().job(id()).follow().since(0);
    let error = packets.next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Communication);
    assert!(
        error.to_string().contains("a job it does not know"),
        "{error}"
    );
    dispatcher.finish().await;
}

#[tokio::test]
async fn stream_reads_in_pages_where_it_can() {
    let page: Vec<Act> = (0..1000).map(packet).collect();
    let script = [
        vec![MODERN, read("since", 0, Some(1000))],
        page,
        vec![
            goes_on(),
            read("since", 1000, Some(1000)),
            packet(1000),
            goes_on(),
        ],
    ]
    .concat();
    let dispatcher = ScriptedDispatcher::start([script]).await;
    let mut packets = dispatcher.client().job(id()).stream();
    let expected: Vec<u64> = (0..=1000).collect();
    assert_eq!(numbers(&mut packets).await, expected);
    assert_eq!(packets.outcome(), None);
    assert_eq!(packets.position(), Some(1001));
    dispatcher.finish().await;
}

#[tokio::test]
async fn stream_without_pages_goes_on_behind_a_break() {
    const PLAIN: Act = Act::Hello(&["keep_alive"]);
    let dispatcher = ScriptedDispatcher::start([
        vec![PLAIN, read("since", 3, None), packet(3)],
        vec![PLAIN, read("since", 4, None), packet(4), returned()],
    ])
    .await;
    let mut packets = dispatcher.client().job(id()).stream().since(3);
    assert_eq!(numbers(&mut packets).await, [3, 4]);
    assert_returned(&packets);
    dispatcher.finish().await;

    let script = vec![PLAIN, read("recent", 2, None), goes_on()];
    let dispatcher = ScriptedDispatcher::start([script]).await;
    let mut packets = dispatcher.client().job(id()).stream().recent(2);
    assert!(numbers(&mut packets).await.is_empty());
    dispatcher.finish().await;
}

#[tokio::test]
async fn packets_with_their_time() {
    let follow = request(json!({
        "harpcaller": 1, "follow_stream": JOB, "since": 0, "timestamps": true,
    }));
    let timed = reply(r#"{"packet":0,"data":null,"time":1700000000123}"#);
    let dispatcher = ScriptedDispatcher::start([vec![MODERN, follow, timed, returned()]]).await;
    let packets = dispatcher.client().job(id()).follow().since(0).timestamps();
    let packets: Vec<Packet> = packets.try_collect().await.unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
    assert_eq!(packets[0].time, Some(time));
    assert_eq!(
        serde_json::to_string(&packets[0]).unwrap(),
        r#"{"number":0,"data":null,"time":1700000000123}"#
    );
    dispatcher.finish().await;

    // Not asked for where it would be a mistake.
    let script = vec![Act::Hello(&[]), follow_since(0), packet(0), returned()];
    let dispatcher = ScriptedDispatcher::start([script]).await;
    let packets = dispatcher.client().job(id()).follow().since(0).timestamps();
    assert_eq!(packets.count().await, 1);
    dispatcher.finish().await;
}

#[tokio::test]
async fn dropping_a_stream_closes_its_connection() {
    let script = vec![MODERN, follow_since(0), packet(0), Act::AwaitEnd];
    let dispatcher = ScriptedDispatcher::start([script]).await;
    let mut packets = dispatcher.client().job(id()).follow().since(0);
    packets.next().await.unwrap().unwrap();
    // Waiting can be given up and taken up again.
    let wait = tokio::time::timeout(Duration::from_millis(50), packets.next());
    assert!(wait.await.is_err());
    drop(packets);
    dispatcher.finish().await;
}

#[tokio::test]
async fn a_finished_stream_gives_its_connection_back() {
    let script = vec![
        MODERN,
        follow_since(0),
        returned(),
        follow_since(0),
        returned(),
    ];
    let dispatcher = ScriptedDispatcher::start([script]).await;
    let job = dispatcher.client().job(id());
    for _ in 0..2 {
        let mut packets = job.follow().since(0);
        assert!(packets.next().await.is_none());
        assert_returned(&packets);
    }
    dispatcher.finish().await;
}

#[tokio::test]
async fn a_dispatcher_that_falls_silent_is_not_waited_for_without_end() {
    let limit = Duration::from_millis(300);
    let script = vec![
        MODERN,
        read("since", 0, Some(1000)),
        packet(0),
        Act::AwaitEnd,
    ];
    let dispatcher = ScriptedDispatcher::start([script]).await;
    let rpc = dispatcher.builder().request_timeout(limit).build().unwrap();
    let mut packets = rpc.job(id()).stream();
    packets.next().await.unwrap().unwrap();
    // A consumer that takes its time is not the dispatcher's silence.
    tokio::time::sleep(2 * limit).await;
    let begun = std::time::Instant::now();
    let error = packets.next().await.unwrap().unwrap_err();
    assert!(begun.elapsed() >= limit);
    assert_eq!(error.kind(), ErrorKind::Communication);
    assert!(
        error.to_string().contains("phase reply: no answer in time"),
        "{error}"
    );
    assert!(error.is_retryable());
    assert!(packets.next().await.is_none());
    dispatcher.finish().await;

    // The job that is followed may be silent.
    let script = vec![MODERN, follow_since(0), Act::AwaitEnd];
    let dispatcher = ScriptedDispatcher::start([script]).await;
    let rpc = dispatcher.builder().request_timeout(limit).build().unwrap();
    let mut packets = rpc.job(id()).follow().since(0);
    assert!(
        tokio::time::timeout(3 * limit, packets.next())
            .await
            .is_err()
    );
    drop(packets);
    dispatcher.finish().await;
}

#[tokio::test]
async fn packets_are_asked_for_when_they_are_opened() {
    let script = vec![
        MODERN,
        read("recent", 1, None),
        packet(5),
        goes_on(),
        follow_since(6),
        packet(6),
        packet(7),
        returned(),
    ];
    let dispatcher = ScriptedDispatcher::start([script]).await;
    let mut packets = dispatcher.client().job(id()).follow();
    packets.open().await.unwrap();
    // The whole script has been played although nobody wanted a packet.
    dispatcher.finish().await;
    packets.open().await.unwrap();
    assert_eq!(packets.position(), Some(6));
    assert_eq!(packets.outcome(), None);
    assert_eq!(numbers(&mut packets).await, [6, 7]);
    assert_returned(&packets);
    packets.open().await.unwrap();
    assert!(packets.next().await.is_none());
}

#[tokio::test]
async fn opening_fails_as_the_first_packet_would() {
    let refused = r#"{"harpcaller":1,"error":{"type":"invalid_jobid","message":"m"}}"#;
    let script = vec![MODERN, read("recent", 1, None), reply(refused)];
    let dispatcher = ScriptedDispatcher::start([script]).await;
    let mut packets = dispatcher.client().job(id()).follow();
    let error = packets.open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(packets.next().await.is_none());
    dispatcher.finish().await;
}

#[tokio::test]
async fn a_program_is_told_of_each_loss() {
    let dispatcher = ScriptedDispatcher::start([
        vec![MODERN, follow_since(0), packet(0)],
        vec![MODERN, follow_since(1), returned()],
    ])
    .await;
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let caller = dispatcher
        .builder()
        .on_lost(move |error, wait| tell.send((error.to_string(), wait)).unwrap())
        .build()
        .unwrap();
    let mut packets = caller.job(id()).follow().since(0);
    assert_eq!(numbers(&mut packets).await, [0]);
    let (error, wait) = told.try_recv().unwrap();
    assert!(error.contains("phase reply"), "{error}");
    assert_eq!(wait, Duration::ZERO);
    assert!(told.try_recv().is_err());
    dispatcher.finish().await;
}
