//! The requests of a round as the columns that the database takes them in.

use harp_values::JobId;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::digest::Digest;

/// One request, or a piece of one; what a kind does not have is left out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Element {
    pub(crate) kind: &'static str,
    pub(crate) job: Option<JobId>,
    pub(crate) attempt: u32,
    pub(crate) owner: u32,
    /// The request itself, by which an answer that was lost is known again.
    pub(crate) act: u128,
    pub(crate) at: u64,
    pub(crate) data: Option<Vec<u8>>,
    pub(crate) token: Option<Vec<u8>>,
    pub(crate) queue: Option<Digest>,
    pub(crate) name: Option<String>,
    pub(crate) pool: Option<Vec<u8>>,
    pub(crate) key: Option<Digest>,
    pub(crate) same: Option<Digest>,
    /// Concurrency, the first packet, how many packets, a time that was waited for, or the revision
    /// that is replaced.
    pub(crate) amount: u64,
    /// Calls taken in together, packets of a segment, the kind of a paper, or how often it was
    /// asked before.
    pub(crate) count: u64,
    pub(crate) longest: u64,
    pub(crate) start_by: Option<u64>,
    pub(crate) unless_since: Option<u64>,
    pub(crate) again: Option<u64>,
    pub(crate) failed: bool,
    pub(crate) remarks: Option<Vec<u8>>,
}

/// All elements of a round, by columns.
#[derive(Debug, Default)]
pub(crate) struct Columns {
    kinds: Vec<&'static str>,
    jobs: Vec<Option<Uuid>>,
    attempts: Vec<i32>,
    owners: Vec<i32>,
    acts: Vec<Uuid>,
    ats: Vec<i64>,
    datas: Vec<Option<Vec<u8>>>,
    tokens: Vec<Option<Vec<u8>>>,
    queues: Vec<Option<Vec<u8>>>,
    names: Vec<Option<String>>,
    pools: Vec<Option<Vec<u8>>>,
    keys: Vec<Option<Vec<u8>>>,
    sames: Vec<Option<Vec<u8>>>,
    amounts: Vec<i64>,
    counts: Vec<i64>,
    longests: Vec<i64>,
    start_bys: Vec<Option<i64>>,
    unlesses: Vec<Option<i64>>,
    agains: Vec<Option<i64>>,
    faileds: Vec<bool>,
    remarkses: Vec<Option<Vec<u8>>>,
}

/// As PostgreSQL has it, whose numbers end there.
fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl Columns {
    pub(crate) const STATEMENT: &str = "select * from harp.round_1($1, $2, $3, $4, $5, $6, $7, $8, \
                                        $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, \
                                        $19, $20, $21, $22, $23, $24)";

    pub(crate) fn push(&mut self, element: Element) {
        let uuid = |job: JobId| Uuid::from_bytes(*job.as_bytes());
        self.kinds.push(element.kind);
        self.jobs.push(element.job.map(uuid));
        self.attempts.push(element.attempt.cast_signed());
        self.owners.push(element.owner.cast_signed());
        self.acts.push(Uuid::from_u128(element.act));
        self.ats.push(number(element.at));
        self.datas.push(element.data);
        self.tokens.push(element.token);
        self.queues.push(element.queue.map(Digest::to_vec));
        self.names.push(element.name);
        self.pools.push(element.pool);
        self.keys.push(element.key.map(Digest::to_vec));
        self.sames.push(element.same.map(Digest::to_vec));
        self.amounts.push(number(element.amount));
        self.counts.push(number(element.count));
        self.longests.push(number(element.longest));
        self.start_bys.push(element.start_by.map(number));
        self.unlesses.push(element.unless_since.map(number));
        self.agains.push(element.again.map(number));
        self.faileds.push(element.failed);
        self.remarkses.push(element.remarks);
    }

    pub(crate) fn len(&self) -> usize {
        self.kinds.len()
    }

    /// The parameters of [`Columns::STATEMENT`] behind those of the node.
    pub(crate) fn parameters(&self) -> [&(dyn ToSql + Sync); 21] {
        [
            &self.kinds,
            &self.jobs,
            &self.attempts,
            &self.owners,
            &self.acts,
            &self.ats,
            &self.datas,
            &self.tokens,
            &self.queues,
            &self.names,
            &self.pools,
            &self.keys,
            &self.sames,
            &self.amounts,
            &self.counts,
            &self.longests,
            &self.start_bys,
            &self.unlesses,
            &self.agains,
            &self.faileds,
            &self.remarkses,
        ]
    }
}
