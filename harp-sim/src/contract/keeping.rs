//! What is kept, and told.

use harp_values::Evidence;

use super::*;

pub(super) async fn a_start_is_recorded_once(mut play: Play) {
    let before = play.run(Some("q")).await;
    let job = play.submit(Some("q")).await;
    play.close(before.hold, end(returned(), 0)).await;
    let hold = play.turn().await.hold;
    let first = play
        .ledger
        .started(hold, token("one"))
        .await
        .expect("a start");
    play.subject.pass(Duration::from_millis(20)).await;
    assert_eq!(play.ledger.started(hold, token("one")).await, Ok(first));
    // Nothing had come of it: this is the start that counts.
    let second = play
        .ledger
        .started(hold, token("two"))
        .await
        .expect("a start");
    assert!(second > first);
    assert_eq!(play.ledger.note(hold, token("three")).await, Ok(()));
    play.reopen().await;
    let turn = play.turn().await;
    let start = Start::Attach {
        at: second,
        token: token("three"),
    };
    assert_eq!((turn.hold.job, turn.start), (job, start));
}

pub(super) async fn packets_are_kept_once_and_in_order(mut play: Play) {
    let turn = play.run(None).await;
    let (job, hold) = (turn.hold.job, turn.hold);
    // Handed in behind each other, answered whenever.
    let (one, two) = (
        play.ledger.append(hold, packets(0, 3)),
        play.ledger.append(hold, packets(3, 5)),
    );
    assert_eq!((two.await, one.await), (Ok(()), Ok(())));
    for (from, to) in [(0, 3), (0, 5), (4, 7), (7, 9)] {
        assert_eq!(play.ledger.append(hold, packets(from, to)).await, Ok(()));
    }
    let gap = play.ledger.append(hold, packets(10, 11)).await;
    assert!(matches!(gap, Err(Lost::Refused(_))), "{gap:?}");
    for from in [0, 4, 8, 9] {
        let mut numbers = Vec::new();
        let mut next = from;
        loop {
            let segments = play.ledger.segments(job, next, 1).await.expect("read");
            let Some(last) = segments.last() else { break };
            next = last.end();
            for segment in &segments {
                for (number, _, data) in segment.iter_from(from) {
                    assert_eq!(data, number.to_string().as_bytes());
                    numbers.push(number);
                }
            }
        }
        assert_eq!(numbers, (from..9).collect::<Vec<_>>());
    }
    // An end counts what is there.
    let wrong = play.ledger.close_job(hold, end(returned(), 11)).await;
    assert!(matches!(wrong, Err(Lost::Refused(_))), "{wrong:?}");
    let record = play
        .close(hold, end(returned(), 9))
        .await
        .end
        .expect("an end");
    assert_eq!(record.packets, 9);
    // What it has already may be handed in again.
    assert_eq!(play.ledger.append(hold, packets(7, 9)).await, Ok(()));
}

pub(super) async fn an_end_is_the_first_one(mut play: Play) {
    let turn = play.run(None).await;
    let job = turn.hold.job;
    assert_eq!(play.end_of(job).await, None);
    let remarks = Remarks {
        worker: Some("w".to_owned()),
        violations: 2,
        evidence: Some(Evidence {
            stdout: "half\n".repeat(1600),
            stderr: "e".to_owned(),
        }),
    };
    let first = End {
        remarks: remarks.clone(),
        ..end(returned(), 0)
    };
    let first = play.close(turn.hold, first).await;
    let record = first.end.clone().expect("an end");
    assert_eq!((&record.outcome, first.debt), (&returned(), false));
    assert_eq!(record.remarks, remarks);
    assert!(
        record
            .started
            .is_some_and(|started| started <= record.ended)
    );
    let second = play.close(turn.hold, end(Outcome::Cancelled, 0)).await;
    assert_eq!(second, first);
    assert_eq!(play.end_of(job).await, Some(Arc::clone(&record)));
    let withdrawn = play
        .ledger
        .withdraw(Which::Jobs(vec![job]), Outcome::Cancelled);
    assert_eq!(withdrawn.await, Ok(vec![]));
    play.reopen().await;
    assert_eq!(play.end_of(job).await, Some(record));
    play.assert_no_turn().await;
}

