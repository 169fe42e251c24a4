//! What is to be done for a job.

use std::sync::Arc;

use crate::ledger::{Then, Token};
use crate::record::EndRecord;
use crate::transport::Proof;

/// What is to be done. The orders to the attempt and those to the ledger are carried out
/// beside each other; one to the ledger takes the place of the one before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Begin an attempt and make it ready.
    Begin,
    /// Have the start recorded, with this token or, if there is none, a new one.
    Start(Option<Token>),
    /// Send the request.
    Commit,
    /// Have the transport's note recorded.
    Note(Token),
    /// Wait for what the host says.
    Listen,
    /// Take in what has arrived, then tell the host that the call is given up.
    Tell,
    /// Have the end of the attempt recorded.
    Close {
        /// What becomes of the job.
        then: Then,
        /// Whether the host may still be busy: the transport's debt goes on record.
        is_left: bool,
    },
    /// Find out whether the host is done; by a new attempt if there is none any more.
    Prove,
    /// Have it recorded that nothing is owed any more.
    Settle,
    /// Give up the attempt, if there is one.
    Drop,
    /// Let go of the attempt: its host is to go on.
    Detach,
    /// Show the end.
    ShowEnd(Arc<EndRecord>),
    /// Show what is known of the host.
    ShowHost(Proof),
}

/// The most orders that one event leads to.
const MOST: usize = 4;

/// Up to four orders, in place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Orders([Option<Order>; MOST]);

impl Orders {
    /// Nothing is to be done.
    #[must_use]
    pub fn none() -> Orders {
        Orders::default()
    }

    /// The orders.
    pub fn iter(&self) -> impl Iterator<Item = &Order> {
        self.0.iter().flatten()
    }
}

impl<const N: usize> From<[Order; N]> for Orders {
    fn from(orders: [Order; N]) -> Orders {
        const { assert!(N <= MOST) };
        orders.into_iter().collect()
    }
}

impl FromIterator<Order> for Orders {
    /// At most four.
    fn from_iter<I: IntoIterator<Item = Order>>(orders: I) -> Orders {
        let mut places = Orders::default();
        let mut orders = orders.into_iter();
        for (place, order) in places.0.iter_mut().zip(&mut orders) {
            *place = Some(order);
        }
        debug_assert!(orders.next().is_none(), "more than {MOST} orders");
        places
    }
}

impl IntoIterator for Orders {
    type Item = Order;
    type IntoIter = std::iter::Flatten<std::array::IntoIter<Option<Order>, MOST>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter().flatten()
    }
}
