//! Clients of every kind: over TCP, TLS and a Unix socket, with one request or many on a
//! connection; some wait, some follow, some read slowly or leave, some cancel.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};

use super::book::Book;
use super::fleet::KINDS;
use crate::certificates::Authority;
use crate::crash::random::Random;
use crate::line_client::LineClient;

/// How many errands live at once, about.
const BACKLOG: usize = 120;

/// Clients that run errands.
const CLIENTS: usize = 8;

/// Calls that one client sends without waiting for answers in between.
const PIPELINED: usize = 20;

/// Queues that errands share. An operator cancels them now and then.
pub(super) const QUEUES: u64 = 3;

/// What all clients have.
#[derive(Debug)]
pub(super) struct Clients {
    pub(super) plain: SocketAddr,
    pub(super) tls: SocketAddr,
    pub(super) unix: PathBuf,
    /// A token that counts all the time, and one that comes and goes.
    pub(super) token: String,
    pub(super) visitor: String,
    pub(super) book: Book,
    /// No new calls are made.
    pub(super) paused: AtomicBool,
    pub(super) finished: AtomicBool,
    /// So that each key and each queue of its own is new.
    pub(super) next: AtomicU64,
}

/// A way in.
#[derive(Debug, Clone, Copy)]
enum Door {
    /// TCP, a connection for each request.
    Plain,
    /// TCP, and the connection stays.
    PlainKept,
    /// TLS with a token, and the connection stays.
    Tls,
    /// A Unix socket, a connection for each request.
    Unix,
}

