//! Whether the other end's system has confirmed that this end has closed its side.
//!
//! Linux tells the state of each connection in `/proc/net/tcp`: one whose end was confirmed
//! waits for that of the peer (`FIN_WAIT2`). A program cannot ask the socket itself for that
//! without `unsafe` code.

use std::fs;
use std::os::fd::AsRawFd;

use tokio::net::TcpStream;
use tokio::task::spawn_blocking;

/// The state of a connection whose end was confirmed, as the system writes it.
const FIN_WAIT2: &str = "05";

/// True if the peer's system has confirmed the end of what this side sends. False where
/// that cannot be found out. Cancel safe.
pub(crate) async fn is_told(socket: &TcpStream) -> bool {
    let descriptor = socket.as_raw_fd();
    let table = match socket.peer_addr() {
        Ok(peer) if peer.is_ipv6() => "/proc/self/net/tcp6",
        _ => "/proc/self/net/tcp",
    };
    // The table of a busy machine has many lines.
    let looking = spawn_blocking(move || {
        // As `socket:[INODE]`.
        let name = fs::read_link(format!("/proc/self/fd/{descriptor}")).ok()?;
        let inode = name.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
        state(&fs::read_to_string(table).ok()?, inode)
    });
    let state = looking.await.ok().flatten();
    state.as_deref() == Some(FIN_WAIT2)
}

/// The state of the socket with this inode.
fn state(table: &str, inode: &str) -> Option<String> {
    table.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let state = fields.nth(3)?;
        (fields.nth(5)? == inode).then(|| state.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn the_peers_system_confirms_without_the_peer() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address).await else {
                println!("skipped {address}: this system has no such addresses");
                continue;
            };
            let mut socket = TcpStream::connect(listener.local_addr().unwrap())
                .await
                .unwrap();
            assert!(!is_told(&socket).await);
            // Nobody accepts the connection.
            socket.shutdown().await.unwrap();
            let told = async {
                while !is_told(&socket).await {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(20), told)
                .await
                .unwrap();
        }
    }

    #[test]
    fn a_line_of_the_table_is_understood() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 0100007F:A0B2 05 00000000:00000000 00:00000000 00000000     0        0 4711 1 0000000000000000 20 4 30 10 -1
   1: 0100007F:1F91 0100007F:A0B3 04 00000017:00000000 01:00000014 00000002     0        0 4712 2 0000000000000000 80 4 30 10 -1
";
        assert_eq!(state(table, "4711").as_deref(), Some("05"));
        assert_eq!(state(table, "4712").as_deref(), Some("04"));
        assert_eq!(state(table, "47"), None);
    }
}
