//! How the dispatcher stands, in numbers.

use harp_device::Standing;
use harp_jobs::access::Operation;
use harp_jobs::changes::Totals;
use harp_jobs::client::Client;
use harp_jobs::ledger::Ledger as _;
use harp_jobs::refusal::Refusal;
use harp_ledger::store::StoreCounts;
use harp_time::clock;

use super::Desk;
use crate::hosts::Host;

/// How the dispatcher stands.
#[derive(Debug, Clone, Default)]
pub struct Measures {
    /// Jobs that wait.
    pub queued: u64,
    /// Jobs that run.
    pub running: u64,
    /// Jobs that have ended and are stored.
    pub ended: u64,
    /// Bytes of all that is stored.
    pub bytes: u64,
    /// Queues that have a job.
    pub queues: u64,
    /// Places that ended jobs still hold.
    pub places_kept: u64,
    /// For how long the oldest job waits that does, in milliseconds.
    pub oldest_queued: u64,
    /// Hosts of the registry.
    pub hosts: u64,
    /// Services that are registered.
    pub services: u64,
    /// Jobs that workers have.
    pub claims: u64,
    /// Of its devices, by their names: how they stand.
    pub devices: Vec<(String, Standing)>,
    /// What has come of devices since the start: events, answers that nobody waited for,
    /// messages that are none, signs that one was started anew.
    pub from_devices: [u64; 4],
    /// True while the store can be written.
    pub store_is_up: bool,
    /// True if no calls are taken any more.
    pub is_draining: bool,
    /// What the store has done.
    pub store: StoreCounts,
    /// Lines that are missing in the audit log, and in the log.
    pub lines_lost: (u64, u64),
    /// Spans that were lost since the start.
    pub spans_lost: u64,
    /// What has happened since the start.
    pub totals: Totals,
    /// Totals of the last hour.
    pub hour: Totals,
    /// Totals of the last day.
    pub day: Totals,
}

impl Desk {
    /// How the dispatcher stands. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`Refusal::Stranger`], [`Refusal::Lapsed`], [`Refusal::Forbidden`],
    /// [`Refusal::Storage`].
    pub async fn measures(&self, by: &Client) -> Result<Measures, Refusal> {
        self.permit_without_job(by, Operation::Observe).await?;
        let now = clock::now();
        let ledger = self.dispatcher.ledger();
        let log = self.log.as_ref();
        let jobs = ledger.tally().await?;
        let oldest = jobs.oldest_queued.map(|job| job.submitted());
        let contents = ledger.contents();
        let devices = self.dispatcher.devices().tally();
        let store_is_up = ledger.outage().borrow().is_none();
        Ok(Measures {
            queued: jobs.queued,
            running: jobs.running,
            ended: contents.ended,
            bytes: contents.bytes,
            queues: jobs.queues,
            places_kept: jobs.places_kept,
            oldest_queued: oldest.map_or(0, |oldest| now.saturating_sub(oldest)),
            hosts: self.hosts.count() as u64,
            services: self.dispatcher.services().count() as u64,
            claims: self.dispatcher.claims().count() as u64,
            devices: self.devices(),
            from_devices: [
                devices.events.get(),
                devices.strays.get(),
                devices.unreadable.get(),
                devices.restarts.get(),
            ],
            store_is_up,
            is_draining: self.winding_down.is_cancelled(),
            store: ledger.pulse(),
            lines_lost: (self.audit.lost(), log.map_or(0, |log| log.lost())),
            spans_lost: self.traces.lost(),
            totals: self.changes.totals(),
            hour: self.changes.recent(60, now),
            day: self.changes.recent(24 * 60, now),
        })
    }

    /// How the devices of the registry stand, in the order of their names.
    fn devices(&self) -> Vec<(String, Standing)> {
        let registry = self.hosts.all();
        let devices = registry.iter().filter_map(|(name, host)| match host {
            Host::Harpd(_) => None,
            Host::Autotrainer(_) => {
                let standing = self.dispatcher.devices().standing(name)?;
                Some((name.clone(), standing))
            }
        });
        let mut devices: Vec<_> = devices.collect();
        devices.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        devices
    }
}
