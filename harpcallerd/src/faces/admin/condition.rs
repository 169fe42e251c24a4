//! How the daemon is, as administrators and what watches over it are told. The daemon writes it
//! and the command `status` reads it. Times are seconds since 1970.

use harp_jobs::client::Client;
use harp_time::clock;
use serde::{Deserialize, Serialize};

use crate::desk::admin::{self, Administration, Started};
use crate::desk::measure::Measures;
use crate::meters::requests::Protocol;

/// How it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// In one word.
    pub state: State,
    /// When the process began; `None` if there is none that says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// The version that runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Jobs; from here on all is known once the start is complete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jobs: Option<Jobs>,
    /// Clients that are connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<u64>,
    /// The job store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<Store>,
    /// The hosts registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registry: Option<RegistryFigures>,
    /// Lines that are missing since the process began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lines_lost: Option<LinesLost>,
    /// What is not as it should be, a sentence each.
    #[serde(default)]
    pub attention: Vec<String>,
}

/// How it is, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Its start is not complete.
    Starting,
    /// It does its work.
    Serving,
    /// It runs, and something needs an operator.
    Degraded,
    /// It takes no calls any more, and ends.
    Draining,
    /// There is none. No daemon says so.
    Stopped,
}

/// Jobs that have not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jobs {
    /// Those that wait.
    pub queued: u64,
    /// Those that run.
    pub running: u64,
    /// For how many seconds the one has waited that waits longest.
    pub oldest_waiting: u64,
}

/// The job store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Store {
    /// Where it is.
    pub directory: String,
    /// Whether it can be written.
    pub is_written: bool,
    /// Jobs in it that have ended.
    pub ended: u64,
    /// Bytes that are kept.
    pub size: u64,
    /// Bytes that can still be written there; `None` if the file system does not say.
    pub free: Option<u64>,
}

/// The hosts registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryFigures {
    /// Hosts in it.
    pub hosts: u64,
    /// When it was last as its script has said; `None` if it has not been since the process
    /// began, and comes from its cache.
    pub refreshed: Option<u64>,
    /// Why the last run of the script has left it as it was.
    pub error: Option<String>,
}

/// Lines that could not be written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinesLost {
    /// Of the log.
    pub log: u64,
    /// Of the audit log.
    pub audit: u64,
}

/// How the daemon is at the moment, in which this is not as it should be. Cancel safe.
pub(super) async fn of(
    administration: &Administration,
    attention: Vec<String>,
    by: &Client,
) -> Condition {
    let mut condition = Condition {
        state: administration.stage(&attention).into(),
        since: Some(administration.since / 1000),
        version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        attention,
        ..Condition::in_a_word(State::Starting)
    };
    if let Ok(started) = administration.started() {
        condition.add_figures(&started, by).await;
    }
    condition
}

impl Condition {
    /// Nothing but the word is known.
    #[must_use]
    pub fn in_a_word(state: State) -> Condition {
        Condition {
            state,
            since: None,
            version: None,
            jobs: None,
            connections: None,
            store: None,
            registry: None,
            lines_lost: None,
            attention: Vec::new(),
        }
    }

    async fn add_figures(&mut self, started: &Started, by: &Client) {
        let meters = &started.desk.meters;
        let connections = Protocol::ALL.iter().map(|wire| meters.connections(*wire));
        self.connections = Some(connections.sum());
        let counts = meters.counts();
        self.registry = Some(RegistryFigures {
            hosts: started.hosts.count() as u64,
            refreshed: counts.refreshed.map(|time| time / 1000),
            error: counts.refresh_failure,
        });
        // A store that cannot be read keeps nobody from the rest.
        let Ok(measures) = started.desk.measures(by).await else {
            return;
        };
        let Measures {
            queued,
            running,
            oldest_queued,
            ..
        } = measures;
        self.jobs = Some(Jobs {
            queued,
            running,
            oldest_waiting: oldest_queued / 1000,
        });
        self.store = Some(Store {
            directory: match started.room.directory() {
                Some(directory) => directory.display().to_string(),
                None => "a PostgreSQL database".to_owned(),
            },
            is_written: measures.store_is_up,
            ended: measures.ended,
            size: measures.bytes,
            free: started.room.free().await,
        });
        let (audit, log) = measures.lines_lost;
        self.lines_lost = Some(LinesLost { log, audit });
    }

    /// For how many seconds the process has run.
    #[must_use]
    pub fn age(&self) -> Option<u64> {
        self.since.map(seconds_since)
    }
}

impl RegistryFigures {
    /// How many seconds ago it was last as its script has said.
    #[must_use]
    pub fn age(&self) -> Option<u64> {
        self.refreshed.map(seconds_since)
    }
}

fn seconds_since(time: u64) -> u64 {
    (clock::now() / 1000).saturating_sub(time)
}

impl From<admin::Stage> for State {
    fn from(stage: admin::Stage) -> State {
        match stage {
            admin::Stage::Starting => State::Starting,
            admin::Stage::Serving => State::Serving,
            admin::Stage::Degraded => State::Degraded,
            admin::Stage::Draining => State::Draining,
        }
    }
}
