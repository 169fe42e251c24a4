//! What hosts have said of their procedures: they are asked by the procedure `harpd.describe`,
//! when somebody wants to know and, if the configuration wants it, after each refresh of the
//! registry. It is kept, with the time when it was said, until the host has left the registry.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use harp_host::{Connection, Event, HostErrorKind, Limits};
use harp_jobs::ledger::{Ledger, Paper, PaperEdit, PaperId, PaperKind, Unreadable};
use harp_proto::host::Request;
use harp_proto::{Json, Outcome, error_type};
use harp_time::clock;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout};
use tracing::{debug, warn};

use crate::declared::Declarations;
use crate::hosts::{Harpd, Hosts, Registry};
use crate::procedures::{self, Procedures};
use crate::rules::Rules;

/// The procedure that hosts are asked by.
const DESCRIBE: &str = "harpd.describe";

/// Hosts that are asked at once.
const AT_ONCE: usize = 8;

/// The longest that a host may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What was said longer ago is asked again before a call is refused for it.
const FRESH: Duration = Duration::from_secs(60);

/// What all hosts have said. One for the daemon.
pub struct Learned {
    ledger: Arc<dyn Ledger>,
    hosts: Arc<Hosts>,
    rules: watch::Receiver<Arc<Rules>>,
    said: Mutex<HashMap<String, Kept>>,
    /// Whether anything is said of results.
    has_results: AtomicBool,
    places: Semaphore,
}

impl std::fmt::Debug for Learned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("what hosts have said")
    }
}

/// What a host has said, and how often that has been written down.
struct Kept {
    said: Arc<Said>,
    revision: u64,
}

/// What a host has said.
#[derive(Debug)]
pub struct Said {
    /// Its procedures, as far as the dispatcher's user there may call them.
    pub procedures: Procedures,
    /// When it has said so, in milliseconds since 1970.
    pub learned: u64,
    /// When, by the process's clock; `None` if it was before the process's start.
    at: Option<Instant>,
}

/// What a host has said, as its paper has it.
#[derive(Serialize, Deserialize)]
struct Text {
    host: String,
    learned: u64,
    procedures: Procedures,
}

impl Said {
    /// Whether it is so new that a call may be refused for it.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.at.is_some_and(|at| at.elapsed() <= FRESH)
    }
}

