use tokio::time::{Instant, sleep, timeout};

use super::state::Asked;
use super::*;

const KIB: usize = 1024;

async fn waits(share: &mut Share, bytes: usize) -> bool {
    timeout(UNDISTURBED / 2, share.hold(bytes)).await.is_err()
}

#[tokio::test(start_paused = true)]
async fn one_line_goes_beyond_the_budget_and_no_other() {
    let budget = Budget::new(100);
    let mut shares: Vec<Share> = (0..4).map(|_| budget.share(&"p")).collect();
    for share in &mut shares[..2] {
        share.hold(50).await.unwrap();
        share.settle();
    }
    shares[2].hold(300).await.unwrap();
    shares[2].hold(400).await.unwrap();
    let last = &mut shares[3];
    assert!(waits(last, 1).await);
    assert_eq!(budget.held(), 500);
    shares[0].release();
    shares[2].release();
    shares[3].hold(1).await.unwrap();
    assert_eq!(budget.held(), 51);
    drop(shares);
    assert_eq!(budget.held(), 0);
}

#[test]
fn who_has_just_been_given_its_bytes_has_not_stalled_while_it_waited() {
    let waker = std::task::Waker::noop();
    let mut state = State::new(100);
    let begin = Instant::now();
    let numbers: Vec<u64> = (0..4).map(|peer| state.enter(peer, begin)).collect();
    let ask = |state: &mut State, line: usize, total, now| {
        matches!(state.ask(numbers[line], total, now, waker), Asked::Granted)
    };
    // The second goes beyond the budget, the third waits.
    assert!(ask(&mut state, 0, 100, begin));
    assert!(ask(&mut state, 1, 50, begin));
    assert!(!ask(&mut state, 2, 40, begin));
    state.settle(numbers[0]);
    state.settle(numbers[1]);
    let later = begin + 3 * UNDISTURBED;
    state.leave(numbers[0], later);
    // Its turn has come, and it does not know yet.
    assert!(!ask(&mut state, 3, 60, later));
    state.make_room(later);
    assert!(ask(&mut state, 2, 40, later));
}

#[tokio::test(start_paused = true)]
async fn who_stalls_gives_way_and_only_if_somebody_waits() {
    let budget = Budget::new(100 * KIB);
    let (mut stalled, mut brisk) = (budget.share(&1), budget.share(&2));
    stalled.hold(60 * KIB).await.unwrap();
    brisk.hold(60 * KIB).await.unwrap();
    let alone = timeout(10 * UNDISTURBED, stalled.gave_way()).await;
    assert!(alone.is_err(), "nobody else waits");
    let began = Instant::now();
    let waiting = tokio::spawn({
        let mut third = budget.share(&3);
        async move { third.hold(10 * KIB).await }
    });
    while timeout(UNDISTURBED / 4, stalled.gave_way()).await.is_err() {
        brisk.moved(PROGRESS);
        assert!(began.elapsed() < 2 * UNDISTURBED);
    }
    assert_eq!(stalled.hold(70 * KIB).await, Err(GaveWay));
    assert!(
        !waiting.is_finished(),
        "what it holds counts until it is dropped"
    );
    drop(stalled);
    waiting.await.unwrap().unwrap();
    let more = timeout(UNDISTURBED, brisk.gave_way()).await;
    assert!(more.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_line_that_is_whole_gives_way_to_nobody() {
    let budget = Budget::new(100);
    let (mut whole, mut ahead) = (budget.share(&1), budget.share(&1));
    whole.hold(100).await.unwrap();
    whole.settle();
    ahead.hold(100).await.unwrap();
    ahead.settle();
    let mut third = budget.share(&2);
    let waited = timeout(100 * UNDISTURBED, third.hold(1)).await;
    assert!(waited.is_err());
    assert!(timeout(UNDISTURBED, whole.gave_way()).await.is_err());
    drop(ahead);
    third.hold(1).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_peer_that_holds_least_is_next() {
    let budget = Budget::new(100);
    let mut of_many: Vec<Share> = (0..3).map(|_| budget.share(&"many")).collect();
    of_many[0].hold(100).await.unwrap();
    of_many[0].settle();
    of_many[1].hold(50).await.unwrap();
    of_many[1].settle();
    assert!(waits(&mut of_many[2], 50).await);
    let mut single = budget.share(&"single");
    assert!(waits(&mut single, 50).await);
    // The single one came later, and there is room for one.
    of_many[1].release();
    single.hold(50).await.unwrap();
    single.settle();
    assert!(waits(&mut of_many[2], 50).await);
}

#[tokio::test(start_paused = true)]
async fn who_takes_more_than_a_part_gives_way_in_the_end_however_brisk() {
    let budget = Budget::new(100 * KIB);
    let mut greedy: Vec<Share> = (0..5).map(|_| budget.share(&"greedy")).collect();
    for share in &mut greedy {
        share.hold(25 * KIB).await.unwrap();
    }
    let mut modest = budget.share(&"modest");
    let mut gone = Vec::new();
    let began = Instant::now();
    {
        let mut asking = std::pin::pin!(modest.hold(10 * KIB));
        while timeout(UNDISTURBED / 4, &mut asking).await.is_err() {
            assert!(began.elapsed() < 2 * UNHURRIED);
            for (number, share) in greedy.iter_mut().enumerate() {
                share.moved(PROGRESS);
                if timeout(std::time::Duration::ZERO, share.gave_way())
                    .await
                    .is_ok()
                {
                    gone.push(number);
                    share.release();
                }
            }
        }
    }
    assert!(began.elapsed() >= UNHURRIED);
    assert_eq!(gone, [0, 1], "the oldest, as many as it takes");
}

#[tokio::test(start_paused = true)]
async fn a_crowd_that_stalls_keeps_nobody_out_for_long() {
    const STEPS: [usize; 7] = [8, 16, 32, 64, 128, 256, 512];
    let budget = Budget::new(1024 * KIB);
    let mut stalling = Vec::new();
    for _ in 0..60 {
        let mut share = budget.share(&"same");
        stalling.push(tokio::spawn(async move {
            for size in STEPS {
                share.hold(size * KIB).await?;
                share.moved(size * KIB / 2);
            }
            share.gave_way().await;
            Err::<(), GaveWay>(GaveWay)
        }));
    }
    sleep(UNDISTURBED / 10).await;
    for (peer, longest) in [("same", 16), ("other", 512)] {
        let began = Instant::now();
        let mut honest = budget.share(&peer);
        for size in STEPS.into_iter().filter(|size| *size <= longest) {
            honest.hold(size * KIB).await.unwrap();
        }
        let waited = began.elapsed();
        assert!(waited < 3 * UNDISTURBED, "{peer}: {waited:?}");
        assert!(budget.held() <= (1024 + 512) * KIB);
    }
}
