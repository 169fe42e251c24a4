//! When each host was last heard of, why it could last not be called, and which calls wait there
//! until fewer run: for people who look at hosts and jobs. It is of this life of the dispatcher,
//! and decides nothing.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use harp_proto::{Failure, JobId};
use harp_time::clock;

/// Hosts that are remembered; of more, those that were noted longest ago are forgotten.
const MOST: usize = 100_000;

/// What is known of all hosts. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct HostContacts(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    contacts: Mutex<HashMap<String, Contact>>,
    /// Jobs of which a host says that they wait there.
    waiting: Mutex<HashSet<JobId>>,
}

/// A job waits at its host as long as this is held.
#[derive(Debug)]
pub struct WaitsThere {
    contacts: HostContacts,
    job: JobId,
}

/// What is known of a host. Times are milliseconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contact {
    /// When a connection to it was last opened, or something came by one.
    pub heard: Option<u64>,
    /// Why it could last not be reached.
    pub failure: Option<ContactFailure>,
}

/// Why a host could not be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContactFailure {
    /// The type of the error.
    pub error_type: String,
    /// What the system calls it, if it does.
    pub code: Option<String>,
    /// When that was.
    pub time: u64,
}

impl HostContacts {
    /// What is known of a host.
    #[must_use]
    pub fn of(&self, host: &str) -> Contact {
        self.contacts().get(host).cloned().unwrap_or_default()
    }

    /// The host was heard.
    pub fn heard(&self, host: &str) {
        self.note(host, |contact, now| contact.heard = Some(now));
    }

    /// It could not be reached.
    pub fn failed(&self, host: &str, failure: &Failure) {
        let data = failure.data.as_ref();
        let code = data.and_then(|data| data.decode::<serde_json::Value>().ok());
        let code = code.and_then(|data| data["code"].as_str().map(str::to_owned));
        self.note(host, |contact, now| {
            contact.failure = Some(ContactFailure {
                error_type: failure.error_type.clone(),
                code,
                time: now,
            });
        });
    }

    /// The job waits at its host until fewer calls run there.
    #[must_use]
    pub fn waits(&self, job: JobId) -> WaitsThere {
        self.waiting().insert(job);
        WaitsThere {
            contacts: self.clone(),
            job,
        }
    }

    /// True if the job waits at its host until fewer calls run there, as far as the host has
    /// said so.
    #[must_use]
    pub fn has_waiting(&self, job: JobId) -> bool {
        self.waiting().contains(&job)
    }

    fn note(&self, host: &str, note: impl FnOnce(&mut Contact, u64)) {
        let now = clock::now();
        let mut contacts = self.contacts();
        if let Some(contact) = contacts.get_mut(host) {
            return note(contact, now);
        }
        if contacts.len() >= MOST {
            let mut times: Vec<u64> = contacts.values().map(Contact::newest).collect();
            let (_, middle, _) = times.select_nth_unstable(MOST / 2);
            let middle = *middle;
            contacts.retain(|_, contact| contact.newest() > middle);
        }
        note(contacts.entry(host.to_owned()).or_default(), now);
    }

    fn contacts(&self) -> MutexGuard<'_, HashMap<String, Contact>> {
        // A std mutex: held for a few map operations, never across an await.
        let contacts = &self.0.contacts;
        contacts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> MutexGuard<'_, HashSet<JobId>> {
        let waiting = &self.0.waiting;
        waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for WaitsThere {
    fn drop(&mut self) {
        self.contacts.waiting().remove(&self.job);
    }
}

impl Contact {
    fn newest(&self) -> u64 {
        let failed = self.failure.as_ref().map(|failure| failure.time);
        self.heard.max(failed).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_job_waits_at_its_host_as_long_as_that_is_held() {
        let contacts = HostContacts::default();
        let job = JobId::submitted_at(1);
        let waits = contacts.waits(job);
        assert!(contacts.has_waiting(job) && !contacts.has_waiting(JobId::NONE));
        drop(waits);
        assert!(!contacts.has_waiting(job));
    }

    #[test]
    fn the_newest_of_a_host_is_known() {
        let contacts = HostContacts::default();
        assert_eq!(contacts.of("web01"), Contact::default());
        contacts.heard("web01");
        let failure = Failure::new("network_error", "x").with_data(&json!({"code": "etimedout"}));
        contacts.failed("web01", &failure);
        let known = contacts.of("web01");
        assert!(known.heard.is_some());
        let failure = known.failure.unwrap();
        assert_eq!(failure.code.as_deref(), Some("etimedout"));
    }
}
