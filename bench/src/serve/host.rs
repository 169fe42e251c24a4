//! A host that streams as fast as TLS allows: what a dispatcher is to be fed with.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use bytes::BytesMut;
use harp_proto::Json;
use harp_proto::host::kept::{self, Acknowledgement, Denial, Message, Order, Uptime};
use harp_proto::host::{self, Request};
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::server::NoServerSessionStorage;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How much is written at once.
const CHUNK: usize = 16 * 1024;

type Stream = BufReader<TlsStream<TcpStream>>;

/// The data of a small packet, JSON text.
pub(super) fn small_packet(number: u64) -> String {
    format!("\"line {number} of the output\"")
}

pub(super) async fn serve(
    listener: TcpListener,
    directory: &Path,
    anew: bool,
) -> anyhow::Result<()> {
    let certificate = CertificateDer::from_pem_file(directory.join("host.cert.pem"))?;
    let key = PrivateKeyDer::from_pem_file(directory.join("host.key.pem"))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    if anew {
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
    }
    config.alpn_protocols = vec![kept::ALPN.to_vec(), kept::ALPN_PLAIN.to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    loop {
        let (socket, _) = listener.accept().await?;
        let acceptor = acceptor.clone();
        // A caller that is gone is none of the host's business.
        tokio::spawn(async move { call(socket, acceptor).await.ok() });
    }
}

async fn call(socket: TcpStream, acceptor: TlsAcceptor) -> anyhow::Result<()> {
    socket.set_nodelay(true)?;
    let stream = acceptor.accept(socket).await?;
    let keeps = stream.get_ref().1.alpn_protocol() == Some(kept::ALPN);
    let mut stream = BufReader::new(stream);
    if keeps {
        return keeping(stream).await;
    }
    let mut line = Vec::new();
    stream.read_until(b'\n', &mut line).await?;
    line.pop();
    let request = Request::decode(&line.into())
        .map_err(|failure| anyhow::anyhow!("no request: {failure}"))?;
    stream
        .write_all(b"{\"harp\":1,\"stream_result\":true}\n")
        .await?;
    stream.flush().await?;
    run(&mut stream, &request).await?;
    stream.shutdown().await?;
    Ok(())
}

/// One call after the other over a connection of `harp/2`. No beats are sent: no call here
/// takes long enough for one.
async fn keeping(mut stream: Stream) -> anyhow::Result<()> {
    const BOOT: &str = "bench";
    let began = Instant::now();
    let mut line = Vec::new();
    loop {
        line.clear();
        if stream.read_until(b'\n', &mut line).await? == 0 {
            return Ok(());
        }
        line.pop();
        let order = Order::decode(&std::mem::take(&mut line).into());
        let request = match order.map_err(|failure| anyhow::anyhow!("no message: {failure}"))? {
            Order::Call(request) => request,
            // Of packets and the end.
            Order::Ack { .. } => continue,
            other => anyhow::bail!("{other:?} is not known here"),
        };
        let mut answer = BytesMut::new();
        if request.keep.boot.as_deref() != Some(BOOT) {
            let boot = BOOT.to_owned();
            let denial = Denial::WrongBoot {
                boot,
                takes_traceparent: false,
            };
            let denial = denial.to_failure();
            host::Message::Error(denial).encode(&mut answer);
            stream.write_all(&answer).await?;
            stream.flush().await?;
            continue;
        }
        let acknowledgement = Acknowledgement {
            stream_result: true,
            keep: request.keep.keep,
            boot: BOOT.to_owned(),
            up: Uptime::after(began.elapsed()),
            attached: None,
        };
        Message::Acknowledged(acknowledgement).encode(&mut answer);
        stream.write_all(&answer).await?;
        run(&mut stream, &request.call).await?;
        stream.flush().await?;
    }
}

/// What a call says behind its acknowledgement.
async fn run(stream: &mut Stream, request: &Request) -> anyhow::Result<()> {
    let numbers = numbers(&request.arguments)?;
    let number = |index: usize| numbers.get(index).copied().context("too few arguments");
    match request.procedure.as_str() {
        // N small packets, as fast as they go.
        "stream" => {
            let mut lines = String::new();
            for number in 0..number(0)? {
                // Writing to a string cannot fail.
                let _ = writeln!(lines, "{{\"stream\":{}}}", small_packet(number));
                if lines.len() >= CHUNK {
                    stream.write_all(lines.as_bytes()).await?;
                    lines.clear();
                }
            }
            stream.write_all(lines.as_bytes()).await?;
        }
        // N packets with the time of each in nanoseconds since 1970, some milliseconds
        // apart.
        "paced" => {
            let mut beat = tokio::time::interval(Duration::from_millis(number(1)?));
            for _ in 0..number(0)? {
                beat.tick().await;
                let line = format!("{{\"stream\":{}}}\n", nanoseconds());
                stream.write_all(line.as_bytes()).await?;
                stream.flush().await?;
            }
        }
        // Its result, at once.
        "nothing" => {}
        // Nothing, until the caller closes.
        _ => {
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await?;
            anyhow::bail!("the caller has gone");
        }
    }
    stream.write_all(b"{\"result\":null}\n").await?;
    Ok(())
}

/// The time in nanoseconds since 1970.
pub(crate) fn nanoseconds() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn numbers(arguments: &Json) -> anyhow::Result<Vec<u64>> {
    serde_json::from_slice(arguments.as_bytes()).context("arguments are whole numbers")
}

/// The request for such a procedure, as a line.
pub(super) fn request(procedure: &str, arguments: Json) -> BytesMut {
    let mut line = BytesMut::new();
    Request {
        procedure: procedure.to_owned(),
        arguments,
        user: "relay".to_owned(),
        password: "none".into(),
    }
    .encode(&mut line);
    line
}
