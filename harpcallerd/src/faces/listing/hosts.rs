//! Hosts: what a list of them asks for, and its page.

use harp_device::Standing;
use serde::Serialize;

use super::cursor::Question;
use super::jobs::limit;
use super::names::{NameFault, Names};
use crate::desk::hosts::HostOverview;

/// Which hosts are asked for.
#[derive(Debug)]
pub struct Asked {
    /// This is part of their name or address.
    pub part: String,
    /// They stand behind this one.
    pub after: Option<String>,
    /// At most so many.
    pub limit: usize,
    question: Question,
}

/// A page of hosts.
#[derive(Debug, Serialize)]
pub struct Page<'a> {
    hosts: Vec<Host<'a>>,
    next: Option<String>,
}

/// A host, to be written.
#[derive(Debug, Serialize)]
pub struct Host<'a> {
    name: &'a str,
    address: &'a str,
    port: u16,
    running: u64,
    queued: u64,
    last_contact: Option<u64>,
    last_failure: Option<LastFailure<'a>>,
    kind: &'a str,
    state: Option<&'static str>,
    device: Option<DeviceState<'a>>,
}

/// What a device tells of itself, to be written. Times are in milliseconds.
#[derive(Debug, Serialize)]
pub struct DeviceState<'a> {
    heartbeat: Option<u64>,
    age: Option<u64>,
    interval: Option<u64>,
    identifier: Option<&'a str>,
    version: Option<&'a str>,
    why: Option<&'a str>,
}

impl<'a> From<&'a Standing> for DeviceState<'a> {
    fn from(standing: &'a Standing) -> DeviceState<'a> {
        DeviceState {
            heartbeat: standing.heartbeat,
            age: standing.age,
            interval: standing.interval,
            identifier: standing.identifier.as_deref(),
            version: standing.version.as_deref(),
            why: standing.why.as_deref(),
        }
    }
}

/// The word for how a host stands.
#[must_use]
pub fn state(standing: &Standing) -> &'static str {
    if standing.is_reachable {
        "reachable"
    } else {
        "unreachable"
    }
}

#[derive(Debug, Serialize)]
struct LastFailure<'a> {
    #[serde(rename = "type")]
    error_type: &'a str,
    code: Option<&'a str>,
    time: u64,
}

impl<'a> From<&'a HostOverview> for Host<'a> {
    fn from(host: &'a HostOverview) -> Host<'a> {
        Host {
            name: &host.name,
            address: &host.address,
            port: host.port,
            running: host.load.running,
            queued: host.load.queued,
            last_contact: host.contact.heard.max(
                host.standing
                    .as_ref()
                    .and_then(|standing| standing.heartbeat),
            ),
            last_failure: host.contact.failure.as_ref().map(|failure| LastFailure {
                error_type: &failure.error_type,
                code: failure.code.as_deref(),
                time: failure.time,
            }),
            kind: host.kind,
            state: host.standing.as_ref().map(state),
            device: host.standing.as_ref().map(DeviceState::from),
        }
    }
}

impl Asked {
    /// Takes all names.
    ///
    /// # Errors
    ///
    /// With the name that is wrong or means nothing.
    pub fn take(mut names: Names) -> Result<Asked, NameFault> {
        let question = Question::of("hosts", &names);
        let limit = limit(&mut names)?;
        let part = names.text("q")?.unwrap_or_default();
        let after = match names.text("cursor")? {
            None => None,
            Some(cursor) => {
                let place = String::from_utf8(question.place(&cursor)?);
                let wrong = |_| NameFault::new("cursor", "is not one of this list");
                Some(place.map_err(wrong)?)
            }
        };
        names.done()?;
        Ok(Asked {
            part,
            after,
            limit,
            question,
        })
    }

    /// What there is.
    #[must_use]
    pub fn page<'a>(&self, hosts: &'a [HostOverview]) -> Page<'a> {
        let last = hosts.last().filter(|_| hosts.len() >= self.limit);
        let next = last.map(|last| self.question.cursor(last.name.as_bytes()));
        Page {
            hosts: hosts.iter().map(Host::from).collect(),
            next,
        }
    }
}
