//! The task that writes the audit log.

use std::sync::Arc;

use harp_jobs::audit::{Event, Inbox, Line};
use harp_jobs::ledger::Ledger;
use harp_time::clock;
use tracing::error;

use super::file::AuditFile;

/// Lines that are written at once.
const BATCH: usize = 64 * 1024;

/// Writes what comes in, in batches, until every [`Audit`](harp_jobs::audit::Audit) is gone.
pub(super) async fn write_down(mut file: AuditFile, mut inbox: Inbox, ledger: Arc<dyn Ledger>) {
    let mut text = Vec::new();
    let mut lines = 0;
    while let Some(event) = inbox.next().await {
        match event {
            Event::Line(line) => {
                write(&line, &mut text);
                lines += 1;
            }
            Event::AboutJob(job, mut line) => {
                // Of what cannot be read the id has to do.
                if let Ok(Some(record)) = ledger.job(job).await {
                    line.add(record.call);
                }
                write(&line, &mut text);
                lines += 1;
            }
            Event::Reopen(reply) => {
                file = flush(file, &mut text, &mut lines, &inbox).await;
                let (reopened, result) = file.reopen().await;
                file = reopened;
                let _ = reply.send(result);
            }
            Event::Finish(reply) => {
                file = flush(file, &mut text, &mut lines, &inbox).await;
                let _ = reply.send(());
            }
        }
        if inbox.is_empty() || text.len() >= BATCH {
            file = flush(file, &mut text, &mut lines, &inbox).await;
        }
    }
}

/// Writes the lines, after one that says how many are missing before them, if any are.
async fn flush(file: AuditFile, text: &mut Vec<u8>, lines: &mut u64, inbox: &Inbox) -> AuditFile {
    let lost = inbox.take_lost();
    if text.is_empty() && lost == 0 {
        return file;
    }
    let mut batch = Vec::new();
    if lost > 0 {
        let line = Line {
            time: clock::now(),
            event: "lost",
            lines: Some(lost),
            ..Line::default()
        };
        write(&line, &mut batch);
    }
    batch.append(text);
    let (file, result) = file.append(batch).await;
    if let Err(error) = result {
        // Told at once for the first line of a row of losses, not for each.
        if lost == 0 {
            error!(%error, "the audit log cannot be written; lines are lost");
        }
        inbox.lose(lost, *lines);
    }
    *lines = 0;
    file
}

/// Writes a line as JSON.
fn write(line: &Line, out: &mut Vec<u8>) {
    let before = out.len();
    // Texts and numbers always can be.
    if serde_json::to_writer(&mut *out, line).is_err() {
        out.truncate(before);
        return;
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use harp_jobs::audit::Audit;
    use harp_jobs::client::{Client, Identity, Peer, Via};

    use super::*;
    use crate::world::Runtime;

    #[tokio::test]
    async fn a_loss_is_told_though_no_line_follows() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit");
        let file = AuditFile::open(&path).unwrap();
        let (_audit, inbox) = Audit::open(Arc::new(Runtime::start()), false);
        inbox.lose(0, 3);
        let file = flush(file, &mut Vec::new(), &mut 0, &inbox).await;
        flush(file, &mut Vec::new(), &mut 0, &inbox).await;
        let written = std::fs::read_to_string(&path).unwrap();
        assert_eq!(written.lines().count(), 1, "{written}");
        assert!(
            written.contains(r#""event":"lost","lines":3}"#),
            "{written}"
        );
    }

    #[test]
    fn a_line_has_what_is_known_and_no_more() {
        let peer = Peer::Network("192.0.2.1:5".parse().unwrap());
        let client = Client {
            identity: Some(Identity::of_token("shop")),
            ..Client::unknown(peer, Via::Listener, false)
        };
        let mut text = Vec::new();
        let line = Line {
            job: Some("j".to_owned()),
            ..Line::by("cancelled", &client, 5)
        };
        write(&line, &mut text);
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "{\"time\":5,\"event\":\"cancelled\",\"client\":\"token:shop\",\
             \"peer\":\"192.0.2.1:5\",\"job\":\"j\"}\n"
        );
    }
}
