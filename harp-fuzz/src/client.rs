//! The client protocol: what a dispatcher reads, and what a client reads.

use std::fmt::Debug;

use bytes::{Bytes, BytesMut};
use harp_proto::client::{
    CallReply, CancelReply, HelloReply, Reply, ReplyError, Request, ResultReply, StatusReply,
    StreamReply, reply as replies,
};

use crate::lines::only_line;

/// A request's line.
pub(crate) fn request(data: &[u8]) {
    match Request::decode(&Bytes::copy_from_slice(data)) {
        Ok(request) => {
            let line = encoded(&request);
            let again = Request::decode(&line).expect("what was written is a request");
            assert_eq!(again, request);
            assert_eq!(encoded(&again), line);
        }
        Err(fault) => {
            // The client gets it as a line, and knows it for what it is.
            let mut out = BytesMut::new();
            fault.encode(&mut out);
            let line = only_line(out);
            assert!(line.len() <= 12 * data.len() + 1024, "{} bytes", line.len());
            assert_eq!(
                replies::decode::<CallReply>(&line),
                Err(ReplyError::Fault(fault.0))
            );
        }
    }
}

/// A reply's line, whatever was asked.
pub(crate) fn reply(data: &[u8]) {
    let line = Bytes::copy_from_slice(data);
    comes_back::<CallReply>(&line);
    comes_back::<CancelReply>(&line);
    comes_back::<ResultReply>(&line);
    comes_back::<StatusReply>(&line);
    comes_back::<StreamReply>(&line);
    comes_back::<HelloReply>(&line);
}

fn encoded(request: &Request) -> Bytes {
    let mut out = BytesMut::new();
    request.encode(&mut out);
    only_line(out)
}

fn comes_back<R: Reply + PartialEq + Debug>(line: &Bytes) {
    let reply = match replies::decode::<R>(line) {
        Ok(reply) => reply,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let encoded = |reply: &R| {
        let mut out = BytesMut::new();
        reply.encode(&mut out);
        only_line(out)
    };
    let line = encoded(&reply);
    let again = replies::decode::<R>(&line).expect("what was written is a reply");
    assert_eq!(again, reply);
    assert_eq!(encoded(&again), line);
}
