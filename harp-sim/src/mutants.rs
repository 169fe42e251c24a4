//! Deliberate faults of the core, and of hosts as they are played, each of which the histories,
//! or a test, have to find: what is replaced by what. `cargo run -p harp-sim --example mutants`
//! puts each into a copy of the sources and plays.

/// A fault that is put in.
#[derive(Debug, Clone, Copy)]
pub struct Mutant {
    /// What goes wrong by it.
    pub name: &'static str,
    /// The file.
    pub file: &'static str,
    /// What stands there, once.
    pub from: &'static str,
    /// What stands there instead.
    pub to: &'static str,
}

/// Those that histories find.
pub const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "a place is not given back",
        file: "harp-jobs/src/lineup/queue.rs",
        from: "            queue.running.remove(&id);\n",
        to: "            let _ = (queue, id);\n",
    },
    Mutant {
        name: "a place is given back although its host is not done",
        file: "harp-jobs/src/lineup.rs",
        from: "        entry.owes = owes;\n        self.take_out(id)",
        to: "        entry.owes = owes && false;\n        self.take_out(id)",
    },
    Mutant {
        name: "the request goes out before its start is on record",
        file: "harp-jobs/src/life/starting.rs",
        from: "                    StartRecord::Asked { .. } => {\n                        *link = Link::Ready(now);\n                        Orders::none()\n                    }\n",
        to: "                    StartRecord::Asked { .. } => self.commit(Begun::new(&self.terms, Duration::ZERO, now)),\n",
    },
    Mutant {
        name: "a cancel is not heard by whoever holds the job",
        file: "harp-jobs/src/jobs/cancel.rs",
        from: "        view.wish_cancel();\n",
        to: "",
    },
    Mutant {
        name: "a cancel drops a request that is going out, and calls that confirmed",
        file: "harp-jobs/src/life.rs",
        from: "            Event::Cancel => self.wish(Wish::Cancel),\n",
        to: "            Event::Cancel => self.drop_and_end(Outcome::Cancelled, Proof::Confirmed, now),\n",
    },
    Mutant {
        name: "a key is forgotten",
        file: "harp-jobs/src/jobs.rs",
        from: "            submitted,\n            ..new.call\n",
        to: "            submitted,\n            key: None,\n            ..new.call\n",
    },
    Mutant {
        name: "packets are shown before they are durable",
        file: "harp-jobs/src/runner/run.rs",
        from: "            let appending = ledger.append(self.hold, taken.segments.clone());\n",
        to: "            let appending = ledger.append(self.hold, taken.segments.clone());\n            self.owner.show(taken.segments.clone());\n",
    },
    Mutant {
        name: "what is owed is not recorded with the end",
        file: "harp-jobs/src/runner/run/orders.rs",
        from: "            debt: self.debt.clone().filter(|_| is_left),\n",
        to: "            debt: self.debt.clone().filter(|_| is_left && false),\n",
    },
    Mutant {
        name: "a job runs that was withdrawn",
        file: "harp-jobs/src/runner/asked.rs",
        from: "                Err(Lost::Taken(end)) => Reply::Event(Event::Taken(end)),\n",
        to: "                Err(Lost::Taken(_)) => Reply::Event(Event::Started),\n",
    },
    Mutant {
        name: "the last in the queue is the first",
        file: "harp-jobs/src/lineup/queue/line.rs",
        from: "        let (sequence, first) = self.jobs.first_key_value()?;\n",
        to: "        let (sequence, first) = self.jobs.last_key_value()?;\n",
    },
    Mutant {
        name: "a job that was not recorded keeps its place",
        file: "harp-jobs/src/lineup.rs",
        from: "        let turns = self.queues.undo_join(&queue.name, id, sequence);\n",
        to: "        let turns = self.queues.advance(&queue.name);\n        let _ = sequence;\n",
    },
    Mutant {
        name: "a host is attached to from the first packet on",
        file: "harp-jobs/src/runner/run/orders.rs",
        from: "        let since = self.pump.count();\n",
        to: "        let since = 0;\n",
    },
    Mutant {
        name: "a waiter misses what happens while it asks",
        file: "harp-jobs/src/jobs/cancel.rs",
        from: "    if progress.changed().await.is_err() {\n",
        to: "    progress.borrow_and_update();\n    if progress.changed().await.is_err() {\n",
    },
    Mutant {
        name: "who has gone and left a host behind is taken for one that never started",
        file: "harp-jobs/src/live.rs",
        from: "                if progress.end.is_some() {\n                    return false;\n                }\n                if end.started.is_none() {\n",
        to: "                if true {\n",
    },
    Mutant {
        name: "a job ends before its host's last words",
        file: "harp-jobs/src/life/parting.rs",
        from: "        if !is_heard || !self.talks || self.terms.last_words.is_zero() {\n",
        to: "        if is_heard || !is_heard {\n",
    },
    Mutant {
        name: "any word of a host that was told to end a call is proof that it has",
        file: "harp-jobs/src/life/parting.rs",
        from: "            Event::HostEnd { left: true, .. } | Event::Apart => None,\n",
        to: "            Event::HostEnd { left: true, .. } | Event::Apart => Some(Proof::Confirmed),\n",
    },
    Mutant {
        name: "a host gives a call to somebody who is older than the one who has it",
        file: "harp-sim/src/script/call.rs",
        from: "        if epoch < newest {\n",
        to: "        if epoch < newest && since > u64::MAX / 2 {\n",
    },
    Mutant {
        name: "a host lets somebody cancel a call who has lost it",
        file: "harp-sim/src/script/call.rs",
        from: "        if !self.is_held_by(connection) {\n            return false;\n",
        to: "        if connection == u64::MAX {\n            return false;\n",
    },
    Mutant {
        name: "a host begins anew for whoever attaches",
        file: "harp-sim/src/script/call.rs",
        from: "        self.sent = since;\n",
        to: "        self.sent = 0;\n",
    },
    Mutant {
        name: "a host is never told what is durable",
        file: "harp-jobs/src/runner/run.rs",
        from: "            self.work.stored(Stored::Packets(last.end()));\n",
        to: "            let _ = last;\n",
    },
    Mutant {
        name: "a stop does not leave what its host keeps",
        file: "harp-jobs/src/life.rs",
        from: "            Event::Leave if self.keeps => self.done([Order::Detach]),\n            Event::Leave => {\n                self.leaving = true;",
        to: "            Event::Leave => {\n                self.leaving = true;",
    },
];

/// Faults that histories meet too seldom, each with the test of the core that finds it.
pub const BY_TESTS: &[(Mutant, &str)] = &[(
    Mutant {
        name: "who waits is not told that its owner has gone without a word",
        file: "harp-jobs/src/live.rs",
        from: "            let knows_nothing = progress.end.is_none();\n",
        to: "            let knows_nothing = false;\n",
    },
    "live::tests::the_ledger_tells_ends_of_jobs_that_nobody_owns",
)];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn what_a_mutant_replaces_stands_there_once() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let by_tests = BY_TESTS.iter().map(|(mutant, _)| mutant);
        for mutant in MUTANTS.iter().chain(by_tests) {
            let text = std::fs::read_to_string(root.join(mutant.file)).unwrap();
            let count = text.matches(mutant.from).count();
            assert_eq!(count, 1, "{}: {}", mutant.name, mutant.file);
        }
    }
}
