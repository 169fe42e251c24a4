//! What clients were told, held against what is on the disk and what the hosts did. It
//! shares no code with the core.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use harp_jobs::ledger::{Change, What};
use harp_jobs::record::EndRecord;
use harp_values::{JobId, Outcome};

use crate::memory::{Disk, Row};
use crate::script::{Hosts, KEEPS};

/// How long a cancel may take: a request that is going out is waited for, 10 s at most, and then
/// an outage that passes, of less than 5 s; in a longer one its effect is not known.
const CANCEL: Duration = Duration::from_secs(16);

/// What was promised. Clones are the same.
#[derive(Clone, Default)]
pub struct Book(Arc<Mutex<Entries>>);

/// What was told of each job.
#[derive(Debug, Default)]
pub struct Entries {
    jobs: BTreeMap<JobId, Entry>,
    /// The job of each key.
    keys: BTreeMap<usize, JobId>,
    /// What was told since the newest start.
    changes: BTreeMap<JobId, Vec<&'static str>>,
    /// Verbs that were begun and have not been answered, by what they are.
    open: BTreeMap<u64, String>,
    next: u64,
    /// Whether ended jobs may go.
    prunes: bool,
    /// Whether something came between hosts and what is kept of them: a stop, an outage, a
    /// standstill.
    is_disturbed: bool,
    /// What happened, in words, if somebody wants to read it.
    log: Option<Vec<String>>,
    /// What was found wrong by somebody who was told something.
    wrong: Option<String>,
}

/// What was told of a job.
#[derive(Debug, Default)]
struct Entry {
    end: Option<Arc<EndRecord>>,
    /// Packets below this number were shown.
    shown: u64,
    /// Somebody was told that it is cancelled.
    cancelled: bool,
    /// It has ended, on the disk.
    has_ended: bool,
}

impl Entries {
    /// Whether a job may be gone.
    fn may_be_gone(&self, job: JobId) -> bool {
        self.prunes && self.jobs.get(&job).is_none_or(|entry| entry.has_ended)
    }
}

impl Book {
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wrong(entries: &mut Entries, what: String) {
        entries.wrong.get_or_insert(what);
    }

    /// Keeps what happens, in words.
    #[must_use]
    pub fn logging() -> Book {
        let book = Book::default();
        book.entries().log = Some(Vec::new());
        book
    }

    /// Something happens.
    pub fn note(&self, what: impl FnOnce() -> String) {
        if let Some(log) = &mut self.entries().log {
            log.push(what());
        }
    }

