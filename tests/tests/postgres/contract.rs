//! The ledger on PostgreSQL is held to the contract of all ledgers.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use harp_sim::contract::{CONTRACT, Play};
use harp_tests::postgres::Database;

use crate::on_postgres::OnPostgres;

/// Clauses that are played at a time.
const AT_ONCE: usize = 5;

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_on_postgresql_keeps_the_contract() {
    let clauses = CONTRACT.iter().map(|(name, clause)| async move {
        let Some(database) = tokio::task::spawn_blocking(Database::new).await.unwrap() else {
            return Ok(());
        };
        let play = Play::new(Box::new(OnPostgres::begin(database).await));
        let kept = tokio::spawn(tokio::time::timeout(Duration::from_secs(120), clause(play)));
        let kept = kept.await.map_err(|panic| panic.to_string());
        kept.and_then(|kept| kept.map_err(|late| late.to_string()))
            .map_err(|why| format!("{name}: {why}"))
    });
    // All at once would be more than a small machine does in time.
    let kept = stream::iter(clauses).buffer_unordered(AT_ONCE);
    let kept: Vec<Result<(), String>> = kept.collect().await;
    let broken: Vec<_> = kept.into_iter().filter_map(Result::err).collect();
    assert!(broken.is_empty(), "{broken:#?}");
}
