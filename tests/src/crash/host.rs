//! A host that counts: what ran, how often, in which order, and how much of it at once.

use std::collections::{HashMap, HashSet};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

use super::ledger::Ledger;
use super::moment::{Moment, Signal};
use super::plan::{LANES, Plan};
use crate::certificates::Authority;

/// How soon a host finds out that its caller has gone.
const LOOK: Duration = Duration::from_millis(5);

/// How long a caller that has connected may take to send its request.
const PATIENCE: Duration = Duration::from_secs(20);

/// The host `counting`. It runs until the process ends.
#[derive(Debug)]
pub(crate) struct CountingHost {
    pub(crate) address: SocketAddr,
    counts: Mutex<Counts>,
    ledger: Arc<Ledger>,
    signal: Arc<Signal>,
    tls: Arc<ServerConfig>,
}

#[derive(Debug, Default)]
struct Counts {
    /// How often each call has been run.
    runs: HashMap<(usize, u64), u64>,
    /// What is being run, by lane.
    running: HashMap<usize, HashSet<u64>>,
    /// The last call that was begun, by lane.
    last: HashMap<usize, u64>,
}

type Tls = BufReader<StreamOwned<ServerConnection, TcpStream>>;

/// What has become of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Caller {
    Waits,
    /// It has said that it does not want the call any more, and can still be told.
    Cancels,
    Gone,
}

impl CountingHost {
    pub(crate) fn start(ledger: Arc<Ledger>, signal: Arc<Signal>) -> Arc<CountingHost> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let certificate = Authority::shared().issue(&["127.0.0.1"]);
        let host = Arc::new(CountingHost {
            address: listener.local_addr().expect("a bound socket"),
            counts: Mutex::default(),
            ledger,
            signal,
            tls: Arc::new(certificate.server(rustls::ALL_VERSIONS)),
        });
        let accepting = Arc::clone(&host);
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let host = Arc::clone(&accepting);
                // Whatever goes wrong with a connection is its caller's death.
                thread::spawn(move || drop(host.serve(socket)));
            }
        });
        host
    }

    /// How often a call has been run.
    pub(crate) fn runs(&self, plan: &Plan) -> u64 {
        let counts = self.counts();
        *counts.runs.get(&(plan.lane, plan.tag)).unwrap_or(&0)
    }

    /// Whether a call is being run.
    pub(crate) fn is_running(&self, plan: &Plan) -> bool {
        let counts = self.counts();
        let running = counts.running.get(&plan.lane);
        running.is_some_and(|running| running.contains(&plan.tag))
    }

    /// How many calls have been run.
    pub(crate) fn total(&self) -> usize {
        self.counts().runs.len()
    }

    fn serve(&self, mut socket: TcpStream) -> io::Result<()> {
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        self.signal.reached(Moment::BeforeTls);
        let mut tls = ServerConnection::new(Arc::clone(&self.tls)).map_err(io::Error::other)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut socket)?;
        }
        self.signal.reached(Moment::BeforeRequest);
        let mut tls = BufReader::new(StreamOwned::new(tls, socket));
        let mut line = String::new();
        tls.read_line(&mut line)?;
        if !line.ends_with('\n') {
            return Ok(());
        }
        let request: Value = serde_json::from_str(&line)?;
        let Some(plan) = Plan::asked(&request["arguments"]) else {
            self.ledger
                .broken(format!("a host got the request {line:?}"));
            return Ok(());
        };
        self.begin(&plan);
        let caller = self.run(&plan, &mut tls);
        if caller != Ok(Caller::Waits) {
            // As a process that does not end at once.
            self.signal.reached(Moment::PlaceKept);
            thread::sleep(Duration::from_millis(plan.linger));
        }
        self.end(&plan);
        match caller {
            Ok(Caller::Waits) => {
                say(&mut tls, &plan.outcome())?;
                self.signal.reached(Moment::Returned);
            }
            Ok(Caller::Cancels) => say(
                &mut tls,
                r#"{"harp":1,"error":{"type":"cancelled","message":"m","data":{"processes":0}}}"#,
            )?,
            Ok(Caller::Gone) | Err(_) => return Ok(()),
        }
        tls.get_mut().conn.send_close_notify();
        tls.get_mut().flush()?;
        // The caller closes when it has read all of it.
        io::copy(&mut tls, &mut io::sink())?;
        Ok(())
    }

    fn run(&self, plan: &Plan, tls: &mut Tls) -> Result<Caller, ()> {
        self.signal.reached(Moment::BeforeAcknowledgement);
        say(tls, r#"{"harp":1,"stream_result":true}"#).map_err(drop)?;
        self.signal.reached(Moment::Acknowledged);
        for number in 0..plan.packets {
            let caller = look(tls, Duration::from_millis(plan.pause));
            if caller != Caller::Waits {
                return Ok(caller);
            }
            let packet = format!(r#"{{"stream":{}}}"#, plan.packet(number));
            say(tls, &packet).map_err(drop)?;
            if number > 1 {
                self.signal.reached(Moment::Streaming);
            }
        }
        Ok(look(tls, Duration::from_millis(plan.pause)))
    }

    fn begin(&self, plan: &Plan) {
        let mut counts = self.counts();
        let runs = counts.runs.entry((plan.lane, plan.tag)).or_default();
        *runs += 1;
        if *runs > 1 {
            let broken = format!("call {}/{} runs once more", plan.lane, plan.tag);
            self.ledger.broken(broken);
        }
        let running = counts.running.entry(plan.lane).or_default();
        running.insert(plan.tag);
        let at_once = running.len() as u64;
        let Some(concurrency) = LANES[plan.lane].concurrency else {
            return;
        };
        if at_once > concurrency {
            let broken = format!(
                "{at_once} calls of queue {} run at once: {running:?}",
                plan.lane
            );
            self.ledger.broken(broken);
        }
        let last = counts.last.insert(plan.lane, plan.tag);
        if concurrency == 1 && last.is_some_and(|last| last >= plan.tag) {
            let broken = format!("call {}/{} runs after {last:?}", plan.lane, plan.tag);
            self.ledger.broken(broken);
        }
    }

    fn end(&self, plan: &Plan) {
        let mut counts = self.counts();
        let running = counts.running.entry(plan.lane).or_default();
        running.remove(&plan.tag);
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn say(tls: &mut Tls, line: &str) -> io::Result<()> {
    let tls = tls.get_mut();
    tls.write_all(format!("{line}\n").as_bytes())?;
    tls.flush()
}

/// Works for a while, unless the caller loses interest.
fn look(tls: &mut Tls, time: Duration) -> Caller {
    let until = Instant::now() + time;
    loop {
        let left = until.saturating_duration_since(Instant::now()).min(LOOK);
        let left = left.max(Duration::from_micros(100));
        if tls.get_ref().sock.set_read_timeout(Some(left)).is_err() {
            return Caller::Gone;
        }
        let read = tls.read(&mut [0; 1]);
        let restored = tls.get_ref().sock.set_read_timeout(Some(PATIENCE));
        match read {
            _ if restored.is_err() => return Caller::Gone,
            // By close_notify; an end without it is an error.
            Ok(0) => return Caller::Cancels,
            // Nothing may follow a request.
            Ok(_) => return Caller::Gone,
            Err(error) if is_silence(&error) => {}
            Err(_) => return Caller::Gone,
        }
        if Instant::now() >= until {
            return Caller::Waits;
        }
    }
}

fn is_silence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}
