//! Reads lines and answers them with lines as long as a dispatcher's.

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

const JOB: &[u8] = b"{\"harpcaller\":1,\"job_id\":\"019aa8a4-0000-7000-8000-000000000000\"}\n";
const RESULT: &[u8] = b"{\"result\":null}\n";
const HELLO: &[u8] = b"{\"harpcaller\":1,\"server\":\"echo\",\"features\":[\"keep_alive\"]}\n";

pub(super) async fn serve(listener: TcpListener) -> anyhow::Result<()> {
    loop {
        let (socket, _) = listener.accept().await?;
        // A client that is gone is none of the server's business.
        tokio::spawn(async move { answer(socket).await.ok() });
    }
}

async fn answer(socket: TcpStream) -> std::io::Result<()> {
    socket.set_nodelay(true)?;
    let mut socket = BufReader::with_capacity(4096, socket);
    let mut persistent = false;
    let mut line = Vec::new();
    loop {
        line.clear();
        if socket.read_until(b'\n', &mut line).await? == 0 {
            return Ok(());
        }
        let has = |key: &[u8]| memchr::memmem::find(&line, key).is_some();
        let reply = if has(b"\"hello\"") {
            persistent = true;
            HELLO
        } else if has(b"\"get_result\"") {
            RESULT
        } else {
            JOB
        };
        socket.write_all(reply).await?;
        if !persistent {
            return socket.shutdown().await;
        }
    }
}
