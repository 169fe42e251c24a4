//! `/validator`: whether an object is what a schema wants, which clients ask before they send
//! it.

use std::time::Duration;

use harp_proto::Json;
use harp_schema::{BadSchema, Dialect, Schema, Violation};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// Bytes of an object.
const LONGEST: usize = 1024 * 1024;

/// How long it may take, from its beginning on.
const TIME: Duration = Duration::from_millis(200);

/// What is wrong with an object: each place of it, or the one reason why that cannot be said.
pub(super) async fn wrong(object: Json, schema: Json) -> Vec<Violation> {
    if object.as_bytes().len() > LONGEST {
        return one(format!("an object has {LONGEST} bytes at most here"));
    }
    let (begins, begun) = oneshot::channel();
    let judged = spawn_blocking(move || {
        // Whoever wanted to know may be gone.
        let _ = begins.send(());
        let schema = Schema::new(&schema, Dialect::Draft4)?;
        Ok::<_, BadSchema>(schema.violations(&object))
    });
    // A wait for a thread says nothing of the schema.
    let _ = begun.await;
    match timeout(TIME, judged).await {
        Ok(Ok(Ok(violations))) => violations,
        Ok(Ok(Err(bad))) => one(bad.to_string()),
        Ok(Err(_)) => one("it met a fault of the dispatcher".to_owned()),
        Err(_) => one("it takes too long to judge".to_owned()),
    }
}

fn one(message: String) -> Vec<Violation> {
    vec![Violation {
        path: String::new(),
        message,
        keyword: "schema".to_owned(),
    }]
}
