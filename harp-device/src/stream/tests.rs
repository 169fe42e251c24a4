use std::io;
use std::sync::{Mutex, PoisonError};

use harp_budget::{Budget, Share};
use harp_jobs::world::{Phase as StopPhase, World};
use tokio::time::Instant;

use super::*;
use crate::entry::Entry;
use crate::surroundings::{Settings, Surroundings};

#[test]
fn which_events_are_wanted() {
    let of = |text: &str| wanted(&text.parse().unwrap());
    assert_eq!(of("[]").unwrap(), Wanted::ALL);
    assert_eq!(of("{}").unwrap(), Wanted::ALL);
    let some = of(r#"{"topics":["emergency"],"kinds":[101,-3]}"#).unwrap();
    assert_eq!((some.events, some.emergencies), (false, true));
    assert_eq!(some.kinds, Some(vec![101, -3]));
    for text in [
        "[1]",
        r#"{"topics":["heartbeat"]}"#,
        r#"{"kinds":["x"]}"#,
        r#"{"kind":[1]}"#,
    ] {
        assert_eq!(
            of(text).unwrap_err().error_type,
            "invalid_argument_list",
            "{text}"
        );
    }
}

/// Time as the test has it pass, and what is kept of devices.
struct Alone {
    begun: Instant,
    kept: Mutex<Vec<u64>>,
    text: Mutex<Vec<u8>>,
}

/// When a recording of before had its last packet.
const LAST: u64 = 1_795_000_000_000;

impl Alone {
    fn new() -> Arc<Alone> {
        Arc::new(Alone {
            begun: Instant::now(),
            kept: Mutex::default(),
            text: Mutex::default(),
        })
    }
}

impl World for Alone {
    fn now(&self) -> Moment {
        Moment::START + self.begun.elapsed()
    }

    fn wall(&self) -> u64 {
        LAST + 1000 + self.begun.elapsed().as_millis() as u64
    }

    fn chance(&self) -> u128 {
        0
    }

    fn spawn(&self, _name: &'static str, _phase: StopPhase, work: BoxFuture<'static, ()>) {
        tokio::spawn(work);
    }

    fn sleep(&self, until: Moment) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(until.since(self.now())))
    }
}

struct Kept(Arc<Alone>);

impl Surroundings for Kept {
    fn settings(&self) -> Settings {
        Settings {
            connect_timeout: Duration::from_secs(1),
            max_packet_size: 1000,
            max_packets: 1000,
        }
    }

    fn share(&self, device: &str) -> Share {
        Budget::new(1000).share(&device)
    }

    fn keep(&self, text: Vec<u8>) -> BoxFuture<'static, io::Result<()>> {
        *self.0.text.lock().unwrap_or_else(PoisonError::into_inner) = text;
        Box::pin(async { Ok(()) })
    }

    fn last_packet(&self, _job: JobId, _count: u64) -> BoxFuture<'static, Option<u64>> {
        Box::pin(async { None })
    }

    fn last_of_ended(&self, job: JobId) -> BoxFuture<'static, Option<u64>> {
        let mut kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push(job.submitted());
        Box::pin(async { Some(LAST) })
    }
}

/// A life of the dispatcher with one device that is to be recorded, and that is never there.
fn life(alone: &Arc<Alone>) -> Arc<Shared> {
    let text = alone.text.lock().unwrap().clone();
    let world: Arc<dyn World> = Arc::clone(alone) as Arc<dyn World>;
    let shared = Arc::new(Shared::new(world, Arc::new(Kept(Arc::clone(alone))), &text));
    let entry = Entry {
        address: "127.0.0.1".to_owned(),
        // No program listens at port 0.
        event_port: 0,
        command_port: 0,
        strict: true,
        record: true,
    };
    shared.device("rig").enter(Some(entry));
    shared
}

