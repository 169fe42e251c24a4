//! A host on loopback that does with each call what the test orders, and counts. What it
//! knows outlives the dispatcher, and the connections.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::{QUEUES, acceptor};

/// What the host is to do with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Send a packet.
    Packet,
    /// Return from it.
    Finish,
    /// Break the connection off.
    Break,
    /// Be done with a call that was given up.
    Release,
}

/// One call as the host knows it.
#[derive(Debug, Default, Clone)]
pub(crate) struct Call {
    pub(crate) queue: Option<usize>,
    /// How often it was run.
    pub(crate) runs: u32,
    /// The host is not done with it.
    pub(crate) is_busy: bool,
    /// It was given up, and the host is not done with it.
    pub(crate) lingers: bool,
    orders: Option<mpsc::UnboundedSender<Order>>,
}

/// Everything the host knows.
#[derive(Debug, Default)]
pub(crate) struct Host {
    calls: Mutex<HashMap<u64, Call>>,
    broken: Mutex<Vec<String>>,
}

impl Host {
    /// Serves on a free port until the runtime ends.
    pub(crate) async fn serve(self: &Arc<Self>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = acceptor::of_a_host(&[]);
        let host = Arc::clone(self);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (host, acceptor) = (Arc::clone(&host), acceptor.clone());
                // Whatever breaks breaks because the dispatcher wants it, or is gone.
                tokio::spawn(async move { drop(host.visit(socket, acceptor).await) });
            }
        });
        address
    }

    async fn visit(&self, socket: TcpStream, acceptor: TlsAcceptor) -> io::Result<()> {
        let mut tls = BufReader::new(acceptor.accept(socket).await?);
        let mut line = String::new();
        tls.read_line(&mut line).await?;
        if !line.ends_with('\n') {
            return Ok(());
        }
        let request: Value = serde_json::from_str(&line)?;
        let tag = request["arguments"]["tag"].as_u64().unwrap();
        let queue = request["arguments"]["queue"].as_u64();
        let mut orders = self.begin(tag, queue.map(|queue| queue as usize));
        say(&mut tls, r#"{"harp":1,"stream_result":true}"#).await?;
        let mut packets = 0;
        loop {
            let mut byte = [0];
            tokio::select! {
                order = orders.recv() => match order {
                    Some(Order::Packet) => {
                        say(&mut tls, &format!(r#"{{"stream":{packets}}}"#)).await?;
                        packets += 1;
                    }
                    Some(Order::Finish) => {
                        self.done(tag);
                        say(&mut tls, &format!(r#"{{"result":{tag}}}"#)).await?;
                        return say_goodbye(tls).await;
                    }
                    Some(Order::Break) => {
                        self.done(tag);
                        return Ok(());
                    }
                    // Of a call that runs there is nothing to release.
                    Some(Order::Release) => {}
                    None => return Ok(()),
                },
                // Nothing may follow a request, so that is the end.
                _ = tls.read(&mut byte) => break,
            }
        }
        self.change(tag, |call| call.lingers = call.is_busy);
        while orders
            .recv()
            .await
            .is_some_and(|order| order != Order::Release)
        {}
        self.done(tag);
        let proof =
            r#"{"harp":1,"error":{"type":"cancelled","message":"m","data":{"processes":0}}}"#;
        say(&mut tls, proof).await?;
        say_goodbye(tls).await
    }

    fn begin(&self, tag: u64, queue: Option<usize>) -> mpsc::UnboundedReceiver<Order> {
        let (orders, inbox) = mpsc::unbounded_channel();
        let mut calls = self.calls();
        let call = calls.entry(tag).or_default();
        call.queue = queue;
        call.runs += 1;
        call.is_busy = true;
        call.orders = Some(orders);
        if call.runs > 1 {
            self.broken(format!("call {tag} was run {} times", call.runs));
        }
        if let Some(queue) = queue {
            let busy = calls
                .values()
                .filter(|call| call.is_busy && call.queue == Some(queue));
            let busy = busy.count() as u64;
            if busy > QUEUES[queue] {
                self.broken(format!(
                    "{busy} calls of queue {queue} at once, {tag} the last"
                ));
            }
        }
        inbox
    }

    fn done(&self, tag: u64) {
        self.change(tag, |call| {
            call.is_busy = false;
            call.lingers = false;
        });
    }

    /// Gives an order. A call without a connection can be released all the same.
    pub(crate) fn order(&self, tag: u64, order: Order) {
        let heard = self
            .get(tag)
            .orders
            .is_some_and(|orders| orders.send(order).is_ok());
        if order == Order::Release && !heard && self.get(tag).lingers {
            self.done(tag);
        }
    }

    /// The dispatcher is gone, and so are all connections.
    pub(crate) fn crash(&self) {
        for call in self.calls().values_mut() {
            call.lingers = call.is_busy;
            call.orders = None;
        }
    }

    /// All that was given up has had its time.
    pub(crate) fn slot_grace_is_over(&self) {
        for call in self.calls().values_mut().filter(|call| call.lingers) {
            call.is_busy = false;
        }
    }

    /// A call; one that never came has not been run.
    pub(crate) fn get(&self, tag: u64) -> Call {
        self.calls().get(&tag).cloned().unwrap_or_default()
    }

    /// The calls that the host is not done with.
    pub(crate) fn busy(&self) -> Vec<u64> {
        let calls = self.calls();
        let mut busy: Vec<u64> = calls
            .iter()
            .filter(|(_, call)| call.is_busy)
            .map(|it| *it.0)
            .collect();
        busy.sort_unstable();
        busy
    }

    /// The calls that were given up, and that the host has not been told to be done with.
    pub(crate) fn lingering(&self) -> Vec<u64> {
        let calls = self.calls();
        calls
            .iter()
            .filter(|(_, call)| call.lingers)
            .map(|it| *it.0)
            .collect()
    }

    pub(crate) fn broken(&self, what: String) {
        self.broken
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(what);
    }

    pub(crate) fn all_broken(&self) -> Vec<String> {
        self.broken
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn change(&self, tag: u64, change: impl FnOnce(&mut Call)) {
        change(self.calls().entry(tag).or_default());
    }

    fn calls(&self) -> MutexGuard<'_, HashMap<u64, Call>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Tls = BufReader<TlsStream<TcpStream>>;

async fn say(tls: &mut Tls, line: &str) -> io::Result<()> {
    tls.write_all(format!("{line}\n").as_bytes()).await?;
    tls.flush().await
}

/// Closes, and waits until the caller has read everything.
async fn say_goodbye(mut tls: Tls) -> io::Result<()> {
    tls.shutdown().await?;
    tokio::io::copy(&mut tls, &mut tokio::io::sink()).await?;
    Ok(())
}
