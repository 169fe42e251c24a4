//! The extensions that `hello` tells of, and which of them a request cannot do without.

use harp_proto::client::Request;
use harp_proto::client::feature::{CONFIRM, KEY, LIST, SNAPSHOT, START_BY, UNLESS_SINCE};
pub(crate) use harp_proto::client::feature::{
    EVIDENCE, KEEP_ALIVE, LIMIT, LIMITS, TIMESTAMPS, TOKEN, TRACEPARENT,
};

/// The extensions without which the request would mean something else, or nothing.
pub(super) fn needed(request: &Request) -> impl Iterator<Item = &'static str> {
    let needed = match request {
        Request::Call(call) => [
            call.key.as_ref().map(|_| KEY),
            call.unless_since.map(|_| UNLESS_SINCE),
            call.start_by.map(|_| START_BY),
        ],
        Request::Cancel { confirm, .. } => [confirm.then_some(CONFIRM), None, None],
        Request::List(_) => [Some(LIST), None, None],
        Request::GetStatus { snapshot, .. } => [snapshot.then_some(SNAPSHOT), None, None],
        _ => [None, None, None],
    };
    needed.into_iter().flatten()
}
