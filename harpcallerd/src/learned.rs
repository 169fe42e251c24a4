//! What hosts have said of their procedures: they are asked by the procedure `harpd.describe`,
//! when somebody wants to know and, if the configuration wants it, after each refresh of the
//! registry. It is remembered as long as the dispatcher runs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use harp_host::{Connection, Event, HostErrorKind, Limits};
use harp_proto::host::Request;
use harp_proto::{Json, Outcome, error_type};
use harp_time::clock;
use serde::Deserialize;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout};
use tracing::debug;

use crate::declared::Declarations;
use crate::hosts::{Harpd, Hosts};
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
#[derive(Debug)]
pub struct Learned {
    hosts: Arc<Hosts>,
    rules: watch::Receiver<Arc<Rules>>,
    said: Mutex<HashMap<String, Arc<Said>>>,
    places: Semaphore,
}

/// What a host has said.
#[derive(Debug)]
pub struct Said {
    /// Its procedures, as far as the dispatcher's user there may call them.
    pub procedures: Procedures,
    /// When it has said so, in milliseconds since 1970.
    pub learned: u64,
    at: Instant,
}

impl Said {
    /// Whether it is so new that a call may be refused for it.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.at.elapsed() <= FRESH
    }
}

impl Learned {
    /// Nothing yet.
    #[must_use]
    pub fn new(hosts: Arc<Hosts>, rules: watch::Receiver<Arc<Rules>>) -> Learned {
        Learned {
            hosts,
            rules,
            said: Mutex::default(),
            places: Semaphore::new(AT_ONCE),
        }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Arc<Said>>> {
        // A std mutex: held for a map operation.
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a host has said, if it was asked.
    #[must_use]
    pub fn of(&self, host: &str) -> Option<Arc<Said>> {
        self.all().get(host).cloned()
    }

    /// Whether a host has said anything of results.
    #[must_use]
    pub fn has_results(&self) -> bool {
        self.all()
            .values()
            .any(|said| procedures::have_results(&said.procedures))
    }

    /// Asks a host, unless it has said something since the question came; `None` if it cannot
    /// be asked. Cancel safe.
    pub async fn ask(&self, host: &str) -> Option<Arc<Said>> {
        let asked = Instant::now();
        // It is never closed.
        let _place = self.places.acquire().await.ok()?;
        if let Some(said) = self.of(host).filter(|said| said.at >= asked) {
            return Some(said);
        }
        let harpd = self.hosts.harpd(host)?;
        let procedures = timeout(PATIENCE, self.question(&harpd)).await.ok()??;
        let said = Arc::new(Said {
            procedures,
            learned: clock::now(),
            at: Instant::now(),
        });
        self.all().insert(host.to_owned(), Arc::clone(&said));
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

/// Asks all hosts after each refresh of the registry, as long as the configuration wants that,
/// and forgets those that are not there any more. Goes on for as long as the daemon does.
pub async fn follow(learned: Arc<Learned>, mut declared: watch::Receiver<Arc<Declarations>>) {
    let mut registry = learned.hosts.subscribe();
    loop {
        let hosts = Arc::clone(&registry.borrow_and_update());
        learned.all().retain(|host, _| hosts.contains_key(host));
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
