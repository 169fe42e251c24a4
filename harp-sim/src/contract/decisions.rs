//! Which jobs are taken in, which are next, which are out.

use super::*;

pub(super) async fn an_accepted_job_exists_once(mut play: Play) {
    let job = play.new_job(None);
    assert_eq!(play.whereabouts(job.id).await, Whereabouts::Nothing);
    for _ in 0..2 {
        assert_eq!(play.accept(&job).await, Ok(Accepted::New(job.id)));
    }
    let turn = play.turn().await;
    assert_eq!(
        (turn.hold.job, turn.hold.attempt, turn.packets),
        (job.id, 1, 0)
    );
    assert_eq!(turn.call.await, Ok(Some(Box::new(job.call.clone()))));
    play.assert_no_turn().await;
    assert_eq!(play.whereabouts(job.id).await, Whereabouts::Here);
    let contents = play.ledger.contents();
    assert_eq!((contents.live, contents.ended), (1, 0));
}

pub(super) async fn a_key_has_one_job(mut play: Play) {
    let mut first = play.new_job(Some("q"));
    first.call.key = Some("k".to_owned());
    assert_eq!(play.accept(&first).await, Ok(Accepted::New(first.id)));
    let mut again = play.new_job(Some("q"));
    again.call.key.clone_from(&first.call.key);
    assert_eq!(play.accept(&again).await, Err(NotAccepted::KeyTaken));
    again.call.arguments = first.call.arguments.clone();
    assert_eq!(play.accept(&again).await, Ok(Accepted::Before(first.id)));
    // Those that were not made left nothing behind, and the key is its client's own.
    assert_eq!(play.whereabouts(again.id).await, Whereabouts::Nothing);
    let mut other = play.new_job(Some("other"));
    other.call.key.clone_from(&first.call.key);
    other.call.client = Some("somebody else".to_owned());
    assert_eq!(play.accept(&other).await, Ok(Accepted::New(other.id)));
    // One that has failed does not count where that is asked for.
    let turn = play.turn().await;
    play.close(turn.hold, end(Outcome::Cancelled, 0)).await;
    assert_eq!(play.accept(&again).await, Ok(Accepted::Before(first.id)));
    again.unless_since = Some(1000);
    assert_eq!(play.accept(&again).await, Ok(Accepted::New(again.id)));
    let hold = play.turn().await.hold;
    assert_eq!(hold.job, other.id);
    let hold = play.turn().await.hold;
    assert_eq!(hold.job, again.id, "its queue's place was given back");
}

pub(super) async fn there_is_so_much_room(mut play: Play) {
    let running = play.run(Some("q")).await;
    let waiting = play.submit(Some("q")).await;
    let mut job = play.new_job(Some("q"));
    job.room.queue_length = 1;
    let full = NotAccepted::Full(Full::QueueLength(1));
    assert_eq!(play.accept(&job).await, Err(full));
    job.room.queue_length = 2;
    job.room.live_jobs = 2;
    let full = NotAccepted::Full(Full::LiveJobs(2));
    assert_eq!(play.accept(&job).await, Err(full));
    // All of them, or none.
    let (mut one, mut two) = (play.new_job(None), play.new_job(None));
    (one.room.live_jobs, two.room.live_jobs) = (3, 3);
    let full = Err(NotAccepted::Full(Full::LiveJobs(3)));
    assert_eq!(play.ledger.accept(vec![one.clone(), two]).await, full);
    assert_eq!(play.whereabouts(one.id).await, Whereabouts::Nothing);
    play.close(running.hold, end(returned(), 0)).await;
    assert_eq!(play.turn().await.hold.job, waiting);
    assert_eq!(play.accept(&job).await, Ok(Accepted::New(job.id)));
}

pub(super) async fn turns_come_in_order_and_one_by_one(mut play: Play) {
    let mut running = play.run(Some("q")).await;
    let mut waiting = Vec::new();
    for _ in 0..3 {
        waiting.push(play.submit(Some("q")).await);
    }
    let queue = play.new_job(Some("q")).call.queue.expect("a queue").name;
    let members = play.ledger.queue_jobs(&queue).await.expect("read");
    assert_eq!(
        (members.running, members.waiting),
        (vec![running.hold.job], waiting.clone())
    );
    assert_eq!(play.ledger.queues().await, Ok(vec![queue.clone()]));
    for next in waiting {
        play.assert_no_turn().await;
        assert_eq!(play.whereabouts(next).await, Whereabouts::Waits);
        play.close(running.hold, end(returned(), 0)).await;
        running = play.turn().await;
        assert_eq!((running.hold.job, &running.start), (next, &Start::ToRecord));
        let started = play.ledger.started(running.hold, token("t")).await;
        assert!(started.is_ok(), "{started:?}");
        assert_eq!(play.whereabouts(next).await, Whereabouts::Here);
    }
    play.close(running.hold, end(returned(), 0)).await;
    assert_eq!(play.ledger.queues().await, Ok(vec![]));
}

