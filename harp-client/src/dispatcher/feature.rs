//! The extensions that `hello` tells of (client protocol, section 8), by their names on
//! the wire, and which of them a request cannot do without.

use harp_proto::client::Request;

/// The connection takes further requests.
pub(crate) const KEEP_ALIVE: &str = "keep_alive";
/// `read_stream` takes `limit`.
pub(crate) const LIMIT: &str = "limit";
/// Packets can come with their time.
pub(crate) const TIMESTAMPS: &str = "timestamps";
/// A call takes `key`.
pub(crate) const KEY: &str = "key";
/// With `key`, a call takes `unless_since`.
pub(crate) const UNLESS_SINCE: &str = "unless_since";
/// A call takes `start_by`.
pub(crate) const START_BY: &str = "start_by";
/// `hello` takes a `token`.
pub(crate) const TOKEN: &str = "token";
/// A cancel takes `confirm`.
pub(crate) const CONFIRM: &str = "confirm";

/// The extensions without which the request would mean something else, or nothing.
pub(super) fn needed(request: &Request) -> impl Iterator<Item = &'static str> {
    let needed = match request {
        Request::Call(call) => [
            call.key.as_ref().map(|_| KEY),
            call.unless_since.map(|_| UNLESS_SINCE),
            call.start_by.map(|_| START_BY),
        ],
        Request::Cancel { confirm, .. } => [confirm.then_some(CONFIRM), None, None],
        _ => [None, None, None],
    };
    needed.into_iter().flatten()
}
