//! A device that does what the test orders: a publisher and a socket for commands, as
//! auto-trainer's, on loopback.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use harp_zmtp::{Decoder, Greeting, Item, write_command, write_message};
use serde_json::{Value, json};

use crate::loopback::unique_address;
use crate::wait::{PATIENCE, until};

/// The topic of heartbeats.
pub const HEARTBEAT: u32 = 1001;
/// The topic of emergencies.
pub const EMERGENCY: u32 = 2001;
/// The topic of events.
pub const EVENT: u32 = 4001;
/// The topic of results that were announced.
pub const COMMAND_RESULT: u32 = 6001;

/// Bytes of a request, at most.
const LARGEST: usize = 32 * 1024 * 1024;

/// A scripted device. Dropping it closes all of its sockets.
#[derive(Debug)]
pub struct FakeDevice {
    events: SocketAddr,
    commands: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    subscribers: Vec<TcpStream>,
    /// All connections, to be closed.
    connections: Vec<TcpStream>,
    requests: VecDeque<DeviceRequest>,
    /// How often somebody has connected to send commands.
    dealers: usize,
    is_stopped: bool,
}

/// A command as it came.
#[derive(Debug)]
pub struct DeviceRequest {
    /// Its frames, all of them.
    pub frames: Vec<Bytes>,
    stream: TcpStream,
}

impl FakeDevice {
    /// A device at ports that the system chooses.
    #[must_use]
    pub fn start() -> FakeDevice {
        // Nobody else takes its ports while it is away.
        let anywhere = SocketAddr::new(unique_address(), 0);
        FakeDevice::start_at(anywhere, anywhere)
    }

    /// A device at addresses of the test's choice, for one that is started anew.
    ///
    /// # Panics
    ///
    /// If it cannot listen.
    #[must_use]
    pub fn start_at(events: SocketAddr, commands: SocketAddr) -> FakeDevice {
        let shared = Arc::new(Shared::default());
        let listen = |address, serve: fn(&Shared, TcpStream)| {
            let listener = TcpListener::bind(address).expect("an address to listen at");
            let address = listener.local_addr().expect("an address");
            let shared = Arc::clone(&shared);
            thread::spawn(move || accept(&listener, &shared, serve));
            address
        };
        let events = listen(events, publish_to);
        let commands = listen(commands, take_commands);
        FakeDevice {
            events,
            commands,
            shared,
        }
    }

    /// Where it publishes and where it takes commands.
    #[must_use]
    pub fn addresses(&self) -> (SocketAddr, SocketAddr) {
        (self.events, self.commands)
    }

    /// Its line of the registry.
    #[must_use]
    pub fn entry(&self, name: &str) -> Value {
        json!({
            "hostname": name, "kind": "autotrainer", "address": self.events.ip(),
            "event_port": self.events.port(), "command_port": self.commands.port(),
        })
    }

    /// Waits until so many have subscribed.
    pub fn wait_for_subscribers(&self, count: usize) {
        until("the device's publisher has subscribers", || {
            (self.shared.state().subscribers.len() >= count).then_some(())
        });
    }

    /// How often somebody has connected to send commands.
    #[must_use]
    pub fn dealers(&self) -> usize {
        self.shared.state().dealers
    }

    /// Publishes a message to all that have subscribed.
    pub fn publish(&self, topic: u32, body: &str) {
        self.publish_all(&[(topic, body.to_owned())]);
    }

    /// Publishes messages in one go.
    pub fn publish_all(&self, messages: &[(u32, String)]) {
        let mut wire = BytesMut::new();
        for (topic, body) in messages {
            write_message(&[&topic.to_le_bytes(), body.as_bytes()], &mut wire);
        }
        self.publish_bytes(&wire);
    }

    /// Publishes the first half of a message, and nothing more of it.
    pub fn publish_half(&self, topic: u32, body: &str) {
        let mut wire = BytesMut::new();
        write_message(&[&topic.to_le_bytes(), body.as_bytes()], &mut wire);
        self.publish_bytes(&wire[..wire.len() / 2]);
    }

    fn publish_bytes(&self, wire: &[u8]) {
        let subscribers: Vec<_> = {
            let state = self.shared.state();
            let streams = state.subscribers.iter();
            streams
                .filter_map(|stream| stream.try_clone().ok())
                .collect()
        };
        for mut subscriber in subscribers {
            // One that has gone hears nothing.
            let _ = subscriber.write_all(wire);
        }
    }

    /// Publishes a heartbeat of this time, in seconds.
    pub fn beat(&self, version: &str, timestamp: f64) {
        let body = json!({"identifier": "fake", "version": version, "timestamp": timestamp});
        self.publish(HEARTBEAT, &body.to_string());
    }

    /// Publishes an event.
    pub fn event(&self, kind: i64, index: u64) {
        self.publish(EVENT, &event(kind, index));
    }

    /// Publishes the result of a command that was announced.
    pub fn result(&self, request: &DeviceRequest, result: u32, data: &Value) {
        let body = json!({
            "result": result, "data": data, "errorCode": 0, "errorMessage": null,
            "command": request.json()["command"], "nonce": request.nonce(),
        });
        self.publish(COMMAND_RESULT, &body.to_string());
    }

