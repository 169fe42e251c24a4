//! A host that does what its script says on every connection.

use std::sync::Arc;

use harp_client::direct::Endpoint;
use rustls::server::ServerConfig;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{HandshakeKind, SupportedProtocolVersion};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::certificates::Identity;

/// What a host does after the handshake.
#[derive(Debug, Clone)]
pub enum Step {
    /// Reads a line and reports it.
    Request,
    /// Sends a line's text and its end.
    Line(String),
    /// Sends bytes as they are.
    Bytes(Vec<u8>),
    /// Sends bytes without end until the connection breaks.
    Flood(u8),
    /// Waits for [`ScriptedHost::go_on`].
    Wait,
    /// Reads to the end of the connection, reports how it came.
    AwaitEnd,
    /// Ends the connection as TLS wants it.
    Close,
    /// Ends the TCP connection and says nothing in TLS.
    Drop,
    /// Breaks the TCP connection off.
    Reset,
}

/// What a host reports.
#[derive(Debug, PartialEq)]
pub enum Seen {
    Handshake(HandshakeKind),
    Request(String),
    /// The peer sent close_notify.
    CloseNotify,
    /// The peer ended the connection without it.
    Gone,
}

pub struct ScriptedHost {
    port: u16,
    seen: mpsc::UnboundedReceiver<Seen>,
    gate: Arc<Semaphore>,
}

impl ScriptedHost {
    pub async fn start(identity: &Identity, script: Vec<Step>) -> ScriptedHost {
        ScriptedHost::speaking(rustls::ALL_VERSIONS, identity, script).await
    }

    pub async fn speaking(
        versions: &[&'static SupportedProtocolVersion],
        identity: &Identity,
        script: Vec<Step>,
    ) -> ScriptedHost {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = provider
            .key_provider
            .load_private_key(identity.key.clone_key())
            .unwrap();
        // Not checked to fit together: some hosts show certificates of others.
        let certified = CertifiedKey::new(vec![identity.certificate.clone()], key);
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (report, seen) = mpsc::unbounded_channel();
        let gate = Arc::new(Semaphore::new(0));
        let host = ScriptedHost {
            port,
            seen,
            gate: Arc::clone(&gate),
        };
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let acceptor = acceptor.clone();
                let script = script.clone();
                let report = report.clone();
                let gate = Arc::clone(&gate);
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(socket).await {
                        play(stream, script, report, gate).await;
                    }
                });
            }
        });
        host
    }

    pub fn endpoint(&self) -> Endpoint {
        Endpoint::new("127.0.0.1", self.port)
    }

    /// Lets one [`Step::Wait`] pass.
    pub fn go_on(&self) {
        self.gate.add_permits(1);
    }

    /// The next thing that the host reports.
    pub async fn seen(&mut self) -> Seen {
        self.seen.recv().await.unwrap()
    }
}

async fn play(
    stream: TlsStream<TcpStream>,
    script: Vec<Step>,
    report: mpsc::UnboundedSender<Seen>,
    gate: Arc<Semaphore>,
) {
    let kind = stream.get_ref().1.handshake_kind().unwrap();
    let _ = report.send(Seen::Handshake(kind));
    let mut stream = BufReader::new(stream);
    for step in script {
        match step {
            Step::Request => {
                let mut line = String::new();
                stream.read_line(&mut line).await.unwrap();
                let _ = report.send(Seen::Request(line));
            }
            Step::Line(text) => send(&mut stream, format!("{text}\n").as_bytes()).await,
            Step::Bytes(bytes) => send(&mut stream, &bytes).await,
            Step::Flood(byte) => {
                let bytes = vec![byte; 16 * 1024];
                while stream.write_all(&bytes).await.is_ok() {}
            }
            Step::Wait => gate.acquire().await.unwrap().forget(),
            Step::AwaitEnd => {
                let end = stream.read_to_end(&mut Vec::new()).await;
                let _ = report.send(match end {
                    Ok(_) => Seen::CloseNotify,
                    Err(_) => Seen::Gone,
                });
            }
            Step::Close => {
                let _ = stream.shutdown().await;
            }
            Step::Drop => return,
            Step::Reset => {
                let socket = socket2::SockRef::from(stream.get_ref().get_ref().0);
                socket.set_linger(Some(std::time::Duration::ZERO)).unwrap();
                return;
            }
        }
    }
    // A host that has nothing more to say stays.
    std::future::pending::<()>().await;
}

async fn send(stream: &mut BufReader<TlsStream<TcpStream>>, bytes: &[u8]) {
    // The peer may have gone, which is the peer's right.
    let _ = stream.write_all(bytes).await;
    let _ = stream.flush().await;
}

/// A plain TCP listener that sends these bytes to everybody, and then closes or stays.
pub async fn plain_listener(greeting: &'static [u8], stays: bool) -> Endpoint {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            socket.write_all(greeting).await.unwrap();
            if stays {
                kept.push(socket);
            } else {
                // What the peer sent is read, so that the end is an end and no reset.
                let _ = socket.read(&mut [0; 4096]).await;
            }
        }
    });
    Endpoint::new("127.0.0.1", port)
}

/// A listener whose queue is full, so that connecting to it gets no answer, and what it is
/// full of.
pub async fn full_listener() -> (Endpoint, Vec<socket2::Socket>) {
    use socket2::{Domain, Socket, Type};

    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    listener.bind(&any.into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let port = address.as_socket_ipv4().unwrap().port();
    let mut kept = vec![listener];
    loop {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let limit = std::time::Duration::from_millis(200);
        let answered = socket.connect_timeout(&address, limit).is_ok();
        kept.push(socket);
        if !answered {
            return (Endpoint::new("127.0.0.1", port), kept);
        }
    }
}
