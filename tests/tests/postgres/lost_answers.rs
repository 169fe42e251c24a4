//! Answers that are lost on the way from the database: what was asked is asked again, and
//! nothing is lost, done twice or stuck.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use harp_jobs::ledger::*;
use harp_jobs::record::QueueRecord;
use harp_jobs::segment::SegmentBuilder;
use harp_tests::postgres::Database;
use harp_values::{JobId, Json, Outcome};
use tokio::time::timeout;

use crate::on_postgres::{OnPostgres, new_job};

/// Jobs of the test, in so many queues, one of which may run two at once.
const JOBS: usize = 240;
const QUEUES: usize = 3;

/// What has been seen of the jobs.
#[derive(Default)]
struct Seen {
    runs: BTreeMap<JobId, usize>,
    running: BTreeMap<String, usize>,
    submitted: BTreeSet<JobId>,
    ended: BTreeMap<JobId, usize>,
    faults: Vec<String>,
}

fn name(queue: usize) -> String {
    format!("{{\"q\":{queue}}}")
}

fn concurrency(queue: usize) -> u64 {
    if queue == 0 { 2 } else { 1 }
}

/// Runs a job that has its turn to its end: two packets, and now and then a debt.
async fn run(ledger: Arc<dyn Ledger>, turn: Turn, seen: Arc<Mutex<Seen>>) {
    let hold = turn.hold;
    let call = turn.call.await.unwrap().unwrap();
    let queue = call.queue.unwrap();
    let name = queue.name.as_str().to_owned();
    if turn.start == Start::ToRecord {
        ledger.started(hold, Token("t".into())).await.unwrap();
    }
    {
        let mut seen = seen.lock().unwrap();
        *seen.runs.entry(hold.job).or_default() += 1;
        let running = seen.running.entry(name.clone()).or_default();
        *running += 1;
        if *running as u64 > queue.concurrency {
            seen.faults.push(format!("too many run in {name}"));
        }
    }
    for number in 0..2 {
        let mut packet = SegmentBuilder::new(number);
        packet.push(1, b"1");
        ledger.append(hold, vec![packet.finish()]).await.unwrap();
    }
    let owes = hold.job.as_bytes()[15].is_multiple_of(4);
    *seen.lock().unwrap().running.get_mut(&name).unwrap() -= 1;
    let end = End {
        then: Then::End(Outcome::Returned(Json::NULL)),
        packets: 2,
        debt: owes.then(|| Token("debt".into())),
        remarks: Default::default(),
    };
    let closed = ledger.close_job(hold, end).await.unwrap();
    assert!(closed.end.is_some() && closed.debt == owes);
    if owes {
        ledger.settle(hold).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_lost_lose_nothing_and_do_nothing_twice() {
    let Some(database) = tokio::task::spawn_blocking(Database::new).await.unwrap() else {
        return;
    };
    let subject = OnPostgres::begin(database).await;
    let ledger: Arc<dyn Ledger> = Arc::new(subject.ledger.clone());
    let seen = Arc::new(Mutex::new(Seen::default()));
    let mut news = ledger.news().unwrap();
    let (its_ledger, its_seen) = (Arc::clone(&ledger), Arc::clone(&seen));
    let listening = tokio::spawn(async move {
        while let Some(news) = news.recv().await {
            match news {
                News::Turn(turn) => {
                    let running = run(Arc::clone(&its_ledger), turn, Arc::clone(&its_seen));
                    tokio::spawn(running);
                }
                News::Change(change) => {
                    let mut seen = its_seen.lock().unwrap();
                    match change.what {
                        What::Submitted { .. } if !seen.submitted.insert(change.job) => {
                            seen.faults.push(format!("{} came twice", change.job));
                        }
                        What::Ended(_) => *seen.ended.entry(change.job).or_default() += 1,
                        _ => {}
                    }
                }
                News::Wish(_) | News::Fenced => {}
            }
        }
    });
    subject.relay.lose(20);
    let mut acknowledged = Vec::new();
    for number in 0..JOBS {
        let queue = number % QUEUES;
        let queue = QueueRecord {
            name: name(queue).parse().unwrap(),
            concurrency: concurrency(queue),
        };
        let job = new_job(&*subject.world, Some(queue));
        match ledger.accept(vec![job.clone()]).await {
            Ok(accepted) => {
                assert_eq!(accepted, [Accepted::New(job.id)]);
                acknowledged.push(job.id);
            }
            Err(NotAccepted::Storage { .. }) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(other) => panic!("{other}"),
        }
    }
    subject.relay.lose(0);
    let all_ended = async {
        loop {
            let is_over = {
                let seen = seen.lock().unwrap();
                seen.ended.len() == seen.submitted.len()
                    && acknowledged.iter().all(|job| seen.ended.contains_key(job))
            };
            if is_over && ledger.queues().await == Ok(Vec::new()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(60), all_ended)
        .await
        .expect("a job is stuck");
    assert!(
        subject.relay.lost() > 5,
        "{} answers were lost",
        subject.relay.lost()
    );
    let contents = ledger.contents();
    let seen = seen.lock().unwrap();
    assert_eq!(seen.faults, Vec::<String>::new());
    assert!(
        seen.runs.values().all(|runs| *runs == 1),
        "a job has run twice"
    );
    assert!(
        seen.ended.values().all(|ends| *ends == 1),
        "an end was told twice"
    );
    let told = (contents.live, contents.ended);
    assert_eq!(told, (0, seen.ended.len() as u64));
    assert_eq!(
        subject.database.ask("select count(*) from harp.ended"),
        seen.ended.len().to_string()
    );
    for table in ["live", "debt", "queue"] {
        let left = subject
            .database
            .ask(&format!("select count(*) from harp.{table}"));
        assert_eq!(left, "0", "{table}");
    }
    listening.abort();
}
