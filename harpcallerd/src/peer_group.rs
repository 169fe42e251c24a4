//! Which clients count as one where there may be so many of one: connections, streams, memory.

use std::net::IpAddr;

use harp_jobs::client::Peer;
use harp_service::accept::neighbourhood;

/// Addresses or users that count as one peer where connections are limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PeerGroup {
    /// An IPv4 address.
    V4([u8; 4]),
    /// The 64 bits of an IPv6 network: within it addresses are free to choose.
    V6([u8; 8]),
    /// A user of this machine.
    User(u32),
}

impl PeerGroup {
    /// Whom connections of this peer count for.
    #[must_use]
    pub fn of(peer: &Peer) -> PeerGroup {
        match peer {
            Peer::Network(address) => match neighbourhood(address.ip()) {
                IpAddr::V4(address) => PeerGroup::V4(address.octets()),
                IpAddr::V6(address) => {
                    let octets = address.octets();
                    PeerGroup::V6(std::array::from_fn(|index| octets[index]))
                }
            },
            Peer::Local { uid, .. } => PeerGroup::User(*uid),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_network_is_one_peer_and_an_ipv4_address_is_one() {
        let group = |text: &str| PeerGroup::of(&Peer::Network(text.parse().unwrap()));
        assert_eq!(group("[2001:db8::1]:5"), group("[2001:db8::ffff:2]:6"));
        assert_ne!(group("[2001:db8::1]:5"), group("[2001:db8:0:1::1]:5"));
        assert_eq!(group("192.0.2.1:5"), group("[::ffff:192.0.2.1]:6"));
        assert_ne!(group("192.0.2.1:5"), group("192.0.2.2:5"));
    }
}
