//! Carrying out what a job's life orders.

use std::sync::Arc;

use futures_util::FutureExt;
use harp_values::Outcome;

use super::{OnceTold, Run};
use crate::ledger::{End, Then};
use crate::life::{Order, Orders};
use crate::record::Remarks;
use crate::runner::asked::Asked;
use crate::runner::work::Work;
use crate::transport::{Attempt, How};

impl Run<'_> {
    pub(super) fn carry_out(&mut self, orders: Orders) {
        for order in orders {
            self.carry_out_one(order);
        }
    }

    fn carry_out_one(&mut self, order: Order) {
        let ledger = &self.runner.ledger;
        match order {
            Order::Begin => {
                let attempt = self.begin(How::New);
                let by = self.runner.world.now() + self.limits.connect_timeout;
                self.work = Work::ready(attempt, by);
            }
            Order::Start(token) => {
                if let Some(token) = token {
                    self.token = token;
                }
                self.asked = Asked::Start(ledger.started(self.hold, self.token.clone()));
            }
            Order::Commit => self.commit(),
            Order::Note(token) => {
                self.token = token;
                self.asked = Asked::Note(ledger.note(self.hold, self.token.clone()));
            }
            Order::Listen => match self.work {
                Work::Tell(_) => self.once_told = OnceTold::Listen,
                _ => self.listen(),
            },
            Order::Tell => self.tell(),
            Order::Close { then, is_left } => self.close(then, is_left),
            Order::Prove => match self.work {
                Work::Tell(_) => self.once_told = OnceTold::Prove,
                _ => self.prove(),
            },
            Order::Settle => self.asked = Asked::Settle(ledger.settle(self.hold)),
            Order::Drop => self.work = Work::Idle(None),
            Order::Detach => {
                if let Some(attempt) = self.work.take() {
                    attempt.detach();
                }
                self.work = Work::Idle(None);
            }
            Order::ShowEnd(end) => self.owner.end(end),
            Order::ShowHost(proof) => self.owner.host(proof),
        }
    }

    fn begin(&self, how: How) -> Box<dyn Attempt> {
        let (call, token) = (Arc::clone(&self.call), self.token.clone());
        self.runner.transport.begin(self.hold, call, how, token)
    }

    fn commit(&mut self) {
        if let Some(attempt) = self.work.take() {
            let by = self.runner.world.now() + self.limits.connect_timeout;
            // What is going out is not given up half-way: it has to know by itself.
            let by = self.life.due().map_or(by, |due| due.min(by));
            self.work = Work::commit(attempt, by);
        }
    }

    pub(super) fn listen(&mut self) {
        let since = self.pump.count();
        let attempt = self.work.take();
        let attempt = attempt.unwrap_or_else(|| self.begin(How::Attach { since }));
        self.is_reading = true;
        self.work = Work::Listen(attempt);
    }

    /// What had arrived is kept: one batch at most, since a host may be sending faster than
    /// it can be taken.
    fn tell(&mut self) {
        let Some(mut attempt) = self.work.take() else {
            return;
        };
        if self.is_reading {
            // The job has its outcome already.
            let _ = attempt.next(&mut self.batch).now_or_never();
            let _ = self.take_packets();
        }
        self.debt = attempt.debt();
        self.work = Work::tell(attempt);
    }

    fn close(&mut self, mut then: Then, is_left: bool) {
        self.once_told = OnceTold::Rest;
        self.work.rest();
        if let Some(attempt) = self.work.attempt() {
            self.debt = attempt.debt();
        }
        let evidence = self.evidence.take();
        let remarks = match &mut then {
            Then::End(outcome) => {
                let transport = &self.runner.transport;
                let remarks = transport.remarks(&self.call, &self.token, outcome);
                match (outcome, evidence) {
                    (Outcome::Cancelled, evidence) => Remarks {
                        evidence,
                        ..remarks
                    },
                    // As a host says it with a limit of its own.
                    (Outcome::Error(failure), Some(evidence)) => {
                        *failure = evidence.within(failure.clone());
                        remarks
                    }
                    _ => remarks,
                }
            }
            Then::Again { .. } => Remarks::default(),
        };
        let end = End {
            then,
            packets: self.pump.count(),
            debt: self.debt.clone().filter(|_| is_left),
            remarks,
        };
        self.asked = Asked::Close(self.runner.ledger.close_job(self.hold, end));
    }

    pub(super) fn prove(&mut self) {
        let attempt = self.work.take();
        let attempt = attempt.unwrap_or_else(|| self.begin(How::Settle));
        self.work = Work::prove(attempt);
    }
}
