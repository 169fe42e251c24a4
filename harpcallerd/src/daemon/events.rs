//! What is asked of the daemon as a whole, by signals and by administrators.

use std::collections::{BTreeMap, VecDeque};
use std::io;

use harp_jobs::refusal::NotReloaded;
use harp_service::signals::{ServiceSignal, Signals};
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use crate::desk::admin::{KeptCalls, Order, Reloaded};

/// Something to do.
pub(super) enum Event {
    /// End, running calls within `stop_grace`.
    Stop(KeptCalls),
    /// End when nothing runs any more.
    Drain,
    /// Read the configuration again, and say what came of it if somebody waits for that.
    Reload(Option<oneshot::Sender<Result<Reloaded, NotReloaded>>>),
}

/// Where events come from.
pub(super) struct Events {
    signals: Signals,
    orders: mpsc::Receiver<Order>,
    /// What came while only a stop was waited for.
    postponed: VecDeque<Event>,
}

impl Events {
    /// Catches the signals from now on.
    pub(super) fn catch(orders: mpsc::Receiver<Order>) -> io::Result<Events> {
        Ok(Events {
            signals: Signals::catch()?,
            orders,
            postponed: VecDeque::new(),
        })
    }

    /// The next event. Cancel safe.
    pub(super) async fn next(&mut self) -> Event {
        match self.postponed.pop_front() {
            Some(event) => event,
            None => self.arriving().await,
        }
    }

    /// Completes when the daemon is to stop; everything else waits for [`Events::next`].
    /// Cancel safe.
    pub(super) async fn stop(&mut self) -> KeptCalls {
        loop {
            match self.arriving().await {
                Event::Stop(calls) => return calls,
                event => self.postponed.push_back(event),
            }
        }
    }

    async fn arriving(&mut self) -> Event {
        tokio::select! {
            biased;
            signal = self.signals.next() => match signal {
                ServiceSignal::Stop => Event::Stop(KeptCalls::Leave),
                ServiceSignal::Reload => Event::Reload(None),
            },
            Some(order) = self.orders.recv() => match order {
                Order::Stop(calls) => Event::Stop(calls),
                Order::Drain => Event::Drain,
                Order::Reload(reply) => Event::Reload(Some(reply)),
            },
        }
    }

    /// Completes when a start that is under way has to be given up.
    pub(super) async fn end_of_start(&mut self) {
        loop {
            match self.next().await {
                Event::Stop(_) | Event::Drain => return,
                Event::Reload(None) => warn!("not reloaded, the start is not complete"),
                Event::Reload(Some(reply)) => {
                    let why = "harpcallerd is starting; status --wait waits for it";
                    let refused = NotReloaded::Parts(BTreeMap::from([("start", why.to_owned())]));
                    // Whoever does not wait any more does not need the answer.
                    let _ = reply.send(Err(refused));
                }
            }
        }
    }
}
