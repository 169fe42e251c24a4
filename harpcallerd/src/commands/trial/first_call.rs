//! The first call of a new directory, so that there is something to see.

use std::path::Path;

use anyhow::Context;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

/// Makes it; the job's id.
///
/// # Errors
///
/// If the dispatcher at this socket does not take it.
pub(super) async fn make(socket: &Path) -> anyhow::Result<String> {
    let mut stream = UnixStream::connect(socket)
        .await
        .with_context(|| format!("cannot connect to {}", socket.display()))?;
    let call = json!({
        "harpcaller": 1, "host": "demo", "procedure": "deploy", "arguments": ["release-7"],
        "queue": {"name": {"deploy": "demo"}, "concurrency": 1}, "info": "the first call",
    });
    stream.write_all(format!("{call}\n").as_bytes()).await?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).await?;
    let answer: Value = serde_json::from_str(&line).context("the first call has no answer")?;
    let job = answer["job_id"].as_str();
    let job = job.with_context(|| format!("the first call was not taken: {}", line.trim()))?;
    Ok(job.to_owned())
}
