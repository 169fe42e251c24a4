//! The task that writes the audit log.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use harp_ledger::store::Store;
use harp_time::clock;
use tokio::sync::mpsc;
use tracing::error;

use super::file::AuditFile;
use super::line::Line;
use super::{Event, Waiting};

/// Lines that are written at once.
const BATCH: usize = 64 * 1024;

/// Writes what comes in, in batches, until every [`Audit`] is gone.
pub(super) async fn write_down(
    mut file: AuditFile,
    mut inbox: mpsc::Receiver<Event>,
    store: Store,
    waiting: Arc<Waiting>,
) {
    let mut text = Vec::new();
    let mut lines = 0;
    while let Some(event) = inbox.recv().await {
        waiting.bytes.fetch_sub(event.bytes(), Ordering::Relaxed);
        match event {
            Event::Line(line) => {
                line.write(&mut text);
                lines += 1;
            }
            Event::AboutJob(job, mut line) => {
                // Of what cannot be read the id has to do.
                if let Ok(Some(record)) = store.job(job).await {
                    line.add(record.call);
                }
                line.write(&mut text);
                lines += 1;
            }
            Event::Reopen(reply) => {
                file = flush(file, &mut text, &mut lines, &waiting).await;
                let (reopened, result) = file.reopen().await;
                file = reopened;
                let _ = reply.send(result);
            }
            Event::Finish(reply) => {
                file = flush(file, &mut text, &mut lines, &waiting).await;
                let _ = reply.send(());
            }
        }
        if inbox.is_empty() || text.len() >= BATCH {
            file = flush(file, &mut text, &mut lines, &waiting).await;
        }
    }
}

/// Writes the lines, after one that says how many are missing before them, if any are.
async fn flush(
    file: AuditFile,
    text: &mut Vec<u8>,
    lines: &mut u64,
    waiting: &Waiting,
) -> AuditFile {
    let lost = waiting.lost.swap(0, Ordering::Relaxed);
    if text.is_empty() && lost == 0 {
        return file;
    }
    let mut batch = Vec::new();
    if lost > 0 {
        Line {
            time: clock::now(),
            event: "lost",
            lines: Some(lost),
            ..Line::default()
        }
        .write(&mut batch);
    }
    batch.append(text);
    let (file, result) = file.append(batch).await;
    if let Err(error) = result {
        // Told at once for the first line of a row of losses, not for each.
        if lost == 0 {
            error!(%error, "the audit log cannot be written; lines are lost");
        }
        waiting.lost.fetch_add(lost + *lines, Ordering::Relaxed);
        waiting.lost_in_all.fetch_add(*lines, Ordering::Relaxed);
    }
    *lines = 0;
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_loss_is_told_though_no_line_follows() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit");
        let file = AuditFile::open(&path).unwrap();
        let waiting = Waiting::default();
        waiting.lost.store(3, Ordering::Relaxed);
        let file = flush(file, &mut Vec::new(), &mut 0, &waiting).await;
        flush(file, &mut Vec::new(), &mut 0, &waiting).await;
        let written = std::fs::read_to_string(&path).unwrap();
        assert_eq!(written.lines().count(), 1, "{written}");
        assert!(
            written.contains(r#""event":"lost","lines":3}"#),
            "{written}"
        );
    }
}
