//! What has to be there after a crash.

use std::collections::HashSet;
use std::io;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::ledger::Known;
use super::link::Link;
use super::load::Load;
use super::plan::{At, LANES};

use crate::caller::packet;

/// The present second, as the dispatcher shows times.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

impl Load {
    /// Checks what clients were shown of these jobs, with a dispatcher that was started
    /// in this second and runs.
    pub(crate) fn check(&self, ids: &[String], started: u64) -> io::Result<()> {
        let mut link = Link::open_lasting(self.address)?;
        for id in ids {
            // Asked first: whatever is known now has to be there.
            if let Some(known) = self.ledger.get(id) {
                self.check_job(&mut link, id, &known, started)?;
            }
        }
        Ok(())
    }

    fn check_job(&self, link: &mut Link, id: &str, known: &Known, started: u64) -> io::Result<()> {
        let broken = |what: String| self.ledger.broken(format!("job {id}: {what}"));
        let status = link.ask(&format!(r#"{{"harpcaller":1,"get_status":"{id}"}}"#))?;
        let status: Value = serde_json::from_str(&status)?;
        if status["info"] != known.plan.tag {
            // A persistent connection is closed after this.
            broken(format!("is gone, or another one: {status}"));
            *link = Link::open_lasting(self.address)?;
            return Ok(());
        }
        let time = &status["time"];
        let result = link.ask(&format!(
            r#"{{"harpcaller":1,"get_result":"{id}","wait":false}}"#
        ))?;
        if result == r#"{"no_result":true}"# {
            if known.outcome.is_some() {
                broken("its end is gone".to_owned());
            }
            // Whatever ran when the dispatcher died has an end now, or goes on at its host.
            let ran = time["start"].as_u64().is_some_and(|start| start < started);
            if ran && LANES[known.plan.lane].at == At::Counting {
                broken(format!("still runs after a crash: {status}"));
            }
        } else {
            self.ledger.outcome(id, &result);
            if time["start"].is_null() && time["end"].is_u64() && self.host.runs(&known.plan) > 0 {
                broken(format!("ran, and was never started: {status}"));
            }
        }
        self.check_packets(link, id, known, &result)
    }

    fn check_packets(
        &self,
        link: &mut Link,
        id: &str,
        known: &Known,
        result: &str,
    ) -> io::Result<()> {
        link.send(&format!(
            r#"{{"harpcaller":1,"read_stream":"{id}","since":0}}"#
        ))?;
        let mut count = 0;
        loop {
            let line = link.line()?;
            let Some((number, data)) = packet(&line) else {
                break;
            };
            if number != count {
                let broken = format!("job {id}: packet {number} stands where {count} should");
                self.ledger.broken(broken);
            }
            self.ledger.packet(id, number, data);
            count += 1;
        }
        let least = if result == known.plan.outcome() {
            known.plan.all_packets()
        } else {
            known.packets
        };
        if count < least {
            let broken = format!("job {id}: {count} packets are left of {least}");
            self.ledger.broken(broken);
        }
        Ok(())
    }

    /// What harpd's procedures have written: a line at each start and at each end.
    pub(crate) fn check_traces(&self) {
        for (number, lane) in LANES.iter().enumerate() {
            if lane.at != At::Counting {
                self.check_trace(number);
            }
        }
    }

    fn check_trace(&self, lane: usize) {
        let trace = std::fs::read_to_string(self.trace(lane)).unwrap_or_default();
        let is_row = LANES[lane].concurrency == Some(1);
        let mut before = String::new();
        let mut last = 0;
        let mut seen = HashSet::new();
        for line in trace.lines() {
            let broken = |what: &str| {
                self.ledger
                    .broken(format!("harpd, lane {lane}: {line:?} {what}"));
            };
            match line.split_once(' ') {
                Some(("start", tag)) => {
                    let number: u64 = tag.parse().unwrap_or_default();
                    if !seen.insert(tag) {
                        broken("ran twice");
                    }
                    if is_row && number <= last {
                        broken("is not in its order");
                    }
                    last = number;
                }
                Some(("end", tag)) if !is_row || before == format!("start {tag}") => {}
                Some(("beside", _)) if !is_row => {}
                _ => broken(&format!("overlaps with {before:?}")),
            }
            line.clone_into(&mut before);
        }
    }

    /// Waits until every job has ended; those that live are stuck if none of them ends for
    /// this long.
    pub(crate) fn drain(&self, patience: Duration) {
        let mut live = self.ledger.live();
        let mut give_up = Instant::now() + patience;
        while !live.is_empty() {
            let before = live.len();
            live = self.ledger.live();
            if live.len() < before {
                give_up = Instant::now() + patience;
            } else if Instant::now() >= give_up {
                for id in live {
                    let known = self.ledger.get(&id);
                    self.ledger.broken(format!("job {id} is stuck: {known:?}"));
                }
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}
