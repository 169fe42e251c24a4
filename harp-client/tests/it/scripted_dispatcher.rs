//! A dispatcher that does what its script says, connection by connection.

use std::sync::Arc;
use std::time::Duration;

use harp_client::{HarpCaller, HarpCallerBuilder};
use rustls::ServerConfig;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Longer than anything that should happen takes.
const LONG: Duration = Duration::from_secs(20);

pub const JOB: &str = "8ec71d6b-28d1-4ce2-aa23-f3ea7887beda";

/// What happens on a connection.
#[derive(Debug, Clone)]
pub enum Act {
    /// Reads a `hello` and answers with these features.
    Hello(&'static [&'static str]),
    /// Reads a line that must be this JSON.
    Request(Value),
    /// Sends a line.
    Reply(String),
    /// Sends bytes as they are.
    Bytes(Vec<u8>),
    /// Reads to the end of the connection, where nothing more may come.
    AwaitEnd,
    /// Breaks the connection off, where its end would close it.
    Reset,
}

pub const MODERN: Act = Act::Hello(&["keep_alive", "timestamps", "limit"]);

pub fn request(json: Value) -> Act {
    Act::Request(json)
}

pub fn reply(text: impl Into<String>) -> Act {
    Act::Reply(text.into())
}

pub fn packet(number: u64) -> Act {
    reply(format!(r#"{{"packet":{number},"data":{number}}}"#))
}

/// The status request for [`JOB`] and an answer.
pub fn status() -> [Act; 2] {
    [
        request(serde_json::json!({"harpcaller": 1, "get_status": JOB})),
        reply(concat!(
            r#"{"call":{"host":"h","procedure":"p","arguments":[1]},"#,
            r#""time":{"submit":10,"start":11,"end":null},"info":{"a":1e5}}"#
        )),
    ]
}

pub struct ScriptedDispatcher {
    pub port: u16,
    play: JoinHandle<()>,
    connections: watch::Receiver<usize>,
}

impl ScriptedDispatcher {
    /// Takes as many connections as there are scripts, each in its turn.
    pub async fn start<const N: usize>(scripts: [Vec<Act>; N]) -> ScriptedDispatcher {
        ScriptedDispatcher::start_at(0, scripts).await
    }

    pub async fn start_at<const N: usize>(port: u16, scripts: [Vec<Act>; N]) -> ScriptedDispatcher {
        ScriptedDispatcher::listen(port, None, scripts).await
    }

    /// Starts one as [`ScriptedDispatcher::start`] does, over TLS. A handshake that fails is the end of its connection and of its
    /// script.
    pub async fn start_tls<const N: usize>(
        config: ServerConfig,
        scripts: [Vec<Act>; N],
    ) -> ScriptedDispatcher {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        ScriptedDispatcher::listen(0, Some(acceptor), scripts).await
    }

    async fn listen<const N: usize>(
        port: u16,
        tls: Option<TlsAcceptor>,
        scripts: [Vec<Act>; N],
    ) -> ScriptedDispatcher {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (count, seen) = watch::channel(0);
        let play = tokio::spawn(async move {
            let mut connections = Vec::new();
            for script in scripts {
                let (socket, _) = listener.accept().await.unwrap();
                let tls = tls.clone();
                connections.push(tokio::spawn(async move {
                    match tls {
                        None => play(socket, script).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(socket).await {
                                play(stream, script).await;
                            }
                        }
                    }
                }));
                count.send_modify(|count| *count += 1);
            }
            drop(listener);
            for connection in connections {
                connection.await.unwrap();
            }
        });
        ScriptedDispatcher {
            port,
            play,
            connections: seen,
        }
    }

    pub fn builder(&self) -> HarpCallerBuilder {
        HarpCaller::builder(format!("127.0.0.1:{}", self.port)).client_name("test")
    }

    pub fn client(&self) -> HarpCaller {
        self.builder().build().unwrap()
    }

    /// Waits until so many connections have come.
    pub async fn connected(&self, wanted: usize) {
        let mut connections = self.connections.clone();
        connections
            .wait_for(|&count| count >= wanted)
            .await
            .unwrap();
    }

    /// Waits until every script has been played to its end.
    pub async fn finish(self) {
        let played = tokio::time::timeout(LONG, self.play).await;
        played
            .expect("the script was not played to its end")
            .unwrap();
    }
}

/// What a connection runs over.
trait Wire: AsyncRead + AsyncWrite + Unpin {
    fn tcp(&self) -> &TcpStream;
}

impl Wire for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Wire for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

async fn play<S: Wire>(socket: S, script: Vec<Act>) {
    let mut stream = BufReader::new(socket);
    for act in script {
        match act {
            Act::Hello(features) => {
                let hello = serde_json::json!({"harpcaller": 1, "hello": {"client": "test"}});
                assert_eq!(read(&mut stream).await, hello);
                let answer = serde_json::json!({
                    "harpcaller": 1, "server": "harpcallerd/0.1.0", "features": features,
                });
                write(&mut stream, format!("{answer}\n").as_bytes()).await;
            }
            Act::Request(expected) => assert_eq!(read(&mut stream).await, expected),
            Act::Reply(text) => write(&mut stream, format!("{text}\n").as_bytes()).await,
            Act::Bytes(bytes) => write(&mut stream, &bytes).await,
            Act::AwaitEnd => {
                let mut rest = String::new();
                let _ = stream.read_to_string(&mut rest).await;
                assert_eq!(rest, "");
            }
            Act::Reset => {
                let socket = socket2::SockRef::from(stream.get_ref().tcp());
                socket.set_linger(Some(Duration::ZERO)).unwrap();
            }
        }
    }
}

async fn read(stream: &mut BufReader<impl Wire>) -> Value {
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    assert!(line.ends_with('\n'), "no whole line: {line:?}");
    serde_json::from_str(&line).unwrap()
}

async fn write(stream: &mut BufReader<impl Wire>, bytes: &[u8]) {
    // The client may have gone.
    let _ = stream.write_all(bytes).await;
    let _ = stream.flush().await;
}
