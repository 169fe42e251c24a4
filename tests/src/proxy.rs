//! A way to a host that can be cut, closed for a while, or made to swallow what goes over it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::io::ioctl_fionread;

/// What becomes of what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// It arrives.
    Open,
    /// Connections are closed at once, and those that there are have been.
    Closed,
    /// Connections are made, and nothing arrives on any of them, in neither direction.
    Swallowing,
    /// What the caller sends waits; what the host sends arrives.
    HoldingCaller,
    /// What the caller sends waits, but for its first words, with which TLS is done for the
    /// caller; what the host sends arrives.
    Greeting,
}

/// A listener that forwards to another address.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Debug)]
struct Inner {
    to: SocketAddr,
    way: Way,
    /// Rises when the connections that there are have to end.
    cuts: u64,
    /// How many connections have come.
    taken: u64,
    /// How many of them have not ended.
    live: u64,
    /// What callers send on connections up to this number waits.
    held: u64,
    /// How long the pieces of callers are that wait at this moment, in bytes.
    waiting: Vec<usize>,
    /// So many bytes go over each connection in a second, each way; 0: as many as can.
    pace: u32,
    open: Vec<TcpStream>,
}

impl Proxy {
    /// Listens on loopback, and forwards to this address.
    ///
    /// # Panics
    ///
    /// If loopback cannot be listened on.
    #[must_use]
    pub fn to(to: SocketAddr) -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State {
            inner: Mutex::new(Inner {
                to,
                way: Way::Open,
                cuts: 0,
                taken: 0,
                live: 0,
                held: 0,
                waiting: Vec::new(),
                pace: 0,
                open: Vec::new(),
            }),
            changed: Condvar::new(),
        });
        let listening = Arc::clone(&state);
        thread::spawn(move || {
            for caller in listener.incoming().flatten() {
                let state = Arc::clone(&listening);
                thread::spawn(move || {
                    // A connection that fails is what a caller has to bear.
                    let _ = forward(&state, caller);
                    state.inner().live -= 1;
                });
            }
        });
        Proxy { address, state }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What becomes of everything from now on. A way that is closed ends the connections that
    /// there are.
    pub fn set(&self, way: Way) {
        let mut inner = self.state.inner();
        inner.way = way;
        if way == Way::Closed {
            inner.cut();
        }
        self.state.changed.notify_all();
    }

    /// Ends the connections that there are; new ones are as before.
    pub fn cut(&self) {
        self.state.inner().cut();
        self.state.changed.notify_all();
    }

    /// What callers send on the connections that there are waits; those that come are not
    /// concerned.
    pub fn hold(&self) {
        let mut inner = self.state.inner();
        inner.held = inner.taken;
    }

    /// What was held goes on.
    pub fn release(&self) {
        self.state.inner().held = 0;
        self.state.changed.notify_all();
    }

    /// From now on so many bytes go over each connection in a second, each way.
    pub fn slow_down(&self, pace: u32) {
        self.state.inner().pace = pace;
    }

    /// Where new connections lead.
    pub fn lead_to(&self, to: SocketAddr) {
        self.state.inner().to = to;
    }

    /// Whether so many bytes that were sent together wait here, or behind others that do.
    #[must_use]
    pub fn holds(&self, bytes: usize) -> bool {
        let inner = self.state.inner();
        let mut unread = inner.open.iter().filter_map(|it| ioctl_fionread(it).ok());
        inner.waiting.iter().any(|length| *length >= bytes)
            || unread.any(|unread| unread >= bytes as u64)
    }

    /// How many connections have come.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.state.inner().taken
    }

    /// How many connections there are that callers have not closed.
    #[must_use]
    pub fn live(&self) -> u64 {
        self.state.inner().live
    }
}

impl State {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until so many bytes may be sent; false if the connection is to end.
    /// Of a caller it is the n-th piece.
    fn may_send(&self, length: usize, number: u64, cuts: u64, of_caller: Option<u32>) -> bool {
        let mut inner = self.inner();
        loop {
            if inner.cuts != cuts {
                return false;
            }
            match inner.way {
                _ if of_caller.is_some() && number <= inner.held => {}
                Way::Open => return true,
                Way::HoldingCaller if of_caller.is_none() => return true,
                Way::Greeting if of_caller.is_none_or(|piece| piece == 1) => return true,
                _ => {}
            }
            if of_caller.is_some() {
                inner.waiting.push(length);
            }
            let waiting = self.changed.wait(inner);
            inner = waiting.unwrap_or_else(PoisonError::into_inner);
            if of_caller.is_some() {
                let place = inner.waiting.iter().position(|waits| *waits == length);
                place.map(|place| inner.waiting.swap_remove(place));
            }
        }
    }
}

impl Inner {
    fn cut(&mut self) {
        self.cuts += 1;
        for stream in self.open.drain(..) {
            // It may be closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn forward(state: &Arc<State>, caller: TcpStream) -> io::Result<()> {
    let (to, number, cuts) = {
        let mut inner = state.inner();
        inner.taken += 1;
        inner.live += 1;
        if inner.way == Way::Closed {
            return Ok(());
        }
        (inner.to, inner.taken, inner.cuts)
    };
    let host = TcpStream::connect_timeout(&to, Duration::from_secs(5))?;
    for stream in [&caller, &host] {
        stream.set_nodelay(true)?;
    }
    {
        let mut inner = state.inner();
        if inner.cuts != cuts {
            return Ok(());
        }
        inner.open.push(caller.try_clone()?);
        inner.open.push(host.try_clone()?);
    }
    let back = (host.try_clone()?, caller.try_clone()?);
    let returning = Arc::clone(state);
    let may_return = move |length| returning.may_send(length, number, cuts, None);
    let slow = Arc::clone(state);
    thread::spawn(move || copy(&slow, may_return, back.0, back.1));
    let mut pieces = 0;
    let may_go = |length| {
        pieces += 1;
        state.may_send(length, number, cuts, Some(pieces))
    };
    copy(state, may_go, caller, host);
    Ok(())
}

fn copy(
    state: &State,
    mut may_send: impl FnMut(usize) -> bool,
    mut from: TcpStream,
    mut to: TcpStream,
) {
    let mut piece = vec![0; 64 * 1024];
    loop {
        let pace = state.inner().pace;
        // Ten times in a second.
        let most = if pace == 0 {
            piece.len()
        } else {
            pace as usize / 10
        };
        let most = most.clamp(1, piece.len());
        let read = match from.read(&mut piece[..most]) {
            Ok(0) | Err(_) => break,
            Ok(read) => read,
        };
        if pace > 0 {
            thread::sleep(Duration::from_secs(1) * read as u32 / pace);
        }
        if !may_send(read) || to.write_all(&piece[..read]).is_err() {
            break;
        }
    }
    // The other direction goes on.
    let _ = to.shutdown(Shutdown::Write);
}
