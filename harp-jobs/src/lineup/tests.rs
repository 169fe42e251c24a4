//! What the queues alone do not show: times, debts, pools, and a job that waits again.

use std::time::Duration;

use super::*;
use crate::lineup::pool::Pick;
use crate::lineup::tally::Tally;

fn id(number: u64) -> JobId {
    JobId::from_bytes(u128::from(number).to_be_bytes())
}

fn at(seconds: u64) -> Moment {
    Moment::START + Duration::from_secs(seconds)
}

fn queue() -> Option<QueueRecord> {
    Some(QueueRecord {
        name: "{}".parse().unwrap(),
        concurrency: 1,
    })
}

fn entrant(number: u64) -> Entrant {
    Entrant {
        id: id(number),
        queue: queue(),
        start_by: None,
        pool: None,
    }
}

/// Enters and records a job; whether it runs.
fn submit(lineup: &mut Lineup, entrant: Entrant) -> bool {
    let id = entrant.id;
    let entered = lineup.enter(entrant);
    assert!(lineup.recorded(id, entered.has_turn).is_empty());
    entered.has_turn
}

#[test]
fn who_has_a_turn_and_no_start_can_be_withdrawn() {
    let mut lineup = Lineup::new(7);
    assert!(submit(&mut lineup, entrant(1)));
    assert!(!submit(&mut lineup, entrant(2)));
    assert!(!submit(&mut lineup, entrant(3)));
    assert_eq!(lineup.withdraw(id(1)), None);
    assert_eq!(lineup.close(id(1), false), [id(2)]);
    assert_eq!(lineup.stands(id(2)), Some(Stands::HasTurn));
    assert_eq!(lineup.withdraw(id(2)), Some(vec![id(3)]));
    assert!(!lineup.start(id(2)), "it was withdrawn");
    assert!(lineup.start(id(3)) && !lineup.start(id(3)));
    assert_eq!(lineup.withdraw(id(3)), None);
    assert!(lineup.close(id(3), false).is_empty());
    assert_eq!((lineup.live(), lineup.queue_names().len()), (0, 0));
}

#[test]
fn jobs_are_counted_where_they_stand() {
    let mut lineup = Lineup::default();
    assert_eq!(lineup.tally(), Tally::default());
    let waiting = lineup.enter(entrant(9));
    assert!(
        waiting.has_turn && lineup.tally().running == 0,
        "not on record"
    );
    assert!(lineup.recorded(id(9), true).is_empty());
    assert!(!submit(&mut lineup, entrant(3)) && !submit(&mut lineup, entrant(4)));
    let alone = Entrant {
        queue: None,
        ..entrant(5)
    };
    assert!(submit(&mut lineup, alone));
    let counted = Tally {
        queued: 2,
        running: 2,
        places_kept: 0,
        oldest_queued: Some(id(3)),
        queues: 1,
    };
    assert_eq!(lineup.tally(), counted);
    assert!(lineup.close(id(9), true).is_empty());
    // Without a queue there is no place to keep.
    assert!(lineup.close(id(5), true).is_empty());
    let counted = Tally {
        running: 0,
        places_kept: 1,
        ..counted
    };
    assert_eq!(lineup.tally(), counted);
    // One that has its turn has not started.
    assert_eq!(lineup.settle(id(9)), [id(3)]);
    let counted = Tally {
        places_kept: 0,
        ..counted
    };
    assert_eq!(lineup.tally(), counted);
    assert!(lineup.has_queue(&queue().unwrap().name));
}

#[test]
fn a_queue_is_withdrawn_in_one_step() {
    let mut lineup = Lineup::default();
    assert!(submit(&mut lineup, entrant(1)));
    for number in 2..=4 {
        assert!(!submit(&mut lineup, entrant(number)));
    }
    assert_eq!(lineup.close(id(1), false), [id(2)]);
    let name = "{}".parse().unwrap();
    assert_eq!(
        lineup.withdraw_queue(&name),
        (vec![id(2), id(3), id(4)], vec![])
    );
    assert_eq!((lineup.live(), lineup.queue_names().len()), (0, 0));
}

#[test]
fn a_place_is_kept_until_what_is_owed_is_paid() {
    let mut lineup = Lineup::default();
    assert!(submit(&mut lineup, entrant(1)));
    assert!(!submit(&mut lineup, entrant(2)));
    assert!(lineup.close(id(1), true).is_empty());
    assert_eq!(
        (lineup.stands(id(1)), lineup.live()),
        (Some(Stands::Owes), 1)
    );
    assert!(lineup.close(id(1), false).is_empty(), "it has ended before");
    assert_eq!(lineup.settle(id(1)), [id(2)]);
    assert!(lineup.settle(id(1)).is_empty());
    assert_eq!((lineup.stands(id(1)), lineup.live()), (None, 1));
}