    /// The next command that has come.
    ///
    /// # Panics
    ///
    /// If none comes.
    #[must_use]
    pub fn next(&self) -> DeviceRequest {
        let give_up = Instant::now() + PATIENCE;
        let mut state = self.shared.state();
        loop {
            if let Some(request) = state.requests.pop_front() {
                return request;
            }
            let left = give_up.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no command came");
            let waited = self.shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Whether a command has come that was not taken.
    #[must_use]
    pub fn has_request(&self) -> bool {
        !self.shared.state().requests.is_empty()
    }

    /// Goes away, as a device whose power fails: its ports are free again.
    pub fn stop(self) {}
}

impl Drop for FakeDevice {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.is_stopped = true;
        for stream in state.connections.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        drop(state);
        // Whoever accepts sees that it is over.
        for address in [self.events, self.commands] {
            drop(TcpStream::connect(address));
        }
        for address in [self.events, self.commands] {
            until("the device's port is free", || {
                TcpStream::connect(address).is_err().then_some(())
            });
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DeviceRequest {
    /// The request's object.
    ///
    /// # Panics
    ///
    /// If it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(self.text()).expect("a request is JSON")
    }

    /// The request's text.
    ///
    /// # Panics
    ///
    /// If it is none.
    #[must_use]
    pub fn text(&self) -> &str {
        assert_eq!(
            self.frames.len(),
            2,
            "an empty frame, and one with the request"
        );
        assert!(self.frames[0].is_empty());
        std::str::from_utf8(&self.frames[1]).expect("a request is text")
    }

    /// Its nonce.
    ///
    /// # Panics
    ///
    /// If it has none.
    #[must_use]
    pub fn nonce(&self) -> u64 {
        self.json()["nonce"].as_u64().expect("a nonce")
    }

    /// Replies as the devices do.
    pub fn reply(&self, result: u32, data: &Value) {
        let body = json!({
            "nonce": self.nonce(), "command": self.json()["command"], "result": result,
            "data": data, "errorKind": 0, "errorCode": 0, "errorMessage": null,
        });
        self.send(&[b"", body.to_string().as_bytes()]);
    }

    /// Sends these frames in place of a reply.
    pub fn send(&self, frames: &[&[u8]]) {
        let mut wire = BytesMut::new();
        write_message(frames, &mut wire);
        // Whoever has asked may have gone.
        let _ = (&self.stream).write_all(&wire);
    }
}

/// The body of an event.
#[must_use]
pub fn event(kind: i64, index: u64) -> String {
    json!({"kind": kind, "when": 1_795_285_355.5, "index": index, "context": {"n": index}})
        .to_string()
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>, serve: fn(&Shared, TcpStream)) {
    for stream in listener.incoming() {
        if shared.state().is_stopped {
            return;
        }
        let Ok(stream) = stream else { continue };
        let _ = stream.set_nodelay(true);
        if let Ok(clone) = stream.try_clone() {
            shared.state().connections.push(clone);
        }
        let shared = Arc::clone(shared);
        thread::spawn(move || serve(&shared, stream));
    }
}

/// Speaks to one who subscribes.
fn publish_to(shared: &Shared, stream: TcpStream) {
    let mut is_subscribed = false;
    let _ = converse(&stream, "PUB", |frames| {
        if !is_subscribed && frames[0].first() == Some(&1) {
            is_subscribed = true;
            if let Ok(clone) = stream.try_clone() {
                shared.state().subscribers.push(clone);
            }
        }
    });
    let peer = stream.peer_addr().ok();
    let mut state = shared.state();
    state
        .subscribers
        .retain(|other| other.peer_addr().ok() != peer);
}

/// Takes the commands of one who sends them.
fn take_commands(shared: &Shared, stream: TcpStream) {
    shared.state().dealers += 1;
    let _ = converse(&stream, "REP", |frames| {
        if let Ok(stream) = stream.try_clone() {
            let request = DeviceRequest { frames, stream };
            shared.state().requests.push_back(request);
            shared.changed.notify_all();
        }
    });
}

/// Does the handshake, and hands on each message.
fn converse(
    mut stream: &TcpStream,
    socket_type: &str,
    mut take: impl FnMut(Vec<Bytes>),
) -> io::Result<()> {
    let mut body = BytesMut::from(&b"\x0bSocket-Type\0\0\0"[..]);
    body.extend_from_slice(&[socket_type.len() as u8]);
    body.extend_from_slice(socket_type.as_bytes());
    let mut hello = BytesMut::from(&Greeting::ours()[..]);
    write_command("READY", &body, &mut hello);
    stream.write_all(&hello)?;
    let mut decoder = Decoder::new(LARGEST);
    let mut buffer = [0; 16 * 1024];
    loop {
        while let Some(item) = decoder.next().map_err(io::Error::other)? {
            if let Item::Message(frames) = item {
                take(frames);
            }
        }
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            count => decoder.bytes().extend_from_slice(&buffer[..count]),
        }
    }
}
