//! Addresses at which a daemon listens.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// Connections that the system holds until they are accepted.
const BACKLOG: i32 = 1024;

/// An address as `listen` names it: `"ADDR:PORT"`, where ADDR is `*` (every address,
/// IPv4 and IPv6), a host name, an IPv4 address or `[IPv6]` (daemon configuration).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ListenAddress {
    host: Host,
    port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Host {
    Every,
    Address(IpAddr),
    Name(String),
}

/// A text that is no [`ListenAddress`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be \"ADDR:PORT\", with *, a host name, an IPv4 address or [IPv6] as ADDR")]
pub struct NotAnAddress;

impl ListenAddress {
    /// Whether it is one of this machine that no other reaches, as far as can be told without
    /// looking a name up: of names, `localhost` alone is.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match &self.host {
            Host::Every => false,
            Host::Address(address) => address.to_canonical().is_loopback(),
            Host::Name(name) => name.eq_ignore_ascii_case("localhost"),
        }
    }

    /// Every address, IPv4 and IPv6, at this port.
    #[must_use]
    pub fn everywhere(port: u16) -> ListenAddress {
        ListenAddress {
            host: Host::Every,
            port,
        }
    }

    /// True if the two cannot be listened on at once: the same port, which is not 0, and
    /// the same address, or one that stands for the other's too. What a name stands for is
    /// not looked up.
    #[must_use]
    pub fn collides_with(&self, other: &ListenAddress) -> bool {
        let is_every = |one: &Host, other: &Host| match (one, other) {
            (Host::Every, _) => true,
            (Host::Address(one), Host::Address(other)) => {
                one.is_unspecified() && one.is_ipv4() == other.is_ipv4()
            }
            _ => false,
        };
        let is_same = match (&self.host, &other.host) {
            (Host::Name(one), Host::Name(other)) => one.eq_ignore_ascii_case(other),
            (one, other) => one == other,
        };
        let (one, other_host) = (&self.host, &other.host);
        self.port == other.port
            && self.port != 0
            && (is_same || is_every(one, other_host) || is_every(other_host, one))
    }

    /// True if a socket that is bound there listens where this says. What a name stands for is
    /// not looked up.
    #[must_use]
    pub fn is(&self, bound: SocketAddr) -> bool {
        let is_host = match &self.host {
            Host::Every => bound.ip().is_unspecified(),
            Host::Address(address) => *address == bound.ip(),
            Host::Name(_) => false,
        };
        is_host && self.port == bound.port()
    }

    /// Opens the listening sockets: one, or for a host name one for each of its
    /// addresses. Port 0 lets the system choose.
    ///
    /// # Errors
    ///
    /// What the system says, with this address in the message. Then none is left open.
    pub async fn bind(&self) -> io::Result<Vec<TcpListener>> {
        self.try_bind().await.map_err(|error| {
            io::Error::new(error.kind(), format!("cannot listen on {self}: {error}"))
        })
    }

    async fn try_bind(&self) -> io::Result<Vec<TcpListener>> {
        match &self.host {
            Host::Every => Ok(vec![listen_everywhere(self.port)?]),
            Host::Address(address) => Ok(vec![listen(SocketAddr::new(*address, self.port))?]),
            Host::Name(name) => {
                let mut addresses: Vec<_> = tokio::net::lookup_host((name.as_str(), self.port))
                    .await?
                    .collect();
                addresses.sort_unstable();
                addresses.dedup();
                if addresses.is_empty() {
                    return Err(io::Error::other("the name has no address"));
                }
                addresses.into_iter().map(listen).collect()
            }
        }
    }
}

impl FromStr for ListenAddress {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<ListenAddress, NotAnAddress> {
        let (host, port) = text.rsplit_once(':').ok_or(NotAnAddress)?;
        if !port.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(NotAnAddress);
        }
        let port = port.parse().map_err(|_| NotAnAddress)?;
        let bracketed = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let host = if host == "*" {
            Host::Every
        } else if let Some(address) = bracketed {
            Host::Address(IpAddr::V6(address.parse().map_err(|_| NotAnAddress)?))
        } else if let Ok(address) = host.parse::<Ipv4Addr>() {
            Host::Address(IpAddr::V4(address))
        } else if is_name(host) {
            Host::Name(host.to_owned())
        } else {
            return Err(NotAnAddress);
        };
        Ok(ListenAddress { host, port })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Every => write!(f, "*:{}", self.port),
            Host::Address(address) => SocketAddr::new(*address, self.port).fmt(f),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

fn is_name(host: &str) -> bool {
    !host.is_empty()
        && host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
}

/// One socket for both families, or for IPv4 alone where there is no IPv6.
fn listen_everywhere(port: u16) -> io::Result<TcpListener> {
    let both = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    match open(both, false) {
        Err(error) if lacks_ipv6(&error) => listen(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))),
        opened => opened,
    }
}

fn lacks_ipv6(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(
        Errno::from_io_error(error),
        Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL | Errno::PROTONOSUPPORT)
    )
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    open(address, true)
}

fn open(address: SocketAddr, only_v6: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    // A restarted daemon must not wait until the old one's connections have timed out.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    fn address(text: &str) -> ListenAddress {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_read_is_shown_again() {
        for text in [
            "*:3502",
            "127.0.0.1:0",
            "[::1]:4306",
            "host-1.example:65535",
        ] {
            assert_eq!(address(text).to_string(), text);
        }
    }

    #[test]
    fn what_others_can_reach_is_told_from_what_they_cannot() {
        for (text, is_loopback) in [
            ("*:1", false),
            ("0.0.0.0:1", false),
            ("127.0.0.2:1", true),
            ("[::]:1", false),
            ("[::1]:1", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("LocalHost:1", true),
            ("localhost.example:1", false),
        ] {
            assert_eq!(address(text).is_loopback(), is_loopback, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            ":",
            "*",
            "3502",
            ":3502",
            "*:",
            "*:x",
            "*:+1",
            "*:65536",
            "::1:80",
            "[::1]",
            "[::1:80",
            "[127.0.0.1]:80",
            "a b:80",
            "a/b:80",
        ] {
            assert_eq!(text.parse::<ListenAddress>(), Err(NotAnAddress), "{text}");
        }
    }

    #[tokio::test]
    async fn every_address_is_reached_through_one_socket() {
        let listeners = address("*:0").bind().await.unwrap();
        let [listener] = &listeners[..] else {
            panic!("{listeners:?}");
        };
        let bound = listener.local_addr().unwrap();
        TcpStream::connect(("127.0.0.1", bound.port()))
            .await
            .unwrap();
        if bound.is_ipv6() {
            TcpStream::connect(("::1", bound.port())).await.unwrap();
        }
    }

    #[tokio::test]
    async fn names_are_resolved() {
        // A form that the system's resolver alone knows, whatever is in its files of names.
        let listeners = address("127.1:0").bind().await.unwrap();
        assert!(!listeners.is_empty());
    }

    #[tokio::test]
    async fn an_address_in_use_is_named() {
        let first = address("127.0.0.1:0").bind().await.unwrap();
        let taken = first[0].local_addr().unwrap().to_string();
        let error = address(&taken).bind().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains(&taken), "{error}");
    }
}