pub(super) async fn news_tell_each_change_once_and_in_order(mut play: Play) {
    let first = play.run(Some("q")).await.hold;
    let second = play.submit(Some("q")).await;
    let third = play.submit(Some("q")).await;
    let owing = End {
        debt: Some(token("debt")),
        ..end(returned(), 0)
    };
    for _ in 0..2 {
        play.close(first, owing.clone()).await;
    }
    play.ledger.settle(first).await.expect("settled");
    let hold = play.turn().await.hold;
    play.ledger
        .started(hold, token("t"))
        .await
        .expect("a start");
    let withdrawn = play
        .ledger
        .withdraw(Which::Jobs(vec![third]), Outcome::Cancelled);
    assert_eq!(withdrawn.await, Ok(vec![third]));
    let ended = |end: Option<Arc<EndRecord>>| What::Ended(end.expect("an end"));
    let (end_of_first, end_of_third) = (play.end_of(first.job).await, play.end_of(third).await);
    assert_eq!(
        play.changes_of(first.job).await,
        [
            What::Submitted { is_late: false },
            What::Started,
            ended(end_of_first),
            What::Released
        ]
    );
    assert_eq!(
        play.changes_of(second).await,
        [What::Submitted { is_late: false }, What::Started]
    );
    assert_eq!(
        play.changes_of(third).await,
        [What::Submitted { is_late: false }, ended(end_of_third)]
    );
}

pub(super) async fn lists_are_read_in_pages(mut play: Play) {
    let mut jobs = Vec::new();
    for _ in 0..5 {
        jobs.push(play.submit(Some("q")).await);
    }
    let running = play.turn().await.hold;
    play.close(running, end(returned(), 0)).await;
    for towards in [Direction::Newer, Direction::Older] {
        let mut seen = Vec::new();
        let mut from = Cursor::Edge;
        loop {
            let page = play.ledger.walk(from, towards, 2).await.expect("a page");
            assert!(page.len() <= 2);
            let Some(last) = page.last() else { break };
            from = Cursor::Behind(last.id);
            seen.extend(page.into_iter().map(|record| record.id));
        }
        if towards == Direction::Older {
            seen.reverse();
        }
        assert_eq!(seen, jobs);
    }
    let record = play
        .ledger
        .job(jobs[1])
        .await
        .expect("read")
        .expect("a job");
    assert_eq!((record.id, record.call.host.as_str()), (jobs[1], "h"));
    let nobody = play.new_job(None).id;
    assert_eq!(play.ledger.job(nobody).await, Ok(None));
}

pub(super) async fn the_oldest_ended_jobs_are_pruned(mut play: Play) {
    let mut job = play.new_job(None);
    job.call.key = Some("k".to_owned());
    assert_eq!(play.accept(&job).await, Ok(Accepted::New(job.id)));
    let mut holds = vec![play.turn().await.hold];
    for _ in 0..3 {
        holds.push(play.run(None).await.hold);
    }
    for (place, hold) in holds.iter().enumerate() {
        let debt = (place == 1).then(|| token("debt"));
        play.subject.pass(Duration::from_millis(2)).await;
        play.close(
            *hold,
            End {
                debt,
                ..end(returned(), 0)
            },
        )
        .await;
    }
    let keep = Keep {
        jobs: Some(2),
        ..Keep::default()
    };
    while play.ledger.prune(keep).await.expect("pruned").more {}
    let places = [
        Whereabouts::Nothing,
        // It owes something still.
        Whereabouts::Ended,
        Whereabouts::Nothing,
        Whereabouts::Ended,
    ];
    for (hold, place) in holds.iter().zip(places) {
        assert_eq!(play.whereabouts(hold.job).await, place, "{hold:?}");
    }
    // Its key stands for nothing any more.
    let mut again = play.new_job(None);
    again.call.key = Some("k".to_owned());
    assert_eq!(play.accept(&again).await, Ok(Accepted::New(again.id)));
}
