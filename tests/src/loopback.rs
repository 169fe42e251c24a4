//! Addresses on loopback with particular habits.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

use socket2::{Domain, Socket, Type};

/// An address of 127.0.0.0/8 that nobody else uses: a daemon that is restarted there
/// finds its port still free, however many tests run beside it.
#[must_use]
pub fn unique_address() -> IpAddr {
    static NEXT: AtomicU16 = AtomicU16::new(1);
    let [high, low] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let [.., process] = std::process::id().to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(127, process.max(1), high, low))
}

/// An address and a port of its own, where nobody listens until the test does.
///
/// # Panics
///
/// If there is no free port.
#[must_use]
pub fn unused_address() -> SocketAddr {
    SocketAddr::new(unique_address(), reserved_port())
}

/// An address where connections are refused.
///
/// # Panics
///
/// If there is no free port.
#[must_use]
pub fn refusing_address() -> SocketAddr {
    unused_address()
}

/// A port that no daemon of this machine listens on at every address: one that did, such as
/// a harpd on `*:4306`, would answer at ours too. It stays so while this process runs, since
/// the port is taken at one address of 127.0.0.0/8.
fn reserved_port() -> u16 {
    static RESERVED: OnceLock<(u16, Socket)> = OnceLock::new();
    let reserve = || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let address = SocketAddr::new(unique_address(), 0);
        socket.bind(&address.into()).expect("a free port");
        let bound = socket
            .local_addr()
            .expect("the address that it is bound to");
        (bound.as_socket().expect("a port").port(), socket)
    };
    RESERVED.get_or_init(reserve).0
}

/// An address that does not answer a connection attempt, and what keeps it so until it
/// is dropped.
///
/// # Panics
///
/// If the sockets for it cannot be made.
#[must_use]
pub fn unanswering_address() -> (SocketAddr, impl Drop) {
    /// The listener and the connections that fill its queue.
    struct Full(Vec<Socket>);
    impl Drop for Full {
        fn drop(&mut self) {
            self.0.clear();
        }
    }
    let socket = || Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let listener = socket();
    let address = unused_address();
    listener.bind(&address.into()).expect("a free address");
    listener.listen(0).expect("a listener");
    let mut sockets = vec![listener];
    // The queue of a listener takes one connection more than asked for; the system drops
    // what comes then, as if nobody were there.
    for _ in 0..4 {
        let filler = socket();
        filler
            .set_nonblocking(true)
            .expect("a mode of every socket");
        // In progress, that is what it says.
        let _ = filler.connect(&address.into());
        sockets.push(filler);
    }
    (address, Full(sockets))
}
