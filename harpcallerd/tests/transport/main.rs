//! Calls through the door to hosts, as a run makes them, at a host that does what the test
//! orders.

#[path = "../set_up/acceptor.rs"]
mod acceptor;
mod host;
#[path = "../set_up/limits.rs"]
mod limits;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use harp_host::Endpoint;
use harp_host::tls::{Trust, TrustFiles};
use harp_jobs::ledger::{Hold, Token};
use harp_jobs::record::{CallRecord, QueueRecord};
use harp_jobs::transport::{Attempt, Batch, Commit, Heard, How, Proof, Proved, Stored, Transport};
use harp_jobs::world::{Moment, World};
use harp_proto::host::kept::ALPN;
use harp_proto::{JobId, Json, Outcome};
use harpcallerd::hosts::{Harpd, Host, Hosts, Registry};
use harpcallerd::rules::{ExecutionLimits, Rules};
use harpcallerd::transports::harp::Harp;
use harpcallerd::world::Runtime;
use tokio::sync::watch;

use host::{Act, ScriptedHost};
use limits::unlimited;

/// What a host that was told is given here.
const SLOT_GRACE: Duration = Duration::from_secs(20);

/// What a host that may not know of the end is given here.
const BREAK_GRACE: Duration = Duration::from_secs(60);

struct Calls {
    world: Arc<Runtime>,
    harp: Harp,
    _rules: watch::Sender<Arc<Rules>>,
}

impl Calls {
    fn at(host: &ScriptedHost) -> Calls {
        Calls::keeping(host, false)
    }

    /// Whether hosts are to keep calls is chosen.
    fn keeping(host: &ScriptedHost, keep_calls: bool) -> Calls {
        let entry = Harpd {
            endpoint: Endpoint::new("127.0.0.1", host.port()),
            user: "u".to_owned(),
            password: "p".into(),
            keep: true,
            procedures: Default::default(),
        };
        let registry: Registry = [("web01".to_owned(), Host::Harpd(Arc::new(entry)))].into();
        let rules = Rules {
            limits: ExecutionLimits {
                connect_timeout: Duration::from_secs(20),
                connect_patience: Duration::from_secs(20),
                slot_grace: SLOT_GRACE,
                break_grace: BREAK_GRACE,
                keep_calls,
                ..unlimited()
            },
            trust: Trust::new(TrustFiles::default()).unwrap(),
            memory: harp_budget::Budget::new(16 << 20),
        };
        let (sender, rules) = watch::channel(Arc::new(rules));
        let world = Arc::new(Runtime::start());
        Calls {
            harp: Harp::new(
                Arc::clone(&world),
                Arc::new(Hosts::from(registry)),
                rules,
                None,
                Default::default(),
            ),
            world,
            _rules: sender,
        }
    }

    fn begin(&self, how: How, host: &str, token: Token) -> Box<dyn Attempt> {
        let call = CallRecord {
            queue: Some(QueueRecord {
                name: "{}".parse().unwrap(),
                concurrency: 1,
            }),
            ..CallRecord::new(host, "count", "[3]".parse().unwrap(), 1)
        };
        let hold = Hold {
            job: JobId::submitted_at(1),
            attempt: 1,
            owner: 1,
        };
        self.harp.begin(hold, Arc::new(call), how, token)
    }

    fn soon(&self) -> Moment {
        self.world.now() + Duration::from_secs(20)
    }

    /// A call that the host has acknowledged.
    async fn running(&self) -> Box<dyn Attempt> {
        let mut attempt = self.begin(How::New, "web01", Token::default());
        attempt.ready(self.soon()).await.unwrap();
        assert_eq!(attempt.commit(self.soon()).await, Commit::Done);
        let mut none = Batch::new(0);
        assert_eq!(attempt.next(&mut none).await, Heard::Sign);
        attempt
    }
}

/// Listens until the call has ended: its packets, with their numbers, how it ended, and
/// whether something may be left of it.
async fn listen(attempt: &mut Box<dyn Attempt>) -> (Vec<(u64, String)>, Outcome, bool) {
    let mut packets = Vec::new();
    loop {
        let mut batch = Batch::new(packets.len() as u64);
        let heard = attempt.next(&mut batch).await;
        for segment in batch.finish() {
            for (number, _, data) in segment.iter_from(0) {
                packets.push((number, String::from_utf8(data.to_vec()).unwrap()));
            }
        }
        match heard {
            Heard::Packets => {}
            Heard::End { outcome, left } => return (packets, outcome, left),
            heard => panic!("{heard:?}"),
        }
    }
}

