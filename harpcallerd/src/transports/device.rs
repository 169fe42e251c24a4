//! Devices as this daemon has them: those of its hosts registry, what is known of them in its
//! store.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use harp_budget::Share;
use harp_device::{Devices, Entry, Settings, Surroundings};
use harp_jobs::ledger::{Edited, Ledger, PaperEdit, PaperId, PaperKind};
use harp_jobs::world::{BoxFuture, World};
use harp_proto::JobId;
use tokio::sync::watch;
use tracing::warn;

use crate::hosts::{Host, Hosts, Registry};
use crate::rules::Rules;

/// The one paper about devices.
const PAPER: PaperId = PaperId {
    kind: PaperKind::Devices,
    name: 0,
};

/// The devices of the registry as it is now, with what the ledger knows of them. They are
/// connected to at once.
pub async fn open(
    world: Arc<dyn World>,
    ledger: Arc<dyn Ledger>,
    rules: watch::Receiver<Arc<Rules>>,
    hosts: &Hosts,
) -> Devices {
    let papers = ledger.papers(PaperKind::Devices).await;
    let papers = papers.unwrap_or_else(|error| {
        warn!(%error, "what is known of devices cannot be read and is learned again");
        Vec::new()
    });
    let paper = papers.into_iter().find(|paper| paper.id == PAPER);
    let (revision, text) =
        paper.map_or_else(Default::default, |paper| (paper.revision, paper.text));
    let here = Here {
        ledger,
        rules,
        revision: Arc::new(Mutex::new(revision)),
    };
    let devices = Devices::new(world, Arc::new(here), &text);
    devices.set(entries(&hosts.all()));
    devices
}

/// Has the devices be those of the registry, and keeps what is learned of them, for as long as
/// there is a registry.
pub async fn follow(devices: Arc<Devices>, hosts: Arc<Hosts>) {
    let mut registry = hosts.subscribe();
    let following = async {
        loop {
            let now = Arc::clone(&registry.borrow_and_update());
            devices.set(entries(&now));
            if registry.changed().await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = following => {}
        () = devices.keep_what_is_learned() => {}
    }
}

fn entries(registry: &Registry) -> Vec<(String, Entry)> {
    let devices = registry.iter().filter_map(|(name, host)| match host {
        Host::Autotrainer(device) => Some((name.clone(), device.entry.clone())),
        Host::Harpd(_) => None,
    });
    devices.collect()
}

/// What devices have around them here.
#[derive(Clone)]
struct Here {
    ledger: Arc<dyn Ledger>,
    rules: watch::Receiver<Arc<Rules>>,
    /// Of the paper that is there. Changes of it come one after the other.
    revision: Arc<Mutex<u64>>,
}

impl Surroundings for Here {
    fn settings(&self) -> Settings {
        let rules = self.rules.borrow();
        Settings {
            connect_timeout: rules.limits.connect_timeout,
            max_packet_size: rules.limits.max_packet_size,
            max_packets: rules.limits.output.max_packets,
        }
    }

    fn share(&self, device: &str) -> Share {
        self.rules.borrow().memory.share(&device)
    }

    fn keep(&self, text: Vec<u8>) -> BoxFuture<'static, io::Result<()>> {
        let (ledger, revision) = (Arc::clone(&self.ledger), Arc::clone(&self.revision));
        Box::pin(async move {
            let text = bytes::Bytes::from(text);
            loop {
                let over = *revision.lock().unwrap_or_else(PoisonError::into_inner);
                let edit = PaperEdit {
                    id: PAPER,
                    over,
                    text: Some(text.clone()),
                };
                let edited = ledger.paper(edit).await;
                let edited = edited.map_err(io::Error::other)?;
                let mut revision = revision.lock().unwrap_or_else(PoisonError::into_inner);
                match edited {
                    Edited::Done => {
                        *revision = over + 1;
                        return Ok(());
                    }
                    Edited::Other(found) => *revision = found.map_or(0, |paper| paper.revision),
                }
            }
        })
    }

    fn last_packet(&self, job: JobId, count: u64) -> BoxFuture<'static, Option<u64>> {
        let last = count.saturating_sub(1);
        let segments = self.ledger.segments(job, last, 1);
        Box::pin(async move {
            let segments = segments.await.ok()?;
            let packets = segments.iter().flat_map(|segment| segment.iter_from(last));
            packets.map(|(_, time, _)| time).last()
        })
    }

    fn last_of_ended(&self, job: JobId) -> BoxFuture<'static, Option<u64>> {
        let here = self.clone();
        Box::pin(async move {
            let end = here.ledger.end(job).await.ok()??;
            let last = match end.packets {
                0 => None,
                packets => here.last_packet(job, packets).await,
            };
            Some(last.unwrap_or(end.ended))
        })
    }
}
