//! A bare relay from TLS to TCP: asks a host, and passes whole lines on as they come.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use bytes::BytesMut;
use harp_proto::{Json, LineBuffer};
use rustls::crypto::ring::default_provider;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

use super::host;

/// How much is read at once.
const READ: usize = 64 * 1024;

/// The longest line.
const LONGEST: usize = 16 * 1024 * 1024;

pub(super) async fn serve(
    listener: TcpListener,
    host: SocketAddr,
    directory: &Path,
) -> anyhow::Result<()> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(directory.join("ca.pem"))?)?;
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    loop {
        let (client, _) = listener.accept().await?;
        let connector = connector.clone();
        // A client that is gone is none of the relay's business.
        tokio::spawn(async move { relay(client, host, connector).await.ok() });
    }
}

/// The client sends `PROCEDURE ARGUMENTS` on one line.
async fn relay(client: TcpStream, host: SocketAddr, connector: TlsConnector) -> anyhow::Result<()> {
    client.set_nodelay(true)?;
    let mut client = BufReader::new(client);
    let mut line = String::new();
    client.read_line(&mut line).await?;
    let Some((procedure, arguments)) = line.trim().split_once(' ') else {
        return Ok(());
    };
    let request = host::request(procedure, arguments.parse::<Json>()?);
    let socket = TcpStream::connect(host).await?;
    socket.set_nodelay(true)?;
    let name = ServerName::from(host.ip());
    let mut stream = connector.connect(name, socket).await?;
    stream.write_all(&request).await?;
    stream.flush().await?;
    // Line by line, as whoever numbers packets has to; written when nothing more has
    // come.
    let mut lines = LineBuffer::new(LONGEST);
    let mut out = BytesMut::new();
    while stream.read_buf(lines.space(READ)).await? > 0 {
        while let Some(()) = lines.next_line_if(|line| {
            out.extend_from_slice(line);
            out.extend_from_slice(b"\n");
            Some(())
        })? {}
        client.write_all(&out).await?;
        out.clear();
    }
    client.shutdown().await?;
    Ok(())
}
