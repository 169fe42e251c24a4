//! All devices: the transport that calls them.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use harp_jobs::hold::{Hold, Token};
use harp_jobs::record::CallRecord;
use harp_jobs::transport::{Attempt, How, Minted, Transport, Unreached};
use harp_jobs::world::World;
use harp_values::Failure;
use tracing::warn;

use crate::command::CommandAttempt;
use crate::device::Standing;
use crate::entry::Entry;
use crate::procedure::Procedure;
use crate::shared::Shared;
use crate::stream::{self, StreamAttempt};
use crate::surroundings::Surroundings;
use crate::tally::Tally;
use crate::token::Note;

/// The devices of the registry, and how they are called. Dropped, it talks to none any more.
pub struct Devices(Arc<Shared>);

impl Devices {
    /// No devices at first. `kept` is the text that was kept last; what cannot be read of it is
    /// passed over. To be called on the runtime that the tasks of devices are to run on.
    #[must_use]
    pub fn new(world: Arc<dyn World>, surroundings: Arc<dyn Surroundings>, kept: &[u8]) -> Devices {
        Devices(Arc::new(Shared::new(world, surroundings, kept)))
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
            entries.contains_key(name) || kept.device.entry().is_some() || kept.is_wanted()
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
        attempt.unwrap_or_else(|failure| Box::new(Unreached::new(failure)))
    }
}
