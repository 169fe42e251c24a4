//! Conversations of the handshake and of messages, cut anywhere.

use bytes::BytesMut;
use harp_zmtp::{
    Command, Connection, Decoder, Error, Greeting, Item, MAX_PARTS, SocketType, Violation,
    write_command, write_message,
};
use proptest::collection::vec;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

const LIMIT: usize = 100_000;

fn decoder(bytes: &[u8]) -> Decoder {
    let mut decoder = Decoder::new(LIMIT);
    decoder.bytes().extend_from_slice(&Greeting::ours());
    assert!(matches!(decoder.next(), Ok(Some(Item::Greeting(_)))));
    decoder.bytes().extend_from_slice(bytes);
    decoder
}

fn ready(socket_type: &str) -> BytesMut {
    let mut body = BytesMut::from(&b"\x0bSocket-Type\0\0\0"[..]);
    body.extend_from_slice(&[socket_type.len() as u8]);
    body.extend_from_slice(socket_type.as_bytes());
    let mut out = BytesMut::new();
    write_command("READY", &body, &mut out);
    out
}

proptest! {
    #[test]
    fn messages_come_back_however_they_are_cut(
        messages in vec(vec(vec(any::<u8>(), 0..600), 1..5), 0..6),
        cuts in vec(1usize..700, 1..20),
    ) {
        let mut wire = BytesMut::new();
        for message in &messages {
            let parts: Vec<&[u8]> = message.iter().map(Vec::as_slice).collect();
            write_message(&parts, &mut wire);
        }
        let mut decoder = decoder(&[]);
        let mut cuts = cuts.into_iter().cycle();
        let mut come: Vec<Vec<Vec<u8>>> = Vec::new();
        while !wire.is_empty() {
            let cut = cuts.next().unwrap_or(1).min(wire.len());
            decoder.bytes().extend_from_slice(&wire.split_to(cut));
            while let Some(item) = decoder.next().unwrap() {
                match item {
                    Item::Message(parts) => come.push(parts.iter().map(|part| part.to_vec()).collect()),
                    other => panic!("{other:?}"),
                }
            }
        }
        prop_assert!(!decoder.is_within());
        prop_assert_eq!(come, messages);
    }

    #[test]
    fn no_bytes_make_it_panic_or_grow(bytes in vec(any::<u8>(), 0..2000)) {
        let mut decoder = decoder(&bytes);
        while let Ok(Some(_)) = decoder.next() {}
        prop_assert!(decoder.bytes().capacity() < 10_000);
    }
}

#[test]
fn what_a_peer_must_not_send_is_told_at_once() {
    let refused = |bytes: &[u8]| decoder(bytes).next().unwrap_err();
    assert_eq!(
        refused(b"\x08\0"),
        Violation::Frame,
        "a flag that there is not"
    );
    assert_eq!(
        refused(b"\x05\0"),
        Violation::Frame,
        "a command of two frames"
    );
    assert_eq!(
        refused(b"\x01\0\x04\0"),
        Violation::Frame,
        "a command within a message"
    );
    assert_eq!(refused(b"\x04\x05\x05READ"), Violation::Command);
    let announced = |length: u64| [&[2], &length.to_be_bytes()[..]].concat();
    assert_eq!(refused(&announced(u64::MAX)), Violation::TooLarge(LIMIT));
    assert_eq!(
        refused(&announced(LIMIT as u64 + 1)),
        Violation::TooLarge(LIMIT)
    );
    // The frames of one message count together.
    let mut half = BytesMut::new();
    write_message(&[&[0; LIMIT - 1], b"", b"22"], &mut half);
    assert_eq!(refused(&half), Violation::TooLarge(LIMIT));
    let many = [&b""[..]; MAX_PARTS + 1];
    let mut parts = BytesMut::new();
    write_message(&many, &mut parts);
    assert_eq!(refused(&parts), Violation::TooManyParts);

    let greeting = |change: fn(&mut [u8; 64])| {
        let mut bytes = Greeting::ours();
        change(&mut bytes);
        let mut decoder = Decoder::new(LIMIT);
        decoder.bytes().extend_from_slice(&bytes);
        decoder.next()
    };
    assert_eq!(greeting(|bytes| bytes[0] = b'H'), Err(Violation::NotZmtp));
    assert_eq!(greeting(|bytes| bytes[10] = 1), Err(Violation::Version));
    let curve = greeting(|bytes| bytes[12..17].copy_from_slice(b"CURVE"));
    assert_eq!(curve, Err(Violation::Mechanism));
    assert!(matches!(
        greeting(|bytes| bytes[11] = 1),
        Ok(Some(Item::Greeting(_)))
    ));
    // What is no greeting is seen before 64 bytes have come.
    let mut decoder = Decoder::new(LIMIT);
    decoder.bytes().extend_from_slice(b"SSH-2.0");
    assert_eq!(decoder.next(), Err(Violation::NotZmtp));
}

