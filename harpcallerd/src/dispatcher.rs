//! The core as this daemon runs it: over its ledger, over hosts that are called
//! by the harp protocol, with the runtime's clock and tasks; and the order in which it comes
//! to rest.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use futures_util::future::join_all;
use harp_device::Devices;
use harp_jobs::audit::Audit;
use harp_jobs::changes::Changes;
use harp_jobs::jobs::Jobs;
use harp_jobs::ledger::{Drain, Ledger, PaperKind, Unreadable, What};
use harp_jobs::limits::RunLimits;
use harp_jobs::record::LiveRecord;
use harp_jobs::runner::Stop;
use harp_jobs::world::{Phase, World};
use harp_proto::JobId;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{Instrument, warn};

use crate::any_ledger::AnyLedger;
use crate::declared::Declarations;
use crate::hosts::Hosts;
use crate::knowledge::Knowledge;
use crate::learned::Learned;
use crate::rules::Rules;
use crate::schemas::Schemas;
use crate::services::Services;
use crate::services::settings::ServiceSettings;
use crate::transports::by_kind::ByKind;
use crate::transports::device;
use crate::transports::harp::{Harp, Told};
use crate::transports::worker::{Claims, Note, Worker};
use crate::world::{Runtime, ToTheEnd};

/// What the core is opened over.
pub struct Parts {
    /// Time, chance and tasks.
    pub world: Arc<Runtime>,
    /// Where jobs are decided about and kept. Nobody else writes it from now on, but for
    /// removing ended jobs.
    pub ledger: AnyLedger,
    /// The jobs that had not ended before.
    pub live: Vec<(JobId, LiveRecord)>,
    /// Those of them that another dispatcher holds.
    pub elsewhere: BTreeSet<JobId>,
    /// The hosts that can be called.
    pub hosts: Arc<Hosts>,
    /// What calls go by.
    pub rules: watch::Receiver<Arc<Rules>>,
    /// The limits of runs, which are part of these.
    pub limits: watch::Receiver<Arc<RunLimits>>,
    /// Where ends are written down.
    pub audit: Audit,
    /// Those that are told what becomes durable.
    pub changes: Changes,
    /// To be told of connections to hosts, and of ends.
    pub told: Told,
    /// What the configuration declares of procedures.
    pub declared: watch::Receiver<Arc<Declarations>>,
    /// What holds for services.
    pub services: watch::Receiver<ServiceSettings>,
    /// Whether jobs that waited wait again; otherwise they end.
    pub resume_queued: bool,
    /// Until when hosts may go on with calls of before, if they cannot know that this machine
    /// was started anew.
    pub unaware_until: Option<Instant>,
}

/// The core of one daemon.
pub struct Dispatcher {
    world: Arc<Runtime>,
    rules: watch::Receiver<Arc<Rules>>,
    ledger: AnyLedger,
    jobs: Arc<Jobs>,
    limits: watch::Receiver<Arc<RunLimits>>,
    knowledge: Arc<Knowledge>,
    claims: Claims,
    devices: Arc<Devices>,
    /// Recordings that went on over the start, by their hosts.
    recordings: HashMap<String, JobId>,
}

impl std::fmt::Debug for Dispatcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the dispatcher")
    }
}

impl Dispatcher {
    /// Takes up what is in the ledger, and runs what has its turn from now on. Completes when
    /// the jobs that do not go on have their ends, so that whoever asks is told of them.
    ///
    /// # Errors
    ///
    /// If the ledger cannot be read; the daemon must then not open for clients.
    pub async fn open(parts: Parts) -> Result<Arc<Dispatcher>, Unreadable> {
        let Parts {
            world,
            ledger,
            mut live,
            elsewhere,
            hosts,
            rules,
            limits,
            audit,
            changes,
            told,
            declared,
            services,
            resume_queued,
            unaware_until,
        } = parts;
        let meters = told.meters.clone();
        let lives: BTreeSet<JobId> = live.iter().map(|(job, _)| *job).collect();
        let pools: BTreeSet<_> = live
            .iter()
            .filter_map(|(_, job)| job.pool.clone())
            .collect();
        live.retain(|(job, _)| !elsewhere.contains(job));
        let of_devices = live
            .iter()
            .filter(|(_, job)| Devices::may_go_on(&job.token));
        let mut recordings = HashMap::new();
        for (job, _) in of_devices {
            let call = ledger.job(*job).await?.map(|record| record.call);
            if let Some(call) = call.filter(|call| call.endless) {
                recordings.insert(call.host, *job);
            }
        }
        let claimed = live
            .iter()
            .filter(|(_, job)| Note::read(&job.token).is_some());
        let claimed = claimed.map(|(job, _)| *job).collect();
        // Those that their hosts keep are attached to while everything else begins.
        let end = live.into_iter().filter(|(_, job)| {
            let may_go_on = job.started.is_some() && ByKind::may_go_on(&job.token);
            !may_go_on && !job.waits_again(resume_queued)
        });
        let end: Vec<JobId> = end.map(|(job, _)| job).collect();
        let any_world: Arc<dyn World> = Arc::clone(&world) as Arc<dyn World>;
        let harp = Harp::new(
            Arc::clone(&world),
            Arc::clone(&hosts),
            rules.clone(),
            unaware_until,
            told,
        );
        let papers = ledger.papers(PaperKind::Service).await?;
        let services = Arc::new(Services::new(papers, pools, services));
        if hosts.get(&services.host()).is_some() {
            let host = services.host();
            warn!(%host, "the registry's entry is passed over: calls to this host are for services");
        }
        let claims = Claims::default();
        claims.expect(claimed);
        let drafts = ledger.papers(PaperKind::Draft).await?;
        claims.take_up_drafts(drafts, |job| lives.contains(&job));
        let of_listener = claims.clone();
        let worker = Worker::new(Arc::clone(&services), claims.clone());
        let any_ledger: Arc<dyn Ledger> = Arc::new(ledger.clone());
        let opening = device::open(
            Arc::clone(&any_world),
            Arc::clone(&any_ledger),
            rules.clone(),
            &hosts,
        );
        let devices = Arc::new(opening.await);
        let learning = Learned::open(Arc::clone(&any_ledger), Arc::clone(&hosts), rules.clone());
        let learned = learning.await?;
        let knowledge = Arc::new(Knowledge {
            declared,
            services,
            hosts,
            learned: Arc::new(learned),
            schemas: Schemas::default(),
        });
        let transport = ByKind::new(harp, worker, Arc::clone(&devices), Arc::clone(&knowledge));
        let jobs = Jobs::open(
            any_world,
            any_ledger,
            Arc::new(transport),
            limits.clone(),
            move |change| {
                meters.note(change);
                changes.note(change);
                match &change.what {
                    What::Submitted { is_late: true } => audit.accepted_late(change.job),
                    What::Ended(end) => {
                        audit.ended(change.job, &end.outcome);
                        of_listener.job_ended(change.job);
                    }
                    _ => {}
                }
            },
        );
        if !end.is_empty() {
            warn!(
                jobs = end.len(),
                "jobs that had not ended are ended with missing_result"
            );
            // One that cannot be read is told of when it is asked for.
            let _ = join_all(end.into_iter().map(|job| jobs.wait(job))).await;
        }
        Ok(Arc::new(Dispatcher {
            world,
            rules,
            ledger,
            jobs,
            limits,
            knowledge,
            claims,
            devices,
            recordings,
        }))
    }