#[test]
fn another_attempt_waits_for_its_time_and_for_the_one_before() {
    for owes in [false, true] {
        let mut lineup = Lineup::default();
        assert!(submit(&mut lineup, entrant(1)));
        assert!(!submit(&mut lineup, entrant(2)));
        let next = lineup.again(id(1), at(5), owes);
        assert_eq!(next, if owes { vec![] } else { vec![id(2)] });
        assert!(lineup.take_due(at(4)).1.is_empty());
        assert_eq!(lineup.first_due(), Some(at(5)));
        assert!(lineup.take_due(at(5)).1.is_empty());
        if owes {
            // It comes first by its number, but stood outside when its place became free.
            assert_eq!(lineup.settle(id(1)), [id(2)]);
        }
        assert!(lineup.start(id(2)));
        assert!(!submit(&mut lineup, entrant(3)));
        assert_eq!(
            lineup.close(id(2), false),
            [id(1)],
            "its old place in the order"
        );
        assert!(lineup.start(id(1)));
        assert_eq!(lineup.close(id(1), false), [id(3)]);
    }
}

#[test]
fn one_that_waits_for_another_attempt_can_be_withdrawn_and_owes_on() {
    let mut lineup = Lineup::default();
    assert!(submit(&mut lineup, entrant(1)));
    assert!(!submit(&mut lineup, entrant(2)));
    assert!(lineup.again(id(1), at(5), true).is_empty());
    assert_eq!(lineup.withdraw(id(1)), Some(vec![]));
    assert_eq!(lineup.stands(id(1)), Some(Stands::Owes));
    assert_eq!(lineup.first_due(), None);
    assert_eq!(lineup.settle(id(1)), [id(2)]);
    assert_eq!(lineup.stands(id(1)), None);
}

#[test]
fn who_does_not_start_in_time_is_taken_out_with_or_without_a_turn() {
    let mut lineup = Lineup::default();
    assert!(submit(&mut lineup, entrant(1)));
    for number in 2..=3 {
        let start_by = Some(at(number));
        let entrant = Entrant {
            start_by,
            ..entrant(number)
        };
        assert!(!submit(&mut lineup, entrant));
    }
    assert_eq!(lineup.close(id(1), false), [id(2)]);
    assert_eq!(lineup.take_due(at(2)), (vec![id(2)], vec![id(3)]));
    assert!(!lineup.start(id(2)) && lineup.start(id(3)));
    assert_eq!(lineup.take_due(at(9)), (vec![], vec![]));
}

#[test]
fn a_job_of_a_pool_waits_there_with_its_place_until_it_is_claimed() {
    let pool = PoolId("train".into());
    let mut lineup = Lineup::default();
    for number in 1..=2 {
        let pool = Some(pool.clone());
        submit(
            &mut lineup,
            Entrant {
                pool,
                ..entrant(number)
            },
        );
    }
    assert_eq!(lineup.pool_members(&pool, 9), [id(1)]);
    assert_eq!(lineup.claim(&pool, Pick::Job(id(2))), None);
    assert_eq!(lineup.claim(&pool, Pick::First), Some(id(1)));
    assert_eq!(lineup.claim(&pool, Pick::Job(id(1))), None);
    assert!(
        lineup.close(id(1), false).is_empty(),
        "the next one stands in the pool"
    );
    assert_eq!(lineup.pool_members(&pool, 9), [id(2)]);
    assert_eq!(lineup.withdraw(id(2)), Some(vec![]));
    assert_eq!(lineup.claim(&pool, Pick::First), None);
}

#[test]
fn a_start_keeps_the_places_and_the_order() {
    let mut lineup = Lineup::default();
    lineup.keep(id(1), queue(), 1, false);
    lineup.keep(id(2), queue(), 2, true);
    lineup.keep_for_debt(id(4), queue().as_ref());
    assert!(lineup.resume(entrant(3), 3, None).is_empty());
    assert!(lineup.resume(entrant(4), 4, Some(at(5))).is_empty());
    assert_eq!(lineup.live(), 3);
    assert!(lineup.settle(id(2)).is_empty());
    assert!(lineup.close(id(1), false).is_empty());
    assert_eq!(lineup.settle(id(4)), [id(3)]);
    assert!(lineup.start(id(3)));
    assert_eq!(lineup.take_due(at(5)), (vec![], vec![]));
    assert_eq!(lineup.close(id(3), false), [id(4)]);
    assert_eq!(lineup.enter(entrant(5)).sequence, 5);
}

#[test]
fn once_turns_are_closed_everything_stays_where_it_is() {
    let mut lineup = Lineup::default();
    assert!(submit(&mut lineup, entrant(1)));
    assert!(!submit(&mut lineup, entrant(2)));
    assert!(lineup.again(id(1), at(1), false) == [id(2)]);
    lineup.close_turns();
    assert!(lineup.withdraw(id(2)).unwrap().is_empty());
    assert_eq!(lineup.take_due(at(1)), (vec![], vec![]));
    assert!(
        !lineup
            .enter(Entrant {
                queue: None,
                ..entrant(3)
            })
            .has_turn
    );
}