pub(super) async fn what_has_not_started_can_be_withdrawn(mut play: Play) {
    let running = play.run(Some("q")).await;
    let (next, last) = (play.submit(Some("q")).await, play.submit(Some("q")).await);
    let withdraw = |play: &Play, jobs: &[JobId]| {
        let jobs = Which::Jobs(jobs.to_vec());
        play.ledger.withdraw(jobs, Outcome::Cancelled)
    };
    assert_eq!(withdraw(&play, &[running.hold.job]).await, Ok(vec![]));
    play.close(running.hold, end(returned(), 0)).await;
    // It has its turn, and is withdrawn all the same: whoever has the turn is told.
    let turn = play.turn().await;
    assert_eq!(turn.hold.job, next);
    assert_eq!(withdraw(&play, &[next]).await, Ok(vec![next]));
    let ended = play.end_of(next).await.expect("an end");
    assert_eq!((&ended.outcome, ended.started), (&Outcome::Cancelled, None));
    let started = play.ledger.started(turn.hold, token("t")).await;
    assert_eq!(started, Err(Lost::Taken(ended)));
    let turn = play.turn().await;
    assert_eq!(turn.hold.job, last);
    // Whoever comes first has it: here the start.
    let started = play.ledger.started(turn.hold, token("t"));
    let withdrawn = withdraw(&play, &[last, next]);
    assert!(started.await.is_ok());
    assert_eq!(withdrawn.await, Ok(vec![]));
    assert_eq!(play.end_of(last).await, None);
}

pub(super) async fn a_queue_is_withdrawn_at_once(mut play: Play) {
    let running = play.run(Some("q")).await;
    let waiting = [play.submit(Some("q")).await, play.submit(Some("q")).await];
    let other = play.run(Some("other")).await;
    let queue = play.new_job(Some("q")).call.queue.expect("a queue").name;
    let which = Which::Queue(queue);
    let withdrawn = play
        .ledger
        .withdraw(which.clone(), Outcome::Cancelled)
        .await;
    assert_eq!(withdrawn, Ok(waiting.to_vec()));
    play.close(running.hold, end(returned(), 0)).await;
    play.assert_no_turn().await;
    assert_eq!(
        play.ledger.withdraw(which, Outcome::Cancelled).await,
        Ok(vec![])
    );
    assert_eq!(play.whereabouts(other.hold.job).await, Whereabouts::Here);
}

pub(super) async fn a_place_is_kept_until_a_debt_is_paid(mut play: Play) {
    let running = play.run(Some("q")).await;
    let next = play.submit(Some("q")).await;
    let owing = End {
        debt: Some(token("debt")),
        ..end(Outcome::Cancelled, 0)
    };
    let closed = play.close(running.hold, owing.clone()).await;
    assert!(closed.debt && closed.end.is_some());
    assert_eq!(play.close(running.hold, owing).await, closed);
    play.assert_no_turn().await;
    for _ in 0..2 {
        assert_eq!(play.ledger.settle(running.hold).await, Ok(()));
    }
    assert_eq!(play.turn().await.hold.job, next);
    play.assert_no_turn().await;
}

