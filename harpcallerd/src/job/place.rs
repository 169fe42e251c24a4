//! Giving back the place in its queue that an ended job has kept on disk.

use harp_proto::JobId;
use tracing::warn;

use crate::store::{Store, StoreError};

/// Frees the place. If the store cannot be written, this returns at once all the same,
/// and it is tried once more when the store can be written again: otherwise the next
/// start would keep the place for a host that is long done.
pub(crate) async fn release(store: &Store, id: JobId) {
    match store.release_place(id).await {
        Ok(()) => {}
        Err(error) if error.is_passing() => {
            let store = store.clone();
            tokio::spawn(async move {
                // A closed store says so then.
                let _ = store.writable().await;
                told(id, store.release_place(id).await);
            });
        }
        error => told(id, error),
    }
}

fn told(id: JobId, released: Result<(), StoreError>) {
    if let Err(error) = released {
        warn!(job = %id, %error, "the queue's place will be kept again after the next start");
    }
}
