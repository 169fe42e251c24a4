//! A host that misbehaves by a script.

mod wire;

use std::borrow::Cow;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustls::{ServerConfig, SupportedProtocolVersion};

use crate::certificates::{Authority, HostCertificate};
use crate::wait::PATIENCE;
use wire::Wire;

/// The acknowledgement of a procedure that does not stream.
pub const ACKNOWLEDGE: Step = Step::Send(Cow::Borrowed("{\"harp\":1,\"stream_result\":false}\n"));

/// The acknowledgement of a procedure that streams.
pub const ACKNOWLEDGE_STREAM: Step =
    Step::Send(Cow::Borrowed("{\"harp\":1,\"stream_result\":true}\n"));

/// What a fake host does with a connection, one after the other. After the last step it
/// closes, as by [`Step::Close`].
#[derive(Debug, Clone)]
pub enum Step {
    /// Do the TLS handshake; what comes after it is inside TLS.
    Handshake,
    /// Wait until something has been received.
    AnyByte,
    /// Wait for a whole line.
    Request,
    /// Send this text as it is.
    Send(Cow<'static, str>),
    /// Send this text again and again until the peer closes.
    SendForever(Cow<'static, str>),
    /// Take so much time.
    Dawdle(Duration),
    /// Wait until the test calls [`FakeHost::go_on`].
    Pause,
    /// Do nothing until the peer closes.
    Hang,
    /// Say goodbye (by close_notify inside TLS) and close.
    Close,
    /// Close without the goodbye of TLS.
    CloseSilently,
    /// Break the connection off with a TCP reset.
    Reset,
}

impl Step {
    /// Sends a line, its end added.
    #[must_use]
    pub fn line(text: &str) -> Step {
        Step::Send(format!("{text}\n").into())
    }
}

/// One connection that a fake host had.
#[derive(Debug, Clone, Default)]
pub struct Visit {
    /// The lines that were received.
    pub lines: Vec<String>,
    /// The version of TLS that was agreed on, if any, as `TLSv1_3`.
    pub tls_version: Option<String>,
    /// Whether an earlier TLS session was resumed.
    pub resumed: bool,
    /// How the peer closed, if it has.
    pub closed: Option<Closing>,
}

/// How a peer closed its side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// With close_notify.
    Notified,
    /// By end of file alone.
    EndOfFile,
    /// The connection broke.
    Broken,
}

/// A scripted host on loopback. Dropping it closes its listening socket.
#[derive(Debug)]
pub struct FakeHost {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    scripts: Vec<Vec<Step>>,
    tls: Arc<ServerConfig>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    visits: Vec<Visit>,
    /// How many more pauses may end.
    permits: usize,
    stopped: bool,
}

impl FakeHost {
    /// A host with a good certificate that does the same with every connection.
    #[must_use]
    pub fn start(script: &[Step]) -> FakeHost {
        FakeHost::start_each(&[script])
    }

    /// A host with a script for the first connection, one for the second and so on; the
    /// last holds for all that follow.
    #[must_use]
    pub fn start_each(scripts: &[&[Step]]) -> FakeHost {
        let certificate = Authority::shared().issue(&["127.0.0.1"]);
        FakeHost::start_with(&certificate, rustls::ALL_VERSIONS, scripts)
    }

    /// Starts what [`FakeHost::start_each`] does, as a host that has agreed on `harp/2`.
    #[must_use]
    pub fn keeping(scripts: &[&[Step]]) -> FakeHost {
        let certificate = Authority::shared().issue(&["127.0.0.1"]);
        let mut tls = certificate.server(rustls::ALL_VERSIONS);
        tls.alpn_protocols = vec![b"harp/2".to_vec()];
        FakeHost::serve(SocketAddr::from(([127, 0, 0, 1], 0)), tls, scripts)
    }

