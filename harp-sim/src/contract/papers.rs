//! What is kept beside jobs, and what becomes of pools.

use bytes::Bytes;

use super::*;

const ID: PaperId = PaperId {
    kind: PaperKind::Service,
    name: 7,
};

fn edit(over: u64, text: Option<Bytes>) -> PaperEdit {
    PaperEdit { id: ID, over, text }
}

fn paper(revision: u64, text: Bytes) -> Paper {
    Paper {
        id: ID,
        revision,
        text,
    }
}

async fn kept(play: &mut Play) -> Vec<Paper> {
    let papers = play.ledger.papers(PaperKind::Service).await;
    papers.expect("papers")
}

pub(super) async fn a_paper_is_replaced_by_who_knows_it(mut play: Play) {
    // Long ones, and short ones in their place: nothing of the one before is left.
    let texts: Vec<Bytes> = [300_000, 3, 9_000]
        .map(|length| Bytes::from(vec![b'x'; length]))
        .into();
    for (text, over) in texts.iter().zip(0..) {
        let edit = edit(over, Some(text.clone()));
        assert_eq!(play.ledger.paper(edit.clone()).await, Ok(Edited::Done));
        // Made again, it comes to the same.
        assert_eq!(play.ledger.paper(edit).await, Ok(Edited::Done));
        assert_eq!(kept(&mut play).await, [paper(over + 1, text.clone())]);
    }
    let newest = paper(3, texts[2].clone());
    for over in [0, 2, 9] {
        let edited = play.ledger.paper(edit(over, Some("late".into()))).await;
        assert_eq!(edited, Ok(Edited::Other(Some(newest.clone()))), "{over}");
    }
    play.reopen().await;
    assert_eq!(kept(&mut play).await, [newest]);
    assert_eq!(play.ledger.paper(edit(3, None)).await, Ok(Edited::Done));
    assert_eq!(play.ledger.paper(edit(3, None)).await, Ok(Edited::Done));
    play.reopen().await;
    assert!(kept(&mut play).await.is_empty());
    let edited = play.ledger.paper(edit(1, Some("late".into()))).await;
    assert_eq!(edited, Ok(Edited::Other(None)));
}

pub(super) async fn who_waits_for_a_job_of_a_pool_is_told(mut play: Play) {
    let mut offers = play.ledger.offers();
    offers.mark_unchanged();
    let running = play.run(Some("q")).await;
    let mut job = play.new_job(Some("q"));
    job.minted.pool = Some(pool());
    assert_eq!(play.accept(&job).await, Ok(Accepted::New(job.id)));
    play.assert_no_turn().await;
    assert!(!offers.has_changed().expect("a ledger"), "it has no place");
    play.close(running.hold, end(returned(), 0)).await;
    play.subject.pass(Duration::from_millis(100)).await;
    assert!(offers.has_changed().expect("a ledger"));
    assert_eq!(play.ledger.pool(&pool(), 9).await, Ok(vec![job.id]));
}

pub(super) async fn a_pool_is_withdrawn_at_once(mut play: Play) {
    let mut jobs = Vec::new();
    for queue in [None, Some("q"), Some("q")] {
        let mut job = play.new_job(queue);
        job.minted.pool = Some(pool());
        assert_eq!(play.accept(&job).await, Ok(Accepted::New(job.id)));
        jobs.push(job.id);
    }
    let pick = harp_jobs::lineup::pool::Pick::Job(jobs[0]);
    let claimed = play.ledger.claim(pool(), pick, token("worker")).await;
    assert_eq!(claimed, Ok(Some(jobs[0])));
    // What was claimed has its turn.
    assert_eq!(play.turn().await.hold.job, jobs[0]);
    let which = Which::Pool(pool());
    let withdrawn = play.ledger.withdraw(which, Outcome::Cancelled).await;
    assert_eq!(
        withdrawn,
        Ok(jobs[1..].to_vec()),
        "one has its place, one waits"
    );
    assert_eq!(play.ledger.pool(&pool(), 9).await, Ok(vec![]));
    assert_eq!(play.whereabouts(jobs[0]).await, Whereabouts::Here);
    // The place is free for others.
    let other = play.run(Some("q")).await;
    play.close(other.hold, end(returned(), 0)).await;
}