fn error_type(outcome: &Outcome) -> &str {
    let Outcome::Error(failure) = outcome else {
        panic!("{outcome:?}");
    };
    &failure.error_type
}

const STREAMS: Act = Act::Say(r#"{"harp":1,"stream_result":true}"#);

#[tokio::test]
async fn a_call_goes_to_its_end() {
    let host = ScriptedHost::start(vec![vec![
        Act::Read,
        STREAMS,
        Act::Say(r#"{"stream":"a"}"#),
        Act::Say(r#"{"stream": 2 }"#),
        Act::Wait,
        Act::Say(r#"{"stream":[3]}"#),
        Act::Say(r#"{"result":"done"}"#),
    ]])
    .await;
    let calls = Calls::at(&host);
    let mut attempt = calls.begin(How::New, "web01", Token::default());
    assert!(!attempt.keeps());
    attempt.ready(calls.soon()).await.unwrap();
    // Nothing goes out before the commit.
    assert_eq!(host.requests(), 0);
    assert_eq!(attempt.commit(calls.soon()).await, Commit::Done);
    let mut none = Batch::new(0);
    assert_eq!(attempt.next(&mut none).await, Heard::Sign);
    assert_eq!(host.requests(), 1);
    host.go_on();
    let (packets, outcome, left) = listen(&mut attempt).await;
    let expected = [(0, "\"a\""), (1, "2"), (2, "[3]")];
    assert_eq!(
        packets,
        expected.map(|(number, data)| (number, data.to_owned()))
    );
    assert_eq!(outcome, Outcome::Returned("\"done\"".parse().unwrap()));
    assert!(!left);
    assert!(attempt.heard().is_none(), "it has ended");
}

#[tokio::test]
async fn a_future_that_is_dropped_loses_nothing() {
    let mut acts = vec![Act::Read, STREAMS];
    acts.extend((0..200).flat_map(|_| [Act::Say(r#"{"stream":"x"}"#), Act::Yield]));
    acts.push(Act::Say(r#"{"result":null}"#));
    let host = ScriptedHost::start(vec![acts]).await;
    let calls = Calls::at(&host);
    let mut attempt = calls.running().await;
    let mut batch = Batch::new(0);
    let outcome = loop {
        // Given up whenever there is nothing at this moment.
        match attempt.next(&mut batch).now_or_never() {
            None => tokio::task::yield_now().await,
            Some(Heard::Packets) => {}
            Some(Heard::End { outcome, .. }) => break outcome,
            Some(heard) => panic!("{heard:?}"),
        }
    };
    assert_eq!(outcome, Outcome::Returned(Json::NULL));
    let numbers: Vec<u64> = batch
        .finish()
        .iter()
        .flat_map(|segment| {
            segment
                .iter_from(0)
                .map(|(number, ..)| number)
                .collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(numbers, (0..200).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_fails_before_the_request_was_certainly_not_run() {
    let host = ScriptedHost::start(vec![]).await;
    let calls = Calls::at(&host);
    let mut attempt = calls.begin(How::New, "nowhere", Token::default());
    let failure = attempt.ready(calls.soon()).await.unwrap_err();
    assert_eq!(failure.error_type, "unknown_host");

    // A host that ends the connection before the request is whole has not run it either.
    host.refuse();
    let mut attempt = calls.begin(How::New, "web01", Token::default());
    match attempt.ready(calls.soon()).await {
        Err(failure) => assert_eq!(failure.error_type, "network_error"),
        // It was heard of lately, and is waited for.
        Ok(()) => {
            let mut none = Batch::new(0);
            assert!(matches!(attempt.next(&mut none).await, Heard::Unrun(_)));
        }
    }
    attempt.tell().await;
    assert_eq!(attempt.prove().await, Proved::free(Proof::Confirmed));
    assert_eq!(host.requests(), 0);
}

#[tokio::test]
async fn a_host_that_proves_that_it_is_done_is_believed() {
    let host = ScriptedHost::start(vec![
        vec![
            Act::Read,
            STREAMS,
            Act::Say(r#"{"stream":1}"#),
            Act::WaitForEnd,
            Act::Say(r#"{"error":{"type":"cancelled","message":"m","data":{"processes":0}}}"#),
        ],
        vec![Act::Read, STREAMS, Act::WaitForEnd],
    ])
    .await;
    let calls = Calls::at(&host);
    for proof in [Proof::Confirmed, Proof::Unconfirmed] {
        let mut attempt = calls.running().await;
        assert!(attempt.talks() && attempt.heard().is_some());
        attempt.tell().await;
        // It is known who has to be waited for, should this process end now.
        assert_eq!(attempt.debt(), Some(Token::default()));
        assert_eq!(attempt.prove().await, Proved::free(proof));
    }
}

#[tokio::test]
async fn a_connection_that_breaks_leaves_a_host_that_may_not_know() {
    let host = ScriptedHost::start(vec![vec![
        Act::Read,
        STREAMS,
        Act::Say(r#"{"stream":1}"#),
        Act::Wait,
        Act::Break,
    ]])
    .await;
    let calls = Calls::at(&host);
    let mut attempt = calls.running().await;
    let mut batch = Batch::new(0);
    assert_eq!(attempt.next(&mut batch).await, Heard::Packets);
    assert_eq!(batch.finish().len(), 1);
    host.go_on();
    let (_, outcome, left) = listen(&mut attempt).await;
    assert_eq!(error_type(&outcome), "network_error");
    assert!(left);
    attempt.tell().await;
    // What is owed outlives this process.
    let debt = attempt.debt().unwrap();
    assert!(debt.0.starts_with(b"lost"));
    let Proved { host, keep } = attempt.prove().await;
    assert_eq!(host, Proof::Unconfirmed);
    let seconds = |seconds| Duration::from_secs(seconds);
    assert!(
        keep > BREAK_GRACE - seconds(15) && keep <= BREAK_GRACE,
        "{keep:?}"
    );
    for (debt, longest) in [
        (debt, BREAK_GRACE),
        // One that was told.
        (Token::default(), SLOT_GRACE),
    ] {
        let mut next = calls.begin(How::Settle, "web01", debt);
        let Proved { host, keep } = next.prove().await;
        assert_eq!(host, Proof::Unconfirmed);
        assert!(keep > longest - seconds(15) && keep <= longest, "{keep:?}");
    }
}

#[tokio::test]
async fn a_call_that_was_refused_for_the_moment_is_run_once() {
    let stops = r#"{"error":{"type":"shutdown","message":"the service is stopping"}}"#;
    let ends = Act::Say(r#"{"result":1}"#);
    let host = ScriptedHost::start(vec![
        vec![
            Act::Read,
            Act::Say(r#"{"harp":1,"stream_result":false}"#),
            ends,
        ],
        vec![Act::Read, Act::Say(stops)],
        vec![Act::Read, STREAMS, ends],
    ])
    .await;
    let calls = Calls::at(&host);
    // So that it was heard of lately.
    let mut first = calls.running().await;
    let (_, outcome, _) = listen(&mut first).await;
    assert_eq!(outcome, Outcome::Returned("1".parse().unwrap()));

    let mut attempt = calls.begin(How::New, "web01", Token::default());
    attempt.ready(calls.soon()).await.unwrap();
    assert_eq!(attempt.commit(calls.soon()).await, Commit::Done);
    let mut none = Batch::new(0);
    let Heard::Unrun(unrun) = attempt.next(&mut none).await else {
        panic!("it was refused");
    };
    assert!(Harp::may_go_on(&unrun));
    let Heard::NeverRan(_) = attempt.next(&mut none).await else {
        panic!("it can be reached");
    };
    let Commit::First(plain) = attempt.commit(calls.soon()).await else {
        panic!("the host keeps no calls, which has to be on record");
    };
    assert!(!Harp::may_go_on(&plain));
    assert_eq!(host.requests(), 2);
    assert_eq!(attempt.commit(calls.soon()).await, Commit::Done);
    assert_eq!(attempt.next(&mut none).await, Heard::Sign);
    let (_, outcome, left) = listen(&mut attempt).await;
    assert_eq!(outcome, Outcome::Returned("1".parse().unwrap()));
    assert!(!left);
    assert_eq!(host.requests(), 3);
}

#[tokio::test]
async fn a_refusal_for_good_ends_the_call_and_leaves_nothing() {
    let refusal = r#"{"error":{"type":"auth_error","message":"m"}}"#;
    let host = ScriptedHost::start(vec![vec![Act::Read, Act::Say(refusal)]]).await;
    let calls = Calls::at(&host);
    let mut attempt = calls.begin(How::New, "web01", Token::default());
    attempt.ready(calls.soon()).await.unwrap();
    assert_eq!(attempt.commit(calls.soon()).await, Commit::Done);
    let (packets, outcome, left) = listen(&mut attempt).await;
    assert!(packets.is_empty() && !left);
    assert_eq!(error_type(&outcome), "auth_error");
}

#[tokio::test(start_paused = true)]
async fn a_call_of_before_the_start_has_no_result() {
    let host = ScriptedHost::start(vec![]).await;
    let calls = Calls::at(&host);
    let since = 3;
    let mut attempt = calls.begin(How::Attach { since }, "web01", Token::default());
    let mut none = Batch::new(since);
    let Heard::End { outcome, left } = attempt.next(&mut none).await else {
        panic!("it has ended");
    };
    assert_eq!(error_type(&outcome), "missing_result");
    assert!(left);
    attempt.tell().await;
    let Proved { host, keep } = attempt.prove().await;
    assert_eq!((host, keep), (Proof::Unconfirmed, SLOT_GRACE));
}

#[tokio::test]
async fn the_last_words_of_a_call_that_was_given_up_are_heard() {
    let proof = Act::Say(r#"{"error":{"type":"cancelled","message":"m","data":{"processes":0}}}"#);
    let words = [
        Act::Read,
        STREAMS,
        Act::Say(r#"{"stream":1}"#),
        Act::WaitForEnd,
        Act::Say(r#"{"stream":2}"#),
    ];
    let proved = [&words[..], &[proof]].concat();
    let ended = [&words[..], &[Act::Say(r#"{"result":3}"#), proof]].concat();
    let host = ScriptedHost::start(vec![proved, ended]).await;
    let calls = Calls::at(&host);
    for is_left in [false, true] {
        let mut attempt = calls.running().await;
        attempt.tell().await;
        let (packets, _, left) = listen(&mut attempt).await;
        assert_eq!(packets.last(), Some(&(1, "2".to_owned())));
        // Of one that has ended by itself in that moment the proof comes behind its end.
        assert_eq!(left, is_left);
        assert_eq!(attempt.prove().await, Proved::free(Proof::Confirmed));
    }
}

/// Of a call that does not stream, by a host that keeps it.
const KEPT: Act = Act::Say(r#"{"harp":1,"stream_result":false,"keep":300,"boot":"b","up":1.0}"#);

#[tokio::test]
async fn a_connection_without_a_call_is_closed_after_a_minute() {
    let script = vec![
        Act::Read,
        KEPT,
        Act::Say(r#"{"result":1}"#),
        Act::WaitForEnd,
    ];
    let host = ScriptedHost::speaking(&[ALPN], vec![script]).await;
    let calls = Calls::keeping(&host, true);
    let mut attempt = calls.begin(How::New, "web01", Token::default());
    attempt.ready(calls.soon()).await.unwrap();
    assert_eq!(attempt.commit(calls.soon()).await, Commit::Done);
    let mut none = Batch::new(0);
    while !matches!(attempt.next(&mut none).await, Heard::End { .. }) {}
    attempt.stored(Stored::End);
    drop(attempt);
    // From here on a second is over as soon as nothing else is to be done.
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    while host.ends() == 0 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        // The system may need a moment of its own to bring the host what is sent.
        std::thread::sleep(Duration::from_millis(5));
        assert!(begun.elapsed() < Duration::from_secs(3600));
    }
    assert!(begun.elapsed() >= Duration::from_secs(60));
}

#[tokio::test]
async fn an_end_that_comes_in_the_moment_of_a_cancel_leaves_nothing_at_a_host_that_keeps_calls() {
    let returned = vec![
        Act::Read,
        KEPT,
        Act::Say(r#"{"result":1}"#),
        Act::WaitForEnd,
    ];
    let refusal = Act::Say(r#"{"harp":1,"error":{"type":"no_such_procedure","message":"m"}}"#);
    let refused = vec![Act::Read, refusal, Act::WaitForEnd];
    for script in [returned, refused] {
        let host = ScriptedHost::speaking(&[ALPN], vec![script]).await;
        let calls = Calls::keeping(&host, true);
        let mut attempt = calls.begin(How::New, "web01", Token::default());
        attempt.ready(calls.soon()).await.unwrap();
        assert_eq!(attempt.commit(calls.soon()).await, Commit::Done);
        assert!(attempt.keeps());
        let mut none = Batch::new(0);
        // What it has come to is of no use any more: a cancel was first.
        while !matches!(attempt.next(&mut none).await, Heard::End { .. }) {}
        attempt.tell().await;
        attempt.stored(Stored::End);
        assert_eq!(attempt.prove().await, Proved::free(Proof::Confirmed));
    }
}
