//! Sends the bytes of a file.

use std::path::PathBuf;

use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

pub(super) async fn serve(listener: TcpListener, path: PathBuf) -> anyhow::Result<()> {
    loop {
        let (mut socket, _) = listener.accept().await?;
        let mut file = File::open(&path).await?;
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let length = file.read(&mut buffer).await?;
            // A client that is gone ends it, too.
            if length == 0 || socket.write_all(&buffer[..length]).await.is_err() {
                break;
            }
        }
    }
}
