//! A client's connection to a dispatcher that may be killed at any time.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a client waits for a line. Nothing that is asked here takes longer.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Link {
    stream: BufReader<TcpStream>,
}

impl Link {
    pub(super) fn open(address: SocketAddr) -> io::Result<Link> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Link {
            stream: BufReader::new(stream),
        })
    }

    /// One that is kept for many requests.
    pub(super) fn open_lasting(address: SocketAddr) -> io::Result<Link> {
        let mut link = Link::open(address)?;
        link.ask(r#"{"harpcaller":1,"hello":{}}"#)?;
        Ok(link)
    }

    pub(super) fn send(&mut self, line: &str) -> io::Result<()> {
        self.stream
            .get_mut()
            .write_all(format!("{line}\n").as_bytes())
    }

    /// The next line; an error if there is none.
    pub(super) fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        match line.pop() {
            Some('\n') => Ok(line),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    pub(super) fn ask(&mut self, line: &str) -> io::Result<String> {
        self.send(line)?;
        self.line()
    }
}