    /// A host with a certificate of the test's choice and these versions of TLS.
    ///
    /// # Panics
    ///
    /// If it cannot listen.
    #[must_use]
    pub fn start_with(
        certificate: &HostCertificate,
        versions: &[&'static SupportedProtocolVersion],
        scripts: &[&[Step]],
    ) -> FakeHost {
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        FakeHost::start_at(anywhere, certificate, versions, scripts)
    }

    /// A host at an address of the test's choice, for one that goes away and comes back.
    ///
    /// # Panics
    ///
    /// If it cannot listen there.
    #[must_use]
    pub fn start_at(
        address: SocketAddr,
        certificate: &HostCertificate,
        versions: &[&'static SupportedProtocolVersion],
        scripts: &[&[Step]],
    ) -> FakeHost {
        FakeHost::serve(address, certificate.server(versions), scripts)
    }

    fn serve(address: SocketAddr, tls: ServerConfig, scripts: &[&[Step]]) -> FakeHost {
        let listener = TcpListener::bind(address).expect("a free address");
        let address = listener.local_addr().expect("a bound socket");
        let shared = Arc::new(Shared {
            scripts: scripts.iter().map(|script| script.to_vec()).collect(),
            tls: Arc::new(tls),
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let for_thread = Arc::clone(&shared);
        let accepting = thread::spawn(move || accept(&listener, &for_thread));
        FakeHost {
            address,
            shared,
            accepting: Some(accepting),
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets one [`Step::Pause`] end, now or when it comes.
    pub fn go_on(&self) {
        self.shared.change(|state| state.permits += 1);
    }

    /// The connections it had so far.
    #[must_use]
    pub fn visits(&self) -> Vec<Visit> {
        self.shared.state().visits.clone()
    }

    /// Waits until it has got so many lines, over all connections.
    ///
    /// # Panics
    ///
    /// If that takes too long.
    pub fn wait_for_lines(&self, count: usize) {
        self.wait("it has got its requests", |visits| {
            let lines: usize = visits.iter().map(|visit| visit.lines.len()).sum();
            (lines >= count).then_some(())
        });
    }

    /// Waits until the peer has closed a connection, counted from 0, and says how.
    ///
    /// # Panics
    ///
    /// If that takes too long.
    #[must_use]
    pub fn wait_closed(&self, connection: usize) -> Closing {
        self.wait("a connection is closed", |visits| {
            visits.get(connection)?.closed
        })
    }

    fn wait<T>(&self, what: &str, look: impl Fn(&[Visit]) -> Option<T>) -> T {
        self.shared.wait(what, |state| look(&state.visits))
    }
}

impl Drop for FakeHost {
    fn drop(&mut self) {
        self.shared.change(|state| state.stopped = true);
        // Wakes the thread up; should that not work, it ends with the process.
        if TcpStream::connect(self.address).is_ok()
            && let Some(accepting) = self.accepting.take()
        {
            let _ = accepting.join();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }

    fn wait<T>(&self, what: &str, look: impl Fn(&mut State) -> Option<T>) -> T {
        let give_up = Instant::now() + PATIENCE;
        let mut state = self.state();
        loop {
            if let Some(found) = look(&mut state) {
                return found;
            }
            let left = give_up.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited in vain until {what}: {state:?}");
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    while let Ok((socket, _)) = listener.accept() {
        let mut number = 0;
        let mut stopped = false;
        shared.change(|state| {
            stopped = state.stopped;
            number = state.visits.len();
            state.visits.push(Visit::default());
        });
        if stopped {
            return;
        }
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            let script = shared.scripts[number.min(shared.scripts.len() - 1)].clone();
            visit(&shared, number, Wire::new(socket), &script);
        });
    }
}

/// Plays a script on a connection. Whatever goes wrong on it is the peer's doing, and
/// ends the script.
fn visit(shared: &Shared, number: usize, mut wire: Wire, script: &[Step]) {
    let note = |change: &dyn Fn(&mut Visit)| {
        shared.change(|state| change(&mut state.visits[number]));
    };
    for step in script {
        let closed = match step {
            Step::Handshake => match wire.handshake(&shared.tls) {
                Ok(done) => {
                    note(&|visit| {
                        visit.tls_version = Some(done.version.clone());
                        visit.resumed = done.resumed;
                    });
                    None
                }
                // The peer does not like what it saw.
                Err(_) => return,
            },
            Step::AnyByte => wire.any_byte().err(),
            Step::Request => match wire.line() {
                Ok(line) => {
                    note(&|visit| visit.lines.push(line.clone()));
                    None
                }
                Err(closing) => Some(closing),
            },
            Step::Send(text) => wire.send(text).err(),
            Step::SendForever(text) => {
                let text = text.repeat(64 * 1024 / text.len().max(1) + 1);
                Some(loop {
                    if let Err(closing) = wire.send(&text) {
                        break closing;
                    }
                })
            }
            Step::Dawdle(time) => {
                thread::sleep(*time);
                None
            }
            Step::Pause => {
                shared.wait("the test lets its host go on", |state| {
                    state.permits = state.permits.checked_sub(1)?;
                    Some(())
                });
                None
            }
            Step::Hang => Some(wire.drain()),
            Step::Close => break,
            Step::CloseSilently => Some(wire.close(false)),
            Step::Reset => {
                wire.reset();
                return;
            }
        };
        if let Some(closed) = closed {
            note(&|visit| visit.closed = Some(closed));
            return;
        }
    }
    let closed = wire.close(true);
    note(&|visit| visit.closed = Some(closed));
}
