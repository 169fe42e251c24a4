//! What all calls of devices share: the devices, their tasks, and what is kept of them.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use harp_jobs::world::World;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tracing::{error, warn};

use crate::commanding::Commander;
use crate::device::Device;
use crate::health::Known;
use crate::listening::Publisher;
use crate::nonces::Nonces;
use crate::room::Room;
use crate::surroundings::Surroundings;
use crate::tally::Tally;
use crate::token::Note;
use crate::upkeep::keep_up;

/// What all calls of devices share.
pub(crate) struct Shared {
    pub(crate) world: Arc<dyn World>,
    pub(crate) surroundings: Arc<dyn Surroundings>,
    pub(crate) nonces: Nonces,
    pub(crate) tally: Arc<Tally>,
    devices: Mutex<HashMap<String, Kept>>,
    /// Of devices that are not in the registry.
    others: BTreeMap<String, Known>,
    /// Rung when there is something to keep.
    pub(crate) learned: Arc<Notify>,
    /// What events that wait for their runs hold.
    pub(crate) room: Arc<Room>,
    saving: tokio::sync::Mutex<()>,
}

/// Tasks of a device: one listens, one commands.
const TASKS: usize = 2;

/// A device and its tasks.
pub(crate) struct Kept {
    pub(crate) device: Arc<Device>,
    _tasks: [Task; TASKS],
}

/// A task that ends with the device that it is of.
struct Task(AbortHandle);

/// The name of a task, as long as that is there.
struct Running(&'static str);

impl Task {
    fn begin(name: &'static str, work: impl Future<Output = ()> + Send + 'static) -> Task {
        let running = Running(name);
        let work = async move {
            let _running = running;
            work.await;
        };
        Task(tokio::spawn(work).abort_handle())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            error!(
                task = self.0,
                "a task met a fault of this program and is gone; please report it"
            );
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What is kept.
#[derive(Default, Serialize, Deserialize)]
struct Text {
    /// No command has had a nonce above this.
    #[serde(default)]
    nonce: u64,
    #[serde(default)]
    devices: BTreeMap<String, Known>,
}

impl Kept {
    /// Whether anybody but its tasks has the device in hand.
    pub(crate) fn is_wanted(&self) -> bool {
        Arc::strong_count(&self.device) > 1 + TASKS
    }
}

impl Shared {
    /// No devices at first. `kept` is the text that was kept last; what cannot be read of it is
    /// passed over.
    pub(crate) fn new(
        world: Arc<dyn World>,
        surroundings: Arc<dyn Surroundings>,
        kept: &[u8],
    ) -> Shared {
        let kept: Text = match kept {
            [] => Text::default(),
            kept => serde_json::from_slice(kept).unwrap_or_else(|error| {
                warn!(%error, "what was kept of devices cannot be read and is learned again");
                Text::default()
            }),
        };
        Shared {
            world,
            surroundings,
            nonces: Nonces::above(kept.nonce),
            tally: Arc::default(),
            devices: Mutex::default(),
            others: kept.devices,
            learned: Arc::default(),
            room: Arc::default(),
            saving: tokio::sync::Mutex::default(),
        }
    }

    /// The device of this name, whether the registry has it or not.
    pub(crate) fn device(&self, name: &str) -> Arc<Device> {
        let mut devices = self.devices();
        if let Some(kept) = devices.get(name) {
            return Arc::clone(&kept.device);
        }
        let device = Arc::new(Device::new(
            name,
            Arc::clone(&self.world),
            Arc::clone(&self.tally),
            Arc::clone(&self.learned),
            Arc::clone(&self.room),
            self.others.get(name).cloned().unwrap_or_default(),
        ));
        let (listening, commanding) = (
            keep_up::<Publisher>(Arc::clone(&device), Arc::clone(&self.surroundings)),
            keep_up::<Commander>(Arc::clone(&device), Arc::clone(&self.surroundings)),
        );
        let kept = Kept {
            device: Arc::clone(&device),
            _tasks: [
                Task::begin("device's publisher", listening),
                Task::begin("device's commands", commanding),
            ],
        };
        devices.insert(name.to_owned(), kept);
        device
    }

    /// The note of a command that may go out: with a nonce of its own.
    pub(crate) fn sent_note(&self) -> Note {
        let nonce = self.nonces.next(self.world.wall());
        Note::Sent { nonce }
    }

    /// Makes sure that no later life of the dispatcher uses a nonce again.
    pub(crate) async fn secure(&self, nonce: u64) -> io::Result<()> {
        if let Some(kept) = self.nonces.wanted(nonce) {
            self.save(kept).await?;
        }
        Ok(())
    }

    /// Keeps what is known of devices, and that no command has had a nonce above this.
    pub(crate) async fn save(&self, nonce: u64) -> io::Result<()> {
        let _saving = self.saving.lock().await;
        let nonce = nonce.max(self.nonces.kept());
        let mut text = Text {
            nonce,
            devices: self.others.clone(),
        };
        for (name, kept) in self.devices().iter() {
            text.devices.insert(name.clone(), kept.device.known());
        }
        text.devices.retain(|_, known| *known != Known::default());
        self.surroundings.keep(serde_json::to_vec(&text)?).await?;
        self.nonces.keep(nonce);
        Ok(())
    }

    pub(crate) fn devices(&self) -> MutexGuard<'_, HashMap<String, Kept>> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
