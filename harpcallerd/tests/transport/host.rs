//! A host on loopback that plays one script for each connection, one after the other.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

use super::acceptor;

/// What the host does next.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Act {
    /// Reads the request.
    Read,
    /// Writes a line.
    Say(&'static str),
    /// Lets others go on.
    Yield,
    /// Waits until the test says so.
    Wait,
    /// Waits until the caller has ended its side.
    WaitForEnd,
    /// Resets the connection.
    Break,
}

/// The host. It goes on until the runtime ends.
pub(crate) struct ScriptedHost {
    port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    scripts: Mutex<VecDeque<Vec<Act>>>,
    requests: AtomicUsize,
    ends: AtomicUsize,
    refuses: AtomicBool,
    go_on: Notify,
}

impl ScriptedHost {
    pub(crate) async fn start(scripts: Vec<Vec<Act>>) -> ScriptedHost {
        ScriptedHost::speaking(&[], scripts).await
    }

    /// One that agrees to these protocols.
    pub(crate) async fn speaking(protocols: &[&[u8]], scripts: Vec<Vec<Act>>) -> ScriptedHost {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = acceptor::of_a_host(protocols);
        let state = Arc::new(State {
            scripts: Mutex::new(scripts.into()),
            ..State::default()
        });
        let played = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                if played.refuses.load(Ordering::Relaxed) {
                    continue;
                }
                let script = played.scripts.lock().unwrap().pop_front();
                let (state, acceptor) = (Arc::clone(&played), acceptor.clone());
                let script = script.unwrap_or_default();
                // Whatever breaks breaks because the test wants it.
                tokio::spawn(async move { drop(state.play(socket, acceptor, script).await) });
            }
        });
        ScriptedHost { port, state }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// How many requests it has read.
    pub(crate) fn requests(&self) -> usize {
        self.state.requests.load(Ordering::Relaxed)
    }

    /// How many callers have ended their side where that was waited for.
    pub(crate) fn ends(&self) -> usize {
        self.state.ends.load(Ordering::Relaxed)
    }

    /// Ends one [`Act::Wait`].
    pub(crate) fn go_on(&self) {
        self.state.go_on.notify_one();
    }

    /// Closes all connections at once from now on.
    pub(crate) fn refuse(&self) {
        self.state.refuses.store(true, Ordering::Relaxed);
    }
}

impl State {
    async fn play(
        &self,
        socket: TcpStream,
        acceptor: TlsAcceptor,
        script: Vec<Act>,
    ) -> io::Result<()> {
        let mut tls = BufReader::new(acceptor.accept(socket).await?);
        for act in script {
            match act {
                Act::Read => {
                    let mut line = String::new();
                    tls.read_line(&mut line).await?;
                    assert!(line.contains(r#""procedure":"count""#), "{line}");
                    self.requests.fetch_add(1, Ordering::Relaxed);
                }
                Act::Say(line) => {
                    tls.write_all(format!("{line}\n").as_bytes()).await?;
                    tls.flush().await?;
                }
                Act::Yield => tokio::task::yield_now().await,
                Act::Wait => self.go_on.notified().await,
                Act::WaitForEnd => {
                    let mut rest = Vec::new();
                    // It may be cut off.
                    let _ = tls.read_to_end(&mut rest).await;
                    self.ends.fetch_add(1, Ordering::Relaxed);
                }
                Act::Break => {
                    let tcp = tls.get_ref().get_ref().0;
                    SockRef::from(tcp).set_linger(Some(Duration::ZERO))?;
                    return Ok(());
                }
            }
        }
        tls.shutdown().await?;
        let mut rest = Vec::new();
        tls.read_to_end(&mut rest).await?;
        Ok(())
    }
}
