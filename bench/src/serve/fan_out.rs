//! Writes the same lines to many sockets at once.

use std::sync::Arc;

use harp_proto::client::PacketLines;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// How much is written at once.
const CHUNK: usize = 64 * 1024;

pub(super) async fn serve(
    listener: TcpListener,
    followers: usize,
    packets: u64,
) -> anyhow::Result<()> {
    let mut lines = PacketLines::new(0);
    for number in 0..packets {
        let data = super::host::small_packet(number);
        lines.push(data.as_bytes(), None);
    }
    let lines: Arc<[u8]> = lines.into_bytes().as_ref().into();
    loop {
        let mut sockets = Vec::with_capacity(followers);
        while sockets.len() < followers {
            let (mut socket, _) = listener.accept().await?;
            // The first connection of all only asks whether somebody listens.
            let mut line = [0; "go\n".len()];
            if socket.read_exact(&mut line).await.is_ok() {
                sockets.push(socket);
            }
        }
        for mut socket in sockets {
            let lines = Arc::clone(&lines);
            tokio::spawn(async move {
                for chunk in lines.chunks(CHUNK) {
                    if socket.write_all(chunk).await.is_err() {
                        return;
                    }
                }
            });
        }
    }
}