    /// What has happened.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.entries().log.clone().unwrap_or_default()
    }

    /// All jobs that clients know of.
    #[must_use]
    pub fn jobs(&self) -> Vec<JobId> {
        self.entries().jobs.keys().copied().collect()
    }

    /// A verb begins; the number is for when it is answered.
    pub fn begin(&self, what: String) -> u64 {
        self.note(|| format!("client: {what}"));
        let mut entries = self.entries();
        entries.next += 1;
        let number = entries.next;
        entries.open.insert(number, what);
        number
    }

    /// A verb was answered, or its client went.
    pub fn answered(&self, number: u64) {
        self.note(|| format!("over: {:?}", number));
        self.entries().open.remove(&number);
    }

    /// Somebody was told that a job is accepted.
    pub fn accepted(&self, job: JobId, key: Option<usize>, is_new: bool) {
        self.note(|| format!("accepted: {job}"));
        let mut entries = self.entries();
        entries.jobs.entry(job).or_default();
        let Some(key) = key else { return };
        let first = *entries.keys.entry(key).or_insert(job);
        if first != job && !entries.may_be_gone(first) {
            let what = format!("the key {key} has two jobs, {first} and {job} (new: {is_new})");
            Book::wrong(&mut entries, what);
        }
        entries.keys.insert(key, job);
    }

    /// Somebody was shown a job's end.
    pub fn ended(&self, job: JobId, end: &Arc<EndRecord>) {
        let mut entries = self.entries();
        let entry = entries.jobs.entry(job).or_default();
        let first = entry.end.get_or_insert_with(|| Arc::clone(end));
        if first != end {
            let what = format!("two ends of {job}: {first:?} and {end:?}");
            Book::wrong(&mut entries, what);
        }
    }

    /// Somebody was shown a packet.
    pub fn packet(&self, job: JobId, number: u64, data: &[u8]) {
        let mut entries = self.entries();
        let entry = entries.jobs.entry(job).or_default();
        entry.shown = entry.shown.max(number + 1);
        if data != number.to_string().as_bytes() {
            let what = format!("packet {number} of {job} is {data:?}");
            Book::wrong(&mut entries, what);
        }
    }

    /// Somebody was told what became of a cancel.
    pub fn cancelled(&self, job: JobId, cancelled: bool, is_confirmed: bool, hosts: &Hosts) {
        self.note(|| format!("cancelled: {job} {cancelled}"));
        let mut entries = self.entries();
        entries.jobs.entry(job).or_default().cancelled |= cancelled;
        if is_confirmed && hosts.is_busy(job) {
            let what = format!("a host is busy with {job}, whose cancel is confirmed");
            Book::wrong(&mut entries, what);
        }
    }

    /// Somebody was told so after so long that a job has ended, whose cancel was asked for.
    /// Standstills may have put limits off by that much meanwhile.
    pub fn cancel_took(&self, job: JobId, time: Duration, put_off: Duration) {
        if time > CANCEL + put_off {
            let what = format!("the cancel of {job} took {time:?}");
            Book::wrong(&mut self.entries(), what);
        }
    }

    /// Somebody was told that there is no such job.
    pub fn nothing(&self, job: JobId) {
        let mut entries = self.entries();
        if entries.jobs.contains_key(&job) && !entries.may_be_gone(job) {
            Book::wrong(
                &mut entries,
                format!("{job} is not there for somebody who asks"),
            );
        }
    }

    /// From now on ended jobs may go.
    pub fn prunes(&self) {
        self.entries().prunes = true;
    }

    /// From now on it is not sure that what a host says of a call that was given up is kept.
    pub fn disturbed(&self) {
        self.entries().is_disturbed = true;
    }

    /// A change was told.
    pub fn changed(&self, change: &Change) {
        self.note(|| format!("told: {} {:?}", change.job, change.what));
        let mut entries = self.entries();
        let name = match change.what {
            What::Submitted { .. } => "submitted",
            What::Started => "started",
            What::Ended(_) => "ended",
            What::BackToWait => "back",
            What::Released => "released",
            What::Pruned => "pruned",
        };
        let told = entries.changes.entry(change.job).or_default();
        let is_over = told.contains(&"ended");
        let fits = match name {
            "submitted" => told.is_empty(),
            "started" | "ended" | "back" => !is_over,
            // Of one that ended before the newest start nothing was told since.
            "released" | "pruned" => {
                is_over || !told.contains(&"submitted") || told.contains(&"back")
            }
            _ => false,
        };
        told.push(name);
        if !fits {
            let what = format!("changes of {} in this order: {told:?}", change.job);
            Book::wrong(&mut entries, what);
        }
    }

    /// The dispatcher dies: nobody is answered any more.
    pub fn crashed(&self) {
        let mut entries = self.entries();
        entries.changes.clear();
        entries.open.clear();
    }

    /// What holds at any moment.
    ///
    /// # Errors
    ///
    /// What does not.
    pub fn check(&self, disk: &Disk, hosts: &Hosts) -> Result<(), String> {
        let mut entries = self.entries();
        if let Some(wrong) = &entries.wrong {
            return Err(wrong.clone());
        }
        let rows = disk.rows();
        let prunes = entries.prunes;
        for (job, entry) in &mut entries.jobs {
            let Some(row) = rows.jobs.get(job) else {
                if prunes && entry.has_ended {
                    continue;
                }
                return Err(format!("{job} was accepted and is not there"));
            };
            entry.has_ended = row.end.is_some();
            if entry.end.is_some() && entry.end != row.end {
                return Err(format!(
                    "{job} was shown as {:?}, and is {:?}",
                    entry.end, row.end
                ));
            }
            if entry.shown > row.count() {
                return Err(format!(
                    "{job} has {} packets, of {} shown",
                    row.count(),
                    entry.shown
                ));
            }
            let outcome = row.end.as_ref().map(|end| &end.outcome);
            let is_lost = outcome.is_some_and(|outcome| outcome.name() == "missing_result");
            if is_lost && row.call.host == KEEPS && hosts.has_come(*job) {
                return Err(format!("{job} is given up, which its host keeps"));
            }
            if entry.cancelled && outcome != Some(&Outcome::Cancelled) {
                return Err(format!("{job} was cancelled, and is {outcome:?}"));
            }
        }
        let mut earlier: BTreeMap<String, u64> = BTreeMap::new();
        for ((job, attempt), call) in &hosts.state().calls {
            if call.runs > 1 {
                return Err(format!("{job}/{attempt} was run {} times", call.runs));
            }
            if !call.given.is_sorted_by(|earlier, later| earlier < later) {
                return Err(format!("{job} was given to an older one: {:?}", call.given));
            }
            if let Some(epoch) = call.ended_by_older {
                return Err(format!(
                    "{job} was ended by epoch {epoch}: {:?}",
                    call.given
                ));
            }
            if !call.beside.is_empty() {
                let (queue, others) = (&call.queue, &call.beside);
                return Err(format!("{job} of {queue:?} was run beside {others:?}"));
            }
            let Some(row) = rows.jobs.get(job) else {
                continue;
            };
            if let Some(words) = call.last_words
                && row.end.is_some()
                && row.count() < words
                && !entries.is_disturbed
            {
                return Err(format!("{job} has ended before its host's last words"));
            }
            if row.end.as_ref().is_some_and(|end| end.started.is_none()) {
                return Err(format!("{job} was run, and has no start"));
            }
            if let Some(Outcome::Returned(value)) = row.end.as_ref().map(|end| &end.outcome)
                && (row.count(), value.to_string()) != (call.plan, call.plan.to_string())
            {
                let (count, plan) = (row.count(), call.plan);
                return Err(format!("{job}: {count} packets and {value}, of {plan}"));
            }
            if call.waits > 20 && row.count() >= call.sent && !entries.is_disturbed {
                return Err(format!("the host of {job} waits to hear what is durable"));
            }
            if let Some((queue, _)) = &call.queue {
                let last = earlier.entry(queue.clone()).or_default();
                *last = number_of(*job).max(*last);
            }
        }
        let name = |row: &Row| row.call.queue.as_ref().map(|queue| queue.name.to_string());
        for (job, row) in &rows.jobs {
            let waits = row.end.is_none() && row.started.is_none();
            let Some(queue) = row.call.queue.as_ref().filter(|_| waits) else {
                continue;
            };
            let last = earlier.get(&queue.name.to_string());
            let Some(last) = last.filter(|last| **last > number_of(*job)) else {
                continue;
            };
            // It has its turn as well, unless there are more such than places.
            let takes_a_place = |other: &JobId, row: &Row| {
                let runs = row.started.is_some() && row.end.is_none();
                let is_before = row.end.is_none() && number_of(*other) < *last;
                runs || is_before || row.debt.is_some()
            };
            let others = rows
                .jobs
                .iter()
                .filter(|(_, other)| name(other) == name(row));
            let places = others.filter(|(job, other)| takes_a_place(job, other));
            if places.count() as u64 > queue.concurrency {
                return Err(format!("{job} was overtaken in its queue"));
            }
        }
        Ok(())
    }

    /// What holds once nothing moves any more and nothing goes wrong.
    ///
    /// # Errors
    ///
    /// What does not.
    pub fn check_the_end(&self, disk: &Disk) -> Result<(), String> {
        let entries = self.entries();
        if let Some((_, what)) = entries.open.first_key_value() {
            return Err(format!("nobody answers: {what}"));
        }
        let rows = disk.rows();
        for (job, row) in &rows.jobs {
            if row.end.is_none() {
                return Err(format!("{job} is stuck: started {:?}", row.started));
            }
            if row.debt.is_some() {
                return Err(format!("what {job} owes is never paid"));
            }
        }
        Ok(())
    }
}

/// The number of a job in the order of all submissions: what is chance in its id is counted
/// here.
fn number_of(job: JobId) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&job.as_bytes()[8..]);
    u64::from_be_bytes(number)
}