impl Clients {
    /// Starts the clients; they end when `finished` is set.
    pub(super) fn start(self: &Arc<Self>, random: &mut Random) -> Vec<JoinHandle<()>> {
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            clients.push(self.spawn(random, Clients::run_errands));
        }
        clients.push(self.spawn(random, Clients::pipeline));
        clients.push(self.spawn(random, Clients::ask_all));
        clients.push(self.spawn(random, Clients::visit));
        clients
    }

    fn spawn(
        self: &Arc<Self>,
        random: &mut Random,
        client: impl Fn(&Clients, &mut Random) -> io::Result<()> + Send + 'static,
    ) -> JoinHandle<()> {
        let clients = Arc::clone(self);
        let mut random = random.fork();
        thread::spawn(move || {
            while !clients.finished.load(Ordering::Relaxed) {
                // Nobody crashes the dispatcher, so nothing of its connections breaks.
                if let Err(error) = client(&clients, &mut random) {
                    clients.book.broken(format_args!("no answer: {error}"));
                    thread::sleep(Duration::from_millis(100));
                }
            }
        })
    }

    fn open(&self, door: Door) -> io::Result<LineClient> {
        let mut client = match door {
            Door::Plain => return LineClient::plain(self.plain),
            Door::Unix => return LineClient::local(&self.unix),
            Door::PlainKept => LineClient::plain(self.plain)?,
            Door::Tls => LineClient::tls(self.tls, Authority::shared(), None)?,
        };
        let hello = match door {
            Door::Tls => json!({"token": self.token}),
            _ => json!({}),
        };
        let reply = client.ask(json!({"harpcaller": 1, "hello": hello}))?;
        if !reply["error"].is_null() {
            self.book
                .broken(format_args!("hello through {door:?}: {reply}"));
        }
        Ok(client)
    }

    /// Some errands through one door.
    fn run_errands(&self, random: &mut Random) -> io::Result<()> {
        if self.shall_not_call() {
            thread::sleep(Duration::from_millis(10));
            return Ok(());
        }
        match random.below(4) {
            0 => self.run_errand(&mut self.open(Door::Plain)?, Door::Plain, random),
            1 => self.run_errand(&mut self.open(Door::Unix)?, Door::Unix, random),
            kept => {
                let door = if kept == 2 {
                    Door::PlainKept
                } else {
                    Door::Tls
                };
                let mut client = self.open(door)?;
                for _ in 0..1 + random.below(10) {
                    if self.shall_not_call() {
                        break;
                    }
                    self.run_errand(&mut client, door, random)?;
                }
                Ok(())
            }
        }
    }

    fn run_errand(
        &self,
        client: &mut LineClient,
        door: Door,
        random: &mut Random,
    ) -> io::Result<()> {
        let kind = random.below(KINDS.len() as u64) as usize;
        let (request, may_be_cancelled) = self.request(kind, random);
        let reply = client.ask(&request)?;
        let Some(id) = self.take_answer(kind, may_be_cancelled, &request, &reply) else {
            return Ok(());
        };
        // Another connection, unless this one takes a second request.
        let mut other;
        let client = match door {
            Door::PlainKept | Door::Tls => client,
            _ => {
                other = self.open(door)?;
                &mut other
            }
        };
        match random.below(9) {
            0 | 1 => self.wait(client, &id),
            2 => self.follow(client, &id, u64::MAX, Duration::ZERO),
            3 => self.follow(client, &id, u64::MAX, Duration::from_millis(5)),
            // On a connection of their own, which is dropped in the middle.
            4 => {
                let leaves_after = random.below(10);
                self.follow(&mut self.open(door)?, &id, leaves_after, random.up_to(20))
            }
            5 => self.cancel(client, &id, true, random),
            6 => self.cancel(client, &id, false, random),
            // The client that has asked is not interested any more.
            _ => Ok(()),
        }
    }

    /// A call, and whether somebody else may cancel it.
    fn request(&self, kind: usize, random: &mut Random) -> (String, bool) {
        let kind = &KINDS[kind];
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut more = kind.more.to_owned();
        let mut may_be_cancelled = false;
        match random.below(4) {
            0 if kind.is_short => {
                let queue = random.below(QUEUES);
                more += &format!(r#","queue":{{"name":{{"shared":{queue}}},"concurrency":2}}"#);
                may_be_cancelled = true;
            }
            1 => more += &format!(r#","queue":{{"name":{{"own":{number}}},"concurrency":1}}"#),
            _ => {}
        }
        if random.one_in(4) {
            more += &format!(r#","key":"errand-{number}""#);
        }
        let request = format!(
            r#"{{"harpcaller":1,"host":"{}","procedure":"{}","arguments":{}{more}}}"#,
            kind.host, kind.procedure, kind.arguments
        );
        (request, may_be_cancelled)
    }

    fn take_answer(
        &self,
        kind: usize,
        may_be_cancelled: bool,
        request: &str,
        reply: &Value,
    ) -> Option<String> {
        let id = reply["job_id"].as_str();
        match id {
            Some(id) => self.book.accepted(id, kind, may_be_cancelled),
            None => self
                .book
                .broken(format_args!("{request} was refused: {reply}")),
        }
        id.map(str::to_owned)
    }

    fn wait(&self, client: &mut LineClient, id: &str) -> io::Result<()> {
        let outcome = client.ask(json!({"harpcaller": 1, "get_result": id}))?;
        self.take_outcome(id, &outcome);
        Ok(())
    }

    /// Reads so many packets, each after a pause, and the end if it comes before.
    fn follow(
        &self,
        client: &mut LineClient,
        id: &str,
        packets: u64,
        pause: Duration,
    ) -> io::Result<()> {
        client.send(json!({"harpcaller": 1, "follow_stream": id, "since": 0}))?;
        for number in 0..packets {
            let line = client.line()?;
            if line["packet"].is_null() {
                self.take_outcome(id, &line);
                return Ok(());
            }
            if line["packet"] != number {
                let broken = format_args!("packet {line} of job {id} came where {number} should");
                self.book.broken(broken);
            }
            // A stream of thousands is not read slowly to its end.
            if number < 50 {
                thread::sleep(pause);
            }
        }
        Ok(())
    }

    fn cancel(
        &self,
        client: &mut LineClient,
        id: &str,
        confirm: bool,
        random: &mut Random,
    ) -> io::Result<()> {
        thread::sleep(random.up_to(100));
        self.book.cancelling(id);
        let reply = client.ask(json!({"harpcaller": 1, "cancel": id, "confirm": confirm}))?;
        match reply["cancelled"].as_bool() {
            Some(true) => self.book.ended(id, &json!({"cancelled": true})),
            Some(false) => {}
            None => self
                .book
                .broken(format_args!("a cancel of job {id}: {reply}")),
        }
        Ok(())
    }

    /// Many calls on one connection, none waiting for the answer to another.
    fn pipeline(&self, random: &mut Random) -> io::Result<()> {
        let mut client = self.open(Door::PlainKept)?;
        let mut calls = Vec::new();
        while calls.len() < PIPELINED && !self.shall_not_call() {
            let (request, may_be_cancelled) = self.request(0, random);
            client.send(&request)?;
            calls.push((request, may_be_cancelled));
        }
        for (request, may_be_cancelled) in calls {
            let reply = client.line()?;
            self.take_answer(0, may_be_cancelled, &request, &reply);
        }
        thread::sleep(random.up_to(100));
        Ok(())
    }

    /// Asks for the result of every errand that lives.
    fn ask_all(&self, _: &mut Random) -> io::Result<()> {
        let mut client = self.open(Door::PlainKept)?;
        while !self.finished.load(Ordering::Relaxed) {
            for id in self.book.live() {
                let request = json!({"harpcaller": 1, "get_result": id, "wait": false});
                let outcome = client.ask(request)?;
                if outcome["no_result"] != true {
                    self.take_outcome(&id, &outcome);
                }
                if !outcome["harpcaller"].is_null() {
                    // The connection is closed after this.
                    return Ok(());
                }
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Comes with a token that counts or not, or half a request, and goes.
    fn visit(&self, random: &mut Random) -> io::Result<()> {
        thread::sleep(random.up_to(200));
        let mut client = LineClient::tls(self.tls, Authority::shared(), None)?;
        let reply = client.ask(json!({"harpcaller": 1, "hello": {"token": self.visitor}}))?;
        let error = &reply["error"];
        if !error.is_null() && error["type"] != "unauthorized" {
            self.book.broken(format_args!("a visitor was told {reply}"));
        }
        if random.one_in(2) {
            let mut client = LineClient::plain(self.plain)?;
            client.send(r#"{"harpcaller": 1, "no"#)?;
        }
        Ok(())
    }

    fn take_outcome(&self, id: &str, line: &Value) {
        // A fault of the request is nobody's outcome.
        if line["harpcaller"].is_null() {
            self.book.ended(id, line)
        } else {
            self.book
                .broken(format_args!("asked about job {id}: {line}"))
        }
    }

    fn shall_not_call(&self) -> bool {
        self.paused.load(Ordering::Relaxed) || self.book.live_count() >= BACKLOG
    }
}
