//! The host protocol: what a host reads, and what a dispatcher reads of it.

use bytes::{Bytes, BytesMut};
use harp_proto::Json;
use harp_proto::host::{Message, Request};

use crate::lines::only_line;

/// A call's line, as harpd gets it from anybody.
pub(crate) fn request(data: &[u8]) {
    match Request::decode(&Bytes::copy_from_slice(data)) {
        Ok(request) => {
            let encoded = |request: &Request| {
                let mut out = BytesMut::new();
                request.encode(&mut out);
                only_line(out)
            };
            let line = encoded(&request);
            let again = Request::decode(&line).expect("what was written is a request");
            assert_eq!(again, request);
            assert_eq!(encoded(&again), line);
        }
        Err(failure) => same_again(&Message::Error(failure)),
    }
}

/// A line of a host.
pub(crate) fn message(data: &[u8]) {
    let line = Bytes::copy_from_slice(data);
    let message = Message::decode(&line);
    // The short way has to say what the long one says.
    if let Some(packet) = Message::plain_packet(data) {
        let packet = Json::from_trusted(Bytes::copy_from_slice(packet));
        let message = message.as_ref().expect("a plain packet is a message");
        assert_eq!(message, &Message::Stream(packet));
    }
    match message {
        Ok(message) => same_again(&message),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn same_again(message: &Message) {
    let encoded = |message: &Message| {
        let mut out = BytesMut::new();
        message.encode(&mut out);
        only_line(out)
    };
    let line = encoded(message);
    let again = Message::decode(&line).expect("what was written is a message");
    assert_eq!(&again, message);
    assert_eq!(again.proves_cancel(), message.proves_cancel());
    assert_eq!(encoded(&again), line);
    if let Message::Stream(data) = message {
        assert_eq!(Message::plain_packet(&line), Some(data.as_bytes()));
    }
}
