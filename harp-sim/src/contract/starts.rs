//! Outages, starts and stops.

use super::*;

/// Long enough that reads are answered by an error.
const LONG: Duration = Duration::from_secs(6);

pub(super) async fn an_outage_is_waited_for(mut play: Play) {
    let turn = play.run(Some("q")).await;
    let waiting = play.submit(Some("q")).await;
    play.subject.set_down(true);
    let outage = play.ledger.outage();
    let append = play.ledger.append(turn.hold, packets(0, 2));
    let close = play.ledger.close_job(turn.hold, end(returned(), 2));
    play.subject.pass(Duration::from_millis(300)).await;
    assert!(outage.borrow().is_some(), "it is visible");
    let job = play.new_job(None);
    match play.accept(&job).await {
        Err(NotAccepted::Storage { may_exist, .. }) => assert!(!may_exist),
        other => panic!("{other:?}"),
    }
    play.subject.pass(LONG).await;
    play.subject.set_down(false);
    assert_eq!(append.await, Ok(()));
    let closed = close.await.expect("closed");
    assert_eq!(closed.end.map(|end| end.packets), Some(2));
    assert_eq!(play.turn().await.hold.job, waiting);
    play.subject.pass(LONG).await;
    assert!(outage.borrow().is_none());
    assert_eq!(play.accept(&job).await, Ok(Accepted::New(job.id)));
}

pub(super) async fn a_stop_waits_for_nothing_in_an_outage(mut play: Play) {
    let turn = play.run(None).await;
    play.subject.set_down(true);
    let close = play.ledger.close_job(turn.hold, end(returned(), 0));
    play.subject.pass(Duration::from_millis(300)).await;
    play.ledger.drain(Drain::WaitForNothing);
    assert_eq!(close.await, Err(Lost::Closed));
    let late = play.ledger.close_job(turn.hold, end(returned(), 0)).await;
    assert_eq!(late, Err(Lost::Closed));
    play.subject.set_down(false);
    play.reopen().await;
    let turn = play.turn().await;
    assert!(matches!(turn.start, Start::Attach { .. }), "{turn:?}");
}

pub(super) async fn after_a_start_everything_is_where_it_was(mut play: Play) {
    // One owes, one runs with packets, three wait in two queues, one waits for its time.
    let owes = play.run(Some("q")).await.hold;
    let waiting = [play.submit(Some("q")).await, play.submit(Some("q")).await];
    let owing = End {
        debt: Some(token("debt")),
        ..end(Outcome::Cancelled, 0)
    };
    play.close(owes, owing).await;
    let runs = play.run(Some("other")).await.hold;
    play.ledger.append(runs, packets(0, 3)).await.expect("kept");
    let behind = play.submit(Some("other")).await;
    let later = play.run(None).await.hold;
    let again = End {
        then: Then::Again {
            outcome: returned(),
            // Long enough for a start on a busy machine.
            after: Duration::from_secs(5),
        },
        packets: 0,
        debt: None,
        remarks: Default::default(),
    };
    play.close(later, again).await;
    play.reopen().await;
    let turn = play.turn().await;
    let token_of_debt = Start::Settle {
        token: token("debt"),
    };
    assert_eq!((turn.hold.job, &turn.start), (owes.job, &token_of_debt));
    let attached = play.turn().await;
    assert!(
        matches!(attached.start, Start::Attach { .. }),
        "{attached:?}"
    );
    assert_eq!((attached.hold.job, attached.packets), (runs.job, 3));
    play.assert_no_turn().await;
    play.close(attached.hold, end(returned(), 3)).await;
    assert_eq!(play.turn().await.hold.job, behind);
    assert_eq!(play.ledger.settle(turn.hold).await, Ok(()));
    let next = play.turn().await.hold;
    assert_eq!(next.job, waiting[0]);
    play.close(next, end(returned(), 0)).await;
    assert_eq!(play.turn().await.hold.job, waiting[1]);
    let attempt = play.turn().await.hold;
    assert_eq!((attempt.job, attempt.attempt), (later.job, 2));
    // What comes now stands behind them.
    let last = play.submit(Some("q")).await;
    play.assert_no_turn().await;
    assert_eq!(play.whereabouts(last).await, Whereabouts::Waits);
}

pub(super) async fn nobody_from_before_a_start_may_write(mut play: Play) {
    let turn = play.run(None).await;
    play.reopen().await;
    let attached = play.turn().await;
    assert_eq!(attached.hold.job, turn.hold.job);
    assert_ne!(attached.hold.owner, turn.hold.owner);
    let fenced = Err(Lost::Fenced);
    assert_eq!(play.ledger.append(turn.hold, packets(0, 1)).await, fenced);
    assert_eq!(play.ledger.note(turn.hold, token("t")).await, fenced);
    assert_eq!(play.ledger.settle(turn.hold).await, fenced);
    let closed = play.ledger.close_job(turn.hold, end(returned(), 0)).await;
    assert_eq!(closed, Err(Lost::Fenced));
    let started = play.ledger.started(turn.hold, token("t")).await;
    assert_eq!(started, Err(Lost::Fenced));
    assert_eq!(play.whereabouts(turn.hold.job).await, Whereabouts::Here);
}

pub(super) async fn once_it_drains_nothing_starts(mut play: Play) {
    let running = play.run(Some("q")).await;
    let waiting = play.submit(Some("q")).await;
    play.ledger.drain(Drain::NoTurns);
    let job = play.new_job(None);
    assert_eq!(play.accept(&job).await, Err(NotAccepted::Closed));
    play.close(running.hold, end(returned(), 0)).await;
    play.assert_no_turn().await;
    assert_eq!(play.whereabouts(waiting).await, Whereabouts::Waits);
    let withdrawn = play
        .ledger
        .withdraw(Which::Jobs(vec![waiting]), Outcome::Cancelled);
    assert_eq!(withdrawn.await, Ok(vec![waiting]));
}

pub(super) async fn once_it_is_shut_everything_says_so(mut play: Play) {
    let turn = play.run(None).await;
    let append = play.ledger.append(turn.hold, packets(0, 1));
    let shut = play.ledger.shut();
    assert_eq!((append.await, shut.await), (Ok(()), Ok(())));
    let job = play.new_job(None);
    assert_eq!(play.accept(&job).await, Err(NotAccepted::Closed));
    assert_eq!(
        play.ledger.note(turn.hold, token("t")).await,
        Err(Lost::Closed)
    );
    assert_eq!(
        play.ledger.end(turn.hold.job).await,
        Err(Unreadable::Closed)
    );
    while let Some(news) = play.news.recv().await {
        play.take(news);
    }
    play.reopen().await;
    assert_eq!(play.turn().await.packets, 1);
}
