//! `harp/2`: what a harpd reads of a caller, and what a caller reads of a harpd.

use bytes::{Bytes, BytesMut};
use harp_proto::host;
use harp_proto::host::kept::{Denial, Message, Order};

use crate::lines::only_line;

/// A line of a caller, as harpd gets it from anybody.
pub(crate) fn order(data: &[u8]) {
    match Order::decode(&Bytes::copy_from_slice(data)) {
        Ok(order) => {
            let line = encoded(|out| order.encode(out));
            let again = Order::decode(&line).expect("what was written is an order");
            assert_eq!(again, order);
            assert_eq!(encoded(|out| again.encode(out)), line);
        }
        Err(failure) => same_again(&Message::Plain(host::Message::Error(failure))),
    }
}

/// A line of a host.
pub(crate) fn message(data: &[u8]) {
    match Message::decode(&Bytes::copy_from_slice(data)) {
        Ok(message) => {
            same_again(&message);
            if let Message::Plain(host::Message::Error(failure)) = &message
                && let Some(denial) = Denial::of_failure(failure)
            {
                assert_eq!(Denial::of_failure(&denial.to_failure()), Some(denial));
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn same_again(message: &Message) {
    let line = encoded(|out| message.encode(out));
    let again = Message::decode(&line).expect("what was written is a message");
    assert_eq!(&again, message);
    assert_eq!(encoded(|out| again.encode(out)), line);
}

fn encoded(encode: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut out = BytesMut::new();
    encode(&mut out);
    only_line(out)
}