/// Has a recording begun by the job of this number.
async fn begun(shared: &Arc<Shared>, number: u64) -> StreamAttempt {
    let call = CallRecord {
        endless: true,
        ..CallRecord::new("rig", "events", "{}".parse().unwrap(), 0)
    };
    let hold = Hold {
        job: JobId::at(number, 0),
        attempt: 1,
        owner: 1,
    };
    let mut attempt = StreamAttempt::new(shared, hold, &call, How::New, None).unwrap();
    attempt.ready(Moment::NEVER).await.unwrap();
    assert!(matches!(
        attempt.commit(Moment::NEVER).await,
        Commit::First(_)
    ));
    assert_eq!(attempt.commit(Moment::NEVER).await, Commit::Done);
    assert_eq!(attempt.next(&mut Batch::new(0)).await, Heard::Sign);
    attempt
}

/// What comes next, with its packets.
async fn next(attempt: &mut StreamAttempt, count: u64) -> (Heard, Vec<String>) {
    let mut batch = Batch::new(count);
    let heard = attempt.next(&mut batch).await;
    let segments = batch.finish();
    let packets = segments.iter().flat_map(|segment| segment.iter_from(count));
    let packets = packets.map(|(_, _, data)| String::from_utf8(data.to_vec()).unwrap());
    (heard, packets.collect())
}

fn publish(shared: &Arc<Shared>, index: u64) {
    let body = format!(r#"{{"kind":7,"when":1.5,"index":{index},"context":null}}"#);
    let topic = 4001_u32.to_le_bytes();
    let parts = [topic.to_vec().into(), body.into()];
    shared.device("rig").published(&parts);
}

#[tokio::test(start_paused = true)]
async fn a_recording_goes_on_for_a_day_and_the_next_one_from_there() {
    let alone = Alone::new();
    let shared = life(&alone);
    let began = Instant::now();
    let mut attempt = begun(&shared, 1).await;
    publish(&shared, 1);
    let (heard, packets) = next(&mut attempt, 0).await;
    assert_eq!((heard, packets.len()), (Heard::Packets, 1));
    let (heard, _) = next(&mut attempt, 1).await;
    let Heard::End { outcome, left } = heard else {
        panic!("{heard:?}");
    };
    assert_eq!(outcome.to_json().to_string(), r#"{"result":{"packets":1}}"#);
    assert!(!left);
    let day = Duration::from_secs(24 * 3600);
    assert!(began.elapsed() >= day && began.elapsed() < day + Duration::from_secs(1));
    publish(&shared, 2);
    let mut attempt = begun(&shared, 2).await;
    let (heard, packets) = next(&mut attempt, 0).await;
    assert_eq!(heard, Heard::Packets);
    assert!(
        packets.len() == 1 && packets[0].contains("\"index\":2"),
        "{packets:?}"
    );
    assert!(
        alone.kept.lock().unwrap().is_empty(),
        "no gap is between them"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_missed_between_two_recordings_and_two_lives_is_told() {
    let alone = Alone::new();
    let shared = life(&alone);
    drop(begun(&shared, 7).await);
    drop(shared);
    let shared = life(&alone);
    let mut attempt = begun(&shared, 8).await;
    shared.device("rig").settled();
    let (heard, packets) = next(&mut attempt, 0).await;
    assert_eq!(heard, Heard::Packets);
    assert!(
        packets[0].starts_with(&format!("{{\"topic\":\"gap\",\"since\":{LAST},")),
        "{packets:?}"
    );
    assert_eq!(*alone.kept.lock().unwrap(), [7]);
    // Another one in the same life has missed nothing.
    drop(attempt);
    let mut attempt = begun(&shared, 9).await;
    publish(&shared, 1);
    let (_, packets) = next(&mut attempt, 0).await;
    assert!(
        packets.len() == 1 && packets[0].contains("\"index\":1"),
        "{packets:?}"
    );

    // One that is not to be recorded any more has nothing to go on from.
    let mut entry = shared.device("rig").entry().unwrap();
    entry.record = false;
    shared.device("rig").enter(Some(entry));
    shared.save(0).await.unwrap();
    drop(shared);
    let shared = life(&alone);
    let _attempt = begun(&shared, 10).await;
    assert_eq!(*alone.kept.lock().unwrap(), [7]);
}
