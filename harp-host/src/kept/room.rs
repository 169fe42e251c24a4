//! How much room the lines of a caller take.

use harp_proto::host::kept::{Order, Request};

/// Room that an order's line takes at most. Escaped, a byte takes six.
pub(super) fn most_bytes(order: &Order) -> usize {
    /// All keys, numbers and names of calls and lives.
    const KEYS: usize = 1024;
    match order {
        Order::Call(Request { call, .. }) => {
            let names = call.procedure.len() + call.user.len() + call.password.reveal().len();
            KEYS + 6 * names + call.arguments.as_bytes().len()
        }
        Order::Attach(attach) => KEYS + 6 * (attach.user.len() + attach.password.reveal().len()),
        Order::Ack { .. } | Order::Cancel => 64,
    }
}