#[test]
fn commands_say_what_they_say() {
    let said = |bytes: &[u8]| match decoder(bytes).next() {
        Ok(Some(Item::Command(command))) => command,
        other => panic!("{other:?}"),
    };
    let Command::Ready(peer) = said(&ready("PUB")) else {
        panic!("it is ready");
    };
    assert_eq!(peer.socket_type, "PUB");
    assert_eq!(
        said(b"\x04\x0b\x05ERROR\x04oops"),
        Command::Error("oops".into())
    );
    assert_eq!(
        said(b"\x04\x09\x04PING\0\x01xy"),
        Command::Ping("xy".into())
    );
    assert_eq!(said(b"\x04\x05\x04NOPE"), Command::Other);
}

async fn met(
    peer: &str,
    socket: SocketType,
) -> Result<(Connection<DuplexStream>, DuplexStream), Error> {
    let (near, mut far) = duplex(64);
    far.write_all(&Greeting::ours()[..10]).await.unwrap();
    let answer = [&Greeting::ours()[10..], &ready(peer)].concat();
    let script = async {
        let mut greeting = [0; 64];
        far.read_exact(&mut greeting).await.unwrap();
        assert_eq!(greeting, Greeting::ours());
        far.write_all(&answer).await.unwrap();
        let mut word = vec![0; ready(socket.as_str()).len()];
        // It goes away if it does not like what it sees.
        let _ = far.read_exact(&mut word).await;
        (far, word)
    };
    let opening = Connection::open(near, socket, LIMIT);
    let (opened, (mut far, word)) = tokio::join!(opening, script);
    assert!(word.windows(11).any(|part| part == b"Socket-Type"));
    if socket == SocketType::Dealer && opened.is_ok() {
        far.read_exact(&mut [0; 13]).await.unwrap();
    }
    opened.map(|connection| (connection, far))
}

#[tokio::test]
async fn a_subscriber_subscribes_hears_and_answers_pings() {
    let (mut connection, mut far) = met("PUB", SocketType::Sub).await.unwrap();
    connection.subscribe(b"").await.unwrap();
    let mut wish = [0; 3];
    far.read_exact(&mut wish).await.unwrap();
    assert_eq!(wish, [0, 1, 1]);
    let mut wire = BytesMut::new();
    write_message(&[b"topic", &[b'x'; 300]], &mut wire);
    write_command("PING", b"\0\x01abc", &mut wire);
    write_message(&[b"last"], &mut wire);
    let script = async {
        far.write_all(&wire).await.unwrap();
        let mut pong = [0; 10];
        far.read_exact(&mut pong).await.unwrap();
        drop(far);
        pong
    };
    let hearing = async {
        let first = connection.receive().await.unwrap();
        assert_eq!((first[0].len(), first[1].len()), (5, 300));
        assert_eq!(connection.receive().await.unwrap(), ["last"]);
        connection.receive().await.unwrap_err()
    };
    let (end, pong) = tokio::join!(hearing, script);
    assert_eq!(&pong, b"\x04\x08\x04PONGabc");
    assert!(matches!(end, Error::Closed), "{end}");
}

#[tokio::test]
async fn a_port_where_another_socket_listens_is_told() {
    let error = met("REP", SocketType::Sub).await.unwrap_err();
    assert!(
        error.to_string().contains("a REP socket listens there"),
        "{error}"
    );
    met("REP", SocketType::Dealer).await.unwrap();
}
