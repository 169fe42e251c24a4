//! All devices: the transport that calls them.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use harp_jobs::hold::{Hold, Token};
use harp_jobs::record::CallRecord;
use harp_jobs::transport::{Attempt, How, Minted, Transport};
use harp_jobs::world::{BoxFuture, World};
use harp_values::{Failure, JobId};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tracing::warn;

use crate::command::CommandAttempt;
use crate::device::{Device, Standing};
use crate::entry::Entry;
use crate::health::Known;
use crate::nonces::Nonces;
use crate::procedure::Procedure;
use crate::refused::Refused;
use crate::stream::StreamAttempt;
use crate::tally::Tally;
use crate::token::Note;
use crate::{commanding, listening, stream};

/// What calls of devices go by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// For connecting, and for all that comes before a command goes out.
    pub connect_timeout: Duration,
    /// Bytes of one message of a device, at most.
    pub max_packet_size: usize,
    /// Packets that a job may leave behind; a recording goes on in the next one before.
    pub max_packets: u64,
}

/// What devices have around them: what their calls go by, and what is kept elsewhere.
pub trait Surroundings: Send + Sync {
    /// What calls go by now.
    fn settings(&self) -> Settings;

    /// Keeps this text, in place of the one before; durable when it completes.
    fn keep(&self, text: Vec<u8>) -> BoxFuture<'static, io::Result<()>>;

    /// When the last of a job's packets came, in milliseconds since 1970; `count` is how many
    /// it has. `None` if that cannot be read.
    fn last_packet(&self, job: JobId, count: u64) -> BoxFuture<'static, Option<u64>>;
}

/// The devices of the registry, and how they are called. Dropped, it talks to none any more.
pub struct Devices(Arc<Shared>);

/// What all calls of devices share.
pub(crate) struct Shared {
    pub(crate) world: Arc<dyn World>,
    pub(crate) surroundings: Arc<dyn Surroundings>,
    pub(crate) nonces: Nonces,
    tally: Arc<Tally>,
    devices: Mutex<HashMap<String, Kept>>,
    /// Of devices that are not in the registry.
    others: BTreeMap<String, Known>,
    /// Rung when there is something to keep.
    learned: Arc<Notify>,
    saving: tokio::sync::Mutex<()>,
}

/// A device and its tasks.
struct Kept {
    device: Arc<Device>,
    _tasks: [Task; 2],
}

/// A task that ends with whoever began it.
struct Task(AbortHandle);

impl Task {
    fn begin(work: impl Future<Output = ()> + Send + 'static) -> Task {
        Task(tokio::spawn(work).abort_handle())
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

impl Devices {
    /// No devices at first. `kept` is the text that was kept last; what cannot be read of it is
    /// passed over. To be called on the runtime that the tasks of devices are to run on.
    #[must_use]
    pub fn new(world: Arc<dyn World>, surroundings: Arc<dyn Surroundings>, kept: &[u8]) -> Devices {
        let kept: Text = match kept {
            [] => Text::default(),
            kept => serde_json::from_slice(kept).unwrap_or_else(|error| {
                warn!(%error, "what was kept of devices cannot be read and is learned again");
                Text::default()
            }),
        };
        Devices(Arc::new(Shared {
            world,
            surroundings,
            nonces: Nonces::above(kept.nonce),
            tally: Arc::default(),
            devices: Mutex::default(),
            others: kept.devices,
            learned: Arc::default(),
            saving: tokio::sync::Mutex::default(),
        }))
    }

    /// Keeps what is learned of devices, for ever.
    pub async fn keep_what_is_learned(&self) {
        loop {
            self.0.learned.notified().await;
            if let Err(error) = self.0.save(self.0.nonces.kept()).await {
                warn!(%error, "what was learned of devices cannot be kept");
            }
        }
    }

    /// These are the devices of the registry now, by their names.
    pub fn set(&self, entries: impl IntoIterator<Item = (String, Entry)>) {
        let mut entries: HashMap<String, Entry> = entries.into_iter().collect();
        let mut devices = self.0.devices();
        // One that a job still waits for stays, as one that the registry does not have.
        devices.retain(|name, kept| {
            entries.contains_key(name)
                || kept.device.entry().is_some()
                || Arc::strong_count(&kept.device) > 1 + kept._tasks.len()
        });
        for (name, kept) in devices.iter() {
            let entry = entries.remove(name);
            if entry != kept.device.entry() {
                kept.device.enter(entry);
            }
        }
        drop(devices);
        for (name, entry) in entries {
            self.0.device(&name).enter(Some(entry));
        }
    }

    /// Makes sure that a device of the registry is known.
    pub fn know(&self, name: &str, entry: &Entry) {
        let device = self.0.device(name);
        if device.entry().is_none() {
            device.enter(Some(entry.clone()));
        }
    }

    /// How a device stands; `None` if there is none of this name.
    #[must_use]
    pub fn standing(&self, name: &str) -> Option<Standing> {
        let devices = self.0.devices();
        devices.get(name).map(|kept| kept.device.standing())
    }

    /// What has come of all devices.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.0.tally
    }

    /// Whether a token on record is of this transport.
    #[must_use]
    pub fn is_of(token: &Token) -> bool {
        Note::read(token).is_some()
    }

    /// Whether a job with this token on record may go on after a start of the dispatcher.
    #[must_use]
    pub fn may_go_on(token: &Token) -> bool {
        Note::read(token).is_some_and(Note::may_go_on)
    }
}

impl fmt::Debug for Devices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} devices", self.0.devices().len())
    }
}

impl Transport for Devices {
    fn mint(&self, call: &CallRecord) -> Minted {
        let note = match Procedure::of(&call.procedure) {
            Some(Procedure::Events) => stream::note(&self.0),
            _ => self.0.sent_note(),
        };
        Minted {
            token: note.token(),
            pool: None,
        }
    }

    fn begin(&self, hold: Hold, call: Arc<CallRecord>, how: How, token: Token) -> Box<dyn Attempt> {
        let (shared, note) = (&self.0, Note::read(&token));
        let attempt: Result<Box<dyn Attempt>, Failure> = match Procedure::of(&call.procedure) {
            Some(Procedure::Events) => StreamAttempt::new(shared, hold, &call, how, note)
                .map(|attempt| Box::new(attempt) as Box<dyn Attempt>),
            Some(Procedure::Command(number)) => {
                CommandAttempt::new(shared, hold, &call, number, how, note)
                    .map(|attempt| Box::new(attempt) as Box<dyn Attempt>)
            }
            None => Err(crate::refused::no_such_procedure(&call.procedure)),
        };
        attempt.unwrap_or_else(|failure| Box::new(Refused::new(failure)))
    }
}

impl Shared {
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
            self.others.get(name).cloned().unwrap_or_default(),
        ));
        let listening = listening::listen(Arc::clone(&device), Arc::clone(&self.surroundings));
        let commanding = commanding::command(Arc::clone(&device), Arc::clone(&self.surroundings));
        let kept = Kept {
            device: Arc::clone(&device),
            _tasks: [Task::begin(listening), Task::begin(commanding)],
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

    async fn save(&self, nonce: u64) -> io::Result<()> {
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

    fn devices(&self) -> MutexGuard<'_, HashMap<String, Kept>> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