    /// The limits that runs go by which have their turn now.
    #[must_use]
    pub fn limits(&self) -> Arc<RunLimits> {
        Arc::clone(&self.limits.borrow())
    }

    /// The services whose jobs workers fetch.
    #[must_use]
    pub fn services(&self) -> &Arc<Services> {
        &self.knowledge.services
    }

    /// What is known of procedures.
    #[must_use]
    pub fn knowledge(&self) -> &Arc<Knowledge> {
        &self.knowledge
    }

    /// What workers have claimed.
    #[must_use]
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// A number that nobody can guess.
    #[must_use]
    pub fn chance(&self) -> u128 {
        self.world.chance()
    }

    /// The greatest JSON text of one packet or result, in bytes.
    #[must_use]
    pub fn max_packet_size(&self) -> usize {
        self.rules.borrow().limits.max_packet_size
    }

    /// The devices of the registry.
    #[must_use]
    pub fn devices(&self) -> &Arc<Devices> {
        &self.devices
    }

    /// Recordings that went on over the start, by their hosts.
    #[must_use]
    pub fn recordings(&self) -> &HashMap<String, JobId> {
        &self.recordings
    }

    /// What can be done with jobs.
    #[must_use]
    pub fn jobs(&self) -> &Arc<Jobs> {
        &self.jobs
    }

    /// How long a host is waited for after its job's end by whoever asks for proof.
    #[must_use]
    pub fn slot_grace(&self) -> std::time::Duration {
        self.rules.borrow().limits.slot_grace
    }

    /// What is decided and kept.
    #[must_use]
    pub fn ledger(&self) -> &AnyLedger {
        &self.ledger
    }

    /// A submission, which is carried out whether or not anybody waits for it; a stop does.
    /// Whoever has submitted it stands in the log.
    pub fn submission<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> ToTheEnd<T> {
        let work = work.in_current_span();
        ToTheEnd::new(&self.world, "submission", Phase::Verbs, work)
    }

    /// Takes no new calls and gives no turns any more.
    pub fn close(&self) {
        self.ledger.drain(Drain::NoTurns);
    }

    /// After [`Dispatcher::close`]: leaves calls that their hosts keep to the next start.
    pub fn leave(&self) {
        self.jobs.stop(Stop::Leave);
    }

    /// After [`Dispatcher::close`]: waits until nothing runs. Cancel safe.
    pub async fn idle(&self) {
        // What was taken in before has its turn, or waits for the next start.
        self.world.over(Phase::Verbs).await;
        self.jobs.caught_up().await;
        self.world.over(Phase::Runs).await;
    }

    /// Ends every running job with `missing_result`, as far as that can be recorded now.
    pub fn interrupt(&self) {
        self.jobs.stop(Stop::Interrupt);
        self.ledger.drain(Drain::WaitForNothing);
    }

    /// Ends jobs as [`Dispatcher::interrupt`] does, and those whose hosts keep their calls, too.
    pub fn end_calls(&self) {
        self.jobs.stop(Stop::EndCalls);
        self.ledger.drain(Drain::WaitForNothing);
    }

    /// Nobody waits for a job any more: those that are left wait for the next start.
    pub fn over(&self) {
        self.jobs.stop(Stop::Over);
    }

    /// Closes the store. Returns when all that it has told is handed on.
    pub async fn shut(&self) {
        // One that was closed already is closed.
        let _ = self.ledger.shut().await;
        self.world.over(Phase::News).await;
    }
}
