//! Clients that cost little: plain lines over TCP.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use futures_util::future::try_join_all;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};

use crate::distribution::Distribution;

const HELLO: &str = "{\"harpcaller\":1,\"hello\":{}}\n";

/// One connection.
#[derive(Debug)]
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
    line: String,
}

impl Client {
    /// Connects.
    pub(crate) async fn connect(address: SocketAddr) -> anyhow::Result<Client> {
        Client::connect_as(address, 0).await
    }

    /// Connects as one of several machines, so that their ports do not run out.
    pub(crate) async fn connect_as(address: SocketAddr, machine: usize) -> anyhow::Result<Client> {
        let socket = TcpSocket::new_v4()?;
        if machine > 0 {
            let [high, low] = u16::try_from(machine)?.to_be_bytes();
            let source = IpAddr::V4(Ipv4Addr::new(127, 1, high, low));
            socket.bind(SocketAddr::new(source, 0))?;
        }
        let stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Client {
            stream: BufReader::new(stream),
            line: String::new(),
        })
    }

    /// Connects and says hello, so that the connection stays.
    pub(crate) async fn persistent(address: SocketAddr) -> anyhow::Result<Client> {
        let mut client = Client::connect(address).await?;
        client.ask(HELLO).await?;
        Ok(client)
    }

    /// Sends a line, which has its end.
    pub(crate) async fn send(&mut self, line: &str) -> anyhow::Result<()> {
        Ok(self.stream.write_all(line.as_bytes()).await?)
    }

    /// Sends a line and waits for the answer, which is no error.
    pub(crate) async fn ask(&mut self, line: &str) -> anyhow::Result<&str> {
        self.send(line).await?;
        let answer = self.next().await?;
        if answer.contains("\"error\"") {
            bail!("{line} was answered by {answer}");
        }
        Ok(answer)
    }

    /// The next line.
    pub(crate) async fn next(&mut self) -> anyhow::Result<&str> {
        self.line.clear();
        if self.stream.read_line(&mut self.line).await? == 0 {
            bail!("the connection was closed");
        }
        Ok(self.line.trim_end())
    }

    /// Reads this many lines and says how many bytes they were.
    pub(crate) async fn count(&mut self, lines: u64) -> anyhow::Result<u64> {
        let mut left = lines;
        let mut bytes = 0;
        while left > 0 {
            let chunk = self.stream.fill_buf().await?;
            if chunk.is_empty() {
                bail!("closed, {left} of {lines} lines missing");
            }
            let found = memchr::memchr_iter(b'\n', chunk).count() as u64;
            let length = chunk.len();
            bytes += length as u64;
            left = left.saturating_sub(found);
            self.stream.consume(length);
        }
        Ok(bytes)
    }

    /// Reads up to the end of the connection.
    pub(crate) async fn rest(&mut self) -> anyhow::Result<Vec<u8>> {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).await?;
        Ok(rest)
    }

    /// A larger buffer, for many lines.
    pub(crate) fn with_buffer(self, bytes: usize) -> Client {
        Client {
            stream: BufReader::with_capacity(bytes, self.stream.into_inner()),
            line: self.line,
        }
    }
}

/// What a closed loop of clients reached.
#[derive(Debug, Default)]
pub(crate) struct Loop {
    /// Operations a second.
    pub(crate) rate: f64,
    /// How long each took.
    pub(crate) times: Distribution,
}

/// What one client does again and again.
pub(crate) trait Operation: Send + 'static {
    /// Does it once.
    fn perform(&mut self) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// Asks the same on one persistent connection.
pub(crate) struct Ask {
    client: Client,
    line: String,
}

/// Asks the same, each time on a connection of its own.
pub(crate) struct AskAnew {
    address: SocketAddr,
    machine: usize,
    line: String,
}

impl Ask {
    /// So many clients that ask the lines that `line` makes of their numbers.
    pub(crate) async fn clients(
        address: SocketAddr,
        count: usize,
        line: impl Fn(usize) -> String,
    ) -> anyhow::Result<Vec<Ask>> {
        let clients = try_join_all((0..count).map(|_| Client::persistent(address))).await?;
        let asks = clients.into_iter().enumerate().map(|(number, client)| Ask {
            client,
            line: line(number),
        });
        Ok(asks.collect())
    }
}

impl AskAnew {
    /// So many clients that ask the lines that `line` makes of their numbers.
    pub(crate) fn clients(
        address: SocketAddr,
        count: usize,
        line: impl Fn(usize) -> String,
    ) -> Vec<AskAnew> {
        let asks = (0..count).map(|number| AskAnew {
            address,
            machine: number + 1,
            line: line(number),
        });
        asks.collect()
    }
}

impl Operation for Ask {
    async fn perform(&mut self) -> anyhow::Result<()> {
        self.client.ask(&self.line).await?;
        Ok(())
    }
}

impl Operation for AskAnew {
    async fn perform(&mut self) -> anyhow::Result<()> {
        let mut client = Client::connect_as(self.address, self.machine).await?;
        client.ask(&self.line).await?;
        Ok(())
    }
}

/// Lets each do its operation again and again for so long: the next as soon as the last
/// is done.
pub(crate) async fn closed_loop<O: Operation>(
    operations: Vec<O>,
    time: Duration,
) -> anyhow::Result<Loop> {
    let start = Instant::now();
    let tasks: Vec<_> = operations
        .into_iter()
        .map(|mut operation| {
            tokio::spawn(async move {
                let mut times = Distribution::default();
                while start.elapsed() < time {
                    let before = Instant::now();
                    operation.perform().await?;
                    times.add(before.elapsed());
                }
                anyhow::Ok(times)
            })
        })
        .collect();
    let mut sum = Loop::default();
    for task in tasks {
        sum.times.merge(task.await.context("a client panicked")??);
    }
    sum.rate = sum.times.count() as f64 / start.elapsed().as_secs_f64();
    Ok(sum)
}
