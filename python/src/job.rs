//! Jobs and their packets.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use harp_client::{Cancellation, Error, Packet, RemoteCall};
use pyo3::prelude::*;

use crate::given::seconds;
use crate::operation::Operation;
use crate::outcome::ended;
use crate::owned::Owned;
use crate::words::Words;
use crate::work::Answer;

/// A job of a dispatcher.
#[pyclass(frozen, module = "harp._harp")]
pub(crate) struct Job {
    call: Owned<RemoteCall>,
    words: Words,
}

impl Job {
    pub(crate) fn new(call: RemoteCall, words: Words) -> Job {
        Job {
            call: Owned::new(call),
            words,
        }
    }

    fn operation<F>(&self, work: impl FnOnce(RemoteCall) -> F) -> Operation
    where
        F: Future<Output = Result<Answer, Error>> + Send + 'static,
    {
        Operation::new(&self.words, work(self.call.clone()))
    }
}

#[pymethods]
impl Job {
    /// Its id.
    fn id(&self) -> String {
        self.call.id().to_string()
    }

    /// True if a call with the same key had made it before.
    fn existing(&self) -> bool {
        self.call.existing()
    }

    /// How it ended, if it has.
    fn result(&self) -> Operation {
        self.operation(async |call| Ok(Answer::new(call.result().await?.map(ended))))
    }

    /// How it ends.
    fn wait(&self) -> Operation {
        self.operation(async |call| Ok(Answer::new(ended(call.wait().await?))))
    }

    /// Cancels it.
    fn cancel(&self) -> Operation {
        self.operation(async |call| Ok(Answer::new(call.cancel().await?)))
    }

    /// Cancels it, and waits for its host.
    fn cancel_confirmed(&self) -> Operation {
        self.operation(async |call| {
            Ok(Answer::new(match call.cancel_confirmed().await? {
                Cancellation::NotRunning => None,
                Cancellation::Confirmed => Some(true),
                Cancellation::Unconfirmed => Some(false),
            }))
        })
    }

    /// What the dispatcher knows of it.
    fn status(&self) -> Operation {
        self.operation(async |call| {
            let status = call.status().await?;
            Ok(Answer::new((
                status.host,
                status.procedure,
                status.arguments.to_string(),
                status.info.to_string(),
                since_1970(status.submit_time),
                status.start_time.map(since_1970),
                status.end_time.map(since_1970),
            )))
        })
    }

    /// Its packets: those to come too if it is followed, else those collected so far.
    #[pyo3(signature = (follow, since, recent))]
    fn packets(&self, follow: bool, since: Option<u64>, recent: Option<u64>) -> Packets {
        let packets = if follow {
            self.call.follow()
        } else {
            self.call.stream()
        };
        let packets = match (since, recent) {
            (Some(number), _) => packets.since(number),
            (None, Some(recent)) => packets.recent(recent),
            (None, None) => packets,
        };
        Packets {
            packets: Mutex::new(Some(Owned::new(Arc::new(tokio::sync::Mutex::new(packets))))),
            words: self.words.clone(),
        }
    }
}

/// The packets of a job.
#[pyclass(frozen, module = "harp._harp")]
pub(crate) struct Packets {
    /// `None` once they were closed.
    packets: Mutex<Option<Owned<Shared>>>,
    words: Words,
}

type Shared = Arc<tokio::sync::Mutex<harp_client::Packets>>;

impl Packets {
    fn operation<F>(&self, work: impl FnOnce(Shared) -> F + Send + 'static) -> Operation
    where
        F: Future<Output = Result<Answer, Error>> + Send,
    {
        let packets = self.packets.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = packets.as_deref().map(Arc::clone);
        drop(packets);
        Operation::new(&self.words, async move {
            match shared {
                Some(shared) => work(shared).await,
                None => Ok(Answer::none()),
            }
        })
    }
}

#[pymethods]
impl Packets {
    /// Asks for them.
    fn open(&self) -> Operation {
        self.operation(async |packets| {
            packets.lock().await.open().await?;
            Ok(Answer::none())
        })
    }

    /// The next one with its number; false if none comes within so many seconds.
    #[pyo3(signature = (timeout))]
    fn next(&self, timeout: Option<f64>) -> Operation {
        self.operation(async move |packets| {
            let next = async { packets.lock().await.next().await.transpose() };
            let packet = match timeout {
                None => next.await?,
                Some(limit) => match tokio::time::timeout(seconds(limit), next).await {
                    Ok(packet) => packet?,
                    Err(_) => return Ok(Answer::new(false)),
                },
            };
            Ok(Answer::new(packet.map(numbered)))
        })
    }

    /// All that are left, with their numbers.
    fn rest(&self) -> Operation {
        self.operation(async |packets| {
            let mut packets = packets.lock().await;
            let mut rest = Vec::new();
            while let Some(packet) = packets.next().await {
                rest.push(numbered(packet?));
            }
            Ok(Answer::new(rest))
        })
    }

    /// Closes their connection; there are none after that.
    fn close(&self) {
        let closed = self
            .packets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(closed);
    }
}

fn numbered(packet: Packet) -> (u64, String) {
    (packet.number, packet.data.to_string())
}

/// Whole seconds, as the protocol has them.
fn since_1970(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}