pub(super) async fn another_attempt_waits_for_its_time_and_its_place(mut play: Play) {
    let first = play.run(Some("q")).await;
    let job = first.hold.job;
    play.ledger
        .append(first.hold, packets(0, 2))
        .await
        .expect("kept");
    let again = End {
        then: Then::Again {
            outcome: returned(),
            after: Duration::from_millis(300),
        },
        packets: 2,
        debt: Some(token("debt")),
        remarks: Default::default(),
    };
    let closed = play.close(first.hold, again.clone()).await;
    assert_eq!(
        closed,
        Closed {
            end: None,
            debt: true
        }
    );
    assert_eq!(play.close(first.hold, again).await, closed);
    assert_eq!(play.whereabouts(job).await, Whereabouts::Waits);
    assert_eq!(play.end_of(job).await, None);
    play.subject.pass(Duration::from_millis(400)).await;
    play.assert_no_turn().await;
    assert_eq!(play.ledger.settle(first.hold).await, Ok(()));
    let second = play.turn().await;
    assert_eq!(
        (second.hold.job, second.hold.attempt, second.packets),
        (job, 2, 2)
    );
    assert!(play.ledger.started(second.hold, token("t")).await.is_ok());
    // The attempt before changes nothing any more.
    let closed = play.close(first.hold, end(Outcome::Cancelled, 2)).await;
    assert_eq!(closed.end, None);
    assert_eq!(play.whereabouts(job).await, Whereabouts::Here);
    assert!(
        play.close(second.hold, end(returned(), 2))
            .await
            .end
            .is_some()
    );
    assert_eq!(play.whereabouts(job).await, Whereabouts::Ended);
}

pub(super) async fn a_job_of_a_pool_is_claimed_once(mut play: Play) {
    use harp_jobs::lineup::pool::Pick;
    let mut jobs = Vec::new();
    for _ in 0..2 {
        let mut job = play.new_job(Some("q"));
        job.minted.pool = Some(pool());
        assert_eq!(play.accept(&job).await, Ok(Accepted::New(job.id)));
        jobs.push(job.id);
    }
    play.assert_no_turn().await;
    assert_eq!(play.ledger.pool(&pool(), 9).await, Ok(vec![jobs[0]]));
    assert_eq!(play.whereabouts(jobs[0]).await, Whereabouts::Waits);
    let claim = |play: &Play, pick| play.ledger.claim(pool(), pick, token("worker"));
    assert_eq!(claim(&play, Pick::Job(jobs[1])).await, Ok(None));
    assert_eq!(claim(&play, Pick::First).await, Ok(Some(jobs[0])));
    assert_eq!(claim(&play, Pick::First).await, Ok(None));
    let turn = play.turn().await;
    assert_eq!(turn.hold.job, jobs[0]);
    assert!(
        matches!(&turn.start, Start::Recorded { token, .. } if *token == self::token("worker")),
        "{turn:?}"
    );
    play.close(turn.hold, end(returned(), 0)).await;
    assert_eq!(play.ledger.pool(&pool(), 9).await, Ok(vec![jobs[1]]));
    let which = Which::Jobs(vec![jobs[1]]);
    let withdrawn = play.ledger.withdraw(which, Outcome::Cancelled).await;
    assert_eq!(withdrawn, Ok(vec![jobs[1]]));
    assert_eq!(claim(&play, Pick::First).await, Ok(None));
}

pub(super) async fn who_does_not_start_in_time_has_ended(mut play: Play) {
    let running = play.run(Some("q")).await;
    let mut jobs = Vec::new();
    for _ in 0..2 {
        let mut job = play.new_job(Some("q"));
        // Long enough for what comes before that, on a busy machine.
        job.start_by = Some(3);
        assert_eq!(play.accept(&job).await, Ok(Accepted::New(job.id)));
        jobs.push(job.id);
    }
    // Nobody fetches this one.
    let mut unclaimed = play.new_job(None);
    (unclaimed.start_by, unclaimed.minted.pool) = (Some(3), Some(pool()));
    assert_eq!(
        play.accept(&unclaimed).await,
        Ok(Accepted::New(unclaimed.id))
    );
    jobs.push(unclaimed.id);
    play.close(running.hold, end(returned(), 0)).await;
    // One has its turn and does not start; the other waits for its place.
    let turn = play.turn().await;
    assert_eq!(turn.hold.job, jobs[0]);
    play.subject.pass(Duration::from_millis(3200)).await;
    for job in &jobs {
        let mut tries = 0..200;
        let end = loop {
            if let Some(end) = play.end_of(*job).await {
                break end;
            }
            assert!(tries.next().is_some(), "{job} waits beyond its time");
            play.subject.pass(Duration::from_millis(50)).await;
        };
        assert_eq!((end.outcome.name(), end.started), ("timeout", None));
    }
    let started = play.ledger.started(turn.hold, token("t")).await;
    assert!(matches!(started, Err(Lost::Taken(_))), "{started:?}");
    assert_eq!(play.ledger.queues().await, Ok(vec![]));
}
