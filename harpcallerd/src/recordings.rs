//! Recordings: the events of each device of which the registry says so, in one job after the
//! other, for as long as it says so.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use harp_jobs::jobs::Submission;
use harp_jobs::ledger::{Accepted, Room};
use harp_jobs::record::CallRecord;
use harp_proto::{JobId, Json, Outcome};
use harp_service::tasks::Tasks;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::dispatcher::Dispatcher;
use crate::hosts::{Host, Hosts};

/// The client of recordings.
const CLIENT: &str = "device";

/// Before a recording that has failed is begun anew; doubled each time.
const PAUSE: Duration = Duration::from_secs(1);

/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// One that has gone on for so long has not failed.
const LASTED: Duration = Duration::from_secs(60);

/// Keeps recordings going. `going` are those that went on over the start of the dispatcher, by
/// their hosts. Dropped, it begins none any more.
pub async fn keep(
    dispatcher: Arc<Dispatcher>,
    hosts: Arc<Hosts>,
    mut going: HashMap<String, JobId>,
) {
    let mut registry = hosts.subscribe();
    let mut recording: HashMap<String, Tasks> = HashMap::new();
    loop {
        let now = Arc::clone(&registry.borrow_and_update());
        let is_recorded = |name: &str| match now.get(name) {
            Some(Host::Autotrainer(device)) => device.entry.record,
            _ => false,
        };
        recording.retain(|name, _| is_recorded(name));
        for name in now.keys().filter(|name| is_recorded(name)) {
            recording.entry(name.clone()).or_insert_with(|| {
                let first = going.remove(name);
                let tasks = Tasks::of_phase("recordings");
                let work = record(Arc::clone(&dispatcher), name.clone(), first);
                tasks.spawn("recording", work);
                tasks
            });
        }
        if registry.changed().await.is_err() {
            return;
        }
    }
}

/// Records one device, in one job after the other.
async fn record(dispatcher: Arc<Dispatcher>, host: String, mut first: Option<JobId>) {
    let mut pause = PAUSE;
    loop {
        let began = Instant::now();
        let job = match first.take() {
            Some(job) => Some(job),
            None => submit(&dispatcher, &host).await,
        };
        let is_full = match job {
            Some(job) => ended_well(&dispatcher, job).await,
            None => false,
        };
        if is_full || began.elapsed() >= LASTED {
            pause = PAUSE;
        }
        if !is_full {
            sleep(pause).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }
}

async fn submit(dispatcher: &Dispatcher, host: &str) -> Option<JobId> {
    let arguments = "{}".parse().unwrap_or(Json::NULL);
    let call = CallRecord {
        client: Some(CLIENT.to_owned()),
        endless: true,
        ..CallRecord::new(host, "events", arguments, 0)
    };
    let call = Submission {
        call,
        unless_since: None,
        start_by: None,
    };
    // It is the dispatcher's own, so that no client can keep it out.
    let room = Room {
        live_jobs: usize::MAX,
        queue_length: usize::MAX,
    };
    match dispatcher.jobs().submit(call, room).await {
        Ok(Accepted::New(job) | Accepted::Before(job)) => Some(job),
        Err(error) => {
            warn!(host, %error, "the device's events cannot be recorded now");
            None
        }
    }
}

/// Waits for the end of a recording: whether it goes on in the next one without a pause.
async fn ended_well(dispatcher: &Dispatcher, job: JobId) -> bool {
    match dispatcher.jobs().wait(job).await {
        Ok(Some(end)) => match &end.outcome {
            Outcome::Returned(_) => end.packets > 0,
            other => {
                info!(%job, outcome = other.name(), "a recording has ended, another one is begun");
                false
            }
        },
        // The dispatcher stops.
        Ok(None) | Err(_) => std::future::pending().await,
    }
}