impl Learned {
    /// Takes up what was learned before.
    ///
    /// # Errors
    ///
    /// If the ledger cannot be read.
    pub async fn open(
        ledger: Arc<dyn Ledger>,
        hosts: Arc<Hosts>,
        rules: watch::Receiver<Arc<Rules>>,
    ) -> Result<Learned, Unreadable> {
        let papers = ledger.papers(PaperKind::Learned).await?;
        let learned = Learned {
            ledger,
            hosts,
            rules,
            said: Mutex::new(papers.into_iter().filter_map(read).collect()),
            has_results: AtomicBool::new(false),
            places: Semaphore::new(AT_ONCE),
        };
        learned.look_for_results(&learned.all());
        Ok(learned)
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Kept>> {
        // A std mutex: held for map operations.
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look_for_results(&self, all: &HashMap<String, Kept>) {
        let mut all = all.values();
        let has_results = all.any(|kept| procedures::have_results(&kept.said.procedures));
        self.has_results.store(has_results, Ordering::Relaxed);
    }

    /// Has this be what is known of a host. Nobody waits for it to be on disk: what a crash
    /// takes along is asked again.
    fn keep(&self, host: &str, said: &Arc<Said>) {
        let mut all = self.all();
        let over = all.get(host).map_or(0, |kept| kept.revision);
        let text = Text {
            host: host.to_owned(),
            learned: said.learned,
            procedures: said.procedures.clone(),
        };
        // Texts by their names can be written.
        let text = serde_json::to_vec(&text).unwrap_or_default();
        self.edit(host, over, Some(text));
        let kept = Kept {
            said: Arc::clone(said),
            revision: over + 1,
        };
        all.insert(host.to_owned(), kept);
        self.look_for_results(&all);
    }

    /// Forgets hosts that the registry does not have any more.
    fn retain(&self, hosts: &Registry) {
        let mut all = self.all();
        all.retain(|host, kept| {
            let stays = hosts.contains_key(host);
            if !stays {
                self.edit(host, kept.revision, None);
            }
            stays
        });
        self.look_for_results(&all);
    }

    /// Edits of one host come in the order of their revisions: whoever makes one has the lock.
    fn edit(&self, host: &str, over: u64, text: Option<Vec<u8>>) {
        let text = text.map(Into::into);
        let id = paper_id(host);
        drop(self.ledger.paper(PaperEdit { id, over, text }));
    }

    /// What a host has said, if it was asked.
    #[must_use]
    pub fn of(&self, host: &str) -> Option<Arc<Said>> {
        self.all().get(host).map(|kept| Arc::clone(&kept.said))
    }

    /// Whether a host has said anything of results.
    #[must_use]
    pub fn has_results(&self) -> bool {
        self.has_results.load(Ordering::Relaxed)
    }

    /// Asks a host, unless it has said something since the question came; `None` if it cannot
    /// be asked. Cancel safe.
    pub async fn ask(&self, host: &str) -> Option<Arc<Said>> {
        let asked = Instant::now();
        // It is never closed.
        let _place = self.places.acquire().await.ok()?;
        let is_newer = |said: &Arc<Said>| said.at.is_some_and(|at| at >= asked);
        if let Some(said) = self.of(host).filter(is_newer) {
            return Some(said);
        }
        let harpd = self.hosts.harpd(host)?;
        let procedures = timeout(PATIENCE, self.question(&harpd)).await.ok()??;
        let said = Arc::new(Said {
            procedures,
            learned: clock::now(),
            at: Some(Instant::now()),
        });
        self.keep(host, &said);
        Some(said)
    }

    /// Asks these hosts, so many at once as may be.
    pub async fn ask_all(&self, hosts: Vec<String>) {
        let questions = hosts.iter().map(|host| self.ask(host));
        // Each waits for its place.
        let mut questions: FuturesUnordered<_> = questions.collect();
        while questions.next().await.is_some() {}
    }

    async fn question(&self, harpd: &Harpd) -> Option<Procedures> {
        #[derive(Deserialize)]
        struct Told {
            procedures: Procedures,
        }
        let rules = Arc::clone(&self.rules.borrow());
        let limits = Limits {
            max_packet_size: rules.limits.max_packet_size,
        };
        let deadline = Instant::now() + rules.limits.connect_timeout;
        let request = Request {
            procedure: DESCRIBE.to_owned(),
            arguments: Json::from_trusted((&b"[]"[..]).into()),
            user: harpd.user.clone(),
            password: harpd.password.clone(),
        };
        let asked = async {
            let connection = Connection::open(&harpd.endpoint, &rules.trust, limits, deadline);
            let mut call = connection.await?.request(&request, deadline).await?;
            call.next().await
        };
        let told = match asked.await {
            Ok(Event::End(Outcome::Returned(told))) => told.decode().ok(),
            Ok(_) => None,
            Err(error) => {
                debug!(%error, "a host does not tell of its procedures");
                match error.kind() {
                    // It knows no such thing: nothing is known of what it has.
                    HostErrorKind::Remote(failure)
                        if failure.error_type == error_type::NO_SUCH_PROCEDURE =>
                    {
                        Some(Told {
                            procedures: Procedures::new(),
                        })
                    }
                    _ => None,
                }
            }
        };
        told.map(|told| told.procedures)
    }
}

fn paper_id(host: &str) -> PaperId {
    let digest = ring::digest::digest(&ring::digest::SHA256, host.as_bytes());
    let mut name = [0; 16];
    name.copy_from_slice(&digest.as_ref()[..16]);
    PaperId {
        kind: PaperKind::Learned,
        name: u128::from_be_bytes(name),
    }
}

/// What a paper says of a host. One that cannot be read is passed over.
fn read(paper: Paper) -> Option<(String, Kept)> {
    let Paper { revision, text, .. } = paper;
    let text: Text = serde_json::from_slice(&text)
        .inspect_err(|why| warn!(%why, "what a host has said of its procedures cannot be read"))
        .ok()?;
    let said = Arc::new(Said {
        procedures: text.procedures,
        learned: text.learned,
        at: None,
    });
    Some((text.host, Kept { said, revision }))
}

/// Asks all hosts after each refresh of the registry, as long as the configuration wants that,
/// and forgets those that are not there any more. Goes on for as long as the daemon does.
pub async fn follow(learned: Arc<Learned>, mut declared: watch::Receiver<Arc<Declarations>>) {
    let mut registry = learned.hosts.subscribe();
    loop {
        let hosts = Arc::clone(&registry.borrow_and_update());
        learned.retain(&hosts);
        if declared.borrow_and_update().describes_hosts() {
            let mut names: Vec<_> = hosts.keys().cloned().collect();
            names.sort_unstable();
            learned.ask_all(names).await;
        }
        tokio::select! {
            changed = registry.changed() => if changed.is_err() { return },
            changed = declared.changed() => if changed.is_err() { return },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_host_has_confirmed_what_it_said_within_sixty_seconds_and_in_this_life_alone() {
        let mut said = Said {
            procedures: Procedures::new(),
            learned: 0,
            at: Some(Instant::now()),
        };
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(said.is_fresh());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!said.is_fresh());
        said.at = None;
        assert!(!said.is_fresh());
    }
}
